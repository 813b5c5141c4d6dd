"""JSON as several protocols read it."""
