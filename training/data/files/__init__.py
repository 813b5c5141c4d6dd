"""Files of every kind people keep tables in: which files are meant, how they are packed, and what stands in them."""
