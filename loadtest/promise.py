"""The promise: p99 latency at a rate, checked under open-loop load and tied to the model's hash."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from rowcast.loadtest import openloop
from rowcast.loadtest.asking import describe, version_of
from rowcast.loadtest.connection import Endpoint, run_precisely
from rowcast.loadtest.promise_file import Promise, promise_of, record
from rowcast.loadtest.served import NotServed, name_of
from rowcast.loadtest.trial import check_promise, trial
from rowcast.loadtest.verdict import Verdict
from rowcast.models.access import key_of_environment
from rowcast.models.names import DEFAULT_REPOSITORY
from rowcast.models.seeds import checked_seed

WARM_UP_S = 2.0


def check(
    url: str,
    model: str | None = None,
    *,
    rate: float | None = None,
    p99_ms: float | None = None,
    duration_s: float | None = None,
    errors: float | None = None,
    promise: Path | None = None,
    repository: Path | None = None,
    seed: int = 0,
    connections: int = 64,
    console: Console | None = None,
) -> Verdict:
    """Check that a served model answers one-row requests within ``p99_ms`` at ``rate``, and print the verdict.

    The promise is kept if p99 is at most ``p99_ms``, no more requests failed than ``errors`` admits, and good answers
    came at 99% of the offered rate or more. The verdict is void, whatever the figures, if answers were wrong: not in
    the model's shape, or different for the same row asked before, during and after. It is void too if the service
    cannot be reached, or if the figures do not hold because the client was, or may have been, saturated
    (:func:`rowcast.loadtest.verdict.judge`).

    Args:
        url: of the service: ``http://127.0.0.1:3000``.
        model: ``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``; may be None where only one is served.
        rate: mean requests a second. What is not given of this and the next two is read from ``promise``.
        p99_ms: the promise, from when a request was due to the end of its answer.
        duration_s: length of the measurement; a warm-up of at most 2 s comes first.
        errors: share of requests that may fail; none where neither this nor a file says so.
        promise: a file that says all this, in whose folder it is recorded when it was kept; ``promise.toml`` of the
            model's folder unless given.
        repository: holds that folder.
        seed: of the schedule and the rows.
        connections: at most so many at a time.
        console: where the table and the verdict's line go; stdout unless given. Progress goes to stderr.

    Raises:
        ConfigError: an argument is out of range, or the file of the promise is not there or breaks a rule.
        RowcastError: the package hdrhistogram is missing.
    """
    seed = checked_seed(seed)
    endpoint = Endpoint.of(url, key_of_environment() or "")
    name = None if model is None else name_of(model)
    check_promise(1.0 if p99_ms is None else p99_ms, errors or 0.0, connections)
    enough = rate is not None and p99_ms is not None and duration_s is not None
    if rate is not None and duration_s is not None:
        openloop.check_due(rate, duration_s)
    said = None
    if promise is not None:
        said = Promise.read(promise)
    elif not enough or errors is None:
        try:
            name = run_precisely(describe(endpoint, None)).name if name is None else name
        except NotServed as error:
            verdict = Verdict("void", str(error), url, rate or 0.0, p99_ms or 0.0, duration_s or 0.0, seed, connections)
            verdict.show(console)
            return verdict
        promise = promise_of(repository or DEFAULT_REPOSITORY, name)
        said = Promise.read_if_there(promise) if enough else Promise.read(promise)
    if said is not None:
        rate = said.rate if rate is None else rate
        p99_ms = said.p99_ms if p99_ms is None else p99_ms
        duration_s = said.duration_s if duration_s is None else duration_s
        errors = said.errors if errors is None else errors
    assert rate is not None, "a file says it all"
    assert p99_ms is not None
    assert duration_s is not None
    errors = errors or 0.0
    check_promise(p99_ms, errors, connections)
    openloop.check_due(rate, duration_s)
    blank = Verdict("void", "", url, rate, p99_ms, duration_s, seed, connections, errors)
    verdict = run_precisely(_check(endpoint, model, blank))
    verdict.show(console)
    if promise is not None and verdict.outcome == "kept" and Promise(rate, p99_ms, duration_s, errors) == said:
        _record(verdict, promise, run_precisely(version_of(endpoint)))
    return verdict


def _record(verdict: Verdict, promise: Path, service: str | None) -> None:
    """Record a kept promise; that it cannot be recorded changes no verdict."""
    try:
        told = f"recorded in {record(verdict, promise, service)}"
    except OSError as error:
        told = f"not recorded beside {promise}: {error.strerror}"
    Console(stderr=True).print(told, highlight=False, markup=False, soft_wrap=True)


async def _check(endpoint: Endpoint, model: str | None, blank: Verdict) -> Verdict:
    try:
        served = await describe(endpoint, model)
    except NotServed as error:
        return replace(blank, reason=str(error))
    warm_up_s = min(WARM_UP_S, blank.duration_s)
    Console(stderr=True).print(
        f"{served.name}:{served.version}: {blank.rate:g} requests/s for {blank.duration_s:g} s, "
        f"after {warm_up_s:g} s of the same to warm up",
        highlight=False,
    )
    return await trial(endpoint, served, blank, warm_up_s=warm_up_s)
