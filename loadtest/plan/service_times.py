"""What a run of n requests costs a worker, and a request the client: measured on a service of one worker.

Under n connections that ask again as soon as they are answered, a worker's cycles hold about n requests; the service's
own counters say how many there were, and how much CPU time they took. Three open loops tell how long requests take
beside that, with the pauses of the machine: each is run several times, and the middle half counts. What the client used
for a request, there and in the largest closed loops, is split into what a turn of its loop costs and what is added by
each request sent or answer read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rowcast.loadtest import openloop
from rowcast.loadtest.connection import Endpoint
from rowcast.loadtest.payloads import Payloads
from rowcast.loadtest.plan.calibration import calibrated, usual_load
from rowcast.loadtest.plan.simulation import ServiceTimes
from rowcast.loadtest.scrape import Counts, counts
from rowcast.loadtest.served import NotServed, ServedModel
from rowcast.loadtest.trial import DISTINCT_REQUESTS

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

CONNECTIONS = (1, 2, 4, 8, 16, 32, 64)
CLOSED_S = 0.7
"""How long each closed loop lasts, about; each is run twice, upwards and downwards, and the fastest run counts."""
CLOSED_REQUESTS = 5
"""So many on each connection at least: its rate is counted until the last is sent, not answered."""
LIGHT_SHARE = 0.6
"""Of a worker's time if each request had a cycle of its own: some meet others, which the simulation takes off, and no
core sleeps for so long that a virtual machine has to wake it."""
LIGHT_S, LIGHT_REQUESTS = 2.5, 750
"""How long a run of it lasts at least, and how many requests it has."""
FASTER = (0.3, 0.6)
"""Rates of the faster open loops, as shares of what the closed loops reached."""
OPEN_S = 2.0
OPEN_RUNS = 4
"""Of each open loop, each time: those that most requests of were late, and fewest, do not count."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Service times, and what they were found from."""

    times: ServiceTimes
    closed_rates: tuple[float, ...]
    """Requests a second of the closed loops."""


class ServiceTimer:
    """Measures a service.

    Args:
        endpoint: of a service with one worker that nobody else asks.
        served: what it serves.
        seed: of rows and arrivals.
    """

    def __init__(self, endpoint: Endpoint, served: ServedModel, seed: int = 0) -> None:
        self._endpoint, self._served, self._seed = endpoint, served, seed
        self._cycles: dict[int, tuple[float, float, float]] = {}
        self._closed_rates: list[float] = []
        self._results: list[openloop.Result] = []
        self._open_rates: list[float] = []
        self._latencies: list[list[NDArray[np.float64]]] = []
        payloads = Payloads(served.signature, seed=seed)
        self._requests = [endpoint.post(served.predict_path, payloads.body()) for _ in range(DISTINCT_REQUESTS)]

    async def measure(self) -> None:
        """Measure all of it; once more, both times count: the speed of a machine drifts.

        Raises:
            NotServed: a request failed, or the service does not tell what it counts.
        """
        if not self._cycles:
            await self._closed(CONNECTIONS[-1], 2000)  # warms up
        rate = (await self._closed(1, 200)).achieved_rate
        for connections in (*CONNECTIONS, *reversed(CONNECTIONS)):
            before = await self._counts()
            result = await self._closed(connections, max(100, CLOSED_REQUESTS * connections, int(rate * CLOSED_S)))
            told = (await self._counts()).since(before)
            rate = result.achieved_rate
            self._closed_rates.append(rate)
            found = (told.rows / told.runs, told.cpu_s / told.runs, told.compute_s / told.runs)
            # what disturbs a run makes it longer, and is told as jitter and pauses: the fastest was disturbed least
            self._cycles[connections] = min(found, self._cycles.get(connections, found), key=_of_a_request)
            if connections == CONNECTIONS[-1]:
                self._results.append(result)
        if not self._open_rates:
            _, cycles, _ = _ascending(list(self._cycles.values()))
            self._open_rates = [LIGHT_SHARE / cycles[0], *(share * max(self._closed_rates) for share in FASTER)]
            self._latencies = [[] for _ in self._open_rates]
        lengths = [max(LIGHT_S, LIGHT_REQUESTS / self._open_rates[0]), *[OPEN_S] * len(FASTER)]
        for rate, seconds, seen in zip(self._open_rates, lengths, self._latencies, strict=True):
            runs = [await self._open(rate, seconds) for _ in range(OPEN_RUNS)]
            seen += [latencies for latencies, _ in runs]
            self._results.append(sorted((result for _, result in runs), key=lambda one: one.p99_ms)[OPEN_RUNS // 2])

    def found(self) -> Measured:
        """What all measurements say so far."""
        batches, cycles, compute = _ascending(list(self._cycles.values()))
        told_of = [(one.client_turns / one.ok, one.client_cpu / one.achieved_rate) for one in self._results]
        bare = ServiceTimes(batches, cycles, compute, *client_costs(told_of), 0.0, cycles[0], (0.0,), ())
        loads = [usual_load(rate, seen) for rate, seen in zip(self._open_rates, self._latencies, strict=True)]
        return Measured(calibrated(bare, loads), tuple(self._closed_rates))

    async def _counts(self) -> Counts:
        return await counts(self._endpoint, self._served.name)

    async def _closed(self, connections: int, n: int) -> openloop.Result:
        """Requests that are all due at once: each connection asks again as soon as it is answered."""
        return await self._run(np.zeros(n), 1e-3, connections)

    async def _open(self, rate: float, seconds: float) -> tuple[NDArray[np.float64], openloop.Result]:
        """Latencies in seconds, and what else was seen."""
        latencies = openloop.histogram()
        self._seed += 1  # another run, other moments
        result = await self._run(openloop.schedule(rate, seconds, self._seed), seconds, 64, latencies)
        return openloop.seconds_of(latencies), result

    async def _run(
        self,
        due: NDArray[np.float64],
        seconds: float,
        connections: int,
        latencies: HdrHistogram | None = None,
    ) -> openloop.Result:
        result = await openloop.run(
            self._endpoint,
            self._requests,
            due,
            seconds,
            fault=lambda body: self._served.fault(body, rows=1),
            connections=connections,
            timeout_s=60.0,
            latencies=latencies,
        )
        if result.errors:
            kinds = ", ".join(f"{kind}: {n:,}" for kind, n in sorted(result.errors.items()))
            raise NotServed(f"service times cannot be measured where requests fail ({result.wrong or kinds})")
        return result


def under_load(times: ServiceTimes, told: Counts, results: Sequence[openloop.Result]) -> ServiceTimes:
    """What the same cost in CPU time under some load.

    It is not what it was when each had been alone: whoever shares a core finds its caches full of what others left, the
    less often the longer the cycles are, and the speed of a machine drifts by some percent from minute to minute.

    Args:
        times: what was measured of one worker.
        told: what the service counted under the load.
        results: of the client meanwhile.

    Raises:
        NotServed: nothing was answered, or the service has counted nothing.
    """
    if not results or not told.runs:
        raise NotServed("nothing was answered while the load was measured: is the machine busy with something else?")
    worker = told.cpu_s / (told.runs * times.cycle(told.rows / told.runs))
    used = sum(one.client_cpu / one.achieved_rate for one in results)
    turns = sum(one.client_turns / one.ok for one in results)
    client = used / (turns * times.client_turn + 2 * len(results) * times.client_job)
    return replace(
        times,
        cycles=tuple(worker * seconds for seconds in times.cycles),
        compute=tuple(worker * seconds for seconds in times.compute),
        client_turn=client * times.client_turn,
        client_job=client * times.client_job,
    )


def client_costs(loads: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """What a turn of the client's loop costs, and each of the two jobs of a request, in seconds; neither is negative.

    Args:
        loads: of each its turns for a request, and its seconds of CPU for one.
    """
    turns, cpu = np.array(loads).T
    line = np.stack([turns, np.full(len(turns), 2.0)], axis=1) / cpu[:, None]  # all loads count alike
    turn, job = np.linalg.lstsq(line, np.ones(len(turns)), rcond=None)[0].tolist()
    if job < 0:
        return float(np.mean(cpu / turns)), 0.0
    if turn < 0:
        return 0.0, float(np.mean(cpu)) / 2
    return turn, job


def _of_a_request(found: tuple[float, float, float]) -> float:
    return found[1] / found[0]


def _ascending(
    points: list[tuple[float, float, float]],
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Mean requests, CPU time and compute time of a cycle, ascending: a larger batch never counts as cheaper.

    Several connections may have made batches of about the same size: then what both cost is averaged.
    """
    kept: list[list[tuple[float, float, float]]] = []
    for point in sorted(points):
        if kept and point[0] < 1.15 * kept[-1][0][0]:
            kept[-1].append(point)
        else:
            kept.append([point])
    means = [np.mean(group, axis=0) for group in kept]
    batches, cycles, compute = (np.array([mean[i] for mean in means]) for i in range(3))
    batches[0] = min(batches[0], 1.0) if batches[0] < 1.15 else batches[0]
    return (
        tuple(batches.tolist()),
        tuple(np.maximum.accumulate(cycles).tolist()),
        tuple(np.maximum.accumulate(compute).tolist()),
    )
