"""A fit beside busy processes, and within half a core: how much longer it takes than alone on all cores.

Each run is a process of its own that fits the first flights of the demo, and is ended after some seconds; what is
measured is an epoch with its look at the validation rows. Ways to wait take turns, so that whatever else the machine
does hits all of them.

    make bench-crawl
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cells import RESULTS, ROOT, machine
from benchmarks.control_groups import cores_group

TABLE = RESULTS / "crawl.md"
ROWS, ROUNDS, SECONDS = 8_000, 2, 5.0
PRESETS = ("quick", "balanced")
BUSY = (0, 1, 2)
QUOTA = 0.5
NUMBER_OF_THREADS = "OMP_NUM_THREADS"
WAYS: dict[str, dict[str, str]] = {
    "as Rowcast has them": {},
    "spinning, as OpenMP does": {"GOMP_SPINCOUNT": "300000"},
    "asleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {NUMBER_OF_THREADS: "1"},
}
"""How threads wait: variables of the process."""
IN_QUOTA = {
    "as Rowcast has it": {},
    "a thread a core of the machine": {NUMBER_OF_THREADS: str(os.cpu_count())},
    "the same, spinning": {NUMBER_OF_THREADS: str(os.cpu_count()), "GOMP_SPINCOUNT": "300000"},
}


# ─── the process that fits ───────────────────────────────────────────────────────────────────────────────────────────


def fit(table: str, preset: str, seconds: float) -> None:
    """Fit for some seconds after the first epoch; print what an epoch took, and how many threads the fit had."""
    import rowcast
    from rowcast.training.data.flights import TARGET, TIME

    ends: list[float] = []
    threads: list[int] = []

    def over(progress: Any) -> bool:
        import torch

        ends.append(time.perf_counter())
        threads.append(torch.get_num_threads())
        return len(ends) > 1 and ends[-1] - ends[0] > seconds

    data, fit = {"split_by_time": TIME}, {"epochs": 10_000, "patience": 10_000}
    rowcast.fit(table, target=TARGET, preset=preset, data=data, fit=fit, callbacks=[over], verbose=False)
    print(json.dumps({"epoch_s": (ends[-1] - ends[0]) / (len(ends) - 1), "threads": max(threads)}), flush=True)


# ─── what it is beside, and within ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that always want a core."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def measure(table: Path, preset: str, variables: dict[str, str], seconds: float, group: Path | None = None) -> Any:
    """What a process that fits tells of it."""

    def join() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    drop = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", NUMBER_OF_THREADS)
    environment = {name: text for name, text in os.environ.items() if name not in drop} | variables
    command = [sys.executable, "-m", "benchmarks.training.crawl", "--fit", str(table), preset, str(seconds)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=join,  # it has to be in the group before it counts its cores
        timeout=1200,
    )
    return json.loads(done.stdout.splitlines()[-1])


# ─── the table ───────────────────────────────────────────────────────────────────────────────────────────────────────


def main() -> int:
    """Measure, print the tables and write them to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each run")
    parser.add_argument("--presets", default=",".join(PRESETS))
    options = parser.parse_args()
    if options.fit:
        fit(options.fit[0], options.fit[1], float(options.fit[2]))
        return 0
    from rowcast.training.data.flights import flights_with_weather

    presets, load = options.presets.split(","), os.getloadavg()[0]
    beside: dict[tuple[str, str, int], list[float]] = {}
    within: dict[tuple[str, str], list[float]] = {}
    threads: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        table = Path(folder) / "flights.parquet"
        flights_with_weather().head(ROWS).write_parquet(table)
        group = stack.enter_context(cores_group(QUOTA))
        for _ in range(options.rounds):
            for preset in presets:
                for count in BUSY:
                    for way, variables in WAYS.items():
                        with busy(count):
                            found = measure(table, preset, variables, options.seconds)
                        beside.setdefault((preset, way, count), []).append(found["epoch_s"])
                        print(preset, way, count, found, file=sys.stderr, flush=True)
                for way, variables in IN_QUOTA.items() if group is not None else ():
                    found = measure(table, preset, variables, options.seconds, group)
                    within.setdefault((preset, way), []).append(found["epoch_s"])
                    threads[way] = found["threads"]
                    print(preset, way, f"{QUOTA} cores", found, file=sys.stderr, flush=True)
    lines = [
        "# A fit beside busy processes",
        "",
        (
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, load average {load:.1f} before; the first {ROWS:,} flights; "
            f"seconds of an epoch, median of {options.rounds} alternating runs of {options.seconds:g} s, and in "
            "brackets as times of the first row alone."
        ),
        "",
        "| preset | threads wait | " + " | ".join(_beside(count) for count in BUSY) + " |",
        "|---|---|" + "---|" * len(BUSY),
    ]
    alone = {preset: statistics.median(beside[preset, next(iter(WAYS)), 0]) for preset in presets}
    for preset in presets:
        for way in WAYS:
            medians = [statistics.median(beside[preset, way, count]) for count in BUSY]
            cells = " | ".join(f"{median:.3f} ({median / alone[preset]:.2f})" for median in medians)
            lines.append(f"| {preset} | {way} | {cells} |")
    lines += ["", f"In a control group that may use {QUOTA:g} cores:", ""]
    if not within:
        lines[-2:] = ["No control group can be made here."]
    else:
        lines += ["| preset | threads | how many | an epoch |", "|---|---|---|---|"]
        for (preset, way), found in within.items():
            median = statistics.median(found)
            lines.append(f"| {preset} | {way} | {threads[way]} | {median:.3f} ({median / alone[preset]:.2f}) |")
    TABLE.write_text("\n".join(lines) + "\n")
    print(TABLE.read_text())
    return 0


def _beside(count: int) -> str:
    return "alone" if count == 0 else f"beside {count} busy {'process' if count == 1 else 'processes'}"


if __name__ == "__main__":
    sys.exit(main())
