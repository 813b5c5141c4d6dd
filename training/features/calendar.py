"""What is read off a timestamp: parts of the calendar, exact to the microsecond, each only where training rows vary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.training.features.spacing import is_flat, pulled_in

if TYPE_CHECKING:
    from torch import Tensor

    _Whole = TypeVar("_Whole", Tensor, NDArray[np.int64])

DAY = 86_400_000_000
"""Microseconds in a day."""

CalendarPart = Literal["time_of_day", "weekday", "day_of_month", "season", "trend"]
Part = CalendarPart | Literal["presence"]
"""``presence`` is 0 for every timestamp: of a column without a part that varies it leaves whether there is one."""


def calendar_part(timestamp: _Whole, part: Part) -> _Whole:
    """Read one part off epoch microseconds (int64), exactly, before and after 1970, of an array or a tensor.

    ``//`` and ``%`` on int64 export to exact integer arithmetic; ``torch.div(..., rounding_mode=)`` would not.
    """
    if part == "time_of_day":
        return timestamp % DAY  # microseconds
    day = timestamp // DAY
    if part == "weekday":
        return (day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    if part == "season":
        return day * 400 % 146_097  # 1/400 day in the mean Gregorian year of 146,097/400 days
    if part == "day_of_month":
        return _day_of_month(day)
    if part == "presence":
        nothing: _Whole = timestamp * 0
        return nothing
    return timestamp


def _day_of_month(day: _Whole) -> _Whole:
    """Days since 1970 to the day of the month, 1 to 31. Source: H. Hinnant, chrono-compatible date algorithms."""
    of_era = (day + 719_468) % 146_097
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * of_year + 2) // 153
    day_of_month: _Whole = of_year - (153 * month + 2) // 5 + 1
    return day_of_month


def parts_of(timestamps: NDArray[np.int64], allowed: Sequence[CalendarPart], *, trend: bool) -> list[Part]:
    """The parts whose cycle the training rows went through at least twice, and which vary there: of the rest nothing
    can be learned.

    Args:
        timestamps: training rows ``[rows]``, epoch microseconds.
        allowed: the parts that may be read.
        trend: whether time itself may be one of them.

    Returns:
        the parts; ``presence`` alone where none varies and some rows are missing; nothing where neither is so.
    """
    absent = timestamps == MISSING_TIMESTAMP
    present = timestamps[~absent]
    span_days = (int(present.max()) - int(present.min())) / DAY if len(present) else 0.0
    enough = {
        "time_of_day": span_days >= 2,
        "weekday": span_days >= 14,
        "day_of_month": span_days >= 61,
        "season": span_days >= 731,
        "trend": trend and span_days > 0,
    }
    parts: list[Part] = [
        part for part in allowed if enough[part] and not is_flat(pulled_in(values_of(timestamps, part)))
    ]
    return parts or (["presence"] if absent.any() else [])


def values_of(timestamps: NDArray[np.int64], part: Part) -> NDArray[np.float64]:
    """A part of timestamps ``[rows]``, NaN where missing."""
    values = calendar_part(timestamps, part).astype(np.float64)
    return np.where(timestamps == MISSING_TIMESTAMP, np.nan, values)
