"""Rows as columns: one array a column, of the graph's own type, which is what all typed protocols carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.loadtest.payloads import Payloads
from rowcast.models.kinds import KINDS
from rowcast.models.signature import Column, Signature

Table = dict[str, NDArray[Any]]
"""``[rows, 1]`` of each column, in the order of the signature: ready for ``session.run``."""


def table_of(signature: Signature, rows: Sequence[dict[str, Any]]) -> Table:
    """The columns of JSON rows; null is what the graph takes for missing."""
    return {column.name: _array(column, [row[column.name] for row in rows]) for column in signature.columns}


def tables(signature: Signature, *, rows: int, number: int, seed: int, nulls: bool) -> list[Table]:
    """Random tables, reproducible from a seed.

    Args:
        signature: of the model.
        rows: of each.
        number: how many.
        seed: the same seed gives the same tables.
        nulls: whether values may be missing.
    """
    if not nulls:
        columns = [column.model_copy(update={"nullable": False}) for column in signature.columns]
        signature = signature.model_copy(update={"columns": tuple(columns)})
    payloads = Payloads(signature, rows=rows, seed=seed)
    return [table_of(signature, [payloads.row() for _ in range(rows)]) for _ in range(number)]


def rows_of(table: Table) -> int:
    """Rows of a table."""
    return len(next(iter(table.values())))


def row_of(table: Table, row: int) -> Table:
    """A table of one row of another."""
    return {name: values[row : row + 1] for name, values in table.items()}


def _array(column: Column, values: list[Any]) -> NDArray[Any]:
    taken = KINDS[column.kind].taken
    filled = [column.missing if value is None else taken(value) for value in values]
    return np.array(filled, column.dtype).reshape(-1, 1)
