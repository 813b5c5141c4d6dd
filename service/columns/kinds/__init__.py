"""The kinds of columns: how the values of each come over every protocol, and become what the graph takes."""
