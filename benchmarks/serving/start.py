"""Cold start and memory: from the spawn of `rowcast serve` with one worker to its first good answer, five times over.

Needs the model that `make demo` leaves.

    make bench-start
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.cells import machine
from rowcast.models import Repository
from tests.support.serving import ask, served

ROUNDS = 5
REPOSITORY = Path("models/repository")
ROW_REQUESTS = 2000


def main() -> int:
    """Measure and print."""
    if "flights" not in Repository(REPOSITORY).names():
        print("run `make demo` first: it makes the model", file=sys.stderr)
        return 1
    row = Repository(REPOSITORY).open("flights").manifest.signature.example_row()
    starts, memory = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            with served(REPOSITORY.absolute(), Path(folder)) as (url, _):
                starts.append(time.monotonic() - started)
                for _ in range(ROW_REQUESTS):
                    ask(url, [row])
                tree = psutil.Process().children(recursive=True)
                # the worker is the one that holds the model: the largest of the tree
                memory.append(max(process.memory_info().rss for process in tree) / 2**20)
    print(f"{machine()}; median of {ROUNDS}")
    print(f"spawn to ready: {statistics.median(starts):.1f} s (from {min(starts):.1f} to {max(starts):.1f})")
    print(f"worker's resident memory after {ROW_REQUESTS:,} requests: {statistics.median(memory):.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
