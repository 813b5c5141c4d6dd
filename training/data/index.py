"""Columns that number or name the rows of a data frame and came along when it was written to a file.

pandas keeps an index beside its columns and writes it as one more: without a name in CSV, as ``Unnamed: 0`` once that
was read back, as ``__index_level_0__`` in Parquet. A model must not learn from it, and no request could send it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import polars as pl

_BY_NAME = re.compile(r"__index_level_\d+__")
_READ_BACK = re.compile(r"Unnamed: \d+(?:\.\d+)*|\.\.\.1")
_RESET = frozenset({"index", "level_0"})
_WHOLE = r"^\s*(?:0|-?[1-9][0-9]*)(?:\.0+)?\s*$"


@dataclass(frozen=True)
class PandasMetadata:
    """What pandas wrote beside a Parquet or Arrow table: which columns are its index, and which are categories."""

    index: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


NOTHING_WRITTEN = PandasMetadata()


def pandas_metadata(text: str | bytes) -> PandasMetadata:
    """Read the ``pandas`` entry of a schema's metadata; nothing where there is none, or it is no such entry."""
    try:
        described = json.loads(text)
        index = tuple(name for name in described["index_columns"] if isinstance(name, str))
        found = [column for column in described["columns"] if column["pandas_type"] == "categorical"]
        return PandasMetadata(index, tuple(column["field_name"] for column in found if column["field_name"]))
    except (ValueError, KeyError, TypeError):
        return NOTHING_WRITTEN


def index_columns(frame: pl.DataFrame, written: PandasMetadata = NOTHING_WRITTEN) -> tuple[str, ...]:
    """The columns of a table that are an index, in order.

    They are those that pandas says are one, those that bear a name only an index bears, and, where the values are as an
    index's too, those of names that an index often bears.
    """
    return tuple(
        name
        for place, name in enumerate(frame.columns)
        if name in written.index
        or _BY_NAME.fullmatch(name)
        or (place == 0 and _READ_BACK.fullmatch(name) and names_rows(frame[name]))
        or (place > 0 and _READ_BACK.fullmatch(name) and _numbers_rows(frame[name]))
        or (name in _RESET and _numbers_rows(frame[name]))
    )


def names_rows(column: pl.Series) -> bool:
    """Whether the values are whole numbers, or differ from row to row, and none is missing."""
    return column.null_count() == 0 and (_is_whole(column) or column.n_unique() == len(column))


def _numbers_rows(column: pl.Series) -> bool:
    """Whether the values are the numbers of the rows from 0 or 1, in any order."""
    if len(column) == 0 or column.null_count() or not _is_whole(column):
        return False
    numbers = column.cast(pl.Float64, strict=False).unique().sort().to_numpy()
    return len(numbers) == len(column) and numbers[0] in (0, 1) and bool(numbers[-1] - numbers[0] == len(column) - 1)


def _is_whole(column: pl.Series) -> bool:
    if column.dtype == pl.String:
        return bool(column.str.contains(_WHOLE).all())
    if column.dtype.is_float():
        return bool((column == column.floor()).all())
    return column.dtype.is_integer()
