"""What folds add: one fit, and as many as folds whose members answer together, on the same rows.

    make bench-folds
    make bench-folds ARGS="--data adult --seeds 1 --minutes 4"

Of each table the first rows to train and validate on are shuffled into one file, from which the one fit splits its
validation rows; all test rows are tested on. Where there are classes, the third line leaves calibration out. Data is
looked for in the folder that BENCH_DATA names. A result stands until the code it measured changes.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.cells import RESULTS, ROOT, cell, hash_of, machine
from benchmarks.training.accuracy.datasets import DATASETS, Dataset, NotThere, write_parts
from benchmarks.training.compare import SCRATCH, names
from benchmarks.training.tuning import MEASURED, OutOfTime, run

STORE = RESULTS / "folds.json"
FOLDS = 5
UNCALIBRATED = f"{FOLDS} folds, uncalibrated"
WAYS = {
    "one fit": [],
    f"{FOLDS} folds": ["--folds", str(FOLDS)],
    UNCALIBRATED: ["--folds", str(FOLDS), "--set", "objective.calibration=none"],
}
HEAD = [
    "| | measured | way | test | of one fit | coverage | ECE | fit, s | seeds |",
    "|---|---|---|---|---|---|---|---|---|",
]


def files_of(data: Dataset, rows: int, scratch: Path) -> tuple[Path, Path]:
    """The rows to train and validate on in one file, and those to test on in another."""
    parts = write_parts(data, SCRATCH)
    learnt = scratch / f"{data.name}-{rows}.csv"
    if not learnt.exists():
        frames = [pl.read_csv(parts.folder / f"{part}.csv", infer_schema=False) for part in ("train", "validation")]
        pl.concat(frames).sample(rows, seed=0).write_csv(learnt)
    return learnt, parts.folder / "test.csv"


def measure(
    data: Dataset, way: str, options: argparse.Namespace, seed: int, scratch: Path, until: float
) -> dict[str, Any]:
    """The metrics of one model on test rows.

    Raises:
        OutOfTime: it is not there yet.
    """
    learnt, test = files_of(data, options.rows, scratch)
    with tempfile.TemporaryDirectory(dir=scratch) as home:
        found = run(
            [
                *("train", str(learnt), "--target", data.target, "--test", str(test), "--preset", options.preset),
                *("--seed", str(seed), "--name", "m", "--repository", home, *WAYS[way]),
            ],
            until,
        )
    metrics = found["metrics"]["test"]
    coverage = found["metrics"].get("interval_coverage", {}).get("test")
    return {"metrics": metrics, "coverage": coverage, "seconds": found["seconds"]}


def line(data: Dataset, way: str, found: Sequence[dict[str, Any]], one: Sequence[dict[str, Any]]) -> str:
    """A line of the table: means over seeds."""
    metric = MEASURED[data.task]

    def mean(cells: Sequence[dict[str, Any]], name: str) -> float:
        return statistics.mean(cell["metrics"][name] for cell in cells)

    value, base = mean(found, metric), mean(one, metric)
    form = ".4f" if value < 10 else ".1f"
    coverage = "" if found[0]["coverage"] is None else f"{statistics.mean(c['coverage'] for c in found):.4f}"
    ece = f"{mean(found, 'ece'):.4f}" if "ece" in found[0]["metrics"] else ""
    seconds = statistics.mean(cell["seconds"] for cell in found)
    cells = [data.name, metric, way, format(value, form), f"{100 * (value / base - 1):+.1f}%", coverage, ece]
    return f"| {' | '.join([*cells, f'{seconds:.0f}', str(len(found))])} |"


def main() -> int:
    """Measure what is not measured yet, print the table and write it to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {data.name: data for data in DATASETS if not data.config}  # a split by time would have folds by time
    parser.add_argument("--data", default="", help=f"with commas between: {', '.join(known)}")
    parser.add_argument("--rows", type=int, default=2000, help="to train and validate on")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--seeds", type=int, default=2, help="from seed 0 up")
    parser.add_argument("--minutes", type=float, default=math.inf, help="to end after; the same command goes on")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    scratch = SCRATCH.with_name("folds")
    scratch.mkdir(parents=True, exist_ok=True)
    code = [file for room in ("training", "models") for file in (ROOT / room).rglob("*.py")]
    lines, in_time = [], True
    for name in names(given.data, tuple(known), "data sets"):
        data = known[name]
        try:
            ways = [way for way in WAYS if data.task != "regression" or way != UNCALIBRATED]
            found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
            for seed in range(given.seeds):
                for way in ways:
                    settings = (name, way, given.preset, str(given.rows), str(seed))
                    found[way].append(
                        cell(
                            STORE,
                            "/".join(settings),
                            hash_of(code, *settings),
                            lambda data=data, way=way, seed=seed: measure(data, way, given, seed, scratch, until),
                        )
                    )
            lines += [line(data, way, found[way], found["one fit"]) for way in ways]
        except NotThere as error:
            lines.append(f"| {name} | not measured: {error} |{' |' * 7}")
        except OutOfTime:
            print("out of time: the same command goes on", file=sys.stderr)
            lines.append(f"| {name} | not measured: out of time |{' |' * 7}")
            in_time = False
    about = (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. {given.rows:,} rows of each table to train and validate on, all "
        f"test rows, preset `{given.preset}`, means over seeds; lower is better. Intervals are asked to hold .9 of the "
        "rows. Seconds are those of all fits; the machine had other work meanwhile."
    )
    text = "\n".join(["# What folds add", "", about, "", *HEAD, *lines]) + "\n"
    STORE.with_suffix(".md").write_text(text)
    print(text)
    return 0 if in_time else 1


if __name__ == "__main__":
    sys.exit(main())
