"""Data frames and dicts of columns to one plain form: text, numbers, booleans, decimals, dates and UTC date-times.

An empty string and NaN are null there, as they are in text files. What is none of these (lists, durations, ...) keeps
its type, and is refused by name once a column of it is to be used.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from models.errors import TableError

_INT64_MIN = np.iinfo(np.int64).min


def to_frame(source: Any) -> pl.DataFrame:
    """Take a polars or pandas data frame, or a dict of columns.

    Raises:
        TableError: it is none of these, or a column mixes types; names column, row and the way out.
    """
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if isinstance(source, pl.DataFrame):
        return source
    if _is_pandas(source):
        names = [str(name) for name in source.columns]
        return _from_columns(zip(names, (_from_pandas(n, source.iloc[:, i]) for i, n in enumerate(names)), strict=True))
    if isinstance(source, Mapping):
        return _from_columns((str(name), _from_any(str(name), values)) for name, values in source.items())
    raise TableError(
        "a table is a file, a polars or pandas data frame, or a dict of columns, "
        f"however: {type(source).__module__}.{type(source).__qualname__}"
    )


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """The same columns in their plain form."""
    return frame.select(_plain(column) for column in frame.get_columns())


def _plain(column: pl.Series) -> pl.Series:
    dtype = column.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        column, dtype = column.cast(pl.String), pl.String()
    if dtype == pl.String:
        return column.set(column == "", None)
    if dtype.is_float():
        return column.fill_nan(None)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column


def _from_columns(columns: Iterable[tuple[str, pl.Series]]) -> pl.DataFrame:
    named: dict[str, pl.Series] = {}
    for name, values in columns:
        if name in named:
            raise TableError(f"data frame: column names must differ, however: {name!r} comes twice; rename one of them")
        if named and len(values) != len(first := next(iter(named.values()))):
            raise TableError(
                f"data frame: columns must be of one length, however: {first.name!r} holds {len(first)} rows "
                f"and {name!r} holds {len(values)}; make them equal"
            )
        named[name] = values.alias(name)
    return pl.DataFrame(named)


def _is_pandas(source: Any) -> bool:
    # Asked by name: pandas need not be installed.
    return type(source).__module__.partition(".")[0] == "pandas" and hasattr(source, "iloc") and source.ndim == 2


def _from_pandas(name: str, column: Any) -> pl.Series:
    """One pandas column, without pyarrow."""
    kind, values = column.dtype.kind, None
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(column.dtype, np.dtype):
        values = column.to_numpy()
        if kind in "biuf":
            return pl.Series(name, values)
        if kind == "M":
            return _from_moments(name, values)
    elif kind == "M":
        return _from_moments(name, column.to_numpy())
    is_category = hasattr(column, "cat")
    absent = column.isna().to_numpy()
    objects = column.astype(object).to_numpy()
    if is_category:
        levels = [None if gone else str(v) for v, gone in zip(objects, absent, strict=True)]
        return pl.Series(name, levels, pl.String).cast(pl.Categorical())
    return _from_objects(name, [None if gone else v for v, gone in zip(objects, absent, strict=True)])


def _from_moments(name: str, values: Any) -> pl.Series:
    micros = values.astype("datetime64[us]").view(np.int64)  # NaT stays INT64_MIN
    series = pl.Series(name, micros)
    return series.set(series == _INT64_MIN, None).cast(pl.Datetime("us"))


def _from_any(name: str, values: Any) -> pl.Series:
    if isinstance(values, pl.Series):
        return values
    if type(values).__module__.partition(".")[0] == "pandas" and hasattr(values, "to_frame"):
        return _from_pandas(name, values)
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "biuf":
        return pl.Series(name, values)
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind == "M":
        return _from_moments(name, values)
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TableError(f"data frame: column {name!r} must be a list of values, however: {values!r}")
    return _from_objects(name, [_python(value) for value in values])


def _python(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else value


def _from_objects(name: str, values: list[Any]) -> pl.Series:
    """A list of Python objects, None where missing, all of one type."""
    values = [_python(value) for value in values]
    kinds: dict[str, int] = {}
    for row, value in enumerate(values, 1):
        if value is not None:
            kinds.setdefault(_family(value), row)
    if len(kinds) > 1:
        (first, first_row), (other, other_row) = list(kinds.items())[:2]
        raise TableError(
            f"data frame: column {name!r} mixes types: {first} in row {first_row}, {other} in row {other_row}; "
            f"make it one type, for example text with astype(str), or leave it out with --drop {name}"
        )
    family = next(iter(kinds), "text")
    if family == "text":
        return pl.Series(name, values, pl.String)
    if family == "a date" and not any(isinstance(value, dt.datetime) for value in values):
        return pl.Series(name, values, pl.Date)
    if family == "a date":
        return pl.Series(name, [_utc(value) for value in values], pl.Datetime("us"))
    try:
        # A list of whole numbers and decimals is decimals.
        return pl.Series(name, values, strict=False)
    except (pl.exceptions.PolarsError, TypeError, OverflowError):
        return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)


def _family(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float | Decimal):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, dt.date):  # a datetime is one too
        return "a date"
    return type(value).__name__


def _utc(value: dt.date | None) -> dt.datetime | None:
    if value is None:
        return None
    if not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - no zone means UTC
    return value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
