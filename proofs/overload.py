"""Proof: offered three times what it can do, the service refuses the rest at once and stays fast for those it accepts.

A worker of a heavy model, which can do a few hundred requests of this size a second, is offered half of that, and then
three times as much, on a Poisson schedule; an accepted request is timed from when it was due. The promise: only 200s
and 429s; a refusal within 50 ms; p99 of the accepted at most twice its value at half load and one full run; memory as
before. Where the client does not keep the schedule, the load was another, and the measurement says nothing.

    make proof-overload
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.harness.closedloop import drive
from proofs.client import post
from proofs.heavy import publish_heavy
from proofs.memory import memory
from rowcast.loadtest.connection import Connection, Endpoint
from rowcast.loadtest.openloop import schedule
from tests.service.hostile_payloads import ROW, rows
from tests.service.servers import serving

ROWS = 64
CONNECTIONS = 512
"""Enough that one is always free: at the most capacity, a quarter of a second's queue, after which the service refuses,
is 125 requests. Where all are taken, nothing more is offered, and nobody is refused."""
SENT_LATE_SECONDS = 0.010
"""A client that is later than that with one request in a hundred has not offered the load."""
REFUSED_WITHIN_SECONDS = 0.050
SHARE_WITHIN = 0.999
"""Of the refusals. Client and service share a machine: it is late by itself now and then."""
LARGEST_DRIFT = 0.05
TIMES = 3.0
"""The load offered, in capacities."""
MOST_CAPACITY = 500.0
GIVE_UP_SECONDS = 5.0


@dataclass
class Seen:
    """What a load met with."""

    statuses: Counter[str] = field(default_factory=Counter)
    accepted: list[float] = field(default_factory=list)
    """Seconds from due to answer."""
    refused: list[float] = field(default_factory=list)
    """Seconds from sent to answer: what the service is to blame for."""
    sent_late: list[float] = field(default_factory=list)
    """Seconds from due to sent."""

    def p99(self) -> float:
        """Of the accepted, in seconds."""
        return float(np.quantile(self.accepted, 0.99))


class Load:
    """Sends requests on a schedule, each on a connection that is free then."""

    def __init__(self, request: bytes) -> None:
        self.seen = Seen()
        self._request = request
        self._idle: deque[Connection] = deque()
        self._open: dict[Connection, tuple[float, float]] = {}
        self._waiting: deque[float] = deque()

    async def run(self, port: int, due: NDArray[np.float64]) -> Seen:
        """Send one at each moment of ``due``, seconds from now."""
        endpoint = Endpoint.of(f"http://127.0.0.1:{port}")
        connections = [
            await endpoint.connect(lambda: Connection(self._answered, self._failed, lambda _: None))
            for _ in range(CONNECTIONS)
        ]
        self._idle.extend(connections)
        began = time.perf_counter()
        for moment in due.tolist():
            wait = began + moment - time.perf_counter()
            if wait > 0.0005:
                await asyncio.sleep(wait)
            self._waiting.append(began + moment)
            self._send()
        until = time.perf_counter() + GIVE_UP_SECONDS
        while (self._open or self._waiting) and time.perf_counter() < until:  # noqa: ASYNC110 - at the end only
            await asyncio.sleep(0.01)
        if left := len(self._open) + len(self._waiting):
            self.seen.statuses["unanswered"] += left
        self._open.clear()
        for connection in connections:
            connection.abort()
        return self.seen

    def _send(self) -> None:
        while self._waiting and self._idle:
            connection = self._idle.popleft()
            due, now = self._waiting.popleft(), time.perf_counter()
            self._open[connection] = due, now
            self.seen.sent_late.append(now - due)
            connection.send(self._request)

    def _answered(self, connection: Connection, status: int, body: bytes) -> None:
        now = time.perf_counter()
        due, sent = self._open.pop(connection)
        self.seen.statuses[str(status)] += 1
        if status == 200:
            self.seen.accepted.append(now - due)
        elif status == 429:
            self.seen.refused.append(now - sent)
        self._idle.append(connection)
        self._send()

    def _failed(self, connection: Connection, kind: str) -> None:
        if self._open.pop(connection, None) is not None:
            self.seen.statuses[kind] += 1


def main() -> int:
    """Measure; 0 when the promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="of overload")
    parser.add_argument("--half-seconds", type=float, default=20.0, help="at half load, before")
    options = parser.parse_args()
    request = post(rows(*[{**ROW, "distance": 80.0 + n} for n in range(ROWS)]))
    with tempfile.TemporaryDirectory() as folder:
        publish_heavy(Path(folder) / "repository")
        with serving(Path(folder) / "repository", Path(folder) / "home") as server:
            endpoint = Endpoint.of(server.url)
            run_rows = server.run_rows()
            capacity = drive(endpoint, [request], 16, warm_s=3.0, seconds=5.0).rate

            def offer(times: float, seconds: float) -> Seen:
                return asyncio.run(Load(request).run(server.port, schedule(times * capacity, seconds, seed=0)))

            half = offer(0.5, options.half_seconds)
            offer(TIMES, 5.0)  # what is full once stays as large: that is part of being warm
            warm = memory(server)
            seen = offer(TIMES, options.seconds)
            drift = memory(server) / warm - 1
    full_run = run_rows / ROWS / capacity
    bound = 2 * half.p99() + full_run
    refused = float(np.quantile(seen.refused, SHARE_WITHIN)) if seen.refused else 0.0
    rate = len(seen.accepted) / options.seconds
    print(f"capacity {capacity:.0f} requests/s of {ROWS} rows; a full run of {run_rows} takes {full_run * 1e3:.1f} ms")
    print(f"half load: {dict(half.statuses)}, p99 {half.p99() * 1e3:.1f} ms")
    print(f"{TIMES:g} times capacity for {options.seconds:g} s: {dict(seen.statuses)}, {rate:.0f} accepted a second")
    print(f"  p99 of the accepted  {seen.p99() * 1e3:8.1f} ms, of {bound * 1e3:.1f} ms")
    last = max(seen.refused, default=0.0)
    print(f"  {SHARE_WITHIN:.1%} of the refused {refused * 1e3:8.1f} ms, the last {last * 1e3:.1f} ms")
    print(f"  memory               {drift:+8.1%}")
    late = float(np.quantile(seen.sent_late, 0.99))
    print(f"  99% sent within      {late * 1e3:8.1f} ms of when they were due")
    if late > SENT_LATE_SECONDS:
        print("VOID: the client could not offer the load")
        return 1
    if capacity > MOST_CAPACITY:
        print(f"VOID: the model is too light, its capacity is to be at most {MOST_CAPACITY:.0f} requests/s")
        return 1
    kept = (
        set(half.statuses) == {"200"}
        and set(seen.statuses) == {"200", "429"}
        and seen.p99() <= bound
        and refused <= REFUSED_WITHIN_SECONDS
        and drift < LARGEST_DRIFT
    )
    print("kept" if kept else "BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
