"""How far a difference between two models on the same rows can be trusted: a paired bootstrap over rows.

Source: Efron and Tibshirani 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95
"""Of the intervals."""

Counts = NDArray[np.int64]
"""How often each row was drawn, ``[rows]``."""


def resamples_of(rows: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Counts]:
    """As many rows as there are, drawn with replacement, again and again; the same for the same seed."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(0, rows, rows), minlength=rows)


def percentiles(drawn: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """What lies between is the middle ``level`` of the statistics of resamples, ``[resamples]``."""
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def interval(
    statistic: Callable[[Counts], float],
    rows: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[float, float]:
    """The percentile interval of a statistic of rows.

    Args:
        statistic: of rows that count as often as they were drawn.
        rows: how many there are.
        resamples: how many.
        seed: of the resampling.
        level: share of the resamples that lie inside.
    """
    return percentiles(np.array([statistic(counts) for counts in resamples_of(rows, resamples, seed)]), level)
