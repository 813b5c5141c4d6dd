"""The values of an Arrow column of any type that its kind takes, as the arrays that its block reads."""

from __future__ import annotations

import numpy as np

from rowcast.models.arrow import Texts, Type, Values
from rowcast.models.errors import RequestError
from rowcast.models.signature import Column
from rowcast.models.texts.columns import digits_of
from rowcast.models.values import FIRST_TIMESTAMP, LAST_TIMESTAMP

OUTSIDE = "must be a timestamp of the years 0001 to 9999"
_DAY = 86_400_000_000


def to_arrays(values: Values, type_: Type, column: Column) -> tuple[Values, list[int]]:
    """Values of a type as a column takes them; and the first of the rows that are :data:`OUTSIDE`."""
    if type_.family == "timestamp":
        return _micros(values, type_)
    if type_.family == "duration":
        return Values(np.asarray(values.values) / float(type_.scale), values.missing), []
    if type_.family == "null":
        return _nulls(len(values.values), column), []
    if type_.family in ("integer", "float") and column.dtype == np.int64:
        return _digits(values), []
    return values, []


def _micros(values: Values, type_: Type) -> tuple[Values, list[int]]:
    """Units since the epoch in microseconds; and the rows that lie outside of the years that there are."""
    units = np.asarray(values.values).astype(np.int64)
    if type_.scale == 10**9:
        units, each = units // 1000, 1  # digits past the microsecond are cut off
    else:
        each = 10**6 // type_.scale if type_.scale else _DAY
    outside = (units > LAST_TIMESTAMP // each) | (units < -(-FIRST_TIMESTAMP // each))
    if values.missing is not None:
        outside &= ~values.missing
        units[values.missing] = 0
    return Values(units * each, values.missing), np.flatnonzero(outside)[: RequestError.MAX_FAULTS].tolist()


def _digits(values: Values) -> Values:
    """Numbers as the texts that they are written as; NaN is missing, as it is everywhere."""
    missing = np.zeros(len(values.values), bool) if values.missing is None else values.missing
    pairs = zip(np.asarray(values.values).tolist(), missing.tolist(), strict=True)
    return Values(Texts([None if gone or value != value else digits_of(value) for value, gone in pairs]))


def _nulls(rows: int, column: Column) -> Values:
    """Nulls, in a form that a column takes."""
    if column.dtype == object:
        return Values(Texts([None] * rows))
    return Values(np.zeros(rows, np.int64), np.ones(rows, bool))
