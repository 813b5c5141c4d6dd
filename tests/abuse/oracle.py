"""The rules of a request's body, read a second time: slowly, with Python's own JSON parser, sharing no code.

It says what is accepted and as which values, and nothing of the words in which the rest is refused.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np

from rowcast.models.signature import Column, Signature

_DAY = r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(:(?P<second>[0-9]{2})([.,](?P<fraction>[0-9]{1,9}))?)?"
_ZONE = r"(?P<utc>[Zz])|(?P<sign>[+-])(?P<hours>[0-9]{2})(:?(?P<minutes>[0-9]{2}))?"
_MOMENT = re.compile(rf"{_DAY}([Tt ]{_CLOCK}({_ZONE})?)?")
_PRINTED = re.compile(r"0|-?([1-9][0-9]*|(0|[1-9][0-9]*)[.][0-9]*|[.][0-9]+|[1-9]([.][0-9]+)?e-[0-9]+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


class Refused(Exception):
    """The body breaks a rule."""


class _Whole(int):
    """A whole-number literal: how a number was written matters."""


def read(body: bytes, signature: Signature, max_rows: int) -> list[dict[str, Any]]:
    """The rows of a body: float, bool, str, datetime in microseconds since 1970, or None, for every column.

    Raises:
        Refused: it breaks a rule.
    """
    try:
        text = body.decode("utf-8")
        content = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise Refused(error) from None
    if not isinstance(content, dict) or list(content) != ["rows"] or not isinstance(content["rows"], list):
        raise Refused("no object of rows")
    if not 0 < len(content["rows"]) <= max_rows:
        raise Refused("too few or too many rows")
    return [_row(row, signature) for row in content["rows"]]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise Refused("a key twice")
    for key, value in pairs:
        for text in (key, value):
            if isinstance(text, str):
                text.encode()  # a lone surrogate cannot be encoded: ValueError
    return dict(pairs)


def _refuse(constant: str) -> None:
    raise Refused(constant)


def _whole(literal: str) -> _Whole:
    if len(literal) > 4000:
        raise Refused("more digits than anyone reads")
    return _Whole(literal)


def _row(row: Any, signature: Signature) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise Refused("no row")
    if not set(row) <= set(signature.names):
        raise Refused("a column that is none")
    if any(column.name not in row and not column.nullable for column in signature.columns):
        raise Refused("a column is missing")
    return {column.name: _value(row.get(column.name), column) for column in signature.columns}


def _value(value: Any, column: Column) -> Any:
    if value is None:
        return None
    if column.kind == "boolean" and isinstance(value, bool):
        return value
    if column.kind == "timestamp" and isinstance(value, str):
        return _microseconds(value)
    if column.kind == "category" and isinstance(value, str):
        return _level(value) if column.whole_levels else value
    if isinstance(value, _Whole | float) and column.kind == "category" and column.whole_levels:
        if isinstance(value, float) and not value.is_integer():  # infinity, which 1e400 is read as, is none either
            raise Refused("no whole level")
        return str(int(value))
    if isinstance(value, _Whole) and column.kind in {"number", "integer"} and -(2**53) <= value <= 2**53:
        return float(value)
    if isinstance(value, float) and abs(value) < float("inf"):
        whole = value == int(value)
        if column.kind == "number" or (column.kind == "integer" and whole):
            return value
    raise Refused(f"{column.kind}: {value!r}")


def _level(text: str) -> str:
    """The one level of all the ways to write a number as numbers print: 12 for 12.0, and 012 for itself."""
    if len(text) > 400 or not _PRINTED.fullmatch(text) or text.lstrip("-").isdigit():
        return text
    number = float(text)
    if number.is_integer():
        return str(int(number))
    single = np.float32(number)  # whose own digits are fewer
    return str(single) if len(repr(number)) >= 15 and float(single) == number else repr(number)


def _microseconds(text: str) -> int:
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise Refused(text)
    part = {name: int(value) for name, value in match.groupdict(0).items() if name not in {"utc", "sign", "fraction"}}
    zone = timedelta(hours=part["hours"], minutes=part["minutes"])
    if part["minutes"] > 59:
        raise Refused(text)
    try:
        moment = datetime(
            *(part[name] for name in ("year", "month", "day", "hour", "minute", "second")),
            microsecond=int((match["fraction"] or "0").ljust(6, "0")[:6]),
            tzinfo=timezone(-zone if match["sign"] == "-" else zone),
        )
    except ValueError:
        raise Refused(text) from None
    if not _FIRST <= moment <= _LAST:
        raise Refused(text)
    return (moment - _EPOCH) // timedelta(microseconds=1)
