"""Columns that do not vary over the training rows, and so can teach nothing: dropped, or read as missing or not.

A scale fitted to rounding noise is a million, and whatever else is served then decides alone. So what does not vary has
no scale at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.training.columns.disclosure import too_few
from rowcast.training.columns.infer import ColumnRule
from rowcast.training.features.calendar import parts_of
from rowcast.training.features.config import FeaturesConfig
from rowcast.training.features.spacing import is_flat, pulled_in


def keep_what_varies(
    columns: Mapping[str, NDArray[Any]], rules: Sequence[ColumnRule], config: FeaturesConfig, *, trend: bool = True
) -> tuple[tuple[ColumnRule, ...], list[str]]:
    """Leave out the columns that say nothing.

    Args:
        columns: name to array ``[training rows]``, as :func:`rowcast.training.columns.infer.read_column` gives them.
        rules: of the columns.
        config: which parts are read off timestamps.
        trend: whether time itself may be an input.

    Returns:
        the rules of the columns that stay; and a sentence about each that is dropped, or of which only whether it is
        missing is read.
    """
    kept, decisions = [], []
    for rule in rules:
        values = columns[rule.name]
        if rule.kind in ("category", "text"):
            why, absent = "", False
        elif rule.kind == "timestamp":
            why, absent = _why_no_part(values, config, trend=trend), bool((values == MISSING_TIMESTAMP).any())
        else:
            why, absent = _why_flat(values), bool(np.isnan(values).any())
        if not why or absent:
            kept.append(rule)
        if why:
            decisions.append(f"{rule.name!r} is {'read only as missing or not' if absent else 'dropped'}: {why}")
    return tuple(kept), decisions


def _why_flat(values: NDArray[np.float64]) -> str:
    """Why a number does not vary; nothing if it does."""
    if not is_flat(pulled_in(values)):
        return ""
    present = values[~np.isnan(values)]
    if too_few(len(present), len(values)):
        return "too few training rows hold a value"
    if present.min() == present.max():
        return "it holds one value"
    if is_flat(present):
        return "its values differ by rounding alone"
    return (
        "nearly all of its values are the same one, and the few rows that hold another could be pointed at by it; "
        "where that matters, write the column as 0 and 1"
    )


def _why_no_part(timestamps: NDArray[np.int64], config: FeaturesConfig, *, trend: bool) -> str:
    """Why nothing can be read off a timestamp; nothing if something can."""
    if parts_of(timestamps, config.calendar, trend=trend) not in ([], ["presence"]):
        return ""
    present = timestamps[timestamps != MISSING_TIMESTAMP]
    if too_few(len(present), len(timestamps)):
        return "too few training rows hold a timestamp"
    if present.min() == present.max():
        return "it holds one timestamp"
    note = "no part of the calendar varies over the training rows and goes through two of its cycles there"
    return note + ("" if trend else ", and time itself is no input after a split by time")
