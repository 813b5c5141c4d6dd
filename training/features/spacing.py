"""Which numbers are apart and which differ by rounding alone, and the edges of bins between them.

What parts two values is the spacing of doubles at their own size (a unit in the last place). No torch
is imported here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rowcast.training.columns.disclosure import ends, too_few

HUGE = 1e307
"""Values beyond are read as this one, so that differences of two stay finite and their inverse a normal double."""

_EVENING_ROUNDS = 8
"""Each brings heavy values closer to the weight of one bin; after this many they are within a few percent of it."""
_ROUNDING = 64
"""Units in the last place that a chain of sums and products may be off."""
_WHOLE = 2.0**53
"""Up to here whole numbers are exact."""
_CLOSEST = 1e-300
"""A double can divide by this, and by little less."""


def pulled_in(feature: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values of a feature, the farthest ones pulled in to where ten rows are; none where too few rows hold one.

    Of 0 and 1 either is known without seeing a row.
    """
    present = feature[~np.isnan(feature)]
    if np.isin(present, (0.0, 1.0)).all():
        return present
    if too_few(len(present), len(feature)):
        return present[:0]
    low, high = ends(present, rows=len(feature))
    return np.clip(present, max(low, -HUGE), min(high, HUGE))


def is_flat(present: NDArray[np.float64], rounding: float = 0.0) -> bool:
    """Whether values, none of them missing, are one value but for rounding.

    Args:
        present: the values ``[values]``.
        rounding: what they may be off, besides what their own size says.
    """
    if len(present) == 0:
        return True
    low, high = float(present.min()), float(present.max())
    return not high - low > _gap(low, high, rounding, exact=_are_whole(present))


def _are_whole(values: NDArray[np.float64]) -> bool:
    """Whether all are whole numbers, which are exact: no two of them differ by rounding."""
    return bool(np.abs(values).max(initial=0.0) <= _WHOLE and (values == np.rint(values)).all())


def _gap(low: float, high: float, rounding: float, *, exact: bool) -> float:
    """What two values have to be apart by, or they are one value twice."""
    return 0.0 if exact else max(_ROUNDING * float(np.spacing(max(-low, high))), rounding, _CLOSEST)


def edges_of(present: NDArray[np.float64], n_bins: int, rounding: float) -> NDArray[np.float64]:
    """Bin edges: the distinct values when there are few, else distinct quantiles. At least one bin, none of width 0."""
    distinct, counts = np.unique(present, return_counts=True)
    if len(distinct) == 0:
        return np.array([0.0, 1.0])
    exact = _are_whole(distinct)
    # Noise about 0 (what two equal sums leave of each other) is large beside itself, but not beside ordinary values.
    # A value of one row in a million must not say what is ordinary, so each counts once, and the lower ones decide.
    sizes = np.sort(np.abs(distinct[distinct != 0.0]))
    rounding = max(rounding, float(np.spacing(sizes[(len(sizes) - 1) // 4])) if len(sizes) else 0.0)
    if len(distinct) > n_bins + 1:
        distinct = _quantiles(distinct, counts, n_bins)
    kept = [float(distinct[0])]
    for value in distinct[1:].tolist():
        if value - kept[-1] > _gap(kept[-1], value, rounding, exact=exact):
            kept.append(value)
    if len(kept) > 1:
        return np.array(kept)
    only = kept[0]
    return np.sort([only, only - math.copysign(max(1.0, abs(only)), only)])  # towards 0, or it might overflow


def _quantiles(values: NDArray[np.float64], counts: NDArray[np.int64], n_bins: int) -> NDArray[np.float64]:
    """Values that part the rows evenly, where no value counts for more than a bin.

    Plain quantiles give a value that fills nine bins in ten all of these bins and leave the rest to one: on Adult
    (``capital_gain`` is 0 in 92% of the rows) they cost .02 of log-loss.

    Args:
        values: distinct and ascending, more than ``n_bins + 1``.
        counts: rows of each.
        n_bins: bins to make.

    Returns:
        at most ``n_bins + 1`` of the values, ascending, the first and the last among them.
    """
    weight = counts.astype(np.float64)
    for _ in range(_EVENING_ROUNDS):  # what is taken from the heavy ones makes a bin smaller
        weight = np.minimum(weight, weight.sum() / n_bins)
    reach = np.cumsum(weight) - weight / 2.0
    wanted = np.linspace(reach[0], reach[-1], n_bins + 1)
    places = np.round(np.interp(wanted, reach, np.arange(len(values)))).astype(np.int64)
    return values[np.unique(places)]


def median(present: NDArray[np.float64]) -> float:
    """The median, whose middle two values do not overflow in their sum."""
    ordered = np.sort(present)
    low, high = float(ordered[(len(ordered) - 1) // 2]), float(ordered[len(ordered) // 2])
    return low if low == high else low / 2.0 + high / 2.0 if max(-low, high) > 1e300 else (low + high) / 2.0
