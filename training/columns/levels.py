"""Distinct texts of a column and how many rows hold each, in memory that follows the text and not its longest value.

``np.unique`` of texts writes each as wide as the longest: one comment of a megabyte among a million rows would ask for
four terabytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray


def count_levels(texts: NDArray[Any]) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts in order, and the rows of each, ``[distinct]``.

    Args:
        texts: strings, ``[rows]``, an object array.
    """
    counted = _series(texts).value_counts(name="rows").sort("text")
    return counted["text"].to_list(), counted["rows"].to_numpy().astype(np.int64)


def level_numbers(texts: NDArray[Any]) -> NDArray[np.int64]:
    """For each text its place among the distinct ones, ``[rows]``."""
    return _series(texts).rank("dense").to_numpy().astype(np.int64) - 1


def _series(texts: NDArray[Any]) -> pl.Series:
    return pl.Series("text", texts.tolist(), dtype=pl.String)
