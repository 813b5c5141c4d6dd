"""Rows as typed columns: the form in which every protocol hands them to the engine."""
