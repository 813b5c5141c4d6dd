"""``rowcast loadtest report``: measure a running service, and write what was seen as one file."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from rowcast.loadtest import openloop
from rowcast.loadtest.asking import describe
from rowcast.loadtest.connection import Endpoint, run_precisely
from rowcast.loadtest.machine import described
from rowcast.loadtest.promise_file import Promise, kept, promise_of
from rowcast.loadtest.report.measure import LOWEST_RATE, UNLIMITED_MS, Point, curve, measure, spread, sweep
from rowcast.loadtest.served import NotServed, ServedModel, name_of
from rowcast.loadtest.trial import check_promise
from rowcast.loadtest.verdict import EXIT_CODES, Verdict
from rowcast.models.access import key_of_environment, shown
from rowcast.models.errors import ConfigError
from rowcast.models.names import DEFAULT_REPOSITORY
from rowcast.models.page import document
from rowcast.models.seeds import checked_seed
from rowcast.models.version import VERSION
from rowcast.models.whole_file import check_file, whole_file

STEP_S = 2.0
DURATION_STEPS = 5
"""As many steps of the sweep as the run is long whose latencies are shown whole, where no promise says how long."""
LOAD = 0.5
"""Of what the sweep held, the rate of that run where no promise says it."""
KEPT_SHOWN = 20
_WARM_UP_S = 2.0


@dataclass(frozen=True, slots=True)
class Report:
    """What was written."""

    out: Path | None
    """None where nothing was measured."""
    verdict: Verdict
    """Of the run whose latencies are shown; it promises nothing where there is no promise."""
    promised: bool

    @property
    def exit_code(self) -> int:
        """That of the promise; without one 0, or 3 where nothing was measured."""
        if self.promised or self.verdict.outcome == "void":
            return EXIT_CODES[self.verdict.outcome]
        return 0

    def to_json(self) -> str:
        """One line with one JSON object."""
        verdict, result = self.verdict, self.verdict.result
        return orjson.dumps(
            {
                "report": None if self.out is None else str(self.out),
                "model": verdict.model,
                "version": verdict.version,
                "sha256": verdict.sha256,
                "rate": verdict.rate,
                "p99_ms": verdict.p99_ms if self.promised else None,
                "measured_p99_ms": None if result is None else result.p99_ms,
                "outcome": verdict.outcome if self.promised or verdict.outcome == "void" else None,
                "reason": verdict.reason,
                "exit_code": self.exit_code,
            }
        ).decode()

    def lines(self) -> list[str]:
        """What a person reads."""
        lines = [] if self.out is None else [f"wrote {self.out}"]
        if self.promised or self.verdict.outcome == "void":
            lines.append(self.verdict.line())
        return lines


def report(
    url: str,
    out: Path,
    model: str | None = None,
    *,
    rate: float | None = None,
    p99_ms: float | None = None,
    promise: Path | None = None,
    repository: Path | None = None,
    step_s: float = STEP_S,
    seed: int = 0,
    connections: int = 64,
) -> Report:
    """Measure a service and write a report.

    Args:
        url: of the service.
        out: the file.
        model: ``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``; may be None where only one is served.
        rate: of the run whose latencies are shown whole; that of the promise, or half of what the service holds.
        p99_ms: the promise; that of the file unless given.
        promise: the file; ``promise.toml`` of the model's folder unless given, if there is one.
        repository: holds that folder.
        step_s: length of a step of the sweep in seconds.
        seed: of schedules and rows.
        connections: at most so many at a time.

    Raises:
        ConfigError: an argument is out of range, or the file of the promise breaks a rule.
        OSError: the file cannot be written.
    """
    check_file(out, "--out")
    seed = checked_seed(seed)
    check_promise(UNLIMITED_MS if p99_ms is None else p99_ms, 0.0, connections)
    if not step_s > 0:
        raise ConfigError(f"--duration must be a number above 0, got {step_s}")
    if rate is not None and not 0 < rate < 1e9:
        raise ConfigError(f"--rate must be a number above 0, got {rate}")
    if model is not None:
        name_of(model)
    endpoint = Endpoint.of(url, key_of_environment() or "")
    blank = Verdict("void", "", url, rate or 0.0, p99_ms or UNLIMITED_MS, DURATION_STEPS * step_s, seed, connections)
    try:
        served = run_precisely(describe(endpoint, model))
    except NotServed as error:
        return Report(None, replace(blank, reason=str(error)), False)
    file = promise_of(repository or DEFAULT_REPOSITORY, served.name) if promise is None else promise
    said = Promise.read_if_there(file) if promise is None else Promise.read(file)
    if said is not None:
        rate = said.rate if rate is None else rate
        p99_ms = said.p99_ms if p99_ms is None else p99_ms
        blank = replace(blank, duration_s=said.duration_s, errors=said.errors)
    if rate is not None:  # told before the sweep
        openloop.check_due(rate, blank.duration_s)
    elif not round(LOAD * LOWEST_RATE * blank.duration_s):
        raise ConfigError(f"no request is due in a step of {step_s:g} s: raise --duration")
    try:
        points, whole = run_precisely(_measure(endpoint, served, blank, rate, p99_ms, step_s))
    except NotServed as error:
        return Report(None, replace(blank, reason=str(error)), False)
    facts = facts_of(served, points, whole, promised=p99_ms is not None, record=kept(file), address=shown(url))
    with whole_file(out) as half:
        half.write_bytes(document(facts, _script(), f"Load test of {served.name}:{served.version}"))
    return Report(out.absolute(), whole.verdict, p99_ms is not None)


async def _measure(
    endpoint: Endpoint, served: ServedModel, blank: Verdict, rate: float | None, p99_ms: float | None, step_s: float
) -> tuple[list[Point], Point]:
    """The sweep, and the run whose latencies are shown whole."""
    told = Console(stderr=True)
    told.print(f"{served.name}:{served.version}: a sweep of rates", highlight=False)
    points = await sweep(endpoint, served, blank, step_s)
    if rate is None:
        held = [point.verdict.rate for point in points if point.verdict.outcome == "kept"]
        most = (openloop.MOST_REQUESTS - 1) / blank.duration_s
        rate = min(most, float(f"{LOAD * (held[-1] if held else points[0].verdict.rate):.3g}"))
    verdict = replace(blank, rate=rate, p99_ms=UNLIMITED_MS if p99_ms is None else p99_ms)
    told.print(f"{rate:,.0f} requests/s for {verdict.duration_s:g} s", highlight=False)
    return points, await measure(endpoint, served, verdict, warm_up_s=_WARM_UP_S)


def facts_of(
    served: ServedModel,
    points: list[Point],
    whole: Point,
    *,
    promised: bool,
    record: list[dict[str, Any]],
    address: str,
) -> dict[str, Any]:
    """What the page shows.

    Args:
        served: the model.
        points: of the sweep.
        whole: the run whose latencies are shown whole.
        promised: whether its verdict is one of a promise.
        record: of promises that were kept, oldest first.
        address: of the service.
    """
    verdict = whole.verdict
    return {
        "about": {
            "name": served.name,
            "version": served.version,
            "sha256": served.sha256,
            "url": address,
            "measured": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "rowcast": VERSION,
            "machine": described(),
            "seed": verdict.seed,
            "connections": verdict.connections,
        },
        "promise": {
            "rate": verdict.rate,
            "p99_ms": verdict.p99_ms,
            "duration_s": verdict.duration_s,
            "errors": verdict.errors,
            "outcome": verdict.outcome,
            "reason": verdict.reason,
        }
        if promised
        else None,
        "whole": {
            **whole.facts(),
            "duration_s": verdict.duration_s,
            "requests": len(whole.latencies),
            "curve": curve(whole.latencies),
            "spread": spread(whole.latencies),
        },
        "sweep": [{**point.facts(), "curve": curve(point.latencies)} for point in points],
        "kept": record[-KEPT_SHOWN:][::-1],
    }


@functools.cache
def _script() -> str:
    return (Path(__file__).parent / "page.js").read_text("utf-8")
