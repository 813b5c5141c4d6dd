"""What a budget is spent on: whole fits one after the other, other settings where there is time, and which answer."""
