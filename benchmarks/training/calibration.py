"""What calibration does to test rows: two fits with the same seed, one of which leaves its probabilities as they are.

    make bench-calibration
    make bench-calibration ARGS="--data adult --seeds 3"

Data is looked for in the folder that BENCH_DATA names. A result stands until the code it measured changes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from benchmarks.cells import RESULTS, machine
from benchmarks.training.accuracy.contenders import Rowcast
from benchmarks.training.accuracy.datasets import DATASETS, Dataset, NotThere, write_parts
from benchmarks.training.accuracy.measure import Bench, interval
from benchmarks.training.accuracy.scores import verdict
from benchmarks.training.compare import SCRATCH, names

STORE = RESULTS / "calibration.json"
LEFT, CALIBRATED = "left as they are", "calibrated"
HEAD = [
    "| | log-loss, left as they are | calibrated | difference | ECE, left as they are | calibrated |",
    "|---|---|---|---|---|---|",
]


def pair(preset: str, settings: tuple[str, ...] = ()) -> dict[str, Rowcast]:
    """The two that are compared."""
    return {LEFT: Rowcast(preset, (*settings, "objective.calibration=none")), CALIBRATED: Rowcast(preset, settings)}


def line(bench: Bench, data: Dataset, seeds: int, both: dict[str, Rowcast]) -> str:
    """A line of the table."""
    try:
        parts = write_parts(data, bench.scratch)
    except NotThere as error:
        return f"| {data.name} | not measured: {error} | | | | |"
    cells = {name: [bench.result(parts, one, seed, name) for seed in range(seeds)] for name, one in both.items()}
    reasons = [cell["reason"] for found in cells.values() for cell in found if "reason" in cell]
    if reasons:
        return f"| {data.name} | not measured: {reasons[0]} | | | | |"
    ours, theirs = ((both[name], name) for name in (CALIBRATED, LEFT))
    found = interval(bench, parts, ours, theirs, seeds, "test")
    figures = {
        (name, metric): float(np.mean([cell["test"][metric] for cell in cells[name]]))
        for name in both
        for metric in ("log_loss", "ece")
    }
    log_losses, eces = ([f"{figures[name, metric]:.4f}" for name in both] for metric in ("log_loss", "ece"))
    return f"| {data.name} | {' | '.join(log_losses)} | {difference(found)} | {' | '.join(eces)} |"


def difference(found: dict[str, Any]) -> str:
    """A difference of log-losses with its interval; ≈ where 0 lies inside."""
    if "reason" in found:
        return str(found["reason"])
    mark = " ≈" if verdict(found).startswith("level") else ""
    return f"{found['difference']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f}){mark}"


def page(lines: Sequence[str], seeds: int) -> str:
    """The table in Markdown."""
    about = (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. Test rows, preset quick, {seeds} seed{'s' * (seeds > 1)}. "
        "*difference*: calibrated less left, with the 95% interval over resampled test rows; below 0 calibration "
        "helps, ≈: 0 lies inside. Two fits with the same seed are the same but for the last bits, since two threads "
        "may add in another order: about .0002 in log-loss. ECE: 15 bins."
    )
    return "\n".join(["# What calibration does", "", about, "", *HEAD, *lines]) + "\n"


def main() -> int:
    """Measure what is not measured yet, print the table and write it to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {data.name: data for data in DATASETS if data.task != "regression"}
    parser.add_argument("--data", default="", help=f"with commas between: {', '.join(known)}")
    parser.add_argument("--seeds", type=int, default=1, help="fits of each, with seeds from 0 up")
    given = parser.parse_args()
    chosen = names(given.data, tuple(known), "data sets")
    scratch = SCRATCH.with_name("calibration")
    scratch.mkdir(parents=True, exist_ok=True)
    bench = Bench(STORE, scratch, lambda parts, _: parts.name in chosen)
    text = page([line(bench, data, given.seeds, pair("quick")) for data in known.values()], given.seeds)
    STORE.with_suffix(".md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
