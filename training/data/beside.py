"""A table and columns that came beside it: a target, weights or folds of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """A column that came beside a table.

    Args:
        values: of the rows, in their order.
        argument: under which it was given, for errors.
    """

    values: Any
    argument: str


@dataclass(frozen=True)
class Beside:
    """What :func:`rowcast.training.data.table.read_table` reads as one table.

    Args:
        table: a file, a data frame, or whatever else is read as a table.
        columns: what came beside it, by the names they get.
    """

    table: Any
    columns: Mapping[str, Column]
