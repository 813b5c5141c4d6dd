"""Is the simulation right? What it says of one worker and of two, beside what is measured of them.

Latencies are what is simulated and compared. CPU times are measured: of one worker alone to begin with, and once more
beside the latencies, which says by how much they were longer there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rowcast.loadtest import openloop
from rowcast.loadtest.connection import Endpoint
from rowcast.loadtest.highest_rate import find
from rowcast.loadtest.plan.capacity import MOST_REQUESTS, capacity, p99_ms
from rowcast.loadtest.plan.service_times import under_load
from rowcast.loadtest.plan.simulation import ServiceTimes
from rowcast.loadtest.plan.spread import connections_by_process
from rowcast.loadtest.scrape import Counts, counts
from rowcast.loadtest.served import NotServed, ServedModel
from rowcast.loadtest.trial import trial
from rowcast.loadtest.verdict import Verdict

P99_WITHIN, CAPACITY_WITHIN = 0.25, 0.10
LOAD = 0.6
"""The share of the simulated capacity at which latencies are compared: batches form, and the queue is stable."""
RUNS = 5
"""Their p99 is the median of so many runs: a pause of the machine in one of them is no property of the service."""
SPARE_RUNS = 2
"""So many that a machine spoilt may be made up for."""
_WARM_UP_S = 1.0


@dataclass(frozen=True, slots=True)
class Validation:
    """Simulated and measured, for a number of workers on this machine, which the client shares with them."""

    workers: int
    rate: float
    """At which the latencies are compared, in requests a second."""
    simulated_p99_ms: float
    measured_p99_ms: float
    simulated_capacity: float
    measured_capacity: float | None
    """Requests a second; None where no rate held."""

    @property
    def p99_off(self) -> float:
        """By which share the simulated p99 is off."""
        return self.simulated_p99_ms / self.measured_p99_ms - 1

    @property
    def capacity_off(self) -> float | None:
        """By which share the simulated capacity is off."""
        return None if not self.measured_capacity else self.simulated_capacity / self.measured_capacity - 1

    @property
    def holds(self) -> bool:
        """Whether both are as close as they have to be."""
        off = self.capacity_off
        return abs(self.p99_off) <= P99_WITHIN and off is not None and abs(off) <= CAPACITY_WITHIN


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """What a load took."""

    told: Counts
    """By the service."""
    results: tuple[openloop.Result, ...]
    """Of the client."""

    def of(self, times: ServiceTimes) -> ServiceTimes:
        """Service times as they were under that load, see :func:`under_load`."""
        return under_load(times, self.told, self.results)


@dataclass(frozen=True, slots=True)
class Observed:
    """What was measured of a number of workers, to hold simulations to."""

    workers: int
    rate: float
    """Of the runs, in requests a second."""
    p99_ms: float
    spreads: tuple[tuple[int, ...], ...]
    """Of each run: how the client's connections were spread over the workers."""
    of_runs: CpuTimes
    capacity: float | None
    """Requests a second; None where no rate held."""
    of_search: CpuTimes
    """While that was looked for."""


async def observe(
    endpoint: Endpoint, served: ServedModel, blank: Verdict, *, workers: int, simulated_capacity: float
) -> Observed:
    """Measure the p99 latency of a service, and its capacity.

    Args:
        endpoint: of a service with so many workers that nobody else asks.
        served: what it serves.
        blank: says the promise, the length of a step, the seed and the connections.
        workers: of the service.
        simulated_capacity: says where to measure, in requests a second.

    Raises:
        NotServed: the measurement is void.
    """
    rate = float(f"{LOAD * simulated_capacity:.3g}")
    results: list[openloop.Result] = []
    spreads: list[tuple[int, ...]] = []
    # without a limit: what is measured is compared, and not judged
    seconds = openloop.longest(rate, blank.duration_s)
    told = Verdict("void", "", blank.url, rate, 1000.0, seconds, blank.seed + 100, blank.connections)
    began = await counts(endpoint, served.name)
    for run in range(RUNS + SPARE_RUNS):
        del spreads[len(results) :]  # of a run that did not count
        verdict = await trial(
            endpoint,
            served,
            replace(told, seed=told.seed + 2 * run),
            warm_up_s=_WARM_UP_S,
            opened=lambda: spreads.append(tuple(connections_by_process(endpoint.port))),
        )
        if verdict.outcome == "kept" and verdict.result is not None:
            results.append(verdict.result)
        if len(results) == RUNS:
            break
    else:
        raise NotServed(f"at {rate:g} requests/s to {workers} workers: {verdict.reason}")
    between = await counts(endpoint, served.name)
    found = await find(endpoint, served.name, replace(blank, rate=0.7 * simulated_capacity))
    if found.void is not None:
        raise NotServed(found.void)
    ended = await counts(endpoint, served.name)
    tried = tuple(step.result for step in found.steps if step.result is not None and step.result.ok)
    return Observed(
        workers,
        rate,
        sorted(result.p99_ms for result in results)[RUNS // 2],
        tuple(spreads),
        CpuTimes(between.since(began), tuple(results)),
        found.rate,
        CpuTimes(ended.since(between), tried),
    )


def compared(observed: Observed, times: ServiceTimes, blank: Verdict, *, cores: float) -> Validation:
    """Simulate what was measured.

    Args:
        observed: what was.
        times: what was measured of one worker.
        blank: as :func:`observe` has it.
        cores: of this machine.
    """
    at_rate, at_capacity = observed.of_runs.of(times), observed.of_search.of(times)
    simulations = [
        p99_ms(
            at_rate,
            observed.rate,
            workers=observed.workers,
            cores=cores,
            connections=blank.connections,
            spread=spread,
            seed=blank.seed + run,
            most=2 * MOST_REQUESTS,  # pauses are rare
        )
        for run, spread in enumerate(observed.spreads)
    ]
    simulated = capacity(
        at_capacity,
        blank.p99_ms,
        workers=observed.workers,
        cores=cores,
        connections=blank.connections,
        spreads=observed.spreads,
    )
    middle = sorted(simulations)[len(simulations) // 2]
    return Validation(observed.workers, observed.rate, middle, observed.p99_ms, simulated, observed.capacity)


def none_holds(times: ServiceTimes, limit_ms: float) -> str:
    """Why no rate keeps a latency."""
    takes = f"a request of light load takes {times.unloaded * 1000:.2f} ms"
    return (
        f"no rate is simulated to hold p99 within {limit_ms:g} ms: {takes}, and this machine pauses for "
        f"{times.paused:.1%} of the time; raise --p99-ms, or leave the machine to this alone"
    )
