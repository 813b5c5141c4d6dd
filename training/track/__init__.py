"""Fits told to experiment trackers: TensorBoard and MLflow, of which neither needs to be installed."""
