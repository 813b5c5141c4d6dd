"""A model at work: which models are served, and how the rows of many requests become runs. Knows no protocol."""
