"""Proof: a client of 4,096-row requests delays one of single rows by two full runs at most.

One client sends single rows, one after the other, first alone and then beside a client that sends 4,096 rows as soon as
it has its answer, all in JSON. What a full run takes is measured by requests of as many rows, alone.

    make proof-fairness
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from proofs.client import Connection, post
from proofs.heavy import publish_heavy
from tests.service.hostile_payloads import ROW, rows
from tests.service.servers import serving

LARGE_ROWS = 4096
MOST_RUNS = 2.0
PAUSE_SECONDS = 0.005
FULL_RUNS = 20


async def single_rows(port: int, seconds: float, most: int = 10**9, body: bytes = rows(ROW)) -> list[float]:
    """Seconds that each request took, one after the other."""
    connection, taken = Connection(port), []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until and len(taken) < most:
        began = time.perf_counter()
        status, _, _ = await connection.ask(post(body))
        assert status == 200, status
        taken.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_SECONDS)
    connection.close()
    return taken


async def beside_large(port: int, seconds: float) -> tuple[list[float], int]:
    """The same beside the other client, and how many large requests that had answered."""
    large = post(rows(*[{**ROW, "distance": 80.0 + n % 1000} for n in range(LARGE_ROWS)]))
    answered = 0

    async def in_a_loop() -> None:
        nonlocal answered
        connection = Connection(port)
        while True:
            status, _, _ = await connection.ask(large)
            assert status == 200, status
            answered += 1

    loop = asyncio.create_task(in_a_loop())
    await asyncio.sleep(1)
    taken = await single_rows(port, seconds)
    loop.cancel()
    await asyncio.wait([loop])
    return taken, answered


def main() -> int:
    """Measure; 0 when single rows are delayed by no more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        publish_heavy(repository)
        with serving(repository, Path(folder) / "home") as server:
            run_rows = server.run_rows()
            full = asyncio.run(single_rows(server.port, 60, FULL_RUNS, rows(*[ROW] * run_rows)))
            alone = asyncio.run(single_rows(server.port, options.seconds))
            beside, answered = asyncio.run(beside_large(server.port, options.seconds))
    run = float(np.median(full))
    before, after = (float(np.quantile(taken, 0.99)) for taken in (alone, beside))
    runs = (after - before) / run
    print(f"a full run of {run_rows} rows takes {run * 1e3:.1f} ms; {answered} of {LARGE_ROWS:,} rows answered")
    print(f"p99 of single rows: {before * 1e3:.1f} ms alone, {after * 1e3:.1f} ms beside them: {runs:+.2f} runs")
    kept = runs <= MOST_RUNS and answered > 0
    print("kept" if kept else "BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
