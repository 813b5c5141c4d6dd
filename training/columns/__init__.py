"""What each column is, how its values are read, and what is to be predicted."""
