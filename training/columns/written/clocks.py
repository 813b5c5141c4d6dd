"""Whole columns of times of day and durations, in seconds.

The reading of one text is :func:`rowcast.models.texts.parse_duration`; what arrays can read faster is read with arrays,
and a test holds the two together.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.texts import parse_duration, parse_number
from rowcast.training.columns.written.forms import each

_CLOCK = r"^([0-9]{1,6}):([0-5][0-9])(?::([0-5][0-9](?:\.[0-9]{1,9})?))?$"
_LOOKS = (
    r"(?i)^[+-]?(?:[0-9]{1,7}(?: days?,? *|d ?|\.))?[+-]?[0-9]{1,6}:[0-5][0-9]|^[0-9]{1,2} ?[ap]\.?m\.?$"
    r"|^[+-]?P(?:[0-9T]|[+-][0-9.,]+[WD])"
    r"|^-?[0-9.]+ *(?:w|d|h|m|s|ms|us|ns|wks?|weeks?|days?|hrs?|hours?|min|mins|minutes?|secs?|seconds?)(?:$|[ ,0-9])"
)
_OF_DAY = r"^(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?$"


def looks_like_clocks(texts: pl.Series) -> NDArray[np.bool_]:
    """Where a text may be a time of day or a duration, ``[rows]``."""
    return texts.str.contains(_LOOKS).fill_null(False).to_numpy()


def in_one_form(texts: pl.Series) -> bool:
    """Whether clocks agree: 59:30 beside 1:02:03 would be minutes and seconds, beside 08:30 hours and minutes."""
    parts = texts.filter(texts.str.contains(r"^[0-9]{1,6}(?::[0-9]{2}){1,2}(?:\.[0-9]+)?$"))
    two = parts.str.count_matches(":") == 1
    return bool(two.all() or not two.any() or parts.str.contains(_OF_DAY).all())


def durations_of(column: pl.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Seconds of a column of texts, or of typed times and durations.

    Returns:
        the seconds ``[rows]``, NaN where null or none; and where there are some, ``[rows]``.
    """
    if column.dtype != pl.String:
        unit = "ns" if column.dtype == pl.Time else getattr(column.dtype, "time_unit", "us")
        units = {"ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
        values = column.to_physical().cast(pl.Float64).fill_null(np.nan).to_numpy() / units
        return values, np.isfinite(values)
    groups = column.str.extract_groups(_CLOCK).struct.unnest()
    hours, minutes = (groups.to_series(i).cast(pl.Float64) for i in range(2))
    seconds = groups.to_series(2).fill_null("0").cast(pl.Float64)
    values = (hours * 3600 + minutes * 60 + seconds).fill_null(np.nan).to_numpy()
    left = column.is_not_null().to_numpy() & np.isnan(values)
    if left.any():
        values = values.copy()
        values[left] = each(column.filter(pl.Series(left)), _seconds, np.nan, pl.Float64)
    return values, np.isfinite(values)


def _seconds(text: str) -> float | None:
    seconds = parse_duration(text)
    return parse_number(text) if seconds is None else seconds  # a bare number is one of seconds
