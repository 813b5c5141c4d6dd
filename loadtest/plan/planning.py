"""``rowcast loadtest plan``: workers, machines, headroom and cost of a rate, from a simulation held to this machine."""

from __future__ import annotations

import math
from collections.abc import Coroutine
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson
from rich.console import Console
from rich.table import Table

from rowcast.loadtest.asking import describe
from rowcast.loadtest.connection import Endpoint, run_precisely
from rowcast.loadtest.machine import described
from rowcast.loadtest.plan.capacity import capacity, p99_ms
from rowcast.loadtest.plan.local_service import local_service
from rowcast.loadtest.plan.service_times import Measured, ServiceTimer
from rowcast.loadtest.plan.simulation import ServiceTimes
from rowcast.loadtest.plan.validation import (
    CAPACITY_WITHIN,
    P99_WITHIN,
    Observed,
    Validation,
    compared,
    none_holds,
    observe,
)
from rowcast.loadtest.real_time import at_real_time_priority, has_real_time_priority
from rowcast.loadtest.served import NotServed, ServedModel
from rowcast.loadtest.trial import check_promise
from rowcast.loadtest.verdict import Verdict
from rowcast.models.errors import ConfigError, ModelNotFound
from rowcast.models.machine.limits import core_limit, usable_cores
from rowcast.models.names import CHOICE, MAX_VERSION
from rowcast.models.repository import Repository
from rowcast.models.rollout import version_called
from rowcast.models.seeds import checked_seed

T = TypeVar("T")

USED = 0.8
"""Share of a worker's capacity that a plan uses: arrivals are no better known than that, and a machine may fail."""
MOST_WORKERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Figures:
    """What a rate takes."""

    capacity_per_worker: float
    """The highest rate, in requests a second, at which one worker holds the latency."""
    workers: int
    machines: int
    workers_per_machine: int
    headroom: float
    """By which share the rate may grow before the latency breaks."""
    p99_ms: float
    """Simulated, at the rate."""
    cost_per_hour: float | None
    cost_per_million_rows: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan, and how far the simulation that it comes from was right."""

    rate: float
    p99_ms: float
    """The promise."""
    cores: int
    """Of a machine."""
    model: str
    version: int
    sha256: str
    machine: dict[str, Any]
    """This one, and whether the client had real-time priority."""
    measured: Measured
    validation: tuple[Validation, ...]
    figures: Figures

    @property
    def validated(self) -> bool:
        """Whether the simulation was close enough to every measurement."""
        return all(validation.holds for validation in self.validation)

    @property
    def exit_code(self) -> int:
        """0 validated, 1 not."""
        return 0 if self.validated else 1

    def to_json(self) -> str:
        """One line with one JSON object."""
        times, figures = self.measured.times, self.figures
        return orjson.dumps(
            {
                "rate": self.rate,
                "p99_ms": self.p99_ms,
                "workers": figures.workers,
                "machines": figures.machines,
                "cores": self.cores,
                "workers_per_machine": figures.workers_per_machine,
                "headroom": figures.headroom,
                "simulated_p99_ms": figures.p99_ms,
                "capacity_per_worker": figures.capacity_per_worker,
                "cost_per_hour": figures.cost_per_hour,
                "cost_per_million_rows": figures.cost_per_million_rows,
                "validated": self.validated,
                "validation": [
                    {
                        "workers": v.workers,
                        "rate": v.rate,
                        "simulated_p99_ms": v.simulated_p99_ms,
                        "measured_p99_ms": v.measured_p99_ms,
                        "p99_off": v.p99_off,
                        "simulated_capacity": v.simulated_capacity,
                        "measured_capacity": v.measured_capacity,
                        "capacity_off": v.capacity_off,
                        "holds": v.holds,
                    }
                    for v in self.validation
                ],
                "service_times": {
                    "batch_requests": times.batches,
                    "cycle_s": times.cycles,
                    "compute_s": times.compute,
                    "client_turn_s": times.client_turn,
                    "client_job_s": times.client_job,
                    "wire_s": times.wire,
                    "light_load_s": times.unloaded,
                    "paused": times.paused,
                },
                "model": self.model,
                "version": self.version,
                "sha256": self.sha256,
                "machine": self.machine,
                "reason": None,
                "exit_code": self.exit_code,
            }
        ).decode()

    def lines(self) -> list[str]:
        """The plan, in sentences."""
        f = self.figures
        model = f"{self.model}:{self.version} (sha256 {self.sha256[:12]})"
        plural = "" if f.machines == 1 else "s"
        takes = f"{self.rate:,.0f} requests/s within p99 of {self.p99_ms:g} ms take {f.workers:,} workers"
        where = f"{f.machines:,} machine{plural} of {self.cores} cores with {f.workers_per_machine} workers each"
        holds = f"a worker holds {f.capacity_per_worker:,.0f} requests/s; p99 is simulated at {f.p99_ms:.2f} ms"
        lines = [f"PLAN {model}: {takes}, on {where}", f"{holds}, and the rate may grow by {f.headroom:.0%}"]
        if f.cost_per_hour is not None and f.cost_per_million_rows is not None:
            lines.append(f"{f.cost_per_hour:,.2f} an hour, {f.cost_per_million_rows:,.4f} for a million rows")
        if not self.validated:
            lines.append(
                f"NOT VALIDATED: p99 has to be simulated within {P99_WITHIN:.0%} of what is measured and capacity "
                f"within {CAPACITY_WITHIN:.0%}; is the machine busy with something else?"
            )
        return lines

    def show(self, console: Console | None = None) -> None:
        """Print how the simulation was validated, and the plan."""
        console = console or Console()
        table = Table(title="Simulated, and measured in the same run")
        for name in ("workers", "at requests/s", "p99, ms", "measured", "off", "capacity/s", "measured", "off", ""):
            table.add_column(name, justify="right")
        for v in self.validation:
            found, off = v.measured_capacity, v.capacity_off
            table.add_row(
                str(v.workers),
                f"{v.rate:,.0f}",
                f"{v.simulated_p99_ms:.2f}",
                f"{v.measured_p99_ms:.2f}",
                f"{v.p99_off:+.0%}",
                f"{v.simulated_capacity:,.0f}",
                "none" if found is None else f"{found:,.0f}",
                "" if off is None else f"{off:+.0%}",
                "holds" if v.holds else "FAILS",
            )
        console.print(table)
        for line in self.lines():
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def plan(
    repository: Path,
    model: str | None = None,
    *,
    rate: float,
    p99_ms: float,
    cores: int | None = None,
    price: float | None = None,
    step_s: float = 3.0,
    seed: int = 0,
    console: Console | None = None,
) -> Plan:
    """Measure a model on this machine, hold the simulation to it, and plan with it.

    Args:
        repository: holds the model; the service is started from there, with one worker and then with two.
        model: ``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``; may be None where there is one.
        rate: requests a second that are to be served.
        p99_ms: the promise.
        cores: of a machine; as many as this one has unless given. Each has a worker.
        price: of a machine for an hour, in whatever currency.
        step_s: length of a measurement's steps in seconds.
        seed: of rows and arrivals.
        console: where the plan goes; stdout unless given. Progress goes to stderr.

    Raises:
        ConfigError: an argument is out of range.
        ModelNotFound: the repository has no such model, or several.
        NotServed: the measurement is void: requests fail, or no rate holds.
    """
    seed = checked_seed(seed)
    check_promise(p99_ms, 0.0, 64)
    for flag, value in (("--rate", rate), ("--duration", step_s), ("--price", 0.0 if price is None else price)):
        if not math.isfinite(value) or value < 0 or (value == 0 and flag != "--price"):
            least = "a number from 0 on" if flag == "--price" else "a number above 0"
            raise ConfigError(f"{flag} must be {least}, got {value}")
    if cores is not None and not 1 <= cores <= 4096:
        raise ConfigError(f"--cores must be from 1 to 4,096, got {cores}")
    named = _model_of(repository, model)
    told = Console(stderr=True)
    blank = Verdict("void", "", "", 1.0, p99_ms, step_s, seed, 64)
    here, apart = core_limit().amount, usable_cores() > 1
    with local_service(repository.absolute(), named, 1) as url:
        told.print(f"{named}: measuring one worker", highlight=False, soft_wrap=True)
        served = run_precisely(describe(Endpoint.of(url), None))
        timer = ServiceTimer(Endpoint.of(url), served, seed)
        _measure(timer.measure(), apart)
        seen_1 = _observe(url, served, timer.found().times, blank, workers=1, cores=here, apart=apart)
        _measure(timer.measure(), apart)
    measured = timer.found()
    with local_service(repository.absolute(), named, 2) as url:
        told.print("measuring two workers", highlight=False)
        seen_2 = _observe(url, served, measured.times, blank, workers=2, cores=here, apart=apart)
    with at_real_time_priority():
        machine = described() | {"client_real_time": apart and has_real_time_priority()}
    one = compared(seen_1, measured.times, blank, cores=here)
    two = compared(seen_2, measured.times, blank, cores=here)
    per_machine = usable_cores() if cores is None else cores
    figures = figures_of(seen_1.of_search.of(measured.times), rate, p99_ms, cores=per_machine, price=price)
    made = Plan(
        rate,
        p99_ms,
        per_machine,
        served.name,
        served.version,
        served.sha256,
        machine,
        measured,
        (one, two),
        figures,
    )
    made.show(console)
    return made


def figures_of(times: ServiceTimes, rate: float, limit_ms: float, *, cores: int, price: float | None = None) -> Figures:
    """What a rate takes on machines of so many cores, by the simulation.

    A worker has a core and a like share of the rate, and the client is elsewhere; so one worker is simulated for all.

    Args:
        times: what was measured.
        rate: requests a second.
        limit_ms: the p99 latency that is promised.
        cores: of a machine.
        price: of a machine for an hour.

    Raises:
        NotServed: one worker holds no rate.
    """
    alone = replace(times, client_turn=0.0)  # clients with machines of their own are never short of them
    each = capacity(alone, limit_ms, workers=1, cores=math.inf)
    if not each:
        raise NotServed(none_holds(times, limit_ms))
    workers = max(1, math.ceil(rate / (USED * each)))
    if workers > MOST_WORKERS:
        raise ConfigError(f"--rate must be one that {MOST_WORKERS:,} workers hold, got {rate:g}: one holds {each:.0f}")
    per_machine = min(cores, workers)
    machines = math.ceil(workers / per_machine)
    hour = None if price is None else machines * price
    million = None if hour is None else hour / (rate * 3600) * 1e6
    simulated = p99_ms(alone, rate / workers, workers=1, cores=math.inf)
    return Figures(each, workers, machines, per_machine, workers * each / rate - 1, simulated, hour, million)


def _measure(main: Coroutine[Any, Any, T], apart: bool) -> T:
    """Run what measures; where the client has a core to itself, nothing holds it up there."""
    with at_real_time_priority() if apart else nullcontext():
        return run_precisely(main)


def _observe(
    url: str, served: ServedModel, times: ServiceTimes, blank: Verdict, *, workers: int, cores: float, apart: bool
) -> Observed:
    holds = capacity(times, blank.p99_ms, workers=workers, cores=cores, connections=blank.connections)
    if not holds:
        raise NotServed(none_holds(times, blank.p99_ms))
    observing = observe(Endpoint.of(url), served, blank, workers=workers, simulated_capacity=holds)
    return _measure(observing, apart)


def _model_of(repository: Path, model: str | None) -> str:
    """``name:version`` of the model that is meant."""
    names = Repository(repository).names()
    if model is None:
        if len(names) != 1:
            known = ", ".join(names) or "none"
            raise ModelNotFound(f"a plan is for one model, and {repository} holds {known}: choose one with --model")
        model = names[0]
    match = CHOICE.fullmatch(model)
    if match is None:
        raise ConfigError(
            f"a model is NAME, NAME@ALIAS or NAME:VERSION with a whole number from 1 to {MAX_VERSION:,}, got "
            f"{model[:80]!r}"
        )
    name, version, alias = match.groups()
    number = version_called(repository, name, alias) if alias else int(version) if version else None
    return f"{name}:{Repository(repository).resolve(name, number).name}"
