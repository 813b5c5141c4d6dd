"""Columns of plainly written numbers, which most are: their kind and their values from one reading of their texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.texts.numbers import BLANKS
from rowcast.models.values import EXACT_WHOLE
from rowcast.training.columns.kinds import LEADING_ZERO, Finding, Levels, Look
from rowcast.training.columns.reading import WHOLE, parse_stripped
from rowcast.training.columns.written.forms import points_between_thousands
from rowcast.training.data.table import Table

_SAMPLE_ROWS = 50
"""Rows that are read first: a column of other texts is told by them, and not read as numbers throughout."""


@dataclass(frozen=True)
class PlainNumbers:
    """What :func:`rowcast.training.columns.kinds.kind_of_texts` and :func:`.reading.read_column` would find."""

    finding: Finding
    values: NDArray[np.float64]
    """``[rows]``, NaN where missing."""


def read_plain_numbers(table: Table, name: str, decimal: str = "") -> PlainNumbers | None:
    """Read a column of texts all of which are numbers written the plain way, or say that there is no value.

    Args:
        table: whose column it is.
        name: of the column; its texts were no values of several types before.
        decimal: what stands before the decimals of numbers, where a person said it.

    Returns:
        None where it is no such column, or one that may be read in another way: with leading zeros, points between
        thousands, or whole numbers beyond 2**53.
    """
    column = table.frame[name]
    if decimal == "," or not _may_be_numbers(table, name, column.head(_SAMPLE_ROWS)):
        return None
    texts = column.str.strip_chars(BLANKS)
    values, fits = parse_stripped(texts)
    look = _look_at_others(table, name, column, fits)
    if look.n_content or not fits.any():
        return None
    said = texts if fits.all() else texts.filter(pl.Series(fits))
    if said.str.contains(LEADING_ZERO).any():
        return None
    is_whole = bool(said.str.contains(WHOLE).all())
    if is_whole and any(abs(int(text)) > EXACT_WHOLE for text in said.filter(said.str.len_bytes() > 15)):
        return None
    if not is_whole and decimal != "." and points_between_thousands(said):
        return None
    return PlainNumbers(look.found("integer" if is_whole else "number"), np.where(fits, values, np.nan))


def _may_be_numbers(table: Table, name: str, sample: pl.Series) -> bool:
    _, fits = parse_stripped(sample.str.strip_chars(BLANKS))
    return _look_at_others(table, name, sample, fits).n_content == 0


def _look_at_others(table: Table, name: str, column: pl.Series, fits: NDArray[np.bool_]) -> Look:
    """A look at the texts that are no numbers."""
    return Look(table, name, Levels.of(column.filter(pl.Series(~fits))), n_rows=len(column))
