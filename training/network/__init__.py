"""The layers of the network, and the last nodes of the graph."""
