"""A column that says of each row whether it is a training, a validation or a test row."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.errors import TableError
from rowcast.training.data.split import Split
from rowcast.training.data.table import Table

WORDS = {"train": 0, "validation": 1, "valid": 1, "val": 1, "test": 2}
"""What may stand there, in any case, and which part it means."""
SHOWN = 5


def parts_named(table: Table, name: str) -> Split:
    """The parts of a table as a column names them; one that it does not name is empty.

    Raises:
        TableError: a row holds another word or none, or no row is a training row.
    """
    parts = words_of(table, name)
    train, validation, test = (np.flatnonzero(parts == part) for part in range(3))
    if len(train) == 0:
        raise no_training_rows(table.source, name)
    return Split(train, validation, test)


def words_of(table: Table, name: str) -> NDArray[np.int8]:
    """What a column says of each row, ``[rows]``: 0 for a training row, 1 for a validation row, 2 for a test row.

    Raises:
        TableError: a row holds another word or none.
    """
    column = table.frame[name]
    plain = pl.Series([None] * len(column), dtype=pl.String) if column.dtype.is_nested() else column.cast(pl.String)
    texts = plain.str.strip_chars().str.to_lowercase().fill_null("")
    parts = texts.replace_strict(WORDS, default=None, return_dtype=pl.Int8)
    unknown = parts.is_null().to_numpy()
    if unknown.any():
        values = column.filter(pl.Series(unknown)).to_list()
        others = list(dict.fromkeys("no value" if value is None else repr(value) for value in values))
        shown = ", ".join(others[:SHOWN])
        more = f" and {len(others) - SHOWN} others" if len(others) > SHOWN else ""
        first = table.where(int(unknown.argmax()))
        raise TableError(
            f"{table.source}: {name!r}, which --split names, must hold train, validation (or valid, val) or test in "
            f"every row, got {shown}{more}, first in {first}: write one of these words, or take such rows out"
        )
    return parts.to_numpy()


def no_training_rows(source: str, name: str) -> TableError:
    """The refusal of a table whose column of parts names no training row."""
    return TableError(
        f"{source}: some rows must be training rows, but {name!r}, which --split names, says train in none: "
        "write train in their rows"
    )
