"""Whole numbers that only count up from row to row: most often a row's number, sometimes a day that tells a target."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rowcast.training.columns.explained import share_explained

if TYPE_CHECKING:
    from rowcast.training.columns.target import Target

MIN_SHARE = 0.05
"""Share of the target's variance that the order of the rows has to tell."""
N_SHUFFLES = 100
"""In none of so many random orders of the target may it tell as much."""
MAX_ROWS = 20_000
_ROWS_A_CELL, _MAX_CELLS = 12, 32
_MIN_ROWS = 24
_OF_A_ROW = re.compile(
    r"(?i)(?:^|[_\s.-])(?:id|ids|idx|index|row|rows|rownum|row_?number|nr|no|num|number|key|pk|uid|uuid|guid|serial|seq|"
    r"sequence|record|line)(?:$|[_\s.\d-])|(?<=[a-z])(?:Id|ID|Idx|Index|Nr|No|Key)$|^(?:.*id|unnamed.*|#|n)$"
)
"""Names of what numbers the rows of a table."""


def share_of_order(name: str, target: Target) -> float:
    """Share of the target's variance that the order of the rows tells; 0 where it is chance, or order is of no meaning.

    A column whose name says that it numbers the rows, and a table that is sorted by its classes, prove nothing: the
    number of a row is then known of no new row.

    Args:
        name: of a column that counts up.
        target: of the rows that hold a value of it, in the order of the table.
    """
    n = len(target.values)
    if n < _MIN_ROWS or _OF_A_ROW.search(name) or _is_sorted(target):
        return 0.0
    step = -(-n // MAX_ROWS)
    values = target.values[::step]
    n = len(values)
    cells = np.arange(n) * min(_MAX_CELLS, max(2, n // _ROWS_A_CELL)) // n
    share = _share(cells, values, target)
    if share < MIN_SHARE:
        return 0.0
    generator = np.random.default_rng(0)
    by_chance = max(_share(cells, generator.permutation(values), target) for _ in range(N_SHUFFLES))
    return share if share > by_chance else 0.0


def _share(cells: NDArray[np.int64], values: NDArray[Any], target: Target) -> float:
    return share_explained(cells, replace(target, values=values))


def _is_sorted(target: Target) -> bool:
    """Whether rows of a class stand together, as in a table that was put together class by class."""
    if target.task == "regression":
        return False
    changes = int(np.count_nonzero(target.values[1:] != target.values[:-1]))
    return changes < 2 * len(target.classes)
