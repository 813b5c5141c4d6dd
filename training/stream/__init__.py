"""Tables larger than memory: statistics off a sample, training rows from a temporary file, answers piece by piece."""
