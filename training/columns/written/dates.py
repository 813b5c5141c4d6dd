"""Whole columns of dates in other forms than ISO 8601: whether the day or the month comes first, and the timestamps.

The reading of one text is :func:`rowcast.models.texts.parse_date`; what arrays can read faster is read with arrays, and
a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.reading import EpochUnit
from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.models.texts import parse_date
from rowcast.models.texts.dates import DateOrder, parse_epoch
from rowcast.training.columns.timestamps import parse_timestamps
from rowcast.training.columns.written.forms import each

_DAY_OF_WEEK = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}\.?"
_NUMBERS = (
    rf"(?i)^(?:{_DAY_OF_WEEK},? +)?([0-9]{{1,2}})([-/. ])([0-9]{{1,2}})[-/. ]([0-9]{{4}}|[0-9]{{2}})\.?(?:$|[t ,])"
)
_WORD = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_LOOKS = "|".join(
    (
        r"[0-9]{4}[-/. ][0-9]{1,2}[-/. ][0-9]{1,2}",
        r"[0-9]{1,2}[-/. ][0-9]{1,2}[-/. ](?:[0-9]{4}|[0-9]{2})",
        rf"[0-9]{{1,2}}(?:st|nd|rd|th)?[-/. ]?(?:of )?{_WORD}[-/., ]*(?:[0-9]{{4}}|[0-9]{{2}})",
        rf"{_WORD}[-/. ]+[0-9]{{1,2}}(?:st|nd|rd|th)?",
        rf"[0-9]{{4}}[-/. ]{_WORD}(?:[-/. ][0-9]{{1,2}})?",
        r"[0-9]{4}[-/. ][0-9]{2}|[0-9]{2}[-/. ][0-9]{4}",
        rf"{_WORD}[-/., ]+[0-9]{{4}}",
    )
)
_LOOKS = rf"(?i)^(?:{_DAY_OF_WEEK},? +)?(?:{_LOOKS})\.?(?:$|[-/t ,])"
_CLOCK = (
    r"(?i)^(?:t|[ ,]+)([0-9]{1,2})(:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)"
    r"(?: ?([ap])m)? ?(z|utc|gmt|[+-][0-9]{2}:?[0-9]{2})?$"
)
_EPOCH_DIGITS: dict[EpochUnit, frozenset[int]] = {
    "s": frozenset({9, 10}),
    "ms": frozenset({12, 13}),
    "us": frozenset({15, 16}),
    "ns": frozenset({18, 19}),
}
_DATE = {
    "ymd": r"^([0-9]{4})([-/.])([0-9]{1,2})([-/.])([0-9]{1,2})(.*)$",
    "dmy": r"^([0-9]{1,2})([-/.])([0-9]{1,2})([-/.])([0-9]{4})(.*)$",
}


@dataclass(frozen=True)
class FoundOrder:
    """The order of a column's dates; None where the data does not tell it, and ``reason`` says why."""

    order: DateOrder | None
    reason: str = ""
    undecided: bool = False
    """Every date has two readings: a person has to say which."""
    decided_by: Literal["", "day", "point"] = ""


def looks_like_dates(texts: pl.Series) -> NDArray[np.bool_]:
    """Where a text may be a date in some form, ``[rows]``."""
    return texts.str.contains(_LOOKS).fill_null(False).to_numpy()


def find_order(texts: pl.Series) -> FoundOrder:
    """Whether days or months come first, told by a number beyond 12.

    Args:
        texts: distinct dates, none of them ISO 8601.
    """
    groups = texts.str.extract_groups(_NUMBERS).struct.unnest().drop_nulls()
    if len(groups) == 0:
        return FoundOrder("ymd")
    first, second, third = (groups.to_series(i).cast(pl.Int64).to_numpy() for i in (0, 2, 3))
    day_first, month_first = bool((first > 12).any()), bool((second > 12).any())
    if day_first and month_first:
        return FoundOrder(None, "some of its dates have the day first and some the month")
    short = bool((groups.to_series(3).str.len_bytes() == 2).any())
    if short and len(np.unique(first)) <= len(np.unique(third)):
        return FoundOrder(None, "no number tells which of the three is the year", undecided=True)
    if day_first or month_first:
        return FoundOrder("dmy" if day_first else "mdy", decided_by="day")
    if (groups.to_series(1) == ".").all():
        return FoundOrder("dmy", decided_by="point")
    if np.array_equal(first, second):
        return FoundOrder("dmy")
    return FoundOrder(None, "no number beyond 12 tells which is the day", undecided=True)


def timestamps_in_order(texts: pl.Series, order: DateOrder | None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Epoch microseconds of a column of texts, as :func:`rowcast.models.texts.parse_date` gives them one by one.

    Returns:
        the timestamps ``[rows]``, INT64_MIN where the text is null or no date; and where it is one, ``[rows]``.
    """
    timestamps, ok = parse_timestamps(texts)
    left = texts.is_not_null().to_numpy() & ~ok
    if order is None or not left.any():
        return timestamps, ok
    timestamps, ok = timestamps.copy(), ok.copy()
    for form in ("ymd", "dmy") if order != "ymd" else ("ymd",):
        timestamps[left], ok[left] = parse_timestamps(_as_iso(texts.filter(pl.Series(left)), form, order))
        left = texts.is_not_null().to_numpy() & ~ok
        if not left.any():
            return timestamps, ok
    timestamps[left] = each(
        texts.filter(pl.Series(left)), lambda text: parse_date(text, order), MISSING_TIMESTAMP, pl.Int64
    )
    return timestamps, timestamps != MISSING_TIMESTAMP


def timestamps_since(texts: pl.Series, unit: EpochUnit) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Epoch microseconds of numbers of a unit since 1970, and of dates in ISO 8601.

    Returns:
        as :func:`timestamps_in_order`.
    """
    timestamps, ok = parse_timestamps(texts)
    left = texts.is_not_null().to_numpy() & ~ok
    if left.any():
        timestamps, ok = timestamps.copy(), ok.copy()
        numbers = texts.filter(pl.Series(left))
        timestamps[left] = each(numbers, lambda text: parse_epoch(text, unit), MISSING_TIMESTAMP, pl.Int64)
        ok[left] = timestamps[left] != MISSING_TIMESTAMP
    return timestamps, ok


def find_epoch(texts: pl.Series) -> EpochUnit | None:
    """The unit of whole numbers since 1970 that lie from 1973 to 2286 in it; None where they are of several, or none.

    Ten digits are seconds, thirteen milliseconds, sixteen microseconds and nineteen nanoseconds; nine are the seconds
    before September 2001, and so on.

    Args:
        texts: distinct numbers.
    """
    digits = texts.str.strip_chars("+-").str.replace(r"\.[0-9]*$", "")
    if len(digits) == 0 or not digits.str.contains(r"^[0-9]+$").all():
        return None
    lengths = set(digits.filter(digits != "0").str.len_bytes().to_list())
    return next((unit for unit, of_it in _EPOCH_DIGITS.items() if lengths <= of_it), None) if lengths else None


def _as_iso(texts: pl.Series, form: str, order: DateOrder) -> pl.Series:
    """Dates in numbers as ISO 8601; null where a text is none of these."""
    groups = texts.str.extract_groups(_DATE[form]).struct.unnest()
    groups = groups.with_columns(pl.when(pl.nth(1) == pl.nth(3)).then(pl.all()))
    first, second, third, rest = (groups.to_series(i) for i in (0, 2, 4, 5))
    year, month, day = (first, second, third) if form == "ymd" else (third, second, first)
    if form == "dmy" and order == "mdy":
        month, day = day, month
    clock = rest.str.extract_groups(_CLOCK).struct.unnest()
    hour, minutes, half, zone = (clock.to_series(i) for i in range(4))
    number = hour.cast(pl.Int64)
    of_day = number % 12 + (half.str.to_lowercase() == "p").cast(pl.Int64) * 12
    of_day = of_day.set((number < 1) | (number > 12), None).cast(pl.String)
    hour = pl.select(pl.when(half.is_not_null()).then(of_day).otherwise(hour)).to_series()
    time = "T" + hour.str.zfill(2) + minutes + zone.fill_null("").str.to_uppercase().str.replace("UTC|GMT", "Z")
    time = time.set(rest == "", "")
    return year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2) + time
