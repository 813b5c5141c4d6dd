"""The parts of the training benchmark, ``python -m benchmarks.training.compare``."""
