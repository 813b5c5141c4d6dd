"""What CPU times leave unexplained of latencies: the way between processes, jitter, and pauses of the machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rowcast.loadtest import openloop
from rowcast.loadtest.plan.simulation import ServiceTimes, simulate

PAUSE = 3.0
"""What is late by so many usual latencies was held up by a pause; by less, its cycle took longer."""
MOST_CORRECTED = 4.0
"""By how many times other loads may correct how often there are pauses: in a few seconds there are a handful."""


@dataclass(frozen=True, slots=True)
class Load:
    """An open loop that was measured."""

    rate: float
    """Requests a second."""
    latencies: NDArray[np.float64]
    """``[requests]`` in seconds."""


def usual_load(rate: float, runs: Sequence[NDArray[np.float64]]) -> Load:
    """What was measured in runs of one rate, without the quarter that was held up most, and the one that was least.

    A machine that has something else to do for a second has pauses in it as in no other. What is simulated is compared
    with the middle one of some runs as well.

    Args:
        rate: requests a second.
        runs: of each its latencies in seconds.
    """
    late = PAUSE * float(np.median(np.concatenate(runs)))
    ordered = sorted(runs, key=lambda latencies: np.mean(latencies > late))
    out = len(runs) // 4
    return Load(rate, np.concatenate(ordered[out : len(runs) - out]))


def calibrated(bare: ServiceTimes, loads: Sequence[Load]) -> ServiceTimes:
    """Service times with way, jitter and pauses, such that simulated latencies are as the measured ones.

    These are what measured latencies of light load have more than simulated ones, quantile by quantile. What is longer
    than :data:`PAUSE` usual latencies is due to a pause of the machine; of the others the mean is twice the way, and
    how they differ from it is jitter of a cycle, whose mean is 0. How long pauses are is what light load says; how
    often they come, what all loads say together.

    Args:
        bare: service times without way, jitter and pauses.
        loads: the first is light.
    """
    light = loads[0]
    n = len(light.latencies)
    more = np.sort(light.latencies) - np.sort(_simulated(bare, light, seed=1))
    middle, usual = float(np.median(more)), float(np.median(light.latencies))
    rest, least = more - middle, PAUSE * usual
    pauses = pauses_of(rest[rest > 0], least, n)
    jitter = np.sort(rest[rest <= least])
    # of the requests that a pause held up, some came so near its end that they were late by less
    ends = np.linspace(0.0, least, round(sum(per_second for per_second, _ in pauses) * least * n), endpoint=False)
    jitter = np.delete(jitter, np.minimum(np.searchsorted(jitter, ends), len(jitter) - 1))
    mean = float(np.mean(jitter))
    way = max(0.0, middle + mean) / 2
    found = replace(bare, wire=way, unloaded=usual, jitter=tuple((jitter - mean).tolist()), pauses=pauses)
    often = _how_often(found, loads)
    return replace(found, pauses=tuple((often * per_second, length) for per_second, length in pauses))


def pauses_of(late: NDArray[np.float64], least: float, n: int) -> tuple[tuple[float, float], ...]:
    """The pauses that held requests up: how many of them there are in a second, and how long they are.

    A request meets a pause of length l at any of its moments alike, and waits for the rest: uniformly up to l. So the
    density of waits falls, by a step at the length of each kind of pause, as high as there are such pauses in a
    second. The likeliest falling density is that of the least concave majorant of their distribution (Grenander 1956).

    Args:
        late: by how much requests were, in seconds, above 0.
        least: how long a pause is; what is shorter has other reasons.
        n: requests in all, late or not.
    """
    if not len(late):
        return ()
    waits = np.concatenate([[0.0], np.sort(late)])
    shares = np.arange(len(waits)) / n

    def slope(left: int, right: int) -> float:
        wide = waits[right] - waits[left]
        return float((shares[right] - shares[left]) / wide) if wide > 0 else math.inf

    corners = [0]
    for i in range(1, len(waits)):
        while len(corners) > 1 and slope(corners[-2], corners[-1]) <= slope(corners[-1], i):
            corners.pop()
        corners.append(i)
    density = [slope(*pair) for pair in pairwise(corners)]
    steps = zip(density, [*density[1:], 0.0], corners[1:], strict=True)
    return tuple((before - after, float(waits[at])) for before, after, at in steps if waits[at] > least)


def _how_often(times: ServiceTimes, loads: Sequence[Load]) -> float:
    """By how many times as many pauses as many requests are late in simulations of these loads as were."""
    measured = without = with_them = 0
    for load in loads:
        limit = PAUSE * float(np.median(load.latencies))
        measured += int(np.count_nonzero(load.latencies > limit))
        without += int(np.count_nonzero(_simulated(replace(times, pauses=()), load, seed=2) > limit))
        with_them += int(np.count_nonzero(_simulated(times, load, seed=2) > limit))
    if with_them <= without:
        return 1.0
    return min(max((measured - without) / (with_them - without), 1 / MOST_CORRECTED), MOST_CORRECTED)


def _simulated(times: ServiceTimes, load: Load, seed: int) -> NDArray[np.float64]:
    n = len(load.latencies)
    due = openloop.schedule(load.rate, n / load.rate, seed)
    return simulate(times, due, workers=1, cores=2, seed=seed)
