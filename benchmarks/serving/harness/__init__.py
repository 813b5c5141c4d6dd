"""The parts of the serving benchmark, ``python -m benchmarks.serving.compare``."""
