"""This checkout beside another one of Rowcast: did a change cost speed?

Both serve the same model from one core, in many short alternating rounds, each held still while the other is measured:
a machine that others share changes its speed from one second to the next, and two rounds side by side see the same.
Rows in JSON and every protocol are asked at the loads of ``benchmarks.serving.compare`` and
``benchmarks.serving.protocols``, after both have given the same answers. The other checkout brings an environment of
its own (``make install`` there).

A result stands until the code of either checkout changes: run it again, and only what is missing is measured.

    make bench-versions AGAINST=../rowcast-before
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cells import RESULTS, ROOT, cell, hash_of, machine
from benchmarks.serving.compare import trained_model
from benchmarks.serving.harness.contenders import OURS, Contender
from benchmarks.serving.harness.duel import BODIES, CHECKED_ROWS, LOADS, QUIET, SCRATCH, Load, Plan
from benchmarks.serving.harness.processes import pinned
from benchmarks.serving.harness.table import median
from benchmarks.serving.tensors.duel import LOADS as PROTOCOL_LOADS
from benchmarks.serving.tensors.duel import Speaking, compare
from benchmarks.serving.tensors.tables import tables
from benchmarks.serving.tensors.wire import PROTOCOLS
from rowcast.loadtest.payloads import Payloads
from rowcast.models.repository import StoredModel

STORE = RESULTS / "versions.json"
BODY_ROWS = 8192
"""Rows of all bodies of a load, at most."""

Measure = Callable[[Speaking, Plan], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Checkout(Contender):
    """Rowcast as another folder has it."""

    folder: Path = Path()

    def command(self, port: int, scratch: Path) -> list[str]:
        """What starts it, in its own environment."""
        return [str(self.folder / ".venv" / "bin" / "python"), *(text.format(port=port) for text in self.arguments)]


def code_of(folder: Path) -> str:
    """SHA-256 over what answers requests in a checkout."""
    files = [file for room in ("service", "models") for file in (folder / room).rglob("*.py")]
    return hash_of(files, root=folder)


class Versions:
    """Both checkouts, started when the first cell needs them.

    Args:
        other: the one to compare with.
        model: what both serve.
        core: the servers' core.
    """

    def __init__(self, other: Checkout, model: StoredModel, core: int) -> None:
        self._other, self._model, self._core = other, model, core
        self._running: list[Speaking] = []

    def measure(self, name: str, measure: Measure, plan: Plan) -> dict[str, Any]:
        """Alternating rounds of both, under one load."""
        rounds: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
        for number in range(plan.rounds):
            sides = list(zip(rounds, self._started(), strict=True))
            for side, running in sides if number % 2 == 0 else sides[::-1]:
                last = measure(running, plan)
                rounds[side].append(last)
                print(
                    f"{name}, {side}, round {number + 1}: {last['rate']:,.1f}/s, "
                    f"{last['server_cpu_us']:,.0f} us, others {last['others']:.0%}",
                    file=sys.stderr,
                )
        return dict(rounds)

    def end(self) -> None:
        """End both servers."""
        for running in self._running:
            running.server.end()
        self._running = []

    def _started(self) -> Sequence[Speaking]:
        if not self._running:
            for contender in (OURS, self._other):
                self._running.append(Speaking(contender, self._model, self._core))
            self._check()
            for running in self._running:
                running.rest()
        return self._running

    def _check(self) -> None:
        """Compare the answers of both to the same rows, in every protocol."""
        signature = self._model.manifest.signature
        ours, theirs = self._running
        payloads = Payloads(signature, seed=1)
        rows = [payloads.row() for _ in range(CHECKED_ROWS)]
        compare(theirs.answers(rows, signature.classes), ours.answers(rows, signature.classes), self._other.title)
        for protocol in PROTOCOLS:
            (table,) = tables(signature, rows=CHECKED_ROWS, number=1, seed=1, nulls=protocol.nulls)
            expected = ours.ask(protocol, signature, table)
            compare(theirs.ask(protocol, signature, table), expected, self._other.title)


def measurements(model: StoredModel) -> Iterator[tuple[str, Measure]]:
    """Name and measurement of every cell."""
    signature = model.manifest.signature

    def rows_measure(load: Load) -> Measure:
        payloads = Payloads(signature, rows=load.rows, seed=0)
        bodies = [[payloads.row() for _ in range(load.rows)] for _ in range(BODIES)]
        return lambda running, plan: running.measure(load, bodies, plan)

    def protocol_measure(protocol: Any, load: Load) -> Measure:
        number = min(BODIES, BODY_ROWS // load.rows)
        asked = tables(signature, rows=load.rows, number=number, seed=0, nulls=protocol.nulls)
        bodies = [protocol.write(signature, table) for table in asked]
        return lambda running, plan: running.measure_bodies(protocol, load, bodies, plan)

    for load in LOADS:
        yield f"Rows JSON, {load.name}", rows_measure(load)
    for protocol in PROTOCOLS:
        for load in PROTOCOL_LOADS:
            yield f"{protocol.title}, {load.name}", protocol_measure(protocol, load)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the median lies at 95%, by the ranks of the values (Conover, Practical Nonparametric Statistics, 3.2)."""
    ordered, reach = sorted(values), 1.96 * len(values) ** 0.5 / 2
    low, high = round(len(values) / 2 - reach), round(len(values) / 2 + reach)
    return ordered[max(0, low - 1)], ordered[min(len(values) - 1, high)]


def quick(values: Sequence[float]) -> float:
    """The value that one in ten is below: what a machine whose speed changes does in its quick moments."""
    return sorted(values)[len(values) // 10]


def report(cells: dict[str, dict[str, Any]], title: str, plan: Plan) -> str:
    """The table, in Markdown."""
    dates = sorted({str(found["date"]) for found in cells.values()})
    out = [
        "# Two versions, side by side",
        "",
        (
            f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}, {machine()}. This checkout beside {title}. One "
            f"worker on one core, the client on another. Medians over {plan.rounds} alternating rounds of "
            f"{plan.seconds:g} s. *Times* is this checkout's requests/s over the other's in the same rounds: above 1, "
            "this one is faster. *Interval* holds the median of those at 95%. *CPU* is the other's CPU time of a "
            "request over this one's, each in the quickest tenth of its rounds."
        ),
        "",
        "| | before, requests/s | now, requests/s | times | interval | CPU |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in cells.items():
        pairs = list(zip(found["ours"], found["theirs"], strict=True))
        rates = [o["rate"] / t["rate"] for o, t in pairs]
        low, high = median_interval(rates)
        cpu = quick([t["server_cpu_us"] for _, t in pairs]) / quick([o["server_cpu_us"] for o, _ in pairs])
        noisy = "*" if max(median(found[side], "others") for side in ("ours", "theirs")) > QUIET else ""
        out.append(
            f"| {name}{noisy} | {median(found['theirs'], 'rate'):,.0f} | {median(found['ours'], 'rate'):,.0f} "
            f"| {statistics.median(rates):.3f} | {low:.2f} to {high:.2f} | {cpu:.3f} |"
        )
    out += ["", f"\\* others used more than {QUIET:.0%} of a core in most rounds: rates say little."]
    return "\n".join(out) + "\n"


def main() -> int:
    """Measure what is not measured yet, print the table and write it to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("against", type=Path, help="the other checkout")
    parser.add_argument("--title", default="the version before", help="what the table calls it")
    parser.add_argument("--seconds", type=float, default=0.4, help="length of a round")
    parser.add_argument("--rounds", type=int, default=40, help="rounds of each version")
    parser.add_argument("--attempts", type=int, default=3, help="tries for a quiet round")
    parser.add_argument("--only", default="", help="a part of the names of the cells to measure")
    parser.add_argument("--results", type=Path, default=STORE, help="where results stand")
    given = parser.parse_args()
    folder = given.against.resolve()
    if not (folder / ".venv" / "bin" / "python").exists():
        print(f"{given.against} has no .venv: run `make install` there first", file=sys.stderr)
        return 2
    plan = Plan(given.seconds, given.rounds, given.attempts)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("this benchmark needs two cores: one for the servers, one for the client", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):  # end the servers then, too
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    SCRATCH.mkdir(exist_ok=True)
    (SCRATCH / ".gitignore").write_text("*\n")
    model = trained_model()
    other = Checkout("other_version", given.title, OURS.arguments, folder=folder)
    settings = (f"{plan.seconds} {plan.rounds}", model.sha256, code_of(ROOT), code_of(folder))
    cells: dict[str, dict[str, Any]] = {}
    with pinned(cores[0]), ExitStack() as stack:
        versions = Versions(other, model, cores[-1])
        stack.callback(versions.end)
        for name, measure in measurements(model):
            if given.only.lower() in name.lower():
                again = functools.partial(versions.measure, name, measure, plan)
                cells[name] = cell(given.results, name, hash_of([Path(__file__)], *settings), again)
    text = report(cells, given.title, plan)
    given.results.with_suffix(".md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
