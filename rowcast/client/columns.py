"""Python and NumPy values as columns, and those as JSON rows or as an Arrow stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rowcast.client.errors import Unsendable
from rowcast.client.values import Duration, Foreign, Inexact, Micros, plain
from rowcast.models.arrow import END
from rowcast.models.arrow import types as arrow_types
from rowcast.models.arrow import writer as arrow_writer
from rowcast.models.numpy_times import duration_micros, micros_of
from rowcast.models.texts.durations import format_duration
from rowcast.models.values import EXACT_WHOLE, FIRST_TIMESTAMP, LAST_TIMESTAMP, format_timestamp

_INT64 = np.iinfo(np.int64)
_NULL = type(None)
_FAMILIES = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    Micros: "a date",
    Duration: "a duration",
}


class Column(NamedTuple):
    """A column to be sent."""

    kind: arrow_types.Kind | None
    """None of values of several types, which JSON alone can hold."""
    values: NDArray[Any] | list[Any]
    """``[rows]``: texts, None where there is null, or numbers, booleans, or microseconds since the epoch or of a
    duration."""
    missing: NDArray[np.bool_] | None = None
    """``[rows]``: where there is null."""

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Any:  # of a slice a Column: a tuple's own meaning is of no use here
        missing = None if self.missing is None else self.missing[rows]
        return Column(self.kind, self.values[rows], missing)


def column_of(name: str, values: Any, rows: Sequence[int] | range | None = None) -> Column:
    """A column of a NumPy array or of any iterable of Python values.

    Args:
        name: of the column.
        values: one for each row.
        rows: which row of the caller's table each is, for errors; the first is row 0 unless given.

    Raises:
        Unsendable: the values are of no kind that is sent, or of several, or one cannot be sent; names its row.
    """
    where = _Where(name, rows)
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise Unsendable(f"column {name!r} must be one-dimensional, got the shape {values.shape}: use .ravel()")
        if values.dtype.kind in "biufMm":
            return _of_array(where, values)
        masked = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
        data = np.ma.getdata(values)
        listed = data.tolist() if data.dtype.kind in "OUT" else list(data)
        if masked is not None:
            listed = [None if gone else value for value, gone in zip(listed, masked.tolist(), strict=True)]
        return _of_objects(where, listed)
    if isinstance(values, str | bytes | Mapping | set | frozenset) or not isinstance(values, Iterable):
        raise Unsendable(
            f"column {name!r} must be a list of values, got {type(values).__name__}; a single row is sent as a "
            "list of one dict"
        )
    return _of_objects(where, list(values))


def to_arrow(columns: Mapping[str, Column], rows: int, first: int = 0) -> bytes:
    """An Arrow stream of one record batch.

    Raises:
        SeveralTypes: a column holds values of several types.
        Unsendable: its texts are too long.
    """
    kinds: list[tuple[str, arrow_types.Kind]] = []
    for name, column in columns.items():
        if column.kind is None:
            several = _several(name, list(column.values), first)
            raise SeveralTypes(f"{several}: choose protocol='json', or make it one type")
        kinds.append((name, column.kind))
    head = arrow_writer.schema(kinds)
    try:
        written = [
            arrow_writer.column(kind, c.values, c.missing) for (_, kind), c in zip(kinds, columns.values(), strict=True)
        ]
    except OverflowError as error:
        raise Unsendable(f"a request must hold less than 2 GiB of text in a column: {error}") from None
    return b"".join([head, *arrow_writer.batch(rows, written), END])


def to_rows(columns: Mapping[str, Column], rows: int) -> list[dict[str, Any]]:
    """Rows as JSON has them: what is missing is null, and a moment or a duration its ISO 8601 text."""
    values = list(map(_in_json, columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)] if values else [{}] * rows


class SeveralTypes(Unsendable):
    """A column that Arrow cannot hold, and JSON can."""


class _Where(NamedTuple):
    """How errors name a place in a column."""

    column: str
    rows: Sequence[int] | range | None

    def row(self, i: int) -> str:
        row = i if self.rows is None else self.rows[i]
        return f"rows[{row}].{self.column}"


def _in_json(column: Column) -> list[Any]:
    numbers = column.values
    if column.kind is None:
        return [_alone_in_json(value) for value in numbers]
    if isinstance(numbers, list):
        return numbers
    gone = np.zeros(len(numbers), bool) if column.missing is None else column.missing
    values: list[Any]
    if column.kind is arrow_types.MICROS:
        values = [format_timestamp(value) for value in numbers.tolist()]
    elif column.kind is arrow_types.DURATION:
        values = [format_duration(value / 10**6) for value in numbers.tolist()]
    elif column.kind is arrow_types.FLOAT64:
        gone = gone | np.isnan(numbers)
        present = numbers[~gone]
        if (np.abs(present) <= EXACT_WHOLE).all() and (np.floor(present) == present).all():
            # 3.0 and 3 are one number, but a category of whole numbers takes 3 alone: a gap made floats of whole ones
            values = np.where(gone, 0, numbers).astype(np.int64).tolist()
        else:
            values = numbers.tolist()
    else:
        values = numbers.tolist()
    if gone.any():
        values = [None if lost else value for value, lost in zip(values, gone.tolist(), strict=True)]
    return values


def _of_array(where: _Where, values: NDArray[Any]) -> Column:
    masked = None
    if isinstance(values, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(values)
        values = values.filled(values.dtype.type("NaT") if values.dtype.kind in "Mm" else 0)
    kind = values.dtype.kind
    if kind == "M":
        micros, missing, outside = micros_of(values)
        return _timestamps(where, micros, missing, outside)
    if kind == "m":
        return _durations(where, *duration_micros(values))
    if kind == "b":
        return Column(arrow_types.BOOL, values, _some(masked))
    if kind == "f":
        with np.errstate(over="ignore"):
            values = values.astype(np.float64, copy=False)
        _check(where, np.isinf(values), _infinite)
        return Column(arrow_types.FLOAT64, values, _some(masked))
    if kind == "u" and values.dtype.itemsize == 8:
        _check(where, values > _INT64.max, _beyond)
    return Column(arrow_types.INT64, values.astype(np.int64, copy=False), _some(masked))


def _of_objects(where: _Where, values: list[Any]) -> Column:
    """Python values, None where missing, all of one family."""
    types = set(map(type, values))
    if not types <= {_NULL, str} and types not in ({int}, {bool}):
        values = [_plain(where, i, value) for i, value in enumerate(values)]
        types = set(map(type, values))
    types.discard(_NULL)
    missing = np.array([value is None for value in values], bool)
    if not types:
        return Column(arrow_types.NULL, np.zeros(len(values)), missing)
    if types == {str}:
        _check_texts(where, values)
        return Column(arrow_types.UTF8, values)
    if types == {bool}:
        return Column(arrow_types.BOOL, np.array([value or False for value in values], bool), _some(missing))
    if types == {int}:
        return Column(arrow_types.INT64, _whole(where, values), _some(missing))
    if types <= {int, float}:
        numbers = _numbers(where, values)
        return Column(arrow_types.FLOAT64, np.where(missing, np.nan, numbers))
    if types == {Micros}:
        return _timestamps_of(where, values, missing)
    if types == {Duration}:
        beyond = np.array([abs(value or 0) > _INT64.max for value in values], bool)
        micros = [0 if lost else value or 0 for value, lost in zip(values, beyond.tolist(), strict=True)]
        return _durations(where, np.array(micros, np.int64), missing, beyond)
    return _several_types(where, values)


def _timestamps_of(where: _Where, values: list[Any], missing: NDArray[np.bool_]) -> Column:
    micros = np.array([value or 0 for value in values], np.int64)
    return _timestamps(where, micros, missing, (micros < FIRST_TIMESTAMP) | (micros > LAST_TIMESTAMP))


def _several_types(where: _Where, values: list[Any]) -> Column:
    """Values of several types as JSON has them, one by one: what each means is for the service to say."""
    _check_texts(where, [value if type(value) is str else None for value in values])
    _numbers(where, [value if type(value) is float else None for value in values])
    timestamps = [value if type(value) is Micros else None for value in values]
    _timestamps_of(where, timestamps, np.array([value is None for value in timestamps]))
    return Column(None, values)


def _alone_in_json(value: Any) -> Any:
    """A value of a column of several types, as JSON has it."""
    if type(value) is Micros:
        return format_timestamp(value)
    if type(value) is Duration:
        return format_duration(value / 10**6)
    if type(value) is float and value.is_integer() and abs(value) <= EXACT_WHOLE:
        return int(value)
    return value


def _several(name: str, values: Sequence[Any], row: int) -> str:
    """That a column holds values of several types, and where the first two of them are."""
    first: dict[str, int] = {}
    for i, value in enumerate(values):
        if value is not None:
            first.setdefault(_FAMILIES[type(value)], i)
    shown = " and ".join(f"{family} in rows[{row + i}]" for family, i in list(first.items())[:2])
    return f"column {name!r} must be of one type to be sent as Arrow, got {shown}"


def _plain(where: _Where, i: int, value: Any) -> Any:
    try:
        return plain(value)
    except Foreign as error:
        raise Unsendable(
            f"{where.row(i)} must be text, a number, a boolean, a date, a duration, or None where it is missing, "
            f"got {error}"
        ) from None
    except Inexact:
        raise Unsendable(
            f"{where.row(i)} must be a number that a double holds, got a whole number beyond 2**53 that none does: "
            "send the column as whole numbers, or as text"
        ) from None


def _numbers(where: _Where, values: list[Any]) -> NDArray[np.float64]:
    """Whole numbers and others as doubles, 0 where there is none."""
    numbers = np.zeros(len(values))
    for i, value in enumerate(values):
        try:
            number = float(value or 0)
        except OverflowError:
            number = math.inf
        if type(value) is int and number != value:
            raise Unsendable(
                f"{where.row(i)} must be a number that a double holds, got a whole number beyond 2**53 among others: "
                "send it as a float, or the column as whole numbers alone"
            )
        numbers[i] = number
    _check(where, np.isinf(numbers), _infinite)
    return numbers


def _whole(where: _Where, values: list[Any]) -> NDArray[np.int64]:
    try:
        return np.array([value or 0 for value in values], np.int64)
    except OverflowError:
        _check(where, [not _INT64.min <= (value or 0) <= _INT64.max for value in values], _beyond)
        raise


def _timestamps(
    where: _Where, micros: NDArray[np.int64], missing: NDArray[np.bool_], outside: NDArray[np.bool_]
) -> Column:
    _check(
        where,
        outside & ~missing,
        lambda place, name: (
            f"column {name!r} holds a timestamp outside of the years 0001 to 9999, in {place}: send None"
        ),
    )
    return Column(arrow_types.MICROS, np.where(missing, 0, micros), _some(missing))


def _durations(
    where: _Where, micros: NDArray[np.int64], missing: NDArray[np.bool_], beyond: NDArray[np.bool_]
) -> Column:
    _check(
        where,
        beyond,
        lambda place, _: f"{place} must be a duration in days or less that 64 bits hold in microseconds: send None",
    )
    return Column(arrow_types.DURATION, micros, _some(missing))


def _check_texts(where: _Where, values: list[str | None]) -> None:
    try:
        "".join(filter(None, values)).encode()
    except UnicodeEncodeError:
        for i, value in enumerate(values):
            try:
                (value or "").encode()
            except UnicodeEncodeError as error:
                raise Unsendable(
                    f"{where.row(i)} must be text that can be written in UTF-8, got {error.reason}: clean it with "
                    ".encode('utf-8', 'replace').decode()"
                ) from None


def _check(where: _Where, wrong: Iterable[Any], words: Callable[[str, str], str]) -> None:
    """Raise for the first row that is wrong."""
    places = np.flatnonzero(np.asarray(wrong))
    if len(places):
        raise Unsendable(words(where.row(int(places[0])), where.column))


def _infinite(place: str, _: str) -> str:
    return f"{place} must be a number, or NaN where it is missing, got inf or beyond what a double holds"


def _beyond(place: str, name: str) -> str:
    return f"column {name!r} holds a number beyond 64 bits, in {place}: send it as a float, or as text"


def _some(missing: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Where there is null, or None where there is none."""
    return missing if missing is not None and missing.any() else None
