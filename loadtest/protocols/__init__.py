"""The parts of the benchmark of protocols, ``python -m loadtest.bench_protocols``."""
