"""Columns of several Python types, value by value: what each may be, by the rules that a served row is held to."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.kinds import KINDS, Kind
from rowcast.models.levels import LevelType
from rowcast.models.reading import Reading

__all__ = ["LEVELS_COME_IN", "first_of_other_kind", "kinds_taken"]

LEVELS_COME_IN: dict[LevelType, frozenset[str]] = {
    "whole": frozenset({"number"}),
    "number": frozenset({"number"}),
    "boolean": frozenset({"boolean"}),
    "date": frozenset({"date"}),
    "timestamp": frozenset({"date"}),
}
"""What a value may be, besides text, in a category whose levels are the texts of such values."""


def kinds_taken(kind: Kind, reading: Reading | None, of: LevelType | None = None) -> frozenset[str]:
    """The kinds of values that a column takes, as :class:`rowcast.training.data.table.Table` has them in ``mixed``.

    Args:
        kind: of the column.
        reading: what is told of it.
        of: category: what every level is the text of.
    """
    taken = KINDS[kind].values | (LEVELS_COME_IN[of] if of is not None else frozenset())
    if reading is None or kind in ("category", "text"):
        return taken
    if reading.of_texts:
        taken |= {"text"}
    if reading.duration:
        taken |= {"time", "duration"}
    if KINDS[kind].takes_digits(reading):
        taken |= {"number"}
    return taken


def first_of_other_kind(column: pl.Series, kinds: NDArray[np.str_], taken: frozenset[str]) -> int | None:
    """The 0-based position of the first value that is of none of these kinds; None where there is none."""
    other = column.is_not_null().to_numpy() & ~np.isin(kinds, [*taken, ""])
    return int(np.argmax(other)) if other.any() else None
