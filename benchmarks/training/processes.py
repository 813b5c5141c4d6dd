"""An epoch by two processes of one thread each, beside one process with two threads, and with one.

Each way is a run of `rowcast train` on the demo's flights, ended after a few epochs; ways take turns, so that whatever
else the machine does hits all of them. An epoch is timed from one line of progress to the next, the first left out.

    make bench-torchrun
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.cells import RESULTS, machine
from rowcast.training.data.flights import TARGET, TIME, flights_with_weather

TABLE = RESULTS / "torchrun.md"
ROWS, EPOCHS, ROUNDS = 40_000, 3, 2
PRESETS = ("quick", "balanced")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
WAYS = {"1 process, 1 thread": (1, ()), "1 process, 2 threads": (2, ()), "2 processes, 1 thread each": (1, TORCHRUN)}
"""Threads of a process, and what starts the processes."""


def epochs(table: Path, preset: str, way: str) -> list[float]:
    """Seconds of each epoch but the first."""
    threads, start = WAYS[way]
    with tempfile.TemporaryDirectory() as repository:
        command = [sys.executable, *start, "-m", "rowcast", "train", str(table), "--target", TARGET, "--preset", preset]
        command += ["--split-by-time", TIME, "--epochs", "100", "--repository", repository]
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGTERM"},
        )
        assert process.stderr is not None
        ends: list[float] = []
        said = []
        try:
            for line in process.stderr:
                said.append(line)
                if re.match(r"epoch \d+/", line):
                    ends.append(time.perf_counter())
                    if len(ends) == EPOCHS:
                        break
        finally:
            stop(process)
    if len(ends) < EPOCHS:
        raise SystemExit(f"{way} ended early:\n{''.join(said[-20:])}")
    return [after - before for before, after in itertools.pairwise(ends)]


def stop(process: subprocess.Popen[str]) -> None:
    """Kill a run, and what torchrun has started for it, which is in sessions of its own."""
    if process.poll() is None:
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.kill()
        process.communicate()


def children(process: int) -> list[int]:
    """Ids of the processes that one has started, and of theirs."""
    try:
        own = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []
    return [found for child in own for found in (*children(child), child)]


def main() -> int:
    """Measure, print the table and write it to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    before = os.times()
    started = time.monotonic()
    seconds: dict[tuple[str, str], list[float]] = {(preset, way): [] for preset in PRESETS for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "flights.parquet"
        flights_with_weather().head(ROWS).write_parquet(table)
        for _ in range(rounds):
            for preset, way in seconds:
                seconds[preset, way] += epochs(table, preset, way)
    after = os.times()
    ours = sum(after[:4]) - sum(before[:4])
    wall = time.monotonic() - started
    about = (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}; the first {ROWS:,} flights, of which 64% are trained on; seconds "
        f"of an epoch with its looks, median of {rounds} alternating runs of {EPOCHS - 1} epochs each. These runs had "
        f"{ours / wall:.2f} cores on average, start included."
    )
    lines = [
        "# An epoch by several processes",
        "",
        about,
        "",
        "| preset | " + " | ".join(WAYS) + " | 2 processes / 1 with 2 threads |",
        "|---|" + "---|" * (len(WAYS) + 1),
    ]
    for preset in PRESETS:
        medians = [statistics.median(seconds[preset, way]) for way in WAYS]
        cells = " | ".join(f"{median:.2f}" for median in medians)
        lines.append(f"| {preset} | {cells} | {medians[2] / medians[1]:.2f} |")
    TABLE.write_text("\n".join(lines) + "\n")
    print(TABLE.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
