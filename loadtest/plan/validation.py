"""Is the simulation right? What it says of one worker and of two, beside what is measured of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rowcast.loadtest.connection import Endpoint
from rowcast.loadtest.highest_rate import find
from rowcast.loadtest.plan.capacity import MOST_REQUESTS, capacity, p99_ms
from rowcast.loadtest.plan.simulation import ServiceTimes
from rowcast.loadtest.plan.spread import connections_by_process
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


async def validate(
    endpoint: Endpoint, served: ServedModel, times: ServiceTimes, blank: Verdict, *, workers: int, cores: float
) -> Validation:
    """Hold a simulation to a service.

    Args:
        endpoint: of a service with so many workers that nobody else asks.
        served: what it serves.
        times: what was measured of one worker.
        blank: says the promise, the length of a step, the seed and the connections.
        workers: of the service.
        cores: of this machine.

    Raises:
        NotServed: the measurement is void.
    """
    limit_ms, connections = blank.p99_ms, blank.connections
    simulated = capacity(times, limit_ms, workers=workers, cores=cores, connections=connections)
    if not simulated:
        raise NotServed(none_holds(times, limit_ms))
    rate = float(f"{LOAD * simulated:.3g}")
    measured: list[float] = []
    spreads: list[list[int]] = []
    # without a limit: what is measured is compared, and not judged
    told = Verdict("void", "", blank.url, rate, 1000.0, blank.duration_s, blank.seed + 100, connections)
    for run in range(RUNS + SPARE_RUNS):
        del spreads[len(measured) :]  # of a run that did not count
        verdict = await trial(
            endpoint,
            served,
            replace(told, seed=told.seed + 2 * run),
            warm_up_s=_WARM_UP_S,
            opened=lambda: spreads.append(connections_by_process(endpoint.port)),
        )
        if verdict.outcome == "kept" and verdict.result is not None:
            measured.append(verdict.result.p99_ms)
        if len(measured) == RUNS:
            break
    else:
        raise NotServed(f"at {rate:g} requests/s to {workers} workers: {verdict.reason}")
    simulations = [
        p99_ms(
            times,
            rate,
            workers=workers,
            cores=cores,
            connections=connections,
            spread=spread,
            seed=blank.seed + run,
            most=2 * MOST_REQUESTS,  # as long as they were measured, or nearly: a pause is rare
        )
        for run, spread in enumerate(spreads)
    ]
    simulated = capacity(times, limit_ms, workers=workers, cores=cores, connections=connections, spreads=spreads)
    first = Verdict("void", "", blank.url, 0.7 * simulated, limit_ms, blank.duration_s, blank.seed, connections)
    found = await find(endpoint, served.name, first)
    if found.void is not None:
        raise NotServed(found.void)
    return Validation(workers, rate, sorted(simulations)[RUNS // 2], sorted(measured)[RUNS // 2], simulated, found.rate)


def none_holds(times: ServiceTimes, limit_ms: float) -> str:
    """Why no rate keeps a latency."""
    takes = f"a request of light load takes {times.unloaded * 1000:.2f} ms"
    return (
        f"no rate is simulated to hold p99 within {limit_ms:g} ms: {takes}, and this machine pauses for "
        f"{times.paused:.1%} of the time; raise --p99-ms, or leave the machine to this alone"
    )
