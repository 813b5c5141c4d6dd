"""From Ctrl-C to a published model: seconds, and of the processor, on the demo's flights.

The process gets a SIGINT half a second after the fit's first look at the validation rows. Where the seconds are well
above those of the processor, something else had it.

    make bench-interrupt
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime

from benchmarks.cells import RESULTS, machine
from rowcast.models import Repository
from rowcast.training.config import make_config
from rowcast.training.data.flights import TARGET, TIME, flights_with_weather
from rowcast.training.train import train

TABLE = RESULTS / "interrupt.md"
RUNS = 2
PRESETS = ("quick", "balanced")
DELAY_S = 0.5


def interrupted(table: object, preset: str) -> tuple[float, float, str]:
    """Seconds from the signal until the model is published, those of the processor, and what was measured."""
    came: list[tuple[float, float]] = []

    def interrupt() -> None:
        came.append((time.perf_counter(), time.process_time()))
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(DELAY_S, interrupt)

    def begin(_: object) -> None:
        if not came and not timer.is_alive():
            timer.start()

    config = make_config(overrides={"preset": preset, "data": {"target": TARGET, "split_by_time": TIME}})
    with tempfile.TemporaryDirectory() as folder:
        trained = train(table, config, name="flights", repository=Repository(folder), callbacks=[begin])
        wall, cpu = time.perf_counter() - came[0][0], time.process_time() - came[0][1]
    assert trained.ended_by == "Ctrl-C"
    measured = [note for note in trained.model.manifest.decisions if note.startswith("after Ctrl-C")]
    return wall, cpu, "; ".join(measured) or "all rows"


def main() -> int:
    """Measure, print the table and write it to `benchmarks/results`."""
    load = os.getloadavg()[0]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    about = f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, load average {load:.1f} before"
    lines = [
        "# From Ctrl-C to a published model",
        "",
        f"{about}; flights, 209,500 training rows and 118,000 held-out ones.",
        "",
        "| preset | seconds | of the processor | what was looked at |",
        "|---|---|---|---|",
    ]
    table = flights_with_weather()
    for preset in PRESETS:
        for _ in range(RUNS):
            wall, cpu, measured = interrupted(table, preset)
            lines.append(f"| {preset} | {wall:.2f} | {cpu:.2f} | {measured} |")
            print(lines[-1], flush=True)
    TABLE.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
