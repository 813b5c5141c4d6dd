"""Python values to one typed column: numbers, text, booleans, dates, times of day or durations, null where missing."""

from __future__ import annotations

import datetime as dt
import enum
import ipaddress
import math
import re
import uuid
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.levels import boolean_level, number_level
from rowcast.models.numpy_times import duration_micros, micros_of
from rowcast.models.values import EXACT_WHOLE, format_timestamp

_PLAIN = frozenset({str, int, bool, type(None)})
_SAID_AS_TEXT = (uuid.UUID, PurePath, ipaddress.IPv4Address, ipaddress.IPv6Address)
_WORDS = {
    "text": "text",
    "a number": "number",
    "a boolean": "boolean",
    "a date": "date",
    "a time of day": "time",
    "a duration": "duration",
}
BEYOND_DATES = "a date outside of the years 0001 to 9999"
BEYOND_DURATIONS = "a duration of no certain length (months, years), or too long for microseconds in 64 bits"
_INT64, _UINT64 = (-(2**63), 2**63 - 1), (0, 2**64 - 1)
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


class Unusable(Exception):
    """A column that no model can take; the text says why and ends in no way out, which the caller adds."""


class Mixed(Exception):
    """A column of values of several kinds, all of them such as a model may take.

    Args:
        texts: each value as a file would hold it, null where missing.
        kinds: what each is, ``[rows]``: ``text``, ``number``, ``boolean``, ``date``, ``time``, ``duration``, or empty.
    """

    def __init__(self, texts: pl.Series, kinds: NDArray[np.str_]) -> None:
        super().__init__(f"column {texts.name!r} mixes types")
        self.texts = texts
        self.kinds = kinds


def series_of(name: str, values: Sequence[Any]) -> pl.Series:
    """A column of Python values, which must be of one kind.

    None, NaN of every type, ``pandas.NA`` and NaT are null. Whole numbers and decimals are decimals; dates and
    date-times are date-times in UTC. Whole numbers beyond 64 bits become text, digit by digit, so that none is lost.

    Raises:
        Mixed: the values are of several kinds; what they mean is for the column's reading to say.
        Unusable: a value is of a kind that no model takes; names the row and the Python type.
    """
    values = [value if type(value) in _PLAIN else native(value) for value in values]
    kinds: dict[str, int] = {}
    firsts: dict[type[Any], int] = {}
    for row, value in enumerate(values, 1):
        if type(value) not in firsts:  # a column of millions holds a few types
            firsts[type(value)] = row
            if value is not None:
                kinds.setdefault(_kind(value), row)
    kind, row = next(((kind, row) for kind, row in kinds.items() if kind not in _WORDS), ("", 0))
    if kind:
        raise _foreign(name, kind, row)
    kind, row = next(iter(kinds.items()), ("text", 0))
    try:
        if len(kinds) > 1:
            texts = pl.Series(name, [None if value is None else _as_text(value) for value in values], pl.String)
            raise Mixed(texts, np.array(["" if value is None else _WORDS[_kind(value)] for value in values]))
        return _typed(name, kind, values)
    except UnicodeEncodeError:
        row = next(r for r, value in enumerate(values, 1) if value is not None and half_character(value))
        raise Unusable(f"column {name!r}, row {row}, holds {describe_half(values[row - 1])}; mend it") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError, OverflowError) as error:
        said = str(error).partition("\n")[0]
        raise Unusable(f"column {name!r} holds {kind} that cannot be read ({said}); convert it") from None


def native(value: Any) -> Any:
    """The plain Python value of a scalar of NumPy, pandas, Arrow or an enum; None where it is missing."""
    if isinstance(value, np.datetime64 | np.timedelta64):
        return _of_numpy_time(value)
    if value is np.ma.masked:
        return None
    if isinstance(value, np.longdouble):
        value = float(value)
    elif isinstance(value, np.generic) or (hasattr(value, "item") and getattr(value, "ndim", None) == 0):
        value = value.item()
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Decimal):
        return None if value.is_nan() else value
    if isinstance(value, enum.Enum):
        return native(value.value)
    library = type(value).__module__.partition(".")[0]
    if library == "pandas" and type(value).__name__ in ("NAType", "NaTType"):
        return None
    if library == "pandas" and type(value).__name__ in ("Period", "Interval"):
        return str(value)
    if library == "pyarrow" and hasattr(value, "as_py"):
        return native(value.as_py())
    return str(value) if isinstance(value, _SAID_AS_TEXT) else value


def _of_numpy_time(value: np.datetime64 | np.timedelta64) -> Any:
    """A date, date-time or duration of Python; the value itself where Python has none for it."""
    read = micros_of if isinstance(value, np.datetime64) else duration_micros
    micros, missing, outside = read(np.array([value]))
    if missing[0] or outside[0]:
        return None if missing[0] else value
    days = isinstance(value, np.datetime64) and np.datetime_data(value.dtype)[0] == "D"
    found = value.item() if days else micros.view(f"{value.dtype.kind}8[us]")[0].item()
    return found if isinstance(found, dt.date | dt.timedelta) else value


def half_character(text: str) -> bool:
    """Whether a text holds a lone surrogate: half of a character, as what cuts text anywhere leaves of an emoji."""
    return _HALF_CHARACTER.search(text) is not None


def describe_half(text: str) -> str:
    """What is wrong with such a text, for errors."""
    found = _HALF_CHARACTER.search(text)
    assert found is not None
    return f"half of a character (the lone surrogate \\u{ord(found[0]):04x}; cutting a text inside an emoji leaves one)"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float | Decimal | Fraction):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, dt.date):  # a datetime is one too
        return "a date"
    if isinstance(value, dt.time):
        return "a time of day"
    if isinstance(value, dt.timedelta):
        return "a duration"
    if isinstance(value, np.datetime64 | np.timedelta64):
        return BEYOND_DATES if isinstance(value, np.datetime64) else BEYOND_DURATIONS
    python = type(value)
    return python.__qualname__ if python.__module__ == "builtins" else f"{python.__module__}.{python.__qualname__}"


def _typed(name: str, kind: str, values: list[Any]) -> pl.Series:
    if kind == "text":
        return pl.Series(name, values, pl.String)
    if kind == "a number":
        return _numbers(name, values)
    if kind == "a boolean":
        return pl.Series(name, values, pl.Boolean)
    if kind == "a date":
        if not any(isinstance(value, dt.datetime) for value in values):
            return pl.Series(name, values, pl.Date)
        return pl.Series(name, [_utc(value) for value in values], pl.Datetime("us"))
    if kind == "a time of day":
        return pl.Series(name, [None if value is None else value.replace(tzinfo=None) for value in values], pl.Time)
    return pl.Series(name, values, pl.Duration("us"))


def _foreign(name: str, kind: str, row: int) -> Unusable:
    return Unusable(
        f"a column holds text, numbers, booleans, dates, times or durations, got {kind} in row {row} of column "
        f"{name!r}; convert it"
    )


def _as_text(value: Any) -> str:
    """A value as a file would hold it, to be read as the same value."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return boolean_level(value)
    if isinstance(value, dt.datetime):
        return format_timestamp(int(pl.Series([_utc(value)], dtype=pl.Datetime("us")).to_physical()[0]))
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, float | Fraction):
        value = float(value)
        return number_level(value) if abs(value) <= EXACT_WHOLE else repr(value)
    return str(value)


def _numbers(name: str, values: list[Any]) -> pl.Series:
    present = [value for value in values if value is not None]
    if all(isinstance(value, int) for value in present):
        low, high = min(present), max(present)
        for (least, most), dtype in ((_INT64, pl.Int64), (_UINT64, pl.UInt64)):
            if least <= low and high <= most:
                return pl.Series(name, values, dtype)
        return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)
    try:
        return pl.Series(name, [None if value is None else float(value) for value in values], pl.Float64)
    except OverflowError:  # text says which number it is that a double cannot hold
        return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)


def _utc(value: dt.date | None) -> dt.datetime | None:
    if value is None:
        return None
    if not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - no zone means UTC
    return value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
