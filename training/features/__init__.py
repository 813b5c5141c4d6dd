"""The fitted front of the graph: columns as numbers a network can take."""
