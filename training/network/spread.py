"""How far a target's values lie apart, whatever a few wild rows hold.

A single target of 1e9 among 25 to 161 makes the deviation 5e7 times too large: in that unit all other rows are one
value, and what the network's float32 rounds away is worth thousands. So where a few rows set the deviation, it is
measured without their excess; elsewhere it is the plain one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_MIDDLES = ((0.1, 0.9), (0.05, 0.95), (0.02, 0.98), (0.01, 0.99))
"""Quantiles between which the ordinary rows lie. Of a target that is 0 in most rows the first ones may be equal."""
_REACH = 5.0
"""Lengths of the middle that a value may lie outside it before it counts as wild: of a normal distribution, 14
deviations from its mean; of a lognormal one of sigma 1, eight times its mean."""


_GAP = 2.0
"""Distance of the nearest wild value from the centre, over that of the farthest other, from which on they are no tail
of the others."""
_APART = 3.0
"""From how many times the deviation of the others on wild values that stand apart do not set the unit."""


class Spread(NamedTuple):
    """The centre of some values, how far they lie about it, and where those that lie farther out are cut off."""

    centre: float
    deviation: float
    low: float = -math.inf
    high: float = math.inf


def spread_of(values: NDArray[np.float64], dominated: float) -> Spread:
    """Mean and deviation; without what a few wild rows add, where that would make the deviation many times as large.

    Args:
        values: of the training rows, ``[rows]``.
        dominated: how many times; infinite for the plain mean and deviation.
    """
    plain = Spread(*mean_and_deviation(values))
    if not math.isfinite(dominated):
        return plain
    for lower, upper in _MIDDLES:
        low, high = (float(end) for end in np.quantile(values, (lower, upper), method="nearest"))
        if low < high:
            break
    else:
        return plain
    reach = _REACH * (high - low)
    cut = np.clip(values, low - reach, high + reach)
    inner = Spread(*mean_and_deviation(cut), low - reach, high + reach)
    if plain.deviation > (min(dominated, _APART) if _stand_apart(values, inner) else dominated) * inner.deviation:
        return inner
    # No training row is cut off; of the held-out ones, only what is farther out than any of them.
    return plain._replace(low=min(inner.low, float(values.min())), high=max(inner.high, float(values.max())))


def _stand_apart(values: NDArray[np.float64], inner: Spread) -> bool:
    """Whether there is a gap between the wild values and all others, as a heavy tail has none."""
    away = np.abs(values / 2.0 - inner.centre / 2.0)  # halved, for the difference may be beyond a double
    wild = (values < inner.low) | (values > inner.high)
    return bool(wild.any() and away[wild].min() > _GAP * away[~wild].max())


def mean_and_deviation(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation, whose squares neither overflow nor vanish; 1 for the deviation of a constant."""
    exponent = np.frexp(np.abs(values).max())[1]
    shrunk = np.ldexp(values, -exponent)
    return float(np.ldexp(shrunk.mean(), exponent)), float(np.ldexp(shrunk.std(), exponent)) or 1.0
