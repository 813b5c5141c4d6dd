"""One value of a cell: whether it is missing, and what it is of the few types that are sent.

Types of pandas and pyarrow are known by their names, so that neither is imported for it.
"""

from __future__ import annotations

import datetime as dt
import enum
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from rowcast.models.numpy_times import duration_micros, micros_of
from rowcast.models.values import EXACT_WHOLE, LAST_TIMESTAMP

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY_ONE = _EPOCH.toordinal()
_MICROSECOND = dt.timedelta(microseconds=1)
_SECONDS_A_DAY = 86_400
_MICROS_A_DAY = _SECONDS_A_DAY * 10**6
_PLAIN = (type(None), bool, int, str)
_PANDAS_NOTHING = frozenset({"NaTType", "NAType"})

WAYS_OUT = {
    "bytes": "decode it to text",
    "bytearray": "decode it to text",
    "bytes_": "decode it to text",
    "complex": "send its parts as two columns",
    "complex128": "send its parts as two columns",
    "timedelta64": "make it days or less, and shorter than 292,000 years",
    "time": "send its isoformat()",
    "Period": "send its to_timestamp()",
    "UUID": "send it as str()",
    "list": "send one value a cell",
    "tuple": "send one value a cell",
    "dict": "send one value a cell",
    "set": "send one value a cell",
    "ndarray": "send one value a cell",
}
"""What a person can do about a type that is not sent."""


class Foreign(TypeError):
    """A value of a type that is not sent; its text is what came and the way out."""

    def __init__(self, value: Any) -> None:
        name = type(value).__name__
        super().__init__(f"{name}: {WAYS_OUT.get(name, 'turn it into one of these')}")


class Inexact(ValueError):
    """A whole number that no double holds exactly."""


class Micros(int):
    """A timestamp: microseconds since 1970-01-01T00:00:00Z."""


class Duration(int):
    """A duration in microseconds."""


def plain(value: Any) -> Any:
    """A value as None where it is missing, or as a bool, an int, a float, a str, :class:`Micros` or :class:`Duration`.

    Missing are None, NaN of every float type and of Decimal, NaT and NA of pandas, NaT of NumPy's datetime64 and
    timedelta64, a masked element, and a null of pyarrow.

    Raises:
        Foreign: it is of another type.
        Inexact: a Decimal or the like is a whole number that no double holds.
    """
    if type(value) in _PLAIN:
        return value
    if type(value) is float:
        return None if math.isnan(value) else value
    if isinstance(value, np.generic):
        return _of_numpy(value)
    module = type(value).__module__.partition(".")[0]
    if module == "pandas" and type(value).__name__ in _PANDAS_NOTHING:  # NaT is a datetime as well
        return None
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, dt.date):
        return _micros(value)
    if isinstance(value, dt.timedelta):  # digits of pandas past the microsecond are cut off
        return Duration((value.days * _SECONDS_A_DAY + value.seconds) * 10**6 + value.microseconds)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return plain(float(value))
    if isinstance(value, Decimal):
        return None if value.is_nan() else _double(value)
    if isinstance(value, Fraction):
        return _double(value)
    if module == "pyarrow" and hasattr(value, "as_py"):
        return _of_pyarrow(value)
    if value is np.ma.masked:
        return None
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # an array of no dimension, a tensor
        return plain(value[()] if isinstance(value, np.ndarray) else value.item())
    raise Foreign(value)


def _of_numpy(value: np.generic) -> Any:
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else _of_datetime64(value)
    if isinstance(value, np.timedelta64):  # which NumPy takes for a whole number
        if np.isnat(value):
            return None
        micros, _, outside = duration_micros(np.array([value]))
        if outside[0]:
            raise Foreign(value)
        return Duration(micros[0])
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.longdouble):
        return None if np.isnan(value) else _double(value)
    if isinstance(value, np.floating):
        return plain(float(value))
    if isinstance(value, np.str_):
        return str.__str__(value)
    raise Foreign(value)


def _of_datetime64(value: np.datetime64) -> Micros:
    micros, _, outside = micros_of(np.array([value]))
    return Micros(LAST_TIMESTAMP + 1 if outside[0] else micros[0])


def _of_pyarrow(value: Any) -> Any:
    if not value.is_valid:
        return None
    try:
        return plain(value.as_py())
    except ValueError:  # nanoseconds, which Python's datetime does not have
        of = np.timedelta64 if str(value.type).startswith("duration") else np.datetime64
        return plain(of(value.value, value.type.unit))


def _double(value: Any) -> float:
    """The nearest double; only of a whole number it has to be the same."""
    try:
        double = float(value)
    except OverflowError:
        return math.inf
    except ValueError:  # a signalling NaN
        return math.nan
    if math.isfinite(double) and abs(double) >= EXACT_WHOLE and double != value and value == int(value):
        raise Inexact
    return double


def _micros(value: dt.date) -> Micros:
    """Without a zone it is UTC; digits past the microsecond are cut off."""
    if not isinstance(value, dt.datetime):
        return Micros((value.toordinal() - _DAY_ONE) * _MICROS_A_DAY)
    if type(value) is not dt.datetime:  # a Timestamp of pandas has arithmetic of its own
        value = dt.datetime(
            value.year,
            value.month,
            value.day,
            value.hour,
            value.minute,
            value.second,
            value.microsecond,
            value.tzinfo,
            fold=value.fold,
        )
    if value.utcoffset() is None:
        value = value.replace(tzinfo=dt.UTC)
    return Micros((value - _EPOCH) // _MICROSECOND)
