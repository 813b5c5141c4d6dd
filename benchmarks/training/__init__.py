"""Training beside other libraries, and what it costs."""
