"""To learn from rows without a target: a network puts right what was changed in them."""
