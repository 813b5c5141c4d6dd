"""The promise: p99 latency at a rate, checked under open-loop load and tied to the model's hash."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace

import orjson
from rich.console import Console

from rowcast.loadtest import openloop
from rowcast.loadtest.connection import Endpoint, fetch, run_precisely
from rowcast.loadtest.payloads import Payloads, probe_body
from rowcast.loadtest.served import NotServed, ServedModel, model_path, only_name
from rowcast.loadtest.verdict import Verdict, judge
from rowcast.models.access import key_of_environment
from rowcast.models.errors import ConfigError

DISTINCT_REQUESTS = 512
"""Made before the run and sent in turn: making rows while measuring would be taken for latency."""
PROBE_EVERY_S = 1.0
WARM_UP_S = 2.0
TIMEOUT_S = 5.0
"""A request is given up so long after it was due, or after twice the promise where that is longer."""
LAG_SHARE_OF_PROMISE = 0.25
"""The client itself may be late by so much of the promise, 1 ms at least."""


def check(
    url: str,
    model: str | None = None,
    *,
    rate: float,
    p99_ms: float,
    duration_s: float,
    seed: int = 0,
    connections: int = 64,
    console: Console | None = None,
) -> Verdict:
    """Check that a served model answers one-row requests within ``p99_ms`` at ``rate``, and print the verdict.

    The promise is kept if p99 is at most ``p99_ms``, no request failed, and good answers came at 99% of the offered
    rate or more. The verdict is void, whatever the figures, if answers were wrong: not in the model's shape, or
    different for the same row asked before, during and after. It is void too if the service cannot be reached, or if
    the figures do not hold because the client was, or may have been, saturated
    (:func:`rowcast.loadtest.verdict.judge`).

    Args:
        url: of the service: ``http://127.0.0.1:3000``.
        model: its name; may be None where only one is served.
        rate: mean requests a second.
        p99_ms: the promise, from when a request was due to the end of its answer.
        duration_s: length of the measurement; a warm-up of at most 2 s comes first.
        seed: of the schedule and the rows.
        connections: at most so many at a time.
        console: where the table and the verdict's line go; stdout unless given. Progress goes to stderr.

    Raises:
        ConfigError: an argument is out of range.
        RowcastError: the package hdrhistogram is missing.
    """
    if not (p99_ms > 0 and math.isfinite(p99_ms)):
        raise ConfigError(f"--p99-ms must be a number above 0, got {p99_ms}")
    if not 1 <= connections <= openloop.MAX_CONNECTIONS:
        raise ConfigError(f"--connections must be from 1 to {openloop.MAX_CONNECTIONS}, got {connections}")
    if not len(openloop.schedule(rate, duration_s, seed)):
        raise ConfigError(f"no request is due in {duration_s:g} s at {rate:g} a second: raise --rate or --duration")
    blank = Verdict("void", "", url, rate, p99_ms, duration_s, seed, connections)
    endpoint = Endpoint.of(url, key_of_environment() or "")
    verdict = run_precisely(_check(endpoint, model, blank))
    verdict.show(console)
    return verdict


async def _check(endpoint: Endpoint, model: str | None, blank: Verdict) -> Verdict:
    try:
        served = await describe(endpoint, model)
    except NotServed as error:
        return replace(blank, reason=str(error))
    verdict = replace(blank, model=served.name, version=served.version, sha256=served.sha256)
    warm_up_s = min(WARM_UP_S, verdict.duration_s)
    Console(stderr=True).print(
        f"{served.name}:{served.version}: {verdict.rate:g} requests/s for {verdict.duration_s:g} s, "
        f"after {warm_up_s:g} s of the same to warm up",
        highlight=False,
    )
    probe = _Probe(endpoint, served)
    await probe.ask()
    await _load(endpoint, served, verdict, warm_up_s, seed=verdict.seed + 1)
    asking = asyncio.create_task(probe.ask_now_and_then(min(PROBE_EVERY_S, verdict.duration_s / 4)))
    try:
        result = await _load(endpoint, served, verdict, verdict.duration_s, seed=verdict.seed)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await probe.ask()
    if probe.failures:
        result = replace(result, errors={**result.errors, "probe": probe.failures})
    disagreement = probe.disagreement or await _changed(endpoint, served)
    outcome, reason = judge(result, p99_ms=verdict.p99_ms, disagreement=disagreement)
    return replace(verdict, outcome=outcome, reason=reason, result=result)


async def _load(
    endpoint: Endpoint, served: ServedModel, verdict: Verdict, duration_s: float, *, seed: int
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
        timeout_s=max(TIMEOUT_S, 2 * verdict.p99_ms / 1000),
        lag_limit_ms=max(1.0, LAG_SHARE_OF_PROMISE * verdict.p99_ms),
    )


async def describe(endpoint: Endpoint, model: str | None) -> ServedModel:
    """Ask the service what it serves under a name, or under the only name there is.

    Raises:
        NotServed: nobody answers, or there is no such model, or several and none was named.
    """
    name = only_name(await _get(endpoint, "/models")) if model is None else model
    return ServedModel.of(await _get(endpoint, model_path(name)))


async def _get(endpoint: Endpoint, path: str) -> object:
    try:
        status, body = await fetch(endpoint, endpoint.get(path), timeout_s=TIMEOUT_S)
    except TimeoutError:
        raise NotServed(f"{endpoint.authority} did not answer GET {path} within {TIMEOUT_S:g} s") from None
    except OSError as error:
        raise NotServed(f"nobody answers at {endpoint.authority} ({error}): is the service started?") from None
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if status != 200:
        said = answer.get("error") if isinstance(answer, dict) else None
        raise NotServed(f"GET {path} was answered with status {status}" + (f": {said}" if said else ""))
    return answer


async def _changed(endpoint: Endpoint, served: ServedModel) -> str | None:
    try:
        now = await describe(endpoint, served.name)
    except NotServed:
        return None  # a service that went away shows in the figures
    if now == served:
        return None
    return f"the service serves {now.name}:{now.version} (sha256 {now.sha256[:12]}) now, another than at first"


@dataclass(slots=True)
class _Probe:
    """One fixed row whose answer must stay the same, whatever load the service is under."""

    endpoint: Endpoint
    served: ServedModel
    first: bytes | None = None
    failures: int = 0
    disagreement: str | None = None

    async def ask(self) -> None:
        """Ask once, and remember the first failure or difference."""
        request = self.endpoint.post(self.served.predict_path, probe_body(self.served.signature))
        try:
            status, body = await fetch(self.endpoint, request, timeout_s=TIMEOUT_S)
        except OSError:
            status, body = 0, b""
        if status != 200:
            self.failures += 1
            return
        wrong = self.served.fault(body, rows=1)
        if wrong is None and self.first is not None:
            wrong = self.served.difference(self.first, body)
        elif wrong is None:
            self.first = body
        self.disagreement = self.disagreement or wrong

    async def ask_now_and_then(self, every_s: float) -> None:
        """Ask every ``every_s``, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.ask()
