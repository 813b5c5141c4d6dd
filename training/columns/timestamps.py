"""Whole columns of ISO 8601 texts and typed dates to epoch microseconds, by the rules of one served value."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.models.values import FIRST_TIMESTAMP, LAST_TIMESTAMP, TIMESTAMP

_PATTERN = r"(?i)^(?:" + TIMESTAMP.pattern.replace(r"\d", "[0-9]") + r")$"  # polars' own \d takes any script's digits
_DAY = 86_400_000_000
_DAYS_IN_MONTH = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def parse_timestamps(texts: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Epoch microseconds of a column of texts, as :func:`rowcast.models.values.parse_timestamp` gives them one by one.

    Returns:
        the timestamps ``[rows]``, INT64_MIN where the text is null or no such date; and where it is one, ``[rows]``.
    """
    if not texts.str.contains(_PATTERN).any():
        return np.full(len(texts), MISSING_TIMESTAMP), np.zeros(len(texts), dtype=bool)
    groups = texts.str.extract_groups(_PATTERN).struct.unnest()
    year, month, day, hour, minute, second = (_whole(groups.to_series(i)) for i in range(6))
    fraction = _whole(groups.to_series(6).str.slice(0, 6).str.pad_end(6, "0"))
    zone = groups.to_series(7)
    zone_hours = _whole(zone.str.slice(1, 2))
    digits = zone.str.len_bytes()  # +hh, +hhmm or +hh:mm
    zone_minutes = _whole(pl.select(pl.when(digits > 3).then(zone.str.slice(-2))).to_series())
    behind = zone.str.starts_with("-").fill_null(False).to_numpy()

    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    days_in_month = _DAYS_IN_MONTH[np.clip(month, 1, 12) - 1] + (leap & (month == 2))
    ok = groups.to_series(0).is_not_null().to_numpy() & (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    ok &= (day <= days_in_month) & (hour <= 23) & (minute <= 59) & (second <= 59)
    ok &= (zone_hours <= 23) & (zone_minutes <= 59)
    time = ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction
    offset = (zone_hours * 60 + zone_minutes) * 60_000_000
    timestamps = _days_from_civil(year, month, day) * _DAY + time - np.where(behind, -offset, offset)
    ok &= (timestamps >= FIRST_TIMESTAMP) & (timestamps <= LAST_TIMESTAMP)
    return np.where(ok, timestamps, MISSING_TIMESTAMP), ok


def typed_timestamps(column: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Epoch microseconds of a Date or Datetime column, what lies below a microsecond cut off.

    Returns:
        ``[rows]``, INT64_MIN where null or outside the years 0001 to 9999; and where it is neither, ``[rows]``.
    """
    present = column.is_not_null().to_numpy()
    physical = column.to_physical().cast(pl.Int64).fill_null(0).to_numpy()
    unit = getattr(column.dtype, "time_unit", None)
    scale = {None: _DAY, "ms": 1000, "us": 1, "ns": 1}[unit]
    if unit == "ns":
        physical = physical // 1000  # floors, before 1970 too
    ok = present & (physical >= FIRST_TIMESTAMP // scale) & (physical <= LAST_TIMESTAMP // scale)
    return np.where(ok, np.where(ok, physical, 0) * scale, MISSING_TIMESTAMP), ok


def _whole(digits: pl.Series) -> NDArray[np.int64]:
    """Texts of digits as numbers, 0 where there is none."""
    return digits.cast(pl.Int64, strict=False).fill_null(0).to_numpy().astype(np.int64, copy=False)


def _days_from_civil(year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]) -> NDArray[np.int64]:
    """Days since 1970-01-01. Source: H. Hinnant, chrono-compatible date algorithms."""
    year = year - (month <= 2)
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    days: NDArray[np.int64] = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    return days
