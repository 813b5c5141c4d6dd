"""Files and data frames to one table of rows, and the rows to their parts."""
