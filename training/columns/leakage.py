"""A warning where a single column tells the target by itself: most often it was written down after the fact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.signature import MISSING_STRING
from rowcast.models.warnings import Caution, LeakageWarning
from rowcast.training.columns.explained import share_explained
from rowcast.training.columns.levels import level_numbers
from rowcast.training.columns.reading import ColumnRule
from rowcast.training.columns.target import Target

SUSPICIOUS = 0.95
"""Share of the target's variance that a column explains alone, on rows it was not fitted on, from which to warn."""
N_BINS = 32
MIN_ROWS = 50
"""Fewer training rows prove nothing."""


def suspected_leaks(columns: Mapping[str, NDArray[Any]], rules: Sequence[ColumnRule], target: Target) -> list[str]:
    """Sentences that name each column which all but gives the target away.

    Args:
        columns: name to array ``[training rows]``.
        rules: of the columns to look at.
        target: of the same rows.
    """
    if len(target.values) < MIN_ROWS:
        return []
    return [
        Caution(
            f"{rule.name!r} alone tells {share:.1%} of {target.name!r}: if it is only known once the outcome is, "
            f"leave it out with --drop {named(rule.name)}",
            LeakageWarning,
        )
        for rule in rules
        if (share := share_explained(_cells(columns[rule.name], rule), target)) >= SUSPICIOUS
    ]


def _cells(values: NDArray[Any], rule: ColumnRule) -> NDArray[np.int64]:
    """A partition of the rows by a column: its levels, or quantile bins; missing values are a cell of their own."""
    if rule.kind == "category":
        return level_numbers(values)
    if rule.kind == "text":  # hardly two are alike
        return np.asarray(values != MISSING_STRING, np.int64)
    missing = rule.is_missing(values)
    present = values[~missing].astype(np.float64)
    distinct = np.unique(present)
    inner = distinct if len(distinct) <= N_BINS else np.unique(np.quantile(present, np.linspace(0, 1, N_BINS + 1)))
    cells = np.searchsorted(inner, np.where(missing, 0, values).astype(np.float64), side="right")
    return np.where(missing, len(inner) + 1, cells).astype(np.int64)
