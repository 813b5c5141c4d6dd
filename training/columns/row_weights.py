"""How much each row counts: a column of weights, which is no input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.errors import TableError
from rowcast.models.names import WEIGHT_BESIDE
from rowcast.training.columns.reading import parse_numbers
from rowcast.training.data.table import Table


def with_weights(table: Table, name: str, *, may_be_none: bool = False) -> tuple[Table, NDArray[np.float64]]:
    """The rows that count, and how much each does.

    A row of weight 0 counts as if it were not in the table, so it is left out: nothing is fitted or measured on it.

    Args:
        table: rows that hold a target.
        name: of the column of weights.
        may_be_none: whether no row needs to count: of a piece of a table.

    Returns:
        these rows, with a note on those left out; and their weights ``[rows]``, all above 0.

    Raises:
        TableError: the column is absent, or a weight is null, negative or no finite number, or all are 0.
    """
    table.require(name, "--weight names")
    weights, fits = _numbers(table.frame[name])
    fits = fits & (weights >= 0.0)
    if not fits.all():
        index = int(fits.argmin())
        value = table.frame[name][index]
        holds = str(value.dtype) if isinstance(value, pl.Series) else repr(value)
        holds = "no value" if value is None or (isinstance(value, str) and not value.strip()) else holds
        others = int((~fits).sum()) - 1
        rest = f" and {others:,} other row{'s' * (others > 1)} like it" if others else ""
        raise TableError(
            f"{table.source}: the weight of a row must be a finite number of at least 0, but {name!r} holds {holds} in "
            f"{table.where(index)}{rest}: correct it, or take such rows out"
        )
    counting = np.flatnonzero(weights > 0.0)
    if len(counting) == 0 and not may_be_none:
        raise TableError(
            f"{table.source}: the weights of the rows must not all be 0, but {name!r} is 0 in each of "
            f"{len(table):,} rows: name another column with --weight, or train without it"
        )
    n = len(table) - len(counting)
    if n == 0:
        return table, weights
    note = f"{n:,} of {len(table):,} rows {'has' if n == 1 else 'have'} weight 0 in {name!r} and "
    note += f"{'is' if n == 1 else 'are'} left out"
    held = table.take(counting)
    return replace(held, notes=(*held.notes, note)), weights[counting]


def with_weights_like(table: Table, name: str) -> tuple[Table, NDArray[np.float64] | None]:
    """As :func:`with_weights` for a further table (validation, test), which may lack the column; None without weights.

    ``name`` is empty where training had no weights.
    """
    if not name:
        return table, None
    if name in table.names:
        return with_weights(table, name)
    if name.startswith(WEIGHT_BESIDE):
        note = "the weights of training stood beside its table, so the rows of this one count the same"
    else:
        note = f"without a column {name!r} its rows count the same"
    return replace(table, notes=(*table.notes, note)), None


def mean_of_one(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights above 0 scaled to a mean of 1, ``[rows]``; by the largest first, so that their sum is a double."""
    scaled = weights / weights.max()
    return np.asarray(scaled / scaled.mean())


def _numbers(column: pl.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A column as float64 ``[rows]``, and where it holds a finite number."""
    if column.dtype == pl.String:
        return parse_numbers(column)
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        return np.full(len(column), np.nan), np.zeros(len(column), dtype=bool)
    values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return values, np.isfinite(values)
