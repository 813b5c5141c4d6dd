"""Times of day and durations as people and tools write them, in seconds."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from rowcast.models.texts.numbers import BLANKS, MINUS

_CLOCK = re.compile(
    r"(?P<sign>[+-])?(?:(?P<days>\d{1,7})(?: days?(?P<comma>,)? *|d ?|\.))?(?P<inner>[+-])?"
    r"(?P<hours>\d{1,6}):(?P<minutes>[0-5]\d)(?::(?P<seconds>[0-5]\d(?:[.,]\d{0,9})?))?"
    r"(?: ?(?P<half>[ap])\.?m\.?)?",
    re.ASCII | re.IGNORECASE,
)
_HOUR = re.compile(r"(?P<hours>1[0-2]|0?[1-9]) ?(?P<half>[ap])\.?m\.?", re.ASCII | re.IGNORECASE)
_ISO_NUMBER = r"[+-]?\d+(?:[.,]\d+)?"
_ISO = re.compile(
    rf"(?P<sign>[+-])?P(?=[\dT+-])(?:(?P<weeks>{_ISO_NUMBER})W)?(?:(?P<days>{_ISO_NUMBER})D)?"
    rf"(?:T(?=[\d+-])(?:(?P<hours>{_ISO_NUMBER})H)?(?:(?P<minutes>{_ISO_NUMBER})M)?(?:(?P<seconds>{_ISO_NUMBER})S)?)?",
    re.ASCII | re.IGNORECASE,
)
"""Each part may have a sign of its own: pandas writes an hour before zero as ``P-1DT23H0M0S``."""
_PART = re.compile(r"(\d+(?:\.\d+)?) *([a-zµ]+)(?:,? +and +|, *| *)", re.ASCII | re.IGNORECASE)
_UNITS = {
    unit: seconds
    for seconds, units in (
        (604800.0, "w wk wks week weeks"),
        (86400.0, "d day days"),
        (3600.0, "h hr hrs hour hours"),
        (60.0, "m min mins minute minutes"),
        (1.0, "s sec secs second seconds"),
        (1e-3, "ms millisecond milliseconds"),
        (1e-6, "us µs microsecond microseconds"),
        (1e-9, "ns nanosecond nanoseconds"),
    )
    for unit in units.split()
}
_EXACT = 2.0**53
"""Seconds from which on a double has no fractions."""
_SECONDS = {"weeks": 604800.0, "days": 86400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0}


def parse_duration(text: str) -> float | None:
    """The seconds of a time of day or a duration; None where the text is neither.

    ``08:30`` is hours and minutes; ``8:30 PM``, ``1:02:03.5``, ``2 days 03:00:00`` (pandas), ``1.02:03:04`` (.NET),
    ``P1DT2H`` (ISO 8601, no years or months, whose length varies; a part may be negative) and ``1h 30m`` are read as
    well.

    >>> parse_duration("08:30"), parse_duration("-1 days +23:00:00"), parse_duration("P-1DT23H"), parse_duration("PT9S")
    (30600.0, -3600.0, -3600.0, 9.0)
    """
    seconds = _seconds(text.strip(BLANKS))
    return seconds if seconds is not None and math.isfinite(seconds) else None


def format_duration(seconds: float) -> str:
    """The ISO 8601 text of a finite number of seconds, in days, hours, minutes and seconds.

    >>> format_duration(5400.0), format_duration(-93784.5), format_duration(0.0)
    ('PT1H30M', '-P1DT2H3M4.5S', 'PT0S')
    """
    seconds = float(seconds)
    whole, fraction = divmod(abs(Decimal(repr(seconds))), 1) if abs(seconds) < _EXACT else (int(abs(seconds)), 0)
    minutes, left = divmod(int(whole), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = [f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M")) if count]
    if left or fraction or not (days or clock):
        clock.append(f"{left}{format(fraction, 'f').lstrip('0') if fraction else ''}S")
    date = f"{days}D" if days else ""
    return f"{'-' if seconds < 0 else ''}P{date}{'T' if clock else ''}{''.join(clock)}"


def _seconds(text: str) -> float | None:
    """The seconds of a text without blanks around; infinite where a double cannot hold them."""
    if text and text[0] in MINUS:
        text = "-" + text[1:].lstrip(BLANKS)
    if match := _CLOCK.fullmatch(text):
        return _of_clock(match)
    if match := _HOUR.fullmatch(text):
        return 3600.0 * (int(match["hours"]) % 12 + 12 * (match["half"] in "pP"))
    if match := _ISO.fullmatch(text):
        parts = [float(match[name].replace(",", ".")) * scale for name, scale in _SECONDS.items() if match[name]]
        return None if not parts else -sum(parts) if match["sign"] == "-" else sum(parts)
    return _of_words(text)


def _of_clock(match: re.Match[str]) -> float | None:
    hours, days = int(match["hours"]), match["days"]
    if match["half"]:
        if not 1 <= hours <= 12 or days or match["sign"]:
            return None
        hours = hours % 12 + 12 * (match["half"] in "pP")
    if (days and hours > 23) or (match["inner"] and not days):
        return None
    clock = hours * 3600.0 + int(match["minutes"]) * 60.0 + float((match["seconds"] or "0").replace(",", "."))
    behind = match["sign"] == "-"
    if days and (match["inner"] or match["comma"]):
        # pandas and Python count a clock forward from whole days: -1 day, 23:00:00 is an hour before zero.
        return (-86400.0 if behind else 86400.0) * int(days) + (-clock if match["inner"] == "-" else clock)
    total = 86400.0 * int(days or 0) + clock
    return -total if behind else total


def _of_words(text: str) -> float | None:
    """Numbers with units of time, each unit once and the larger before the smaller: ``1h 30m``."""
    negative, place, total, last = text.startswith("-"), int(text.startswith("-")), 0.0, float("inf")
    if place == len(text):
        return None
    while place < len(text):
        match = _PART.match(text, place)
        scale = None if match is None else _UNITS.get(match[2].lower())
        if match is None or scale is None or scale >= last:
            return None
        total, last, place = total + float(match[1]) * scale, scale, match.end()
    return -total if negative else total
