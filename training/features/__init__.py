"""The fitted feature encoder: columns as numbers a network can take."""
