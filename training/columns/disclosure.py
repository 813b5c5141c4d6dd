"""How little a model tells of single rows: how far out its numbers go, and what a person is told about the rest.

A level of fewer than :data:`~rowcast.models.signature.PUBLIC_LEVEL_ROWS` training rows does not enter a vocabulary (see
:mod:`rowcast.training.features.encoder`), and neither a bin nor a bound of the graph reaches farther out than so many
rows: where an answer stops changing can be found by asking. What a model still reveals is listed in docs/model.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.signature import PUBLIC_LEVEL_ROWS
from rowcast.training.columns.infer import ColumnRule
from rowcast.training.columns.kinds import percent
from rowcast.training.columns.levels import WORTH_KNOWING_ROWS, CountedLevels, LevelRows, count_levels
from rowcast.training.columns.target import Target
from rowcast.training.columns.texts import MIN_WORDS_A_TEXT
from rowcast.training.columns.words import words_a_text

PERCENT = 0.01
"""Share of the rows beyond either end that the signature shows."""
MANY_LEVELS = 100
"""A column of more levels than this may well name persons or firms."""
_LARGEST_SHARE = 0.1
"""Share of the rows that may lie beyond either end of the graph's bins: fewer than 100 rows cannot spare ten."""
MUCH = 0.2
"""From this share of the rows on, it is told how much is lost with rare levels, and the way to keep them."""
MOSTLY_RARE = 0.5
"""From this share of the rows on, texts of several words are better read word by word."""
_LISTED = 10
NOTHING_COUNTED: Mapping[str, CountedLevels] = {}
"""Of a table in memory, whose levels are counted when they are asked for."""
_LOOKED_AT = 10_000
"""Texts whose words are counted."""


def ends(values: NDArray[np.float64], share: float = 0.0, rows: int | None = None) -> tuple[float, float]:
    """The lowest and highest value that have at least ten more rows beyond them, in the graph.

    Ten rows, or ``share`` of the rows if those are more; a tenth of the rows where a table has fewer than a hundred, so
    that a small one is not cut to its middle. Where few rows of a larger table hold a value, both ends
    are their middle.

    Args:
        values: of the training rows that hold one ``[values]``, at least one.
        share: of the values, 0 to below .5.
        rows: training rows. Default: as many as there are values.
    """
    n = len(values)
    beyond = max(min(PUBLIC_LEVEL_ROWS, int(_LARGEST_SHARE * (n if rows is None else rows))), int(share * n))
    beyond = min(beyond, (n - 1) // 2)
    ordered = np.partition(values, (beyond, n - 1 - beyond))
    return float(ordered[beyond]), float(ordered[-1 - beyond])


def too_few(values: int, rows: int) -> bool:
    """Whether so few training rows hold a value that nothing of it may be kept or shown, not even their middle."""
    return values < PUBLIC_LEVEL_ROWS <= rows


def percentiles(values: NDArray[Any]) -> tuple[Any, Any] | None:
    """The 1st and 99th percentile, farther in where fewer than ten rows would lie beyond; what the signature shows.

    Args:
        values: training rows ``[rows]``, none missing.

    Returns:
        two of the values; None where there are too few rows for that.
    """
    beyond = max(PUBLIC_LEVEL_ROWS, math.ceil(PERCENT * len(values)))
    if len(values) <= 2 * beyond:
        return None
    ordered = np.sort(values)
    return ordered[beyond], ordered[-1 - beyond]


def notes_on_levels(
    columns: Mapping[str, NDArray[Any]],
    rules: Sequence[ColumnRule],
    vocabularies: Mapping[str, Mapping[str, int]],
    needed: LevelRows,
    counted: Mapping[str, CountedLevels] = NOTHING_COUNTED,
) -> list[str]:
    """Sentences about levels that the model does not know, and about columns that list very many; no level is named.

    Args:
        columns: name to array ``[training rows]``.
        rules: of the columns.
        vocabularies: the levels that the model knows, by column.
        needed: training rows of each of them, at least.
        counted: levels by column, where ``columns`` are a sample.
    """
    notes: list[str] = []
    pooled: dict[int, list[str]] = {}
    of_declared: list[str] = []
    for rule in rules:
        if rule.kind != "category":
            continue
        known, levels = len(vocabularies[rule.name]), columns[rule.name]
        held = counted.get(rule.name) or CountedLevels.of(levels)
        rows = held.rows
        least = needed.of(declared=rule.declared)
        is_rare = rows < least
        if is_rare.any():
            pooled.setdefault(least, []).append(f"{int(is_rare.sum()):,} of {len(rows):,} of {rule.name!r}")
            share = rows[is_rare].sum() / max(held.total, 1)
            if is_rare.all() or share >= MUCH:
                what = "only whether there is a value" if rule.nullable else "nothing"
                rest = f", so it tells {what}" if is_rare.all() else ""
                notes.append(
                    f"{rule.name!r} holds such a level in {percent(share)} of the training rows{rest}"
                    f"{_way_to_know(rule, rows)}{_way_by_word(rule, levels) if share >= MOSTLY_RARE else ''}"
                )
        shy = int(np.count_nonzero((rows >= least) & (rows < PUBLIC_LEVEL_ROWS)))
        if shy:
            of_declared.append(f"{shy:,} of {rule.name!r}")
        if known > MANY_LEVELS:
            notes.append(
                f"{rule.name!r} has {known:,} levels, and whoever may ask the service can list them: "
                f"if they could point at persons, leave it out with --drop {named(rule.name)}"
            )
    if of_declared:
        notes.insert(
            0,
            f"levels of fewer than {PUBLIC_LEVEL_ROWS} training rows are known, as features.declared_level_rows "
            f"says of declared categories: {', '.join(of_declared)}; if they could point at persons: "
            f"--set features.declared_level_rows={PUBLIC_LEVEL_ROWS}",
        )
    first = [f"levels of fewer than {n} training rows answer like unseen ones: {', '.join(pooled[n])}" for n in pooled]
    return [*first, *notes]


def _way_to_know(rule: ColumnRule, rows: NDArray[np.int64]) -> str:
    """How a person says that rare levels may be known; nothing where that would change nothing."""
    if rule.declared:
        return "" if rows.max() < 2 else ": --set features.declared_level_rows=2 has those of two rows known"
    if not np.any((rows >= WORTH_KNOWING_ROWS) & (rows < PUBLIC_LEVEL_ROWS)):
        return ""
    setting = f"--set features.declared_level_rows={WORTH_KNOWING_ROWS}"
    way = f"--category {named(rule.name)} and {setting}"
    return f": if its levels may be known, {way} have those of {WORTH_KNOWING_ROWS} rows known"


def _way_by_word(rule: ColumnRule, levels: NDArray[Any]) -> str:
    """The way out where levels that hardly repeat are texts of several words."""
    if rule.levels_of is not None or words_a_text(levels[:_LOOKED_AT]) < MIN_WORDS_A_TEXT:
        return ""
    return f"; --text {named(rule.name)} reads it word by word"


def notes_on_classes(target: Target) -> list[str]:
    """A sentence about classes so rare that they could point at a person: unlike levels, they cannot be hidden.

    Args:
        target: of the training rows.
    """
    if not target.classes:
        return []
    labels, rows = count_levels(target.values)
    rare = [label for label, n in zip(labels, rows, strict=True) if n < PUBLIC_LEVEL_ROWS]
    if not rare:
        return []
    named = ", ".join(map(repr, rare[:_LISTED])) + (f" and {len(rare) - _LISTED} more" if len(rare) > _LISTED else "")
    note = (
        f"every answer names all classes of {target.name!r}, those of fewer than {PUBLIC_LEVEL_ROWS} training rows too"
    )
    return [f"{note} ({named}): if they could point at persons, group them or take such rows out"]
