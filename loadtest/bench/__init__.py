"""The parts of the serving benchmark, ``python -m loadtest.bench_serving``."""
