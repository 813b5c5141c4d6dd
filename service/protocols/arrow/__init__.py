"""Arrow streams over HTTP."""
