"""Levels of categories, counted over all training rows of a table in shards: a sample would miss rare ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from rowcast.models.signature import MISSING_STRING
from rowcast.training.columns.levels import CountedLevels
from rowcast.training.columns.reading import ColumnRule, read_levels
from rowcast.training.columns.target import Target
from rowcast.training.stream.convert import training_rows
from rowcast.training.stream.plan import TRAIN, PartOf, Plan

MOST_LEVELS = 1_000_000
"""Of a column that are counted at a time: when there are twice as many, the rarest are forgotten, which bounds memory.
A level may lose rows so, if ever it was one of the rarest of more than a million."""
_PIECES = 16
"""That are counted before they are put together."""


def counted_levels(
    plan: Plan, part_of: PartOf, reads: Sequence[str], rules: Sequence[ColumnRule], target: Target
) -> dict[str, CountedLevels]:
    """The levels of each category and how many training rows hold them.

    Args:
        plan: of the table.
        part_of: tells training rows from others.
        reads: columns that it reads.
        rules: of columns; those of categories are counted.
        target: of a sample of the training rows: rows without one do not count.

    Raises:
        TableError: a value does not fit the kind that the sample told; names column, row and the way out.
    """
    categories = [rule for rule in rules if rule.kind == "category"]
    if not categories:
        return {}
    names = list(dict.fromkeys([*(rule.name for rule in categories), target.name, *reads]))
    names += [plan.data.weight] if plan.data.weight else []
    held: dict[str, list[pl.DataFrame]] = {rule.name: [] for rule in categories}
    total = 0
    for start, piece in plan.tables(names):
        train = piece.take(np.flatnonzero(part_of(start, piece) == TRAIN))
        table, _ = training_rows(train, target, plan.data)
        total += len(table)
        for rule in categories if len(table) else ():
            found = held[rule.name]
            found.append(read_levels(table, rule).alias("level").value_counts(name="rows"))
            if len(found) > _PIECES:
                found[:] = [_joined(found)]
    return {name: _counted(found, total) for name, found in held.items()}


def _joined(counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    whole = pl.concat(counts).group_by("level").agg(pl.col("rows").sum())
    return whole.top_k(MOST_LEVELS, by="rows") if whole.height > 2 * MOST_LEVELS else whole


def _counted(counts: Sequence[pl.DataFrame], total: int) -> CountedLevels:
    if not counts:
        return CountedLevels([], np.zeros(0, np.int64), total)
    whole = _joined(counts).filter(pl.col("level") != MISSING_STRING).sort("level")
    return CountedLevels(whole["level"].to_list(), whole["rows"].to_numpy().astype(np.int64), total)
