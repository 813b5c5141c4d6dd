"""The training loop, and what belongs to it: objective, optimizer, calibration and metrics."""
