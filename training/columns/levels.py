"""Distinct texts of a column and how many rows hold each, in memory that follows the text and not its longest value.

``np.unique`` of texts writes each as wide as the longest: one comment of a megabyte among a million rows would ask for
four terabytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.signature import MISSING_STRING, PUBLIC_LEVEL_ROWS

WORTH_KNOWING_ROWS = 5
"""Training rows from which it is proposed that a rare level be known: of fewer there is little to learn."""


def count_levels(texts: NDArray[Any]) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts in order, and the rows of each, ``[distinct]``.

    Args:
        texts: strings, ``[rows]``, an object array.
    """
    counted = _series(texts).value_counts(name="rows").sort("text")
    return counted["text"].to_list(), counted["rows"].to_numpy().astype(np.int64)


@dataclass(frozen=True)
class LevelRows:
    """Training rows of a level that a model is to know, at least."""

    default: int = PUBLIC_LEVEL_ROWS
    declared: int = PUBLIC_LEVEL_ROWS
    """Of a category that a person or the source of the table declares one."""

    def of(self, *, declared: bool) -> int:
        """The rows, of a category that is declared one or not."""
        return self.declared if declared else self.default


@dataclass(frozen=True)
class CountedLevels:
    """The levels of a category in the training rows, in order."""

    names: list[str]
    rows: NDArray[np.int64]
    """That hold each, ``[levels]``."""
    total: int
    """Training rows, those without a level included."""

    @classmethod
    def of(cls, levels: NDArray[Any]) -> CountedLevels:
        """Of the training rows ``[rows]``."""
        return cls(*count_levels(levels[levels != MISSING_STRING]), len(levels))

    def vocabulary(self, min_rows: int, most: int) -> dict[str, int]:
        """See :func:`vocabulary`."""
        order = np.argsort(-self.rows, kind="stable")[:most]
        return {self.names[i]: int(self.rows[i]) for i in order if self.rows[i] >= min_rows}


def vocabulary(levels: NDArray[Any], min_rows: int, most: int) -> dict[str, int]:
    """The levels that a model knows and their training rows, commonest first, ties by text.

    Args:
        levels: of the training rows ``[rows]``.
        min_rows: rows of a level, or it is not known.
        most: levels at most.
    """
    return CountedLevels.of(levels).vocabulary(min_rows, most)


def level_numbers(texts: NDArray[Any]) -> NDArray[np.int64]:
    """For each text its place among the distinct ones, ``[rows]``."""
    return _series(texts).rank("dense").to_numpy().astype(np.int64) - 1


def _series(texts: NDArray[Any]) -> pl.Series:
    return pl.Series("text", texts.tolist(), dtype=pl.String)
