"""How far predicted means are from counts and amounts: the mean deviance, as scikit-learn reckons it.

Source: McCullagh and Nelder 1989, section 2.3; Jorgensen 1987 for powers between 1 and 2. It is what the losses
``poisson``, ``gamma`` and ``tweedie`` make small, and is 0 where every prediction is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.training.fit.weighted import shares

_LEAST = float(np.finfo(np.float64).tiny)
"""A prediction of 0 stands for a mean this small, so that the deviance is a number."""


def power_of(objective: Mapping[str, Any]) -> float | None:
    """The power of the variance that a loss assumes: 1, 2, or what tweedie was given; None for other losses.

    Args:
        objective: of a model's config.
    """
    loss = objective.get("loss")
    return float(objective.get("power", 1.5)) if loss == "tweedie" else {"poisson": 1.0, "gamma": 2.0}.get(str(loss))


def mean_deviance(
    actual: NDArray[np.float64],
    predicted: NDArray[np.float64],
    power: float,
    weight: NDArray[np.float64] | None = None,
) -> float | None:
    """The mean deviance; None where the distribution cannot have such values (below 0, for a power of 2 also 0).

    Args:
        actual: ``[rows]``.
        predicted: ``[rows]``, at least 0.
        power: 1, 2, or between.
        weight: how much each row counts, ``[rows]``, all above 0; None where every row counts the same.
    """
    lowest = float(actual.min())
    if lowest < 0.0 or (lowest == 0.0 and power == 2.0):
        return None
    mean = np.maximum(predicted, _LEAST)
    if power == 1.0:
        ratio = np.divide(actual, mean, out=np.ones_like(mean), where=actual > 0.0)
        rows = actual * np.log(ratio) - actual + mean
    elif power == 2.0:
        rows = np.log(mean) - np.log(actual) + actual / mean - 1.0
    else:
        once, twice = 1.0 - power, 2.0 - power
        rows = actual**twice / (once * twice) - actual * mean**once / once + mean**twice / twice
    found = 2.0 * float(rows.mean() if weight is None else shares(weight) @ rows)
    return found if np.isfinite(found) else None
