"""A service under open-loop load, simulated: one client, some workers that batch, and the cores they run on.

A worker is a loop: it reads every request that has come, runs the model for them and for what came meanwhile, writes
one answer after the other, and begins again. So its batches grow with load by themselves, as the service's do. What a
cycle of n requests costs is measured, not assumed. The client is a loop as well: a turn reads the answers that have
come and sends what is due, so a request costs it the less the more of them share a turn. A latency counts from when a
request was due.

Who has a core to itself and who shares one, :mod:`rowcast.loadtest.plan.cores` says.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rowcast.loadtest.plan.cores import Cores

MAX_BATCH = 512
"""Rows a run is filled up to at most: the largest size that the service chooses from."""


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """What was measured of one worker and of the client, in seconds."""

    batches: tuple[float, ...]
    """Mean requests in a cycle, ascending, from 1; and what the cycle cost a worker in CPU time."""
    cycles: tuple[float, ...]
    compute: tuple[float, ...]
    """What of each cycle was the run of the model; half of the rest is to read, half to write."""
    client_turn: float
    """What a turn of the client's loop costs it in CPU time; and on top of that, each request sent or answer read."""
    client_job: float
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

    def cycle(self, n: float) -> float:
        """What a cycle of n requests costs."""
        return self._line(n, self.cycles)

    def written(self, n: int) -> float:
        """What of a cycle of n requests is to write the answers, and as much to read the requests."""
        return max(0.0, self.cycle(n) - self._line(n, self.compute)) / 2

    def _line(self, n: float, y: tuple[float, ...]) -> float:
        """Between and beyond what was measured, a straight line."""
        x = self.batches
        if len(x) > 1 and n > x[-1]:
            return y[-1] + (n - x[-1]) * max(0.0, (y[-1] - y[0]) / (x[-1] - x[0]))
        return float(np.interp(n, x, y))


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
        cores: of the machine, the client's among them; ``inf`` where each process has one.
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
        self.times, self.due = times, due
        span = float(due[-1]) if len(due) else 1.0
        self.latencies = np.full(len(due), math.inf)
        self.limit, self.late, self.most_late = limit, 0, len(due) // 100
        self.random = np.random.default_rng(seed)
        self.worker_of = self.random.integers(workers, size=connections).tolist() if worker_of is None else worker_of
        self.jitter = np.array(times.jitter or (0.0,))
        self.costs = [times.cycle(n) if n else 0.0 for n in range(MAX_BATCH + 1)]
        self.written = [times.written(n) if n else 0.0 for n in range(MAX_BATCH + 1)]
        self.inbox: list[deque[tuple[int, int]]] = [deque() for _ in range(workers)]
        self.idle = deque(range(connections))
        self.waiting: deque[int] = deque()
        self.answers: deque[tuple[int, int]] = deque()
        self.turn: deque[Callable[[], None]] = deque()
        """What is left of the client's turn to do."""
        self.rung = False
        """Whether its timer has: what is due is sent in the next turn."""
        # process 0 is the client, the others are workers: work left, and what to do at its end
        self.left = [0.0] * (workers + 1)
        self.then: list[Callable[[], None] | None] = [None] * (workers + 1)
        self.limited = cores
        self.cores = Cores(workers + 1, cores)
        self.flying: list[tuple[float, int, Callable[[], None]]] = []
        self.flights = 0
        self.now = 0.0
        self.answered = 0

        self.pauses = sorted(self._pauses(span, workers), reverse=True)

    def _pauses(self, span: float, workers: int) -> list[tuple[float, float, int]]:
        """When each core of the workers is paused, for how long, and which of its workers is held up."""
        of_core: dict[int, list[int]] = {}
        for worker in range(workers):
            of_core.setdefault(self.cores.core[worker + 1], []).append(worker)
        found = []
        for there in of_core.values():
            # as many of each kind as there are in that time, but for parts of one: few decide p99, chance must not
            expected = span * np.cumsum([0.0, *(per_second for per_second, _ in self.times.pauses)])
            counts = np.diff(np.floor(expected + self.random.random()).astype(int))
            for (_, length), n in zip(self.times.pauses, counts.tolist(), strict=True):
                at = self.random.uniform(0, span, n).tolist()
                found += [(moment, length, there[i % len(there)]) for i, moment in enumerate(at)]
        return found

    def run(self) -> NDArray[np.float64]:
        due, n, at = self.due.tolist(), len(self.due), 0
        left, cores = self.left, self.cores
        while self.answered < n and self.late <= self.most_late:
            running = [process for process in cores.running if process is not None]
            speed = min(1.0, self.limited / len(running)) if running else 1.0
            first = min(running, key=left.__getitem__) if running else -1
            ends = self.now + left[first] / speed if running else math.inf
            ticks, core = cores.next_tick()
            arrives = due[at] if at < n else math.inf
            lands = self.flying[0][0] if self.flying else math.inf
            pauses = self.pauses[-1][0] if self.pauses else math.inf
            moment = min(ends, ticks, arrives, lands, pauses)
            done = (moment - self.now) * speed
            for process in running:
                left[process] -= done
                cores.used[process] += done
            self.now = cores.now = moment
            if moment == ends:
                self.end(first)
            elif moment == ticks:
                cores.tick(core)
            elif moment == pauses:
                self.pause(*self.pauses.pop()[1:])
            elif moment == arrives:
                self.waiting.append(at)
                at += 1
                self.client()
            else:
                heapq.heappop(self.flying)[2]()
        return self.latencies

    def begin(self, process: int, seconds: float, then: Callable[[], None]) -> None:
        """Give a process that has none work, which it does once it has a core.

        Args:
            process: whose.
            seconds: of CPU time.
            then: what to do when it is done.
        """
        self.left[process], self.then[process] = seconds, then
        if not self.cores.runs(process):
            self.cores.wake(process)

    def end(self, process: int) -> None:
        """The work of a process is done; it sleeps if there is no more at once."""
        then, self.then[process] = self.then[process], None
        assert then is not None
        self.left[process] = 0.0
        then()
        if self.then[process] is None:
            self.cores.sleep(process)

    def fly(self, action: Callable[[], None]) -> None:
        """Something travels from one process to the other."""
        self.flights += 1
        heapq.heappush(self.flying, (self.now + self.times.wire, self.flights, action))

    def client(self) -> None:
        """Have the client begin a turn, if it is idle and there is anything to do.

        Half of what a turn costs is before what it does, half after it, when the loop prepares to wait. Requests that
        are due ring a timer, and the turn after that sends them.
        """
        if self.then[0] is not None:
            return
        while self.answers:
            self.turn.append(partial(self.read, *self.answers.popleft()))
        due = bool(self.waiting and self.idle)
        if self.rung:
            self.send_waiting()
        elif not self.turn and not due:
            return
        self.rung = due and not self.rung
        self.begin(0, self.times.client_turn / 2, self.next_job)

    def next_job(self) -> None:
        if self.turn:
            self.begin(0, self.times.client_job, self.turn.popleft())
        else:
            self.begin(0, self.times.client_turn / 2, self.client)

    def send_waiting(self) -> None:
        """Give waiting requests to idle connections."""
        while self.waiting and self.idle:
            self.turn.append(partial(self.send, self.waiting.popleft(), self.idle.popleft()))

    def send(self, request: int, connection: int) -> None:
        worker = self.worker_of[connection]

        def land() -> None:
            self.inbox[worker].append((request, connection))
            self.work(worker)

        self.fly(land)
        self.next_job()

    def read(self, request: int, connection: int) -> None:
        latency = self.now - self.due[request]
        self.latencies[request] = latency
        self.late += latency > self.limit
        self.answered += 1
        full = not self.idle
        self.idle.append(connection)
        if full:  # whoever waited for a connection has this one
            self.send_waiting()
        self.next_job()

    def pause(self, seconds: float, worker: int) -> None:
        """A worker does nothing for a while, whatever it is at."""
        if self.then[worker + 1] is None:
            self.begin(worker + 1, seconds, lambda: self.work(worker))
        else:
            self.left[worker + 1] += seconds

    def work(self, worker: int) -> None:
        """Have a worker begin its next cycle, if it is idle and something has come: it reads that."""
        n = min(len(self.inbox[worker]), MAX_BATCH)
        if self.then[worker + 1] is None and n:
            self.begin(worker + 1, self.written[n], lambda: self.compute(worker, self.written[n]))

    def compute(self, worker: int, spent: float) -> None:
        """It runs the model for all that has come."""
        inbox = self.inbox[worker]
        batch = deque(inbox.popleft() for _ in range(min(len(inbox), MAX_BATCH)))
        cost, writing = self.costs[len(batch)], self.written[len(batch)]
        # jitter comes with time, not with cycles: a cycle as long as a request of light load draws once
        draws = int(cost / self.times.unloaded + self.random.random())
        if draws:
            cost = max(0.3 * cost, cost + float(self.random.choice(self.jitter, draws).sum()))
        each = writing / len(batch)
        self.begin(worker + 1, max(0.0, cost - spent - writing), lambda: self.write(worker, batch, each))

    def write(self, worker: int, batch: deque[tuple[int, int]], each: float) -> None:
        """It writes the answers."""
        if batch:
            self.begin(worker + 1, each, lambda: self.answer(worker, batch, each))
        else:
            self.work(worker)

    def answer(self, worker: int, batch: deque[tuple[int, int]], each: float) -> None:
        answered = batch.popleft()

        def land() -> None:
            self.answers.append(answered)
            self.client()

        self.fly(land)
        self.write(worker, batch, each)
