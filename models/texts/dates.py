"""Dates and date-times as people and tools write them, to epoch microseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from rowcast.models.reading import EpochUnit
from rowcast.models.texts.numbers import BLANKS
from rowcast.models.values import FIRST_TIMESTAMP, LAST_TIMESTAMP, parse_timestamp

DateOrder: TypeAlias = Literal["ymd", "dmy", "mdy"]
ORDER_WORDS = {
    "ymd": "the year first (2024/12/31)",
    "dmy": "the day first (31/12/2024)",
    "mdy": "the month first (12/31/24)",
}
EPOCH_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

_MICROS = {"s": 10**6, "ms": 10**3, "us": 1}
"""Of a unit since 1970."""
_UNITS_SINCE = re.compile(r"([+-]?)([0-9]{1,20})(?:\.([0-9]*))?", re.ASCII)

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_NAMES = "jan(?:uary)? feb(?:ruary)? mar(?:ch)? apr(?:il)? may june? july? aug(?:ust)? sept?(?:ember)? oct(?:ober)? "
_NAMES += "nov(?:ember)? dec(?:ember)?"
_MONTHS = {name[:3]: number for number, name in enumerate(_NAMES.split(), 1)}
_MONTH = rf"(?P<name>{'|'.join(_NAMES.split())})\.?"
_WEEKDAY = r"(?:(?:mon|tue(?:s)?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,? +)?"
_DAY, _YEAR, _ANY_YEAR = r"(?P<day>\d{1,2})", r"(?P<year>\d{4})", r"(?P<year>\d{4}|\d\d)"
_CLOCK = (
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r"(?: ?(?P<half>[ap])\.?m\.?)?(?: ?(?P<zone>z|utc|gmt|[+-]\d\d:?\d\d|[+-]\d\d))?(?: ?\((?:utc|gmt)\))?"
)
_TIME = rf"(?:(?:t|,? +(?:at +)?|,){_CLOCK})?"


def _pattern(date: str) -> re.Pattern[str]:
    return re.compile(date, re.ASCII | re.IGNORECASE)


_NAMED = (
    _pattern(rf"{_WEEKDAY}{_DAY}(?:st|nd|rd|th)?(?:[-/. ]| of )?\s?{_MONTH}[-/., ]* ?{_ANY_YEAR}{_TIME}"),
    _pattern(rf"{_WEEKDAY}{_MONTH}[-/. ]? ?{_DAY}(?:st|nd|rd|th)?(?:[-/]|,? ){_YEAR}{_TIME}"),
    _pattern(rf"{_YEAR}[-/. ]{_MONTH}[-/. ]{_DAY}{_TIME}"),
    # As C and Unix print a moment: Tue Dec 31 23:59:00 UTC 2024.
    _pattern(rf"{_WEEKDAY}{_MONTH} +{_DAY} {_CLOCK} {_YEAR}"),
)
"""The month by its name: no order is needed."""
_YEAR_FIRST = _pattern(rf"{_YEAR}(?P<mark>[-/. ])(?P<month>\d{{1,2}})(?P=mark){_DAY}\.?{_TIME}")
_COMPACT = (
    _pattern(rf"{_YEAR}(?P<month>\d\d)(?P<day>\d\d)(?:[t ]{_CLOCK})?"),
    _pattern(rf"{_YEAR}(?P<month>\d\d)(?P<day>\d\d)[t ]?(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?P<zone>z)?"),
)
_MONTHS_ALONE = (
    _pattern(rf"{_YEAR}[-/. ](?P<month>\d\d)"),
    _pattern(rf"(?P<month>\d\d)[-/. ]{_YEAR}"),
    _pattern(rf"{_MONTH}[-/., ]+{_YEAR}"),
    _pattern(rf"{_YEAR}[-/. ]{_MONTH}"),
)
"""A month without a day is its first one."""
_NUMBERS = _pattern(rf"{_WEEKDAY}(?P<first>\d{{1,2}})(?P<mark>[-/. ])(?P<next>\d{{1,2}})(?P=mark){_ANY_YEAR}\.?{_TIME}")
"""Two numbers and a year: which of the two is the day, an order has to say."""


def parse_date(text: str, order: DateOrder | None = None) -> int | None:
    """Epoch microseconds of a date or date-time; None where the text is none. Without a zone it is UTC.

    ISO 8601 is always read. With an order, so is the year first (``2024/12/31``, ``20241231``), the month by its
    English name (``31-Dec-2024``, ``Dec 31, 2024 8:30 PM``), and with ``dmy`` or ``mdy`` two numbers before the year.
    A year of two digits lies from 1970 to 2069; a month without a day (``2024-01``, ``Jan 2024``) is its first day.

    >>> parse_date("31/12/1969 23:59:59.5", "dmy"), parse_date("12/31/1969", "dmy")
    (-500000, None)
    """
    text = text.strip(BLANKS)
    if text[4:5] == "-" or order is None:
        try:
            return parse_timestamp(text)
        except ValueError:
            if order is None:
                return None
    digits = len(text) - len(text.lstrip("0123456789"))
    if digits == 4:
        match = _YEAR_FIRST.fullmatch(text)
    elif digits >= 8:
        match = _COMPACT[0].fullmatch(text) or _COMPACT[1].fullmatch(text)
    else:
        match = _NUMBERS.fullmatch(text)
        if match is not None and order != "ymd":
            parts = match.groupdict()
            day, month = ("first", "next") if order == "dmy" else ("next", "first")
            return _timestamp(parts | {"day": parts[day], "month": parts[month]})
        if match is not None:
            return None
    if match is None:
        match = next(filter(None, (pattern.fullmatch(text) for pattern in _NAMED)), None)
    if match is None and (match := next(filter(None, (p.fullmatch(text) for p in _MONTHS_ALONE)), None)):
        return _timestamp(match.groupdict() | {"day": "1"})
    return None if match is None else _timestamp(match.groupdict())


def _timestamp(parts: dict[str, str | None]) -> int | None:
    """Epoch microseconds of the parts of a match; None where there is no such moment."""
    year, hour = int(parts["year"] or 0), int(parts.get("hour") or 0)
    if len(parts["year"] or "") == 2:
        year += 1900 if year >= 70 else 2000
    name = parts.get("name")
    month = _MONTHS[name[:3].lower()] if name else int(parts["month"] or 0)
    half = parts.get("half")
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (half in "pP")
    elif parts.get("hour") and not parts.get("minute"):
        return None  # a bare hour says too little
    fraction = int(((parts.get("fraction") or "") + "000000")[:6])
    zone = (parts.get("zone") or "").lower()
    try:
        minute, second = int(parts.get("minute") or 0), int(parts.get("second") or 0)
        moment = datetime(year, month, int(parts["day"] or 0), hour, minute, second, fraction, tzinfo=UTC)
    except ValueError:
        return None
    micros = (moment - _EPOCH) // _MICROSECOND
    if zone[:1] in ("+", "-"):
        hours, minutes = int(zone[1:3]), int(zone[-2:] if len(zone) > 3 else 0)
        if hours > 23 or minutes > 59:
            return None
        offset = (hours * 60 + minutes) * 60_000_000
        micros -= -offset if zone[0] == "-" else offset
    return micros if FIRST_TIMESTAMP <= micros <= LAST_TIMESTAMP else None


def parse_epoch(text: str, unit: EpochUnit) -> int | None:
    """Epoch microseconds of a number of units since 1970; None where it is none, or beyond the years there are.

    Digits past the microsecond are cut off.

    >>> parse_epoch("1700000000", "s"), parse_epoch("1700000000123.0", "ms"), parse_epoch("-1500", "ns")
    (1700000000000000, 1700000000123000, -2)
    """
    match = _UNITS_SINCE.fullmatch(text.strip(BLANKS))
    if match is None:
        return None
    sign, whole, fraction = match.groups()
    # Digit by digit: nanoseconds are more than a double holds.
    units = int(f"{whole}{(fraction or '')[:6]:0<6}") * (-1 if sign == "-" else 1)
    micros = units // 10**9 if unit == "ns" else units * _MICROS[unit] // 10**6
    return micros if FIRST_TIMESTAMP <= micros <= LAST_TIMESTAMP else None
