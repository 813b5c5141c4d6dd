"""One JSON value to one graph value, by the column's kind: the rules a served row has to keep.

Training reads whole columns with the same rules (``training/columns/infer.py``); a test holds the two together.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

EXACT_WHOLE = 2**53
"""Whole numbers up to this size are exact as a double."""

FIRST_TIMESTAMP, LAST_TIMESTAMP = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Epoch microseconds of 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - for texts whose Z is cut off
_MICROSECOND = timedelta(microseconds=1)

TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
    r"(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)
"""ISO 8601 date or date-time, years 0001 to 9999; digits past the microsecond are cut off."""


def parse_timestamp(text: str) -> int:
    """Epoch microseconds of an ISO 8601 date or date-time; without a zone it is UTC.

    >>> parse_timestamp("1970-01-01T01:00:00.5+01:00")
    500000

    Raises:
        ValueError: the text is no such date.
    """
    if _is_usual(text):
        try:
            return (datetime.fromisoformat(text[:-1]) - _NAIVE_EPOCH) // _MICROSECOND
        except ValueError:
            pass  # the long way finds the words for it
    match = TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError("is not an ISO 8601 date or date-time such as 2013-07-01T08:30:00Z")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
    except ValueError as error:
        raise ValueError(f"is not a date that exists: {error}") from None
    micros = (moment - _EPOCH) // _MICROSECOND + int(((fraction or "") + "000000")[:6]) - _zone_offset(zone)
    if not FIRST_TIMESTAMP <= micros <= LAST_TIMESTAMP:
        raise ValueError("lies outside the years 0001 to 9999 in UTC")
    return micros


def _is_usual(text: str) -> bool:
    """Whether a text looks like ``2013-07-01T08:30:00Z``, with or without six digits after the seconds.

    Python reads these ten times as fast as the pattern does. It reads other forms as well (weeks, ``24:00`` from Python
    3.14 on), which are not for us: hence the look at each place where they differ.
    """
    marks = text[4:20:3]
    if marks == "--T::Z":
        return len(text) == 20 and text[11:13] != "24"
    # A fraction of six digits and nothing else: after fewer, Python would read a zone as well ("00.123+01").
    return marks == "--T::." and len(text) == 27 and text[26] == "Z" and text[11:13] != "24" and text[20:26].isdigit()


def _zone_offset(zone: str | None) -> int:
    if zone is None or zone in "Zz":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:] if len(zone) > 3 else 0)
    if hours > 23 or minutes > 59:
        raise ValueError(f"has a zone that does not exist: {zone}")
    return (hours * 60 + minutes) * 60_000_000 * (-1 if zone[0] == "-" else 1)


def format_timestamp(micros: int) -> str:
    """The ISO 8601 text of epoch microseconds, in UTC: ``1970-01-01T00:00:00.500000Z``."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
