"""Whole columns of texts that are not written the plain way: found out what their form is, and read by it."""
