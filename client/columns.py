"""Python and NumPy values as columns, and those as JSON rows or as an Arrow stream."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from client.errors import Unsendable
from models.arrow import END
from models.arrow import writer as arrow_writer
from models.values import format_timestamp

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class Column(NamedTuple):
    """A column to be sent."""

    kind: arrow_writer.Kind
    values: NDArray[Any] | list[str | None]
    """``[rows]``: texts, None where there is null, or numbers, booleans, or microseconds since the epoch."""
    missing: NDArray[np.bool_] | None = None
    """``[rows]``: where there is null."""

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Any:  # of a slice a Column: a tuple's own meaning is of no use here
        missing = None if self.missing is None else self.missing[rows]
        return Column(self.kind, self.values[rows], missing)


def column_of(name: str, values: Any) -> Column:
    """A column of a NumPy array or of any iterable of Python values.

    Raises:
        Unsendable: the values are of no kind that is sent, or of several.
    """
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "biufM":
        return _of_array(name, values)
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise Unsendable(f"column {name!r} must be a list of values, however: {type(values).__name__}")
    return _of_objects(name, [value.item() if isinstance(value, np.generic) else value for value in values])


def to_arrow(columns: Mapping[str, Column]) -> bytes:
    """An Arrow stream of one record batch.

    Raises:
        Unsendable: a text cannot be written in UTF-8.
    """
    rows = len(next(iter(columns.values())))
    head = arrow_writer.schema([(name, column.kind) for name, column in columns.items()])
    try:
        written = [arrow_writer.column(*column) for column in columns.values()]
    except UnicodeEncodeError as error:
        raise Unsendable(f"a text cannot be written in UTF-8: {error.reason}") from None
    return b"".join([head, *arrow_writer.batch(rows, written), END])


def to_rows(columns: Mapping[str, Column]) -> list[dict[str, Any]]:
    """Rows as JSON has them: NaN is null, and a moment its ISO 8601 text.

    Raises:
        Unsendable: a number is infinite, which JSON cannot say.
    """
    values = [_in_json(name, column) for name, column in columns.items()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _in_json(name: str, column: Column) -> list[Any]:
    values: list[Any] = column.values if isinstance(column.values, list) else column.values.tolist()
    if column.kind is arrow_writer.MICROS:
        try:
            values = [format_timestamp(value) for value in values]
        except OverflowError:
            raise Unsendable(f"column {name!r} holds a moment outside of the years 0001 to 9999") from None
    elif column.kind is arrow_writer.FLOAT64:
        for row, value in enumerate(values):
            if math.isinf(value):
                raise Unsendable(f"rows[{row}].{name} must be a number, or NaN where it is missing, however: {value}")
        values = [None if math.isnan(value) else value for value in values]
    if column.missing is not None:
        values = [None if gone else value for value, gone in zip(values, column.missing.tolist(), strict=True)]
    return values


def _of_array(name: str, values: NDArray[Any]) -> Column:
    kind = values.dtype.kind
    if kind == "M":
        missing = np.isnat(values)
        micros = values.astype("datetime64[us]").view(np.int64)
        return Column(arrow_writer.MICROS, np.where(missing, 0, micros), missing if missing.any() else None)
    if kind == "b":
        return Column(arrow_writer.BOOL, values)
    if kind == "f":
        return Column(arrow_writer.FLOAT64, values.astype(np.float64, copy=False))
    if kind == "u" and len(values) and int(values.max()) > np.iinfo(np.int64).max:
        raise Unsendable(f"column {name!r} holds {values.max()}, which is beyond 64 bits: send it as floats")
    return Column(arrow_writer.INT64, values.astype(np.int64, copy=False))


def _of_objects(name: str, values: list[Any]) -> Column:
    """Python values, None where missing, all of one family."""
    present = [value for value in values if value is not None]
    families = {_family(value) for value in present}
    missing = np.array([value is None for value in values], bool) if len(present) < len(values) else None
    if not families:
        return Column(arrow_writer.NULL, np.zeros(len(values)), np.ones(len(values), bool))
    if families == {"text"}:
        return Column(arrow_writer.UTF8, values)
    if families == {"booleans"}:
        return Column(arrow_writer.BOOL, np.array([value or False for value in values], bool), missing)
    if families == {"whole numbers"}:
        try:
            return Column(arrow_writer.INT64, np.array([value or 0 for value in values], np.int64), missing)
        except OverflowError:
            raise Unsendable(f"column {name!r} holds a number beyond 64 bits: send it as floats") from None
    if families <= {"whole numbers", "numbers"}:
        return Column(arrow_writer.FLOAT64, np.array([math.nan if v is None else float(v) for v in values]), missing)
    if families == {"dates"}:
        return Column(
            arrow_writer.MICROS, np.array([0 if v is None else _micros(v) for v in values], np.int64), missing
        )
    raise Unsendable(
        f"column {name!r} must hold text, numbers, booleans or dates, and one of them only, "
        f"however: {', '.join(sorted(families))}"
    )


def _family(value: Any) -> str:
    if isinstance(value, bool):
        return "booleans"
    if isinstance(value, int):
        return "whole numbers"
    if isinstance(value, float | Decimal):
        return "numbers"
    if isinstance(value, str):
        return "text"
    return "dates" if isinstance(value, dt.date) else type(value).__name__


def _micros(value: dt.date) -> int:
    """Microseconds since the epoch; without a zone it is UTC."""
    if not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    return ((value if value.tzinfo else value.replace(tzinfo=dt.UTC)) - _EPOCH) // _MICROSECOND
