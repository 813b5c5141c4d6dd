"""What a report shows: a sweep of rates with where the time went, and the latencies at one rate whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from rowcast.loadtest import openloop
from rowcast.loadtest.connection import Endpoint
from rowcast.loadtest.scrape import Counts, counts
from rowcast.loadtest.served import NotServed, ServedModel
from rowcast.loadtest.trial import trial
from rowcast.loadtest.verdict import Verdict

FIRST_RATE = 50.0
MOST_DOUBLINGS = 16
UNLIMITED_MS = 60_000.0
"""The sweep judges no latency."""
FULL_MS = 250.0
"""A median beyond which the service is full: its queue would only grow."""
BETWEEN = (0.6, 0.8, 0.9)
"""Rates that are added below the one that was too much, where curves bend."""
LOWEST_RATE = min(BETWEEN) * FIRST_RATE
"""Of a sweep."""
WARM_UP_S = 0.5
DECADE = 12
"""Points of the latency curve for each nine of its percentile."""


@dataclass(frozen=True, slots=True)
class Point:
    """A rate of the sweep."""

    verdict: Verdict
    latencies: NDArray[np.float64]
    """In seconds."""
    told: Counts | None
    """What the service counted meanwhile; None where it does not tell."""

    def facts(self) -> dict[str, Any]:
        """Figures of the rate, and the mean milliseconds of a request by where they went."""
        result = self.verdict.result
        assert result is not None, "a rate of the sweep was measured"
        figures: dict[str, Any] = {
            "rate": self.verdict.rate,
            "achieved_rate": result.achieved_rate,
            "p50_ms": result.p50_ms,
            "p90_ms": result.p90_ms,
            "p99_ms": result.p99_ms,
            "p999_ms": result.p999_ms,
            "max_ms": result.max_ms,
            "failed": result.failed,
            "client_cpu": result.client_cpu,
            "client_lag_p99_ms": result.client_lag_p99_ms,
            "saturated": result.saturated,
            "mean_ms": float(self.latencies.mean()) * 1000 if len(self.latencies) else None,
        }
        told = self.told
        if told is not None and told.requests and told.runs:
            request_ms = told.request_s / told.requests * 1000
            queue_ms = told.queued_s / told.requests * 1000
            compute_ms = told.computed_s / told.requests * 1000
            figures |= {
                "queue_ms": queue_ms,
                "compute_ms": compute_ms,
                "rest_ms": max(0.0, request_ms - queue_ms - compute_ms),
                "outside_ms": max(0.0, (figures["mean_ms"] or 0.0) - request_ms),
                "batch_rows": told.rows / told.runs,
                "saturation": told.cpu_s / (self.verdict.duration_s + min(WARM_UP_S, self.verdict.duration_s)),
                "workers": told.workers,
            }
            figures["saturation"] /= told.workers
        return figures


async def measure(endpoint: Endpoint, served: ServedModel, verdict: Verdict, *, warm_up_s: float = WARM_UP_S) -> Point:
    """One rate: what ``verdict`` says, judged by what it promises."""
    latencies = openloop.histogram()
    before = await _counts(endpoint, served)
    judged = await trial(endpoint, served, verdict, warm_up_s=min(warm_up_s, verdict.duration_s), latencies=latencies)
    after = None if before is None else await _counts(endpoint, served)
    told = None if before is None or after is None else after.since(before)
    return Point(judged, openloop.seconds_of(latencies), told)


async def sweep(endpoint: Endpoint, served: ServedModel, blank: Verdict, step_s: float) -> list[Point]:
    """Rates from few requests a second to too many, ascending.

    Args:
        endpoint: of the service.
        served: the model.
        blank: says seed and connections.
        step_s: length of a step in seconds.

    Raises:
        NotServed: answers are wrong, or nobody answers.
    """
    told = Console(stderr=True)
    points: list[Point] = []

    async def at(rate: float) -> bool:
        """Measure a rate; whether it was too much."""
        seconds = openloop.longest(rate, max(step_s, min(4 * step_s, 200 / rate)))
        step = replace(blank, rate=float(f"{rate:.3g}"), p99_ms=UNLIMITED_MS, duration_s=seconds, errors=0.0)
        point = await measure(endpoint, served, replace(step, seed=blank.seed + 2 * len(points)))
        result = point.verdict.result
        if result is None or result.wrong or (point.verdict.outcome == "void" and not result.saturated):
            raise NotServed(point.verdict.reason)
        points.append(point)
        told.print(
            f"  {point.verdict.rate:>9,.0f}/s  p50 {result.p50_ms:.2f} ms  p99 {result.p99_ms:.2f} ms", highlight=False
        )
        return point.verdict.outcome != "kept" or result.p50_ms > FULL_MS

    rate = FIRST_RATE
    for _ in range(MOST_DOUBLINGS):
        if await at(rate):
            break
        rate *= 2
    for share in BETWEEN:
        await at(share * rate)
    return sorted(points, key=lambda point: point.verdict.rate)


def curve(latencies: NDArray[np.float64]) -> dict[str, list[float]]:
    """Latencies by percentile as an HDR plot has them: for 1 in n requests that is slower, what it takes at least.

    Returns:
        ``one_in`` (1, ..., the number of requests) and ``ms``.
    """
    n = len(latencies)
    if not n:
        return {"one_in": [], "ms": []}
    one_in = np.unique(np.append(np.logspace(0, np.log10(n), max(2, int(DECADE * np.log10(n)) + 1)), n))
    ms = np.quantile(latencies, 1 - 1 / one_in) * 1000
    ms[-1] = latencies.max() * 1000
    return {"one_in": one_in.tolist(), "ms": ms.tolist()}


def spread(latencies: NDArray[np.float64], bins: int = 48) -> dict[str, list[float]]:
    """How many requests took how long, in bins of equal ratio: ``edges`` in milliseconds, one more than ``counts``."""
    if not len(latencies):
        return {"edges": [], "counts": []}
    low, high = max(latencies.min(), 1e-6), max(latencies.max(), 2e-6)
    edges = np.logspace(np.log10(low), np.log10(high * 1.0001), bins + 1)
    found, _ = np.histogram(np.maximum(latencies, low), edges)
    return {"edges": (edges * 1000).tolist(), "counts": found.tolist()}


async def _counts(endpoint: Endpoint, served: ServedModel) -> Counts | None:
    try:
        return await counts(endpoint, served.name)
    except NotServed:  # it keeps its metrics to itself, or is of another version
        return None
