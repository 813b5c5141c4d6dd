"""Files that are read a piece at a time, in memory that their size does not move."""
