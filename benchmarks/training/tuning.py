"""What tuning adds to `balanced`: the same rows, once trained with the preset and once tuned from it.

    make bench-tuning
    make bench-tuning ARGS="--data adult --trials 50 --rows 0"
    make bench-tuning ARGS="--rows 2000 --jobs 2"

Of each table so many rows are trained and validated on, four to one, and all test rows are tested on; 0 takes all of
them. A study that was ended (Ctrl-C, --minutes) is gone on with by the same command. Data is looked for in the folder
that BENCH_DATA names. A result stands until the code it measured changes.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.cells import RESULTS, ROOT, cell, hash_of, machine
from benchmarks.training.accuracy.datasets import DATASETS, PARTS, Dataset, NotThere, write_parts
from benchmarks.training.compare import SCRATCH, names

STORE = RESULTS / "tuning.json"
USUAL = ("california", "adult", "diamonds")
MEASURED = {"regression": "rmse", "binary": "log_loss", "multiclass": "log_loss"}
HEAD = [
    "| | measured | validation, balanced | tuned | test, balanced | tuned | s, balanced | tuned | trials | pruned |",
    "|---|---|---|---|---|---|---|---|---|---|",
]


class OutOfTime(Exception):
    """There is no time left; the study is kept."""


def table_of(data: Dataset, rows: int, scratch: Path) -> Path:
    """The parts of a table in one file, whose column ``part`` says which is which."""
    parts = write_parts(data, scratch)
    file = scratch / f"{data.name}-{rows}.csv"
    if not file.exists():
        most = {"train": rows * 4 // 5, "validation": rows // 5, "test": 0}
        frames = []
        for part in PARTS:
            frame = pl.read_csv(parts.folder / f"{part}.csv", infer_schema=False)
            frame = frame.head(most[part]) if rows and most[part] else frame
            frames.append(frame.with_columns(part=pl.lit(part)))
        pl.concat(frames).write_csv(file)
    return file


def run(command: Sequence[str], until: float) -> dict[str, Any]:
    """Run a command of Rowcast, and read what it prints.

    Raises:
        OutOfTime: it had to be ended.
    """
    process = subprocess.Popen([sys.executable, "-m", "rowcast", *command, "--json"], stdout=subprocess.PIPE, text=True)
    try:
        out, _ = process.communicate(timeout=None if math.isinf(until) else max(until - time.monotonic(), 1.0))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)  # what is finished is kept, and no model has to be made of it
        process.communicate()
        raise OutOfTime from None
    if process.returncode != 0:
        raise SystemExit(f"rowcast {' '.join(command)} failed")
    return dict(json.loads(out.splitlines()[-1]))


def measure(data: Dataset, given: argparse.Namespace, home: Path, until: float) -> dict[str, Any]:
    """Both models of a table.

    Args:
        data: the table.
        given: rows, trials, jobs and seed.
        home: where the study is kept, and gone on with.
        until: when to end, as ``time.monotonic`` has it.

    Raises:
        OutOfTime: one is not there yet.
    """
    file, seed, jobs = table_of(data, given.rows, home.parent), given.seed, given.jobs
    common = [str(file), "--target", data.target, "--split", "part", "--seed", str(seed), "--repository", str(home)]
    home.mkdir(exist_ok=True)
    done = home / "balanced.json"
    if not done.exists():
        done.write_text(json.dumps(run(["train", *common, "--name", "balanced"], until)))
    before = time.monotonic()
    spent = home / "seconds"
    try:
        study = ["--trials", str(given.trials), "--jobs", str(jobs), "--table-out", f"{home}/trials.csv"]
        tuned = run(["tune", *common, "--name", "tuned", *study], until)
    finally:
        seconds = (float(spent.read_text()) if spent.exists() else 0.0) + time.monotonic() - before
        spent.write_text(str(seconds))
    balanced = json.loads(done.read_text())
    table = pl.read_csv(home / "trials.csv")
    return {
        "balanced": balanced["metrics"],
        "tuned": tuned["model"]["metrics"],
        "seconds": {"balanced": balanced["seconds"], "tuned": seconds},
        "trials": tuned["trials"],
        "pruned": int(table["pruned"].sum()),
        "best": tuned["best"],
    }


def line(data: Dataset, found: dict[str, Any]) -> str:
    """A line of the table."""
    metric = MEASURED[data.task]
    figures = [f"{found[who][part][metric]:.4f}" for part in ("validation", "test") for who in ("balanced", "tuned")]
    seconds = [f"{found['seconds'][who]:.0f}" for who in ("balanced", "tuned")]
    return f"| {data.name} | {metric} | {' | '.join([*figures, *seconds])} | {found['trials']} | {found['pruned']} |"


def page(lines: Sequence[str], given: argparse.Namespace) -> str:
    """The table in Markdown."""
    of = f"the first {given.rows:,} rows of each table" if given.rows else "all rows"
    by = "one process" if given.jobs == 1 else f"{given.jobs} processes of a share of the cores each"
    about = (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. Trained and validated on {of}, tested on all test rows; seed "
        f"{given.seed}, {given.trials} trials of the default space by {by}, beginning with `balanced`. Lower is "
        "better. Validation rows chose the tuned config, so its figure on them is too good; that on test rows is not. "
        "Seconds are those of the fit, and of all trials and the model; the machine had other work meanwhile."
    )
    return "\n".join(["# What tuning adds", "", about, "", *HEAD, *lines]) + "\n"


def main() -> int:
    """Measure what is not measured yet, print the table and write it to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {data.name: data for data in DATASETS}
    parser.add_argument("--data", default=",".join(USUAL), help=f"with commas between: {', '.join(known)}")
    parser.add_argument("--trials", type=int, default=50, help="of each study")
    parser.add_argument("--jobs", type=int, default=1, help="processes that try configs at the same time")
    parser.add_argument("--rows", type=int, default=3000, help="to train and validate on; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="to end after; the same command goes on")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    scratch = SCRATCH.with_name("tuning")
    scratch.mkdir(parents=True, exist_ok=True)
    code = [file for room in ("training", "models") for file in (ROOT / room).rglob("*.py")]
    lines, in_time = [], True
    for name in names(given.data, tuple(known), "data sets"):
        settings = (name, str(given.trials), str(given.jobs), str(given.rows), str(given.seed))
        try:
            digest = hash_of(code, *settings)
            home = scratch / f"{name}-{digest[:12]}"  # a study of other code is none to go on with
            found = cell(
                STORE,
                " ".join(settings),
                digest,
                lambda data=known[name], home=home: measure(data, given, home, until),
            )
            lines.append(line(known[name], found))
        except NotThere as error:
            lines.append(f"| {name} | not measured: {error} |{' |' * 8}")
        except OutOfTime:
            print("out of time: the same command goes on", file=sys.stderr)
            lines.append(f"| {name} | not measured: out of time |{' |' * 8}")
            in_time = False
    text = page(lines, given)
    STORE.with_suffix(".md").write_text(text)
    print(text)
    return 0 if in_time else 1


if __name__ == "__main__":
    sys.exit(main())
