"""What the simulation says of a rate, and the highest rate at which it keeps a latency."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rowcast.loadtest.openloop import schedule
from rowcast.loadtest.plan.simulation import ServiceTimes, simulate
from rowcast.loadtest.plan.spread import worker_of

PRECISION = 0.01
LEAST_REQUESTS, MOST_REQUESTS = 4_000, 20_000
"""Of a simulated run, unless more are asked for."""
LENGTH_S = 3.0
TRIES = 2
"""A rate holds if it does in one of so many runs, as a search has it: runs differ in their pauses, and in which worker
has which connection."""


def p99_ms(
    times: ServiceTimes,
    rate: float,
    *,
    workers: int,
    cores: float,
    connections: int = 64,
    spread: Sequence[int] = (),
    seed: int = 0,
    limit_ms: float = math.inf,
    most: int = MOST_REQUESTS,
) -> float:
    """The simulated p99 latency at a rate, in milliseconds.

    Args:
        times: what was measured.
        rate: requests a second, over all workers.
        workers: of the service.
        cores: as :func:`simulate` has it.
        connections: of the client.
        spread: of these over the workers, as :func:`worker_of` has it.
        seed: of arrivals, and of what else is drawn.
        limit_ms: a p99 beyond it may be told as infinite.
        most: requests of the run at most.
    """
    n = min(max(int(rate * LENGTH_S), LEAST_REQUESTS), most)
    due = schedule(rate, n / rate, seed)
    latencies = simulate(
        times,
        due,
        workers=workers,
        cores=cores,
        connections=connections,
        worker_of=worker_of(spread, workers, connections, seed),
        seed=seed,
        limit=limit_ms / 1000,
    )
    return float(np.quantile(latencies, 0.99, method="higher")) * 1000


def highest_rate(holds: Callable[[float], bool], first: float) -> float:
    """The highest rate that holds, to :data:`PRECISION`; 0 where none from 1 a second on does.

    Args:
        holds: whether a rate does; if one does, every lower one does.
        first: where to begin.
    """
    low, high, rate = 0.0, math.inf, first
    while not low or math.isinf(high):
        if holds(rate):
            low, rate = rate, 1.5 * rate
        else:
            high, rate = rate, rate / 4
            if high < 1:
                return 0.0
    while high / low > 1 + PRECISION:
        rate = math.sqrt(low * high)
        if holds(rate):
            low = rate
        else:
            high = rate
    return low


def capacity(
    times: ServiceTimes,
    limit_ms: float,
    *,
    workers: int,
    cores: float,
    connections: int = 64,
    spreads: Sequence[Sequence[int]] = (),
) -> float:
    """The highest rate, in requests a second, whose simulated p99 is within a limit; 0 where none is.

    Args:
        times: what was measured.
        limit_ms: the p99 latency that is promised.
        workers: of the service.
        cores: as :func:`simulate` has it.
        connections: of the client.
        spreads: of these over the workers, where they are known: as they were in some runs.
    """
    first = workers * times.batches[-1] / times.cycles[-1] / 2

    given: dict[str, Any] = {"workers": workers, "cores": cores, "connections": connections}

    def holds(rate: float) -> bool:
        seen = spreads or [()]
        return any(
            p99_ms(times, rate, seed=seed, spread=seen[seed % len(seen)], limit_ms=limit_ms, **given) <= limit_ms
            for seed in range(TRIES)
        )

    return highest_rate(holds, first)
