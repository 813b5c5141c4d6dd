"""The highest rate at which a service keeps a promise: a bisection whose every step is an open-loop run with a verdict.

The rate is doubled until it does not hold, then bisected in equal ratios. One unlucky stall of the machine would halve
the range for good, so a rate is given up only when a second run, with arrivals of its own, breaks the promise too. In
the end what was found has to hold in a longer run, and the next higher rate to break once more; else a run was lucky or
unlucky, and the search goes on from there.

On a machine that others share, what holds changes with its speed, and a search never ends in agreement. What it finds
is then the rate with the fewest runs against it: those above that kept the promise, and those up to it that did not.
Where all runs agree, that is the rate that was bisected. On two cores, where runs from 19,000 to 25,000 requests a
second went either way, five searches found 20,630 to 23,960; three of five found nothing before this rule.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from rowcast.loadtest import openloop
from rowcast.loadtest.asking import describe
from rowcast.loadtest.connection import Endpoint, run_precisely
from rowcast.loadtest.served import NotServed, ServedModel, name_of
from rowcast.loadtest.trial import check_promise, trial
from rowcast.loadtest.verdict import EXIT_CODES, Verdict
from rowcast.models.access import key_of_environment
from rowcast.models.errors import ConfigError
from rowcast.models.seeds import checked_seed

FIRST_RATE = 100.0
PRECISION = 0.03
"""The rate found holds, and one higher by so much does not."""
ROUNDS = 5
"""How often the search may find that it was misled by a lucky or an unlucky run, and go on."""
WIDEST = 2.0
"""Where a rate that held is so many times one that did not, the machine was busy with something else."""
FALL = 4.0
"""Where the first rate breaks, one lower by this is tried."""
CONFIRMED_OVER = 2.0
"""The run that confirms lasts so many times as long as a step."""
GOOD_REQUESTS, LEAST_REQUESTS = 200, 20
"""A p99 of fewer says little: at low rates a step lasts longer, up to :data:`LONGEST_STEP` times as long; and nothing
is looked for at rates where even that brings fewer than the second."""
LONGEST_STEP = 4.0
WARM_UP_S = 0.5
FIRST_WARM_UP_S = 2.0


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found."""

    rate: float | None
    """The highest rate that held, in requests a second; None where none did, or the search was void."""
    p99_ms: float
    """The promise."""
    steps: tuple[Verdict, ...]
    """Every run, in order."""
    confirmed: Verdict | None
    """The last run at that rate."""
    ends_at_client: bool
    """Whether the next higher rate was too much for the client, and not for the service."""
    wavers: tuple[float, float] | None = None
    """From the lowest rate that two runs in a row broke to the highest that held, where runs contradict each other."""
    void: str | None = None
    """Why the search says nothing, if so."""

    @property
    def exit_code(self) -> int:
        """0 a rate was found, 1 none holds, 3 void."""
        if self.void is not None:
            return EXIT_CODES["void"]
        return EXIT_CODES["broken" if self.rate is None else "kept"]

    @property
    def reason(self) -> str | None:
        """Why no rate was found, if so."""
        if self.void is not None or self.rate is not None or not self.steps:
            return self.void
        lowest = min(self.steps, key=lambda step: step.rate)
        broken = [step for step in self.steps if step.rate == lowest.rate and step.outcome == "broken"]
        return f"even at {lowest.rate:g} requests/s {(broken or [lowest])[-1].reason}"

    def to_json(self) -> str:
        """One line with one JSON object."""
        last = self.confirmed or (self.steps[-1] if self.steps else None)
        return orjson.dumps(
            {
                "rate": self.rate,
                "p99_ms": self.p99_ms,
                "measured_p99_ms": None if self.confirmed is None else _measured(self.confirmed)["p99_ms"],
                "ends_at": None if self.rate is None else "client" if self.ends_at_client else "service",
                "wavers": self.wavers,
                "model": last and last.model,
                "version": last and last.version,
                "sha256": last and last.sha256,
                "steps": [_step(verdict) for verdict in self.steps],
                "reason": self.reason,
                "exit_code": self.exit_code,
            }
        ).decode()

    def line(self) -> str:
        """What was found, in one line."""
        if self.void is not None:
            return f"VOID {self.void}"
        if self.rate is None or self.confirmed is None:
            return f"NONE: {self.reason}"
        found = f"{self.rate:,.0f} requests/s hold p99 at {_measured(self.confirmed)['p99_ms']:.2f} ms"
        model = f"{self.confirmed.model}:{self.confirmed.version} (sha256 {(self.confirmed.sha256 or '')[:12]})"
        more = "; the client could not offer more, the service may hold more" if self.ends_at_client else ""
        if self.wavers is not None:
            low, high = self.wavers
            more += f"; from {low:,.0f} to {high:,.0f} it changes from run to run, with the speed of the machine"
        return f"FOUND {model}: {found} of {self.p99_ms:g} ms{more}"

    def show(self, console: Console | None = None) -> None:
        """Print a table of the steps, and the line."""
        console = console or Console()
        if self.steps:
            table = Table(title=f"p99 of {self.p99_ms:g} ms")
            for name in ("requests/s", "p50, ms", "p99, ms", "p99.9, ms", "good/s", "client", "verdict"):
                table.add_column(name, justify="left" if name == "verdict" else "right")
            for verdict in self.steps:
                table.add_row(*_cells(verdict))
            console.print(table)
        console.print(self.line(), markup=False, highlight=False, soft_wrap=True)


def search(
    url: str,
    model: str | None = None,
    *,
    p99_ms: float,
    step_s: float = 5.0,
    errors: float = 0.0,
    seed: int = 0,
    connections: int = 64,
    first_rate: float = FIRST_RATE,
    precision: float = PRECISION,
    console: Console | None = None,
) -> Search:
    """Find the highest rate of one-row requests at which a service keeps a p99 latency, and print it.

    Args:
        url: of the service.
        model: ``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``; may be None where only one is served.
        p99_ms: the promise.
        step_s: length of a step in seconds.
        errors: share of requests that may fail.
        seed: of schedules and rows; each step has one of its own.
        connections: at most so many at a time.
        first_rate: where to begin.
        precision: the rate found holds, and one higher by such a share does not.
        console: where the table goes; stdout unless given. Progress goes to stderr.

    Raises:
        ConfigError: an argument is out of range.
        RowcastError: the package hdrhistogram is missing.
    """
    seed = checked_seed(seed)
    check_promise(p99_ms, errors, connections)
    openloop.check_length(first_rate, step_s, "--from")
    if not 0.001 <= precision <= 1:
        raise ConfigError(f"--precision must be a share from 0.1% to 100%, got {100 * precision:g}%")
    if model is not None:
        name_of(model)
    blank = Verdict("void", "", url, first_rate, p99_ms, step_s, seed, connections, errors)
    endpoint = Endpoint.of(url, key_of_environment() or "")
    found = run_precisely(find(endpoint, model, blank, precision))
    found.show(console)
    return found


async def find(endpoint: Endpoint, model: str | None, blank: Verdict, precision: float = PRECISION) -> Search:
    """Search from the rate of ``blank`` on, which says the promise, the length of a step, seed and connections."""
    try:
        served = await describe(endpoint, model)
    except NotServed as error:
        return Search(None, blank.p99_ms, (), None, False, void=str(error))
    steps = _Steps(endpoint, served, blank)
    try:
        lowest = LEAST_REQUESTS / (LONGEST_STEP * blank.duration_s)
        with suppress(Unsteady):  # what was found is settled all the same
            if await bisect(steps.holds, max(lowest, blank.rate), lowest, precision) is None:
                why = steps.taken[-1].reason if steps.client_ended else None
                return Search(None, blank.p99_ms, tuple(steps.taken), None, False, void=why)
    except _VoidError as error:
        return Search(None, blank.p99_ms, tuple(steps.taken), None, False, void=str(error))
    rate, wavers = settled(steps.runs, WIDEST)
    if rate is None:
        why = "what holds changes from run to run: is the machine busy with something else?"
        return Search(None, blank.p99_ms, tuple(steps.taken), None, False, wavers, void=why)
    confirmed = [step for step in steps.taken if step.rate == rate and step.outcome == "kept"][-1]
    return Search(rate, blank.p99_ms, tuple(steps.taken), confirmed, steps.client_ended, wavers)


def settled(runs: Sequence[tuple[float, bool]], widest: float) -> tuple[float | None, tuple[float, float] | None]:
    """The rate with the fewest runs against it.

    Args:
        runs: of each its rate and whether it held; a rate is given up by two runs in a row, which count as one.
        widest: how many times one that did not hold a rate that held may be.

    Returns:
        the highest such rate among those that held once, or None; and from where to where runs contradict each other.
    """
    held, broken = [rate for rate, kept in runs if kept], [rate for rate, kept in runs if not kept]
    if not held:
        return None, None
    if not broken or min(broken) > max(held):
        return max(held), None
    wavers = min(broken), max(held)
    if wavers[1] > widest * wavers[0]:
        return None, wavers
    against = {rate: sum(one > rate for one in held) + sum(one <= rate for one in broken) for rate in held}
    fewest = min(against.values())
    return max(rate for rate, n in against.items() if n == fewest), wavers


class Unsteady(Exception):
    """What holds changes from run to run: there is no highest rate."""


class _VoidError(Exception):
    """A step says nothing, for a reason that holds for every rate."""


class _Steps:
    """The runs of a search."""

    def __init__(self, endpoint: Endpoint, served: ServedModel, blank: Verdict) -> None:
        self._endpoint, self._served, self._blank = endpoint, served, blank
        self._console = Console(stderr=True)
        self.taken: list[Verdict] = []
        self.runs: list[tuple[float, bool]] = []
        """Of each rate that was tried, and each time, whether one run of two held."""
        self.client_ended = False
        """Whether the lowest rate that did not hold was too much for the client."""

    async def run(self, rate: float, length: float) -> Verdict:
        """One run.

        Raises:
            _VoidError: it is void, and not because the client was saturated.
        """
        rate = _round(rate)
        seconds = self._blank.duration_s * length
        seconds = min(max(seconds, GOOD_REQUESTS / rate), LONGEST_STEP * self._blank.duration_s)
        if openloop.longest(rate, seconds) < seconds:
            seconds = openloop.longest(rate, seconds)
            most = f"{openloop.MOST_REQUESTS:,} requests"
            self._console.print(f"  {rate:,.1f}/s for {seconds:,.0f} s: a run has at most {most}", highlight=False)
        blank = replace(self._blank, rate=rate, duration_s=seconds, seed=self._blank.seed + 2 * len(self.taken))
        warm_up_s = WARM_UP_S if self.taken else FIRST_WARM_UP_S
        verdict = await trial(self._endpoint, self._served, blank, warm_up_s=min(warm_up_s, seconds))
        self.taken.append(verdict)
        self._console.print(
            f"  {verdict.outcome:<6} {verdict.rate:>9,.1f}/s  {verdict.reason}", highlight=False, soft_wrap=True
        )
        if verdict.outcome == "void" and not (verdict.result and verdict.result.saturated):
            raise _VoidError(verdict.reason)
        return verdict

    async def holds(self, rate: float, length: float) -> float | None:
        """The rate of the run that kept the promise; None where two broke it."""
        for _ in range(2):
            verdict = await self.run(rate, length)
            if verdict.outcome == "kept":
                self.runs.append((verdict.rate, True))
                return verdict.rate
        self.runs.append((verdict.rate, False))
        self.client_ended = verdict.outcome == "void"
        return None


async def bisect(
    holds: Callable[[float, float], Awaitable[float | None]],
    rate: float,
    lowest: float = 1.0,
    precision: float = PRECISION,
) -> float | None:
    """The highest rate that holds; None where none does from the lowest on.

    Args:
        holds: tries a rate for so many steps' length, and says which rate it really tried, or None if it does not hold.
        rate: where to begin.
        lowest: rate that is looked at.
        precision: the rate found holds, and one higher by such a share does not.

    Raises:
        Unsteady: runs contradict each other again and again.
    """
    held: float | None = None
    broken, fall = math.inf, FALL
    for _ in range(ROUNDS):
        while not math.isfinite(broken):
            kept = await holds(rate, 0.5)
            if kept is None:
                broken = rate
            else:
                held, rate = kept, 2 * kept
        while held is None:
            if broken <= lowest:
                return None
            rate = max(lowest, broken / fall)
            held = await holds(rate, 1.0)
            if held is None:
                broken, fall = rate, min(fall * fall, FALL)
        while broken / held > 1 + precision:
            kept = await holds(math.sqrt(held * broken), 1.0)
            if kept is None:
                broken = math.sqrt(held * broken)
            else:
                held = kept
        confirmed = await holds(held, CONFIRMED_OVER)
        if confirmed is None:  # it was good luck: lower, a little at first
            broken, held, fall = held, None, 1 + precision
            continue
        again = await holds(broken, 1.0)
        if again is None:
            return confirmed
        held, broken, rate = again, math.inf, again * (1 + precision) ** 4  # it was bad luck
    raise Unsteady


def _round(rate: float) -> float:
    """A rate of four digits: a schedule has a whole number of requests, and a person reads it."""
    return float(f"{rate:.4g}")


def _measured(verdict: Verdict) -> dict[str, Any]:
    result = verdict.result
    names = ("p50_ms", "p99_ms", "p999_ms", "achieved_rate", "client_cpu", "client_lag_p99_ms")
    return {name: None if result is None else getattr(result, name) for name in names}


def _step(verdict: Verdict) -> dict[str, Any]:
    return {
        "rate": verdict.rate,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "duration_s": verdict.duration_s,
        **_measured(verdict),
        "errors": {} if verdict.result is None else verdict.result.errors,
    }


def _cells(verdict: Verdict) -> list[str]:
    got = verdict.result
    if got is None:
        return [f"{verdict.rate:,.0f}", "", "", "", "", "", verdict.outcome]
    latencies = (f"{value:,.2f}" for value in (got.p50_ms, got.p99_ms, got.p999_ms))
    return [f"{verdict.rate:,.0f}", *latencies, f"{got.achieved_rate:,.0f}", f"{got.client_cpu:.0%}", verdict.outcome]
