"""NumPy's datetime64 and timedelta64 of any unit as microseconds: what 64 bits do not hold is told, and never wraps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.values import FIRST_TIMESTAMP, LAST_TIMESTAMP

_LONGEST = np.iinfo(np.int64).max
_FINE_UNITS = frozenset({"ns", "ps", "fs", "as"})
"""They reach 292 years at most."""


def micros_of(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Moments of datetime64, of any unit, ``[rows]``.

    Returns:
        microseconds since the epoch, 0 where there is none; where there is none; and which lie outside of the years
        0001 to 9999.
    """
    missing = np.isnat(values)
    unit = np.datetime_data(values.dtype)[0]
    if unit in _FINE_UNITS:
        outside = np.zeros(len(values), bool)
    elif unit == "generic":  # a number of nothing
        outside = ~missing
    else:  # NumPy's conversion would wrap around without a word
        first, last = (np.datetime64(end, "us").astype(values.dtype) for end in (FIRST_TIMESTAMP, LAST_TIMESTAMP))
        outside = ~missing & ((values < first) | (values > last))
    micros = np.where(missing | outside, np.datetime64(0, "us"), values).astype("datetime64[us]").view(np.int64)
    return micros, missing, outside | (micros < FIRST_TIMESTAMP) | (micros > LAST_TIMESTAMP)


def duration_micros(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Durations of timedelta64, of any unit, ``[rows]``; digits past the microsecond are cut off.

    Returns:
        microseconds, 0 where there is none; where there is none; and which are of no certain length, as months are, or
        have more microseconds than 64 bits hold.
    """
    missing = np.isnat(values)
    unit = np.datetime_data(values.dtype)[0]
    if unit in ("generic", "Y", "M"):
        return np.zeros(len(values), np.int64), missing, ~missing
    if unit in _FINE_UNITS:
        outside = np.zeros(len(values), bool)
    else:  # NumPy's conversion would wrap around without a word
        longest = np.timedelta64(_LONGEST, "us").astype(values.dtype)
        outside = ~missing & ((values > longest) | (values < -longest))
    none = np.zeros(1, values.dtype)
    return np.where(missing | outside, none, values).astype("timedelta64[us]").view(np.int64), missing, outside
