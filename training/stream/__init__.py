"""Training on tables larger than memory: statistics off a sample, rows from a temporary file."""
