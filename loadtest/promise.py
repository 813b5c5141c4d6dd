"""The promise: p99 latency at a rate, checked under open-loop load and tied to the model's hash."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from rowcast.loadtest import openloop
from rowcast.loadtest.asking import describe
from rowcast.loadtest.connection import Endpoint, run_precisely
from rowcast.loadtest.served import NotServed
from rowcast.loadtest.trial import check_promise, trial
from rowcast.loadtest.verdict import Verdict
from rowcast.models.access import key_of_environment
from rowcast.models.errors import ConfigError

WARM_UP_S = 2.0


def check(
    url: str,
    model: str | None = None,
    *,
    rate: float,
    p99_ms: float,
    duration_s: float,
    errors: float = 0.0,
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
        model: its name; may be None where only one is served.
        rate: mean requests a second.
        p99_ms: the promise, from when a request was due to the end of its answer.
        duration_s: length of the measurement; a warm-up of at most 2 s comes first.
        errors: share of requests that may fail.
        seed: of the schedule and the rows.
        connections: at most so many at a time.
        console: where the table and the verdict's line go; stdout unless given. Progress goes to stderr.

    Raises:
        ConfigError: an argument is out of range.
        RowcastError: the package hdrhistogram is missing.
    """
    check_promise(p99_ms, errors, connections)
    if not len(openloop.schedule(rate, duration_s, seed)):
        raise ConfigError(f"no request is due in {duration_s:g} s at {rate:g} a second: raise --rate or --duration")
    blank = Verdict("void", "", url, rate, p99_ms, duration_s, seed, connections, errors)
    endpoint = Endpoint.of(url, key_of_environment() or "")
    verdict = run_precisely(_check(endpoint, model, blank))
    verdict.show(console)
    return verdict


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
