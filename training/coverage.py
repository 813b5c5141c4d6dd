"""How many rows lie inside their intervals: what ``model.json`` tells of each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.session import Predictions
from rowcast.training.fit.weighted import shares
from rowcast.training.network.head import ClassHead, RegressionHead


def shares_inside(
    predictions: Predictions, actual: NDArray[Any], weight: NDArray[np.float64] | None
) -> tuple[float, ...]:
    """The share of rows inside the interval of each level, those of ``lower`` and ``upper`` first; empty without any.

    Args:
        predictions: of the rows.
        actual: their target, ``[rows]``.
        weight: how much each row counts, ``[rows]``; None where every row counts the same.
    """
    if predictions.lower is None or predictions.upper is None:
        return ()
    further = () if predictions.further is None else predictions.further.T
    found = []
    for lower, upper in ((predictions.lower, predictions.upper), *zip(further[::2], further[1::2], strict=True)):
        inside = (lower <= actual) & (actual <= upper)
        found.append(float(inside.mean() if weight is None else shares(weight)[inside].sum()))
    return tuple(found)


def coverage_told(head: ClassHead | RegressionHead, inside: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """``interval_coverage`` among the metrics; nothing where there are no intervals.

    Args:
        head: of the model.
        inside: of each part of the rows what :func:`shares_inside` gives.
    """
    inside = {part: found for part, found in inside.items() if found}
    if not inside or not isinstance(head, RegressionHead):
        return {}
    told: dict[str, Any] = {"level": head.coverage} | {part: found[0] for part, found in inside.items()}
    if head.further:
        told["further"] = {
            f"{level:.10g}": {part: found[i] for part, found in inside.items()}
            for i, level in enumerate(head.further, 1)
        }
    return {"interval_coverage": told}
