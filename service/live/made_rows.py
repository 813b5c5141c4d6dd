"""Rows that callers might send, made from what a signature says of its columns.

How long a graph takes for a row, and whether it answers with a number, may depend on the values: a row without any, and
one of medians, say little of it.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.kinds import KINDS
from rowcast.models.signature import Column
from rowcast.service.columns.blocks import Layout
from rowcast.service.columns.named import Columns

ROWS = 16
"""How many: one of all the least values, one of the medians, one of the largest, and mixtures."""
_WORDS = "some words of a text"
_Values = NDArray[Any]


def made_rows(layout: Layout) -> Columns:
    """The same rows each time for the same signature.

    Args:
        layout: of the columns of a signature.
    """
    dice = np.random.default_rng(0)
    blocks = []
    for columns in layout.blocks:
        block = np.empty((len(columns), ROWS, 1), columns[0].dtype)
        for at, column in enumerate(columns):
            block[at, :, 0] = _values(column, dice)
        blocks.append(block)
    return Columns(blocks)


def _values(column: Column, dice: np.random.Generator) -> list[Any]:
    """A value for each row, as the graph takes it."""
    if column.kind in ("category", "text"):
        known: list[Any] = list(column.levels or ()) or [_WORDS if column.example is None else str(column.example)]
        picked = dice.integers(len(known), size=ROWS - 3)
        return [known[0], known[len(known) // 2], known[-1], *(known[i] for i in picked)]
    least, median, largest = (_element(column, one) for one in (column.minimum, column.median, column.maximum))
    known = [one for one in (least, median, largest, _element(column, column.example)) if one is not None]
    if not known and column.dtype != np.float64:
        return [column.missing] * ROWS
    known = known or [0.0, 1.0]
    first, middle, last = min(known), known[len(known) // 2] if median is None else median, max(known)
    whole = column.kind in ("integer", "boolean", "timestamp")
    between = [first * (1 - share) + last * share for share in dice.random(ROWS - 3)]
    return [first, middle, last, *(round(one) if whole else one for one in between)]


def _element(column: Column, value: Any) -> float | int | None:
    """What the graph takes for a value of a signature; None where that says nothing."""
    if value is not None:
        with contextlib.suppress(ValueError, TypeError, OverflowError):  # of a signature that somebody wrote
            element = KINDS[column.kind].taken(value)
            if element is not None and math.isfinite(element):
                return element  # type: ignore[no-any-return]
    return None
