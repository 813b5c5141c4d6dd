"""The parts of the training benchmark, ``python -m tests.benchmarks.training``."""
