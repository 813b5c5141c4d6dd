"""One run of open-loop load against a service, and its verdict: what a check does once and a search many times."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from rowcast.loadtest import openloop
from rowcast.loadtest.asking import TIMEOUT_S, Probe, changed
from rowcast.loadtest.connection import Endpoint
from rowcast.loadtest.payloads import Payloads
from rowcast.loadtest.served import ServedModel
from rowcast.loadtest.verdict import Verdict, judge
from rowcast.models.errors import ConfigError

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

DISTINCT_REQUESTS = 512
"""Made before the run and sent in turn: making rows while measuring would be taken for latency."""
PROBE_EVERY_S = 1.0
LAG_SHARE_OF_PROMISE = 0.25
"""The client itself may be late by so much of the promise, 1 ms at least."""


def check_promise(p99_ms: float, errors: float, connections: int) -> None:
    """Make sure that a promise and the number of connections are in range.

    Raises:
        ConfigError: one is not; named as on the command line.
    """
    if not (p99_ms > 0 and math.isfinite(p99_ms)):
        raise ConfigError(f"--p99-ms must be a number above 0, got {p99_ms}")
    if not 0 <= errors < 1:
        raise ConfigError(f"--errors must be a share from 0 to less than 1, such as 0.1% or 0.001, got {errors}")
    if not 1 <= connections <= openloop.MAX_CONNECTIONS:
        raise ConfigError(f"--connections must be from 1 to {openloop.MAX_CONNECTIONS}, got {connections}")


def answered_within(p99_ms: float) -> float:
    """Seconds in which a request has to be answered, from when it is due: :data:`TIMEOUT_S`, or twice the promise."""
    return max(TIMEOUT_S, 2 * p99_ms / 1000)


async def trial(
    endpoint: Endpoint,
    served: ServedModel,
    verdict: Verdict,
    *,
    warm_up_s: float,
    latencies: HdrHistogram | None = None,
    opened: Callable[[], None] | None = None,
) -> Verdict:
    """Offer the rate of a verdict for its duration, and fill in its outcome.

    Args:
        endpoint: of the service.
        served: what it serves.
        verdict: says the promise, the rate, the duration, the seed and the connections.
        warm_up_s: the same load, before, which does not count.
        latencies: also gets every latency, in microseconds.
        opened: called once the connections of the load that counts are open.
    """
    verdict = replace(verdict, model=served.name, version=served.version, sha256=served.sha256)
    probe = Probe(endpoint, served)
    await probe.ask()
    if round(verdict.rate * warm_up_s):
        await _offer(endpoint, served, verdict, warm_up_s, seed=verdict.seed + 1)
    asking = asyncio.create_task(probe.ask_now_and_then(min(PROBE_EVERY_S, verdict.duration_s / 4)))
    try:
        result = await _offer(
            endpoint, served, verdict, verdict.duration_s, seed=verdict.seed, latencies=latencies, opened=opened
        )
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await probe.ask()
    if probe.failures:
        result = replace(result, errors={**result.errors, openloop.PROBE: probe.failures})
    disagreement = probe.disagreement or await changed(endpoint, served)
    outcome, reason = judge(result, p99_ms=verdict.p99_ms, errors=verdict.errors, disagreement=disagreement)
    return replace(verdict, outcome=outcome, reason=reason, result=result)


async def _offer(
    endpoint: Endpoint,
    served: ServedModel,
    verdict: Verdict,
    duration_s: float,
    *,
    seed: int,
    latencies: HdrHistogram | None = None,
    opened: Callable[[], None] | None = None,
) -> openloop.Result:
    payloads = Payloads(served.signature, seed=seed)
    requests = [endpoint.post(served.predict_path, payloads.body()) for _ in range(DISTINCT_REQUESTS)]
    return await openloop.run(
        endpoint,
        requests,
        openloop.schedule(verdict.rate, duration_s, seed),
        duration_s,
        fault=lambda body: served.fault(body, rows=1),
        connections=verdict.connections,
        timeout_s=answered_within(verdict.p99_ms),
        lag_limit_ms=max(1.0, LAG_SHARE_OF_PROMISE * verdict.p99_ms),
        latencies=latencies,
        opened=opened,
    )
