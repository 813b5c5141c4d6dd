"""What columns made of other columns add: what the target is for a level, and what numbers are for it.

    make bench-columns
    make bench-columns ARGS="--data adult --rows 0 --seeds 1"

For each category of ten levels and more, either the mean of the target there (for a training row: of the rows outside
its own fifth, so that none is told its own), or the mean of each number there and how far a row lies from it. Training
and validation rows alone are read, so many of them, four to one; 0 takes all. A result stands until the code that it
measured changes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.cells import RESULTS, machine
from benchmarks.training.accuracy.contenders import Rowcast
from benchmarks.training.accuracy.datasets import DATASETS, NotThere, Parts, write_parts
from benchmarks.training.accuracy.measure import Bench
from benchmarks.training.accuracy.scores import primary
from benchmarks.training.compare import SCRATCH, names

STORE = RESULTS / "made_columns.json"
USUAL = ("adult", "lending_club", "flights")
MIN_LEVELS = 10
PRIOR_ROWS = 10.0
"""How many rows the mean over all rows counts for, beside those of a level."""
FIFTHS = 5

Made = dict[str, NDArray[np.float64]]


def level_means(
    levels: NDArray[Any], values: NDArray[np.float64], asked: NDArray[Any], default: float
) -> NDArray[np.float64]:
    """The mean of some values by level, drawn towards that of all.

    Args:
        levels: of the rows that have values, ``[rows]``.
        values: of these rows, ``[rows]``, without NaN.
        asked: levels to answer for, ``[n]``; one that is not there has the mean of all rows.
        default: the mean of all.

    Returns:
        a mean for each that is asked for, ``[n]``.
    """
    known, codes = np.unique(levels, return_inverse=True)
    count = np.bincount(codes, minlength=len(known))
    total = np.bincount(codes, weights=values, minlength=len(known))
    means = (total + PRIOR_ROWS * default) / (count + PRIOR_ROWS)
    at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return np.where(known[at] == asked, means[at], default)


def target_statistics(
    train: pl.DataFrame, other: pl.DataFrame, parts: Parts, categories: Sequence[str]
) -> tuple[Made, Made]:
    """The mean of the target for each level; of classes the share of each but the first."""
    target = train[parts.about["target"]]
    if parts.task == "regression":
        wanted = {"target": target.cast(pl.Float64).to_numpy()}
    else:
        wanted = {one: (target == one).to_numpy().astype(np.float64) for one in parts.about["classes"][1:]}
    fifth = np.random.default_rng(0).permutation(len(train)) % FIFTHS
    of_train: Made = {}
    of_other: Made = {}
    for name in categories:
        levels, asked = _levels(train, name), _levels(other, name)
        for what, values in wanted.items():
            mean, out = float(values.mean()), np.empty(len(train))
            for one in range(FIFTHS):
                out[fifth == one] = level_means(levels[fifth != one], values[fifth != one], levels[fifth == one], mean)
            of_train[f"{what} by {name}"] = out
            of_other[f"{what} by {name}"] = level_means(levels, values, asked, mean)
    return of_train, of_other


def group_aggregates(
    train: pl.DataFrame, other: pl.DataFrame, parts: Parts, categories: Sequence[str]
) -> tuple[Made, Made]:
    """The mean of each number for each level, and how far a row's number lies from it."""
    about = parts.about
    passed_over = {about["target"], *about["categories"], *about["timestamps"]}
    of_train: Made = {}
    of_other: Made = {}
    for number in (name for name in train.columns if name not in passed_over):
        seen = train[number].cast(pl.Float64).to_numpy()
        there = np.isfinite(seen)
        mean = float(seen[there].mean())
        for name in categories:
            levels = _levels(train, name)
            for frame, made in ((train, of_train), (other, of_other)):
                means = level_means(levels[there], seen[there], _levels(frame, name), mean)
                made[f"{number} by {name}"] = means
                made[f"{number} less that by {name}"] = frame[number].cast(pl.Float64).to_numpy() - means
    return of_train, of_other


WAYS: dict[str, Callable[[pl.DataFrame, pl.DataFrame, Parts, Sequence[str]], tuple[Made, Made]] | None] = {
    "as it is": None,
    "target statistics": target_statistics,
    "group aggregates": group_aggregates,
}


def _levels(frame: pl.DataFrame, name: str) -> NDArray[Any]:
    return frame[name].fill_null("").to_numpy().astype(str)


def with_columns(parts: Parts, way: str, rows: int, scratch: Path) -> tuple[Parts, int]:
    """Some rows of a table with the columns of a way beside its own, and how many these are; written anew each time.

    Of the training rows those before the validation rows are taken: in a table split by time the others are older.
    """
    train, validation = (
        pl.read_csv(parts.folder / f"{part}.csv", infer_schema=False) for part in ("train", "validation")
    )
    if rows:
        train, validation = train.tail(rows * 4 // 5), validation.head(rows // 5)
    categories = [one for one in parts.about["categories"] if train[one].n_unique() >= MIN_LEVELS]
    name = f"{parts.name}, {way}, {rows or 'all'} rows"
    folder = scratch / name.replace(", ", "-").replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    make = WAYS[way]
    made: tuple[Made, Made] = ({}, {}) if make is None else make(train, validation, parts, categories)
    digest = hashlib.sha256()
    for part, frame, columns in zip(("train", "validation"), (train, validation), made, strict=True):
        frame.with_columns(pl.Series(column, values) for column, values in columns.items()).write_csv(
            folder / f"{part}.csv", null_value=""
        )
        digest.update((folder / f"{part}.csv").read_bytes())
    about = {**parts.about, "name": name, "content": digest.hexdigest()}
    about["rows"] = {"train": len(train), "validation": len(validation)}
    (folder / "about.json").write_text(json.dumps(about))
    return Parts(folder, about), len(made[0])


def line(parts: Parts, way: str, made: int, cells: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> str:
    """A line of the table."""
    metric = primary(parts.task)
    if reasons := [cell["reason"] for cell in (*cells, *base) if "reason" in cell]:
        return f"| {parts.name} | {metric} | {way} | {made} | {reasons[0]} | | | |"
    values, plain = ([cell["validation"][metric] for cell in some] for some in (cells, base))
    changes = [100 * (value / one - 1) for value, one in zip(values, plain, strict=True)]
    seconds = statistics.mean(cell["fit_s"] for cell in cells)
    told = "" if made == 0 else f"{statistics.mean(changes):+.1f}%"
    each = "" if made == 0 else ", ".join(f"{change:+.1f}" for change in changes)
    figures = (f"{statistics.mean(values):.4f}", told, each, f"{seconds:.0f}")
    return f"| {' | '.join([parts.name, metric, way, str(made), *figures])} |"


def main() -> int:
    """Measure what is not measured yet, print the table and write it to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {data.name: data for data in DATASETS if data.name in USUAL}
    parser.add_argument("--data", default="", help=f"with commas between: {', '.join(known)}")
    parser.add_argument("--rows", type=int, default=6000, help="to train and validate on")
    parser.add_argument("--seeds", type=int, default=3, help="fits of each, with seeds from 0 up")
    given = parser.parse_args()
    scratch = SCRATCH.with_name("made-columns")
    scratch.mkdir(parents=True, exist_ok=True)
    bench, contender = Bench(STORE, scratch), Rowcast("quick", validation_only=True)
    lines: list[str] = []
    for name in names(given.data, tuple(known), "data sets"):
        try:
            parts = write_parts(known[name], SCRATCH)
        except NotThere as error:
            lines.append(f"| {name} | not measured: {error} | | | | | | |")
            continue
        base: list[dict[str, Any]] = []
        for way in WAYS:
            more, made = with_columns(parts, way, given.rows, scratch)
            cells = [bench.result(more, contender, seed) for seed in range(given.seeds)]
            base = base or cells
            lines.append(line(parts, way, made, cells, base))
    text = "\n".join(
        [
            "# What columns made of others add",
            "",
            (
                f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. {given.rows or 'All'} rows of each table to train and "
                "validate on, preset `quick`, **validation rows**; no test row is opened. Means over "
                f"{given.seeds} seed{'s' * (given.seeds > 1)}, lower is better; what each seed changes, in percent. "
                f"Columns are made of each category of {MIN_LEVELS} levels and more. The network knows these levels "
                "by embeddings already. `make bench-columns` writes this table."
            ),
            "",
            "| | measured | columns | made | validation | change | of each seed, % | fit, s |",
            "|---|---|---|---|---|---|---|---|",
            *lines,
        ]
    )
    print(text)
    STORE.with_suffix(".md").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
