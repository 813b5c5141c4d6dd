"""A service under open-loop load, simulated: one client, some workers that batch, and the cores they share.

A worker is a loop: it takes every request that has come, spends one cycle on them (reading, one run of the model,
writing), answers them all, and takes what came meanwhile. So its batches grow with load by themselves, as the
service's do. What a cycle of n requests costs is measured, not assumed. The client is a loop as well: it sends each
request when it is due and reads each answer, one after the other, and a latency counts from when a request was due.

Whoever has work runs on a core of its own while there are enough; where there are not, all get the same share of them
(processor sharing, the fluid limit of a fair scheduler).
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_BATCH = 512
"""Rows a run is filled up to at most: the largest size that the service chooses from."""


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """What was measured of one worker and of the client, in seconds."""

    batches: tuple[float, ...]
    """Mean requests in a cycle, ascending, from 1; and what the cycle cost a worker in CPU time."""
    cycles: tuple[float, ...]
    rates: tuple[float, ...]
    """Requests a second, ascending; and what a request cost the client in CPU time at that rate."""
    client: tuple[float, ...]
    wire: float
    """From one process to the other, one way, with waking up: what CPU times do not explain of light load."""
    unloaded: float
    """The median latency of light load."""
    jitter: tuple[float, ...]
    """What a cycle takes longer, or shorter, now and then: quantiles, for every ``unloaded`` of its length."""
    pauses: tuple[tuple[float, float], ...]
    """Pauses of the machine: how many there are in a second, and how long."""

    @property
    def paused(self) -> float:
        """Share of the time that pauses take."""
        return sum(per_second * length for per_second, length in self.pauses)

    def cycle(self, n: int) -> float:
        """What a cycle of n requests costs; between and beyond what was measured in a straight line."""
        x, y = self.batches, self.cycles
        if len(x) > 1 and n > x[-1]:
            return y[-1] + (n - x[-1]) * max(0.0, (y[-1] - y[0]) / (x[-1] - x[0]))
        return float(np.interp(n, x, y))

    def client_request(self, rate: float) -> float:
        """What a request costs the client at a rate."""
        return float(np.interp(rate, self.rates, self.client))


def simulate(
    times: ServiceTimes,
    due: NDArray[np.float64],
    *,
    workers: int,
    cores: float,
    connections: int = 64,
    worker_of: Sequence[int] | None = None,
    seed: int = 0,
    limit: float = math.inf,
) -> NDArray[np.float64]:
    """Latencies of requests that are due at given moments.

    Args:
        times: what was measured.
        due: ``[requests]`` in seconds, ascending.
        workers: of the service.
        cores: that client and workers share; ``inf`` where the client has a machine of its own.
        connections: of the client; a request waits for a free one.
        worker_of: the worker that each connection belongs to; by chance unless given, as workers take connections that
            come at the same time.
        seed: of what is drawn: that, jitter and pauses.
        limit: in seconds; once one request in a hundred took longer, the rest is not simulated, and infinite.

    Returns:
        ``[requests]`` in seconds.
    """
    return _Simulation(times, due, workers, cores, connections, worker_of, seed, limit).run()


class _Simulation:
    def __init__(
        self,
        times: ServiceTimes,
        due: NDArray[np.float64],
        workers: int,
        cores: float,
        connections: int,
        worker_of: Sequence[int] | None,
        seed: int,
        limit: float,
    ) -> None:
        self.times, self.due, self.cores = times, due, cores
        span = float(due[-1]) if len(due) else 1.0
        self.half = times.client_request(len(due) / max(span, 1e-9)) / 2
        self.latencies = np.full(len(due), math.inf)
        self.limit, self.late, self.most_late = limit, 0, len(due) // 100
        self.random = np.random.default_rng(seed)
        self.worker_of = self.random.integers(workers, size=connections).tolist() if worker_of is None else worker_of
        self.jitter = np.array(times.jitter or (0.0,))
        self.costs = [times.cycle(n) if n else 0.0 for n in range(MAX_BATCH + 1)]
        self.inbox: list[deque[tuple[int, int]]] = [deque() for _ in range(workers)]
        self.idle = deque(range(connections))
        self.waiting: deque[int] = deque()
        self.jobs: deque[tuple[bool, int, int]] = deque()
        """Of the client: whether it is an answer, the request, its connection."""
        # agent 0 is the client, the others are workers: work left, and what to do at its end
        self.left = [0.0] * (workers + 1)
        self.then: list[Callable[[], None] | None] = [None] * (workers + 1)
        self.flying: list[tuple[float, int, Callable[[], None]]] = []
        self.flights = 0
        self.now = 0.0
        self.answered = 0

        self.pauses = sorted(self._pauses(span, workers), reverse=True)

    def _pauses(self, span: float, workers: int) -> list[tuple[float, float, int]]:
        """When each worker is paused, for how long, and which."""
        found = []
        for per_second, length in self.times.pauses:
            for worker in range(workers):
                n = self.random.poisson(per_second * span)
                found += [(at, length, worker) for at in self.random.uniform(0, span, n).tolist()]
        return found

    def run(self) -> NDArray[np.float64]:
        due, n, at = self.due.tolist(), len(self.due), 0
        left, then = self.left, self.then
        while self.answered < n and self.late <= self.most_late:
            busy = [i for i, end in enumerate(then) if end is not None]
            speed = min(1.0, self.cores / len(busy)) if busy else 1.0
            first = min(busy, key=left.__getitem__) if busy else -1
            ends = self.now + left[first] / speed if busy else np.inf
            arrives = due[at] if at < n else np.inf
            lands = self.flying[0][0] if self.flying else np.inf
            pauses = self.pauses[-1][0] if self.pauses else np.inf
            moment = min(ends, arrives, lands, pauses)
            done = (moment - self.now) * speed
            for i in busy:
                left[i] -= done
            self.now = moment
            if moment == ends:
                left[first] = 0.0
                action, then[first] = then[first], None
                assert action is not None
                action()
            elif moment == pauses:
                self.pause(*self.pauses.pop()[1:])
            elif moment == arrives:
                self.waiting.append(at)
                at += 1
                self.pump()
            else:
                heapq.heappop(self.flying)[2]()
        return self.latencies

    def fly(self, action: Callable[[], None]) -> None:
        """Something travels from one process to the other."""
        self.flights += 1
        heapq.heappush(self.flying, (self.now + self.times.wire, self.flights, action))

    def pump(self) -> None:
        """Give waiting requests to idle connections."""
        while self.waiting and self.idle:
            self.jobs.append((False, self.waiting.popleft(), self.idle.popleft()))
        self.client()

    def client(self) -> None:
        """Have the client do its next job, if it has none."""
        if self.then[0] is not None or not self.jobs:
            return
        answer, request, connection = self.jobs.popleft()
        self.left[0] = self.half
        self.then[0] = (lambda: self.read(request, connection)) if answer else (lambda: self.send(request, connection))

    def send(self, request: int, connection: int) -> None:
        worker = self.worker_of[connection]

        def land() -> None:
            self.inbox[worker].append((request, connection))
            self.work(worker)

        self.fly(land)
        self.client()

    def read(self, request: int, connection: int) -> None:
        latency = self.now - self.due[request]
        self.latencies[request] = latency
        self.late += latency > self.limit
        self.answered += 1
        self.idle.append(connection)
        self.pump()

    def pause(self, seconds: float, worker: int) -> None:
        """A worker does nothing for a while, whatever it is at."""
        self.left[worker + 1] += seconds
        if self.then[worker + 1] is None:
            self.left[worker + 1] = seconds
            self.then[worker + 1] = lambda: self.work(worker)

    def work(self, worker: int) -> None:
        """Have a worker begin its next cycle, if it is idle and something has come."""
        inbox = self.inbox[worker]
        if self.then[worker + 1] is not None or not inbox:
            return
        batch = [inbox.popleft() for _ in range(min(len(inbox), MAX_BATCH))]
        cost = self.costs[len(batch)]
        # jitter comes with time, not with cycles: a cycle as long as a request of light load draws once
        draws = int(cost / self.times.unloaded + self.random.random())
        if draws:
            cost = max(0.3 * cost, cost + float(self.random.choice(self.jitter, draws).sum()))
        self.left[worker + 1] = cost
        self.then[worker + 1] = lambda: self.answer(worker, batch)

    def answer(self, worker: int, batch: list[tuple[int, int]]) -> None:
        def land() -> None:
            self.jobs.extend((True, request, connection) for request, connection in batch)
            self.client()

        self.fly(land)
        self.work(worker)
