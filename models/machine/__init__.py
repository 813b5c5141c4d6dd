"""What the machine lets this process use."""
