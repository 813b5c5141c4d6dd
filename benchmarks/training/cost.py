"""What accuracy costs: an epoch and its memory by the number of rows, and a run of each preset's graph.

Training is measured on the demo's flights, drawn with replacement, in a process of its own for each size. What a graph
costs to run hangs on its layers and not on its weights, so here the presets train for one epoch on California housing;
the RMSE that they buy there is that of the accuracy benchmark.

    make bench-cost
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import RESULTS, ROOT, cell, hash_of, machine
from benchmarks.training.accuracy.datasets import DATASETS, NotThere, Parts, write_parts
from benchmarks.training.plot import Point, svg
from rowcast.models import Repository
from rowcast.models.session import Session
from rowcast.training.config import PRESETS, make_config
from rowcast.training.data.flights import TARGET, TIME, flights_with_weather
from rowcast.training.fit.loop import Progress
from rowcast.training.train import train

STORE, TABLE = RESULTS / "cost.json", RESULTS / "cost.md"
PLOT = ROOT / "docs" / "cost.svg"
SIZES = (10_000, 100_000, 1_000_000)
BATCHES = (1, 32, 256)
RUNS = 300
_CODE = [file for room in ("training", "models") for file in (ROOT / room).rglob("*.py")]


def train_on(rows: int) -> dict[str, float]:
    """Three epochs with preset quick in this process: seconds of the quicker of the last two, and the most memory."""
    before = _peak_mib()
    table = flights_with_weather().sample(rows, with_replacement=True, seed=0)
    ends: dict[int, float] = {}

    def report(progress: Progress) -> None:
        ends[progress.epoch] = time.monotonic()

    config = make_config(
        settings=["fit.epochs=3", "fit.patience=1000"],
        overrides={"preset": "quick", "data": {"target": TARGET, "split_by_time": TIME}},
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trained = train(table, config, name="flights", repository=Repository(folder), report=report)
    return {
        "trained_rows": trained.rows["train"],
        "epoch_s": min(ends[2] - ends[1], ends[3] - ends[2]),
        "all_s": time.monotonic() - started,
        "peak_mib": _peak_mib() - before,
    }


def _peak_mib() -> float:
    """The most that this program held; what started it is not in it, as it is in ``ru_maxrss``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def training_cell(rows: int) -> dict[str, Any]:
    """The same in a process of its own, whose peak is nobody else's."""
    command = [sys.executable, "-m", "benchmarks.training.cost", "--train-on", str(rows)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return measured


def serving_cell(parts: Parts, preset: str) -> dict[str, Any]:
    """Microseconds of a run of a preset's graph by its rows, on one thread as in a worker; the median of many."""
    config = make_config(
        settings=["fit.epochs=1"], overrides={"preset": preset, "data": {"target": parts.about["target"]}}
    )
    files = {part: parts.folder / f"{part}.csv" for part in ("validation", "test")}
    with tempfile.TemporaryDirectory() as folder:
        trained = train(parts.folder / "train.csv", config, name="m", repository=Repository(folder), **files)
        session, size = Session.of(trained.model, "cpu"), len(trained.model.graph)
        row = trained.model.manifest.signature.example_row()
    micros = {}
    for rows in BATCHES:
        inputs = {name: np.full((rows, 1), value, np.float64) for name, value in row.items()}
        times = []
        for _ in range(RUNS):
            started = time.perf_counter()
            session.run(inputs)
            times.append(time.perf_counter() - started)
        micros[str(rows)] = statistics.median(times) * 1e6
    return {"micros": micros, "graph_mib": size / 2**20}


def page(fits: dict[int, dict[str, Any]], graphs: dict[str, dict[str, Any]], rmse: dict[str, float]) -> str:
    """The tables in Markdown."""
    lines = [
        "# What accuracy costs",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, CPU.",
        "",
        "## Training, by rows",
        "",
        (
            "Flights (20 columns, 4,000 tail numbers), preset `quick`, an epoch with its looks at the validation rows: "
            "the quicker of two. *all of `train`*: with three epochs, the export and its gate."
        ),
        "",
        "| rows of the table | trained on | an epoch, s | µs a training row | most memory, MiB | all of `train`, s |",
        "|---|---|---|---|---|---|",
    ]
    for rows, one in fits.items():
        micros = one["epoch_s"] / one["trained_rows"] * 1e6
        lines.append(
            f"| {rows:,} | {one['trained_rows']:,} | {one['epoch_s']:.1f} | {micros:.0f} "
            f"| {one['peak_mib']:,.0f} | {one['all_s']:.0f} |"
        )
    smaller, larger = sorted(fits)[-2:]
    slope = (fits[larger]["peak_mib"] - fits[smaller]["peak_mib"]) * 2**20 / (larger - smaller)
    lines += ["", f"From {smaller:,} rows on, a row of the table takes {slope:,.0f} bytes at the peak."]
    if graphs:
        lines += [
            "",
            "## Serving, by preset",
            "",
            "California housing, a run of the graph on one thread, and the test RMSE of the accuracy benchmark.",
            "",
            "| preset | RMSE | "
            + " | ".join(f"{rows} rows, µs" for rows in BATCHES)
            + " | µs a row of 256 | graph, MiB |",
            "|---|---|" + "---|" * (len(BATCHES) + 2),
        ]
    for preset, one in graphs.items():
        figures = " | ".join(f"{one['micros'][str(rows)]:,.0f}" for rows in BATCHES)
        bought = f"{rmse[preset]:.4f}" if preset in rmse else "not measured"
        per_row = one["micros"]["256"] / 256
        lines.append(f"| `{preset}` | {bought} | {figures} | {per_row:.1f} | {one['graph_mib']:.1f} |")
    return "\n".join(lines) + "\n"


def rmse_by_preset() -> dict[str, float]:
    """Test RMSE on California of the presets that the accuracy benchmark has measured, seed 0."""
    file = RESULTS / "training.json"
    cells = json.loads(file.read_text()) if file.exists() else {}
    found = {preset: cells.get(f"california/rowcast-{preset}/0", {}).get("test", {}) for preset in PRESETS}
    return {preset: metrics["rmse"] for preset, metrics in found.items() if "rmse" in metrics}


def main() -> int:
    """Measure what is not measured yet, print the tables, write them to `benchmarks/results`, and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train-on", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train_on:
        print(json.dumps(train_on(given.train_on)))
        return 0
    code = hash_of([*_CODE, Path(__file__)])
    fits = {rows: cell(STORE, f"training/{rows}", code, lambda rows=rows: training_cell(rows)) for rows in SIZES}
    graphs = {}
    try:
        parts = write_parts(next(data for data in DATASETS if data.name == "california"), ROOT / ".bench" / "training")
        for preset in PRESETS:
            graphs[preset] = cell(STORE, f"serving/{preset}", code, lambda preset=preset: serving_cell(parts, preset))
    except NotThere as error:
        print(f"serving is not measured: {error}", file=sys.stderr)
    rmse = rmse_by_preset()
    points = [Point(preset, graphs[preset]["micros"]["256"] / 256, rmse[preset]) for preset in graphs if preset in rmse]
    if points:
        axes = {"x_axis": "µs a row, 256 rows in a run, one thread", "y_axis": "test RMSE (less is better)"}
        PLOT.write_text(svg(points, title="California housing: what accuracy costs to serve", **axes))
    text = page(fits, graphs, rmse)
    TABLE.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
