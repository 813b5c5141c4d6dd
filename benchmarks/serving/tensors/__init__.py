"""The parts of the benchmark of protocols, ``python -m benchmarks.serving.protocols``."""
