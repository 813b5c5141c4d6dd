"""Are the load test's own figures repeatable, and is its plan right?

Five searches for the highest rate that holds a p99 latency at one worker, and how far apart their results are; then a
plan, whose simulation is held to measurements at one and at two workers.

    make bench-loadtest
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.cells import RESULTS, machine
from benchmarks.serving.compare import trained_model
from benchmarks.serving.harness.processes import busy_s
from rowcast.loadtest.highest_rate import Search, search
from rowcast.loadtest.plan.local_service import local_service
from rowcast.loadtest.plan.planning import Plan, plan
from rowcast.loadtest.served import NotServed
from rowcast.models.repository import StoredModel

STORE = RESULTS / "loadtest.md"
WITHIN = 0.10


def off_by(found: list[Search]) -> tuple[float, float]:
    """The median of the rates that were found, and how far the farthest is from it; NaN where none was."""
    rates = sorted(one.rate for one in found if one.rate is not None)
    middle = rates[len(rates) // 2] if rates else math.nan
    return middle, max((abs(rate / middle - 1) for rate in rates), default=math.nan)


def repeat(found: list[Search]) -> bool:
    """Whether every search found a rate, and all are close to each other."""
    return bool(found) and all(one.rate is not None for one in found) and off_by(found)[1] <= WITHIN


def searches_table(found: list[Search], seconds: list[float]) -> list[str]:
    """The searches, in Markdown."""
    middle, off = off_by(found)
    lines = [
        "| search | requests/s | p99 there, ms | steps | of them again | s | ended at |",
        "|---|---|---|---|---|---|---|",
    ]
    for i, (one, took) in enumerate(zip(found, seconds, strict=True)):
        rate = "none" if one.rate is None else f"{one.rate:,.0f}"
        p99 = "" if one.confirmed is None or one.confirmed.result is None else f"{one.confirmed.result.p99_ms:.2f}"
        again = len(one.steps) - len({step.rate for step in one.steps})
        ended = "the client" if one.ends_at_client else "the service"
        lines.append(f"| {i + 1} | {rate} | {p99} | {len(one.steps)} | {again} | {took:.0f} | {ended} |")
    told = f"The farthest is {off:.1%} from the median ({middle:,.0f} requests/s); within {WITHIN:.0%} is asked for."
    return [*lines, "", told]


def plan_table(made: Plan) -> list[str]:
    """How the plan was validated, and what it says, in Markdown."""
    lines = [
        "| workers | at requests/s | p99 simulated, ms | measured | off | capacity, simulated | measured | off | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for v in made.validation:
        found = "none" if v.measured_capacity is None else f"{v.measured_capacity:,.0f}"
        off = "" if v.capacity_off is None else f"{v.capacity_off:+.1%}"
        lines.append(
            f"| {v.workers} | {v.rate:,.0f} | {v.simulated_p99_ms:.2f} | {v.measured_p99_ms:.2f} | {v.p99_off:+.1%} "
            f"| {v.simulated_capacity:,.0f} | {found} | {off} | {'yes' if v.holds else 'no'} |"
        )
    times = made.measured.times
    batches = ", ".join(f"{n:.1f}: {1e6 * s:,.0f}" for n, s in zip(times.batches, times.cycles, strict=True))
    client = (
        f"A turn of the client costs {1e6 * times.client_turn:,.0f} µs, each job in it {1e6 * times.client_job:,.0f}"
    )
    told = f"A cycle of a worker by its requests, µs of CPU: {batches}. {client}. The way"
    return [
        *lines,
        "",
        f"{told} between the processes: {1e6 * times.wire:,.0f} µs.",
        "",
        *(f"    {line}" for line in made.lines()),
    ]


def own_cpu_s() -> float:
    """Seconds of CPU of this process and of services that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> int:
    """Measure, print the tables and write them to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--p99-ms", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=20_000.0, help="of the plan")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a step")
    parser.add_argument("--awake", action="store_true", help="keep the cores awake, which a host may let sleep long")
    parser.add_argument("--results", type=Path, default=STORE, help="where the tables stand")
    given = parser.parse_args()
    model = trained_model()
    with awake() if given.awake else nullcontext():
        return measure(given, model)


@contextmanager
def awake() -> Iterator[None]:
    """Have a process of the lowest priority on each core: a virtual machine's core that sleeps is woken by its host,
    which may take milliseconds. It yields to whoever has work."""
    spin = "while True: pass"
    started = [
        subprocess.Popen(["taskset", "-c", str(core), "chrt", "--idle", "0", sys.executable, "-c", spin])
        for core in sorted(os.sched_getaffinity(0))
    ]
    try:
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()


def measure(given: argparse.Namespace, model: StoredModel) -> int:
    """Measure, print the tables and write them; exit code 1 where searches do not repeat or the plan does not hold."""
    named = f"{model.manifest.name}:{model.manifest.version}"
    repository = model.path.parents[1]
    aside = Console(stderr=True)
    cores = sorted(os.sched_getaffinity(0))
    began_at, busy, own = time.monotonic(), sum(map(busy_s, cores)), own_cpu_s()
    found: list[Search] = []
    seconds: list[float] = []
    with local_service(repository, named, 1) as url:
        for i in range(given.searches):
            began = time.monotonic()
            found.append(
                search(url, p99_ms=given.p99_ms, step_s=given.seconds, seed=1000 * i, first_rate=1000.0, console=aside)
            )
            seconds.append(time.monotonic() - began)
    code = 1
    try:
        made = plan(
            repository,
            named,
            rate=given.rate,
            p99_ms=given.p99_ms,
            cores=16,
            price=0.68,
            step_s=given.seconds,
            console=aside,
        )
        planned, code = plan_table(made), made.exit_code
    except NotServed as error:  # the searches are told all the same
        planned = [f"No plan: {error}."]
    others = sum(map(busy_s, cores)) - busy - (own_cpu_s() - own)
    others = max(0.0, others) / (len(cores) * (time.monotonic() - began_at))
    shared = "The client has a core to itself"
    shared += ", and one worker or two have the other" if len(cores) == 2 else ""
    kept = "; a process of the lowest priority keeps them awake" if given.awake else ""
    head = (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. {shared}{kept}. One-row requests, p99 of {given.p99_ms:g} ms, "
        f"steps of {given.seconds:g} s. Others used {others:.1%} of the machine meanwhile."
    )
    text = "\n".join(
        [
            "# The load test, tested",
            "",
            head,
            "",
            "## Searches, repeated at one worker",
            "",
            *searches_table(found, seconds),
            "",
            "## A plan, and what was measured",
            "",
            *planned,
            "",
        ]
    )
    given.results.write_text(text)
    print(text)
    return code if repeat(found) else 1


if __name__ == "__main__":
    sys.exit(main())
