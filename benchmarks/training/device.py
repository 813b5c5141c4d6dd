"""A GPU beside the CPU of the same machine: an epoch of training, and runs of the model that came of it.

The table is the demo's, a year of flights, and the preset the default. Training on the CPU has all its cores; a session
has one thread there, as in a worker of the service.

    make bench-device
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cells import RESULTS, machine
from rowcast.models.device import cuda_device_count
from rowcast.models.session import Session
from rowcast.training.config import make_config
from rowcast.training.data.flights import TARGET, TIME, flights_with_weather
from rowcast.training.export.graph import Core, export
from rowcast.training.fit_network import fit_network, signature_of
from rowcast.training.prepare import Prepared, prepare
from tests.support import tables

TABLE = RESULTS / "device.md"
EPOCHS = 3
WAYS = (("cpu", "float32"), ("cuda", "float32"), ("cuda", "bfloat16"))
RUN_ROWS = (1, 64, 1_024, 4_096, 16_384)
RUN_SECONDS = 1.5


def trained(prepared: Prepared, device: str, precision: str, epochs: int) -> tuple[Core, float, float]:
    """What a few epochs make of a table: the network, its validation loss and the seconds an epoch took."""
    overrides = {"fit": {"precision": precision, "epochs": epochs}, "device": device}
    core, fit, _ = fit_network(prepared, make_config(overrides=overrides), torch.device(device))
    return core, fit.validation_loss, fit.seconds / fit.epochs


def run_seconds(session: Session, columns: Mapping[str, NDArray[Any]]) -> float:
    """Seconds of a run in the median, once it is warm."""
    for _ in range(5):
        session.run(columns)
    taken: list[float] = []
    ends = time.perf_counter() + RUN_SECONDS
    while time.perf_counter() < ends or len(taken) < 5:
        started = time.perf_counter()
        session.run(columns)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def first_rows(prepared: Prepared, rows: int) -> dict[str, NDArray[Any]]:
    """The first test rows, ``[rows, 1]`` a column."""
    return {name: np.resize(values, (rows, 1)) for name, values in prepared.test.columns.items()}


def main() -> int:
    """Measure, print the table and write it to `benchmarks/results`."""
    if not torch.cuda.is_available() or cuda_device_count() == 0:
        print("there is no CUDA device, so nothing is measured", file=sys.stderr)
        return 1
    small = prepare(tables.every_kind(), make_config(overrides={"data": {"target": "class"}}))
    flights = prepare(
        flights_with_weather(), make_config(overrides={"data": {"target": TARGET, "split_by_time": TIME}})
    )
    lines = [
        "# A GPU beside the CPU",
        "",
        (
            f"{datetime.now(UTC):%Y-%m-%d}, {torch.cuda.get_device_name()}; {machine()}, of which a session has one. "
            f"Flights, preset `balanced`, {len(flights.train):,} training rows."
        ),
        "",
        "| training on | seconds an epoch | times the CPU's rate | validation loss after " + f"{EPOCHS} epochs |",
        "|---|---|---|---|",
    ]
    first, core = None, None
    for device, precision in WAYS:
        trained(small, device, precision, epochs=2)  # libraries are loaded, kernels chosen
        found, loss, seconds = trained(flights, device, precision, EPOCHS)
        first, core = first or seconds, core or found
        lines.append(f"| {device}, {precision} | {seconds:.2f} | {first / seconds:.1f} | {loss:.4f} |")
        print(lines[-1], file=sys.stderr)
    assert core is not None
    graph = export(core, signature_of(flights, core))
    sessions = {device: Session(graph, device) for device in ("cpu", "cuda")}
    lines += ["", "| rows of a run | CPU, ms | CUDA, ms | times the CPU's rate |", "|---|---|---|---|"]
    for rows in RUN_ROWS:
        columns = first_rows(flights, rows)
        cpu, cuda = (run_seconds(session, columns) for session in sessions.values())
        lines.append(f"| {rows:,} | {cpu * 1e3:.2f} | {cuda * 1e3:.2f} | {cpu / cuda:.2f} |")
        print(lines[-1], file=sys.stderr)
    text = "\n".join(lines) + "\n"
    TABLE.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
