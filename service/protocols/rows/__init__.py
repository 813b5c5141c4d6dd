"""Rows as JSON objects: Rowcast's own protocol."""
