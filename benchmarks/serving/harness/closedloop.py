"""A closed loop on one core: each connection asks again as soon as it is answered.

The right load for comparing servers, since each is driven as hard as it can be; and the wrong one for a latency
promise, for which see :mod:`rowcast.loadtest.openloop`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rowcast.loadtest.connection import Connection, Endpoint


@dataclass(frozen=True, slots=True)
class Round:
    """What one round saw. Latencies are from a request's last byte out to its answer's last byte in."""

    requests: int
    """Good answers inside the measured time."""
    failures: int
    rate: float
    """Good answers a second."""
    p50_ms: float
    p99_ms: float
    client_cpu: float
    """Share of its core that the client used; near 1 it is the client that was measured."""


class _Drive:
    """The state of a round."""

    def __init__(self, requests: Sequence[bytes]) -> None:
        self.requests = itertools.cycle(requests)
        self.sent: dict[Connection, float] = {}
        self.latencies = array("d")
        self.failures = 0
        self.over = False
        self.last = 0.0

    def ask(self, connection: Connection) -> None:
        self.sent[connection] = time.perf_counter()
        connection.send(next(self.requests))

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        now = time.perf_counter()
        if status == 200:
            self.latencies.append(now - self.sent[connection])
            self.last = now
        else:
            self.failures += 1
        if not self.over and connection.usable:
            self.ask(connection)

    def failed(self, connection: Connection, kind: str) -> None:
        self.failures += 1


def drive(endpoint: Endpoint, requests: Sequence[bytes], connections: int, *, warm_s: float, seconds: float) -> Round:
    """Drive a server for ``seconds``, after ``warm_s`` that do not count.

    Args:
        endpoint: where the server listens.
        requests: whole HTTP requests, sent in turn.
        connections: kept-alive connections, each with one request under way.

    Raises:
        OSError: nobody listens.
    """
    return asyncio.run(_drive(endpoint, requests, connections, warm_s, seconds))


async def _drive(
    endpoint: Endpoint, requests: Sequence[bytes], connections: int, warm_s: float, seconds: float
) -> Round:
    state = _Drive(requests)
    lost = asyncio.Event()

    def closed(connection: Connection) -> None:
        state.sent.pop(connection, None)
        if not state.sent:
            lost.set()

    opened = [
        await endpoint.connect(lambda: Connection(state.answered, state.failed, closed)) for _ in range(connections)
    ]
    for connection in opened:
        state.ask(connection)
    try:
        await _unless(lost, warm_s)
        del state.latencies[:]
        state.failures = 0
        started, cpu = time.perf_counter(), time.process_time()
        await _unless(lost, seconds)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    finally:
        state.over = True
        latencies = np.array(state.latencies) * 1000
        failures = state.failures
        for connection in opened:
            connection.abort()
    p50, p99 = np.percentile(latencies, (50, 99)) if len(latencies) else (float("nan"), float("nan"))
    return Round(len(latencies), failures, len(latencies) / wall, float(p50), float(p99), cpu / wall)


async def _unless(event: asyncio.Event, seconds: float) -> None:
    """Sleep, unless every connection is lost."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
