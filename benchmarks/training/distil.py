"""What a teacher adds to a small student: the same rows, learned from targets alone, and from a teacher besides.

    make bench-distil
    make bench-distil ARGS="--data adult --rows 0 --fits 32 --teachers fits,lightgbm,catboost"

The student is a model of the preset `quick`. Teachers are a model of several fits of the same preset, whose graph is as
many times as large, and boosted trees with their defaults. Of each table so many rows are trained and validated on,
four to one, and all test rows are tested on; 0 takes all of them. Data is looked for in the folder that BENCH_DATA
names. Cells are kept, so that the command goes on where it was, and stand until the code that they measured changes.
"""

from __future__ import annotations

import argparse
import functools
import math
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import rowcast
from benchmarks.cells import RESULTS, ROOT, cell, hash_of, machine
from benchmarks.training.accuracy.datasets import DATASETS, Dataset, NotThere
from benchmarks.training.compare import SCRATCH, names
from benchmarks.training.tuning import MEASURED, USUAL, table_of
from rowcast.models.session import Session
from rowcast.training.fit.loop import Progress
from rowcast.training.predict import columns_for, open_table

STORE = RESULTS / "distil.json"
ROOMS = ("distil", "data", "columns", "features", "network", "fit", "export")
"""Of ``training/``: what changes a figure of the table when it changes."""
FIT: dict[str, Any] = {"preset": "quick", "verbose": False}
RUNS = 500
COLUMNS = ("", "teacher", "measured", "validation: alone", "student", "teacher", "test: alone", "kept", "teacher")
COLUMNS += ("us a row: kept", "teacher", "what is kept")
HEAD = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]


class OutOfTime(Exception):
    """There is no time left for the next cell."""


def fitted(file: Path, data: Dataset, seed: int, name: str, scratch: Path, until: float, **how: Any) -> rowcast.Model:
    """A model in the scratch folder, which is fitted where it is not there yet. A fit without a teacher goes on.

    Raises:
        OutOfTime: the time is over, or a signal ended the fit, whose model says nothing then.
    """
    if not (scratch / name / "1" / "model.json").exists():
        if "teacher" not in how:  # a checkpoint is of one fit
            how |= {"checkpoint": scratch / f"{name}.fit", "resume": True}
        ended: list[bool] = []

        def over(_: Progress) -> bool:
            ended.append(time.monotonic() > until)
            return ended[-1]

        how |= {"target": data.target, "split": "part", "seed": seed, "callbacks": [over]}
        model = rowcast.fit(file, repository=scratch, **FIT | how)
        if any(ended) or any("ended by" in decision for decision in model.decisions):
            raise OutOfTime
        model.publish(name)
    return rowcast.load(f"{name}:1", repository=scratch)


def us_a_row(model: rowcast.Model, file: Path) -> float:
    """Microseconds of a run of one row, the median of many on one thread."""
    stored = model.stored
    table = open_table(file, stored.manifest).take(np.arange(1))
    columns = columns_for(table, stored.manifest.signature, stored.manifest.name)
    session, row = Session.of(stored, "cpu"), {name: values.reshape(-1, 1) for name, values in columns.items()}
    took = []
    for _ in range(RUNS):
        before = time.perf_counter()
        session.run(row)
        took.append(time.perf_counter() - before)
    return statistics.median(took) * 1e6


def measure(
    data: Dataset, file: Path, seed: int, teacher: str, fits: int, folder: Path, until: float
) -> dict[str, Any]:
    """A student of one teacher beside the fit on targets alone, which the student's own fit has made.

    Raises:
        OutOfTime: the time is over.
    """
    if time.monotonic() > until:
        raise OutOfTime
    alone = fitted(file, data, seed, f"alone-{seed}", folder, until)
    found: dict[str, Any] = {"alone": alone.metrics, "us": {"alone": us_a_row(alone, file)}}
    given: Any = teacher
    if teacher == "fits":
        given = fitted(file, data, seed, f"fits-{seed}", folder, until, fit={"seeds": fits})
        found["teacher"] = given.metrics
        found["us"]["teacher"] = us_a_row(given, file)
    started = time.monotonic()
    taught = fitted(file, data, seed, f"by-{teacher}-{seed}", folder, until, teacher=given)
    facts = taught.stored.manifest.data["teacher"]
    found["us"]["kept"] = us_a_row(taught, file)
    return found | {"kept": taught.metrics, "facts": facts, "seconds": time.monotonic() - started}


def who(teacher: str, fits: int) -> str:
    """A teacher, in words."""
    return f"{fits} fits of `quick`" if teacher == "fits" else teacher


def line(data: Dataset, teacher: str, fits: int, found: Sequence[dict[str, Any]]) -> str:
    """A line of the table: means over seeds."""
    metric = MEASURED[data.task]

    def mean(*path: str) -> str:
        values = []
        for one in found:
            value: Any = one
            for key in path:
                value = value.get(key, math.nan) if isinstance(value, dict) else math.nan
            values.append(float(value))
        middle = statistics.fmean(values)
        return "" if math.isnan(middle) else f"{middle:.4f}" if abs(middle) < 10 else f"{middle:.1f}"

    kept = sum(one["facts"]["kept"] for one in found)
    ways = {
        f"weight {one['facts']['weight']:g}" + (", made-up rows" if one["facts"]["made_up"] else "")
        for one in found
        if one["facts"]["kept"]
    }
    what = f"the student, {kept} of {len(found)} ({'; '.join(sorted(ways))})" if kept else "targets alone"
    figures = [
        *(mean("facts", part) for part in ("targets_alone", "student", "teacher")),
        *(mean(part, "test", metric) for part in ("alone", "kept", "teacher")),
        *(mean("us", part) for part in ("kept", "teacher")),
    ]
    return f"| {data.name} | {who(teacher, fits)} | {metric} | {' | '.join(figures)} | {what} |"


def page(lines: Sequence[str], rows: int, seeds: Sequence[int]) -> str:
    """The table in Markdown."""
    of = f"the first {rows:,} rows of each table" if rows else "all rows"
    of_seeds = ", ".join(map(str, seeds))
    about = (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, one thread. Students are models of the preset `quick`, trained "
        f"and validated on {of}, four to one, and tested on all test rows; means over seeds {of_seeds}. "
        "*alone* learned from targets alone, and *kept* is what is published with a teacher. Lower is better. "
        "Validation rows chose the student, and whether it is kept, so its figure on them is too good; that on test "
        "rows is not. Trees are fitted on five folds of the training rows; their figure is that of the five together. "
        "Microseconds are those of one row in ONNX Runtime, while the machine had other work. `make bench-distil` "
        "writes this table."
    )
    return "\n".join(["# What a teacher adds to a small student", "", about, "", *HEAD, *lines]) + "\n"


def main() -> int:
    """Measure what is not measured yet, print the table and write it to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {data.name: data for data in DATASETS}
    parser.add_argument("--data", default=",".join(USUAL), help=f"with commas between: {', '.join(known)}")
    parser.add_argument("--teachers", default="fits,lightgbm", help="fits, lightgbm, catboost, xgboost")
    parser.add_argument("--fits", type=int, default=8, help="of the teacher of several")
    parser.add_argument("--rows", type=int, default=3000, help="to train and validate on; 0 for all")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--minutes", type=float, default=math.inf, help="to end after; the same command goes on")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    until = time.monotonic() + 60 * given.minutes
    code = [file for room in ROOMS for file in (ROOT / "training" / room).rglob("*.py")]
    lines, in_time = [], True
    for name in names(given.data, tuple(known), "data sets"):
        data = known[name]
        for teacher in names(given.teachers, ("fits", "lightgbm", "catboost", "xgboost"), "teachers"):
            found = []
            try:
                for seed in range(given.seeds):
                    settings = (name, teacher, str(given.rows), str(given.fits), str(seed))
                    hashed = hash_of(code, *settings, repr(FIT))
                    scratch = SCRATCH.with_name("distil")
                    folder = scratch / f"{name}-{given.rows}-{given.fits}-{hash_of(code)[:12]}"
                    folder.mkdir(parents=True, exist_ok=True)
                    file = table_of(data, given.rows, scratch)
                    run = functools.partial(measure, data, file, seed, teacher, given.fits, folder, until)
                    found.append(cell(STORE, " ".join(settings), hashed, run))
            except NotThere as error:
                lines.append(f"| {name} | {teacher} | not measured: {error} |{' |' * 9}")
                continue
            except OutOfTime:
                print("out of time: the same command goes on", file=sys.stderr)
                in_time = False
            if found:
                lines.append(line(data, teacher, given.fits, found))
                print(lines[-1], flush=True)
            else:
                lines.append(f"| {name} | {who(teacher, given.fits)} | not measured: out of time |{' |' * 9}")
    STORE.with_suffix(".md").write_text(page(lines, given.rows, range(given.seeds)))
    return 0 if in_time else 1


if __name__ == "__main__":
    sys.exit(main())
