"""How values are spread, told so that no single row is: bins of fewer than ten rows are merged or hidden.

The same rule as in docs/model.md holds for the report: no value that one row held, no level of fewer than ten training
rows, and percentiles in place of extremes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.kinds import KINDS
from rowcast.models.signature import MISSING_STRING, MISSING_TIMESTAMP, PUBLIC_LEVEL_ROWS, Column

LEAST_ROWS = PUBLIC_LEVEL_ROWS
SAMPLE_ROWS = 10_000
"""Rows of a part that spreads are counted on, at most, evenly among all."""
MOST_BINS = 24
MOST_LEVELS = 12
_ROWS_A_BIN = 20
"""Of the smallest part, on average."""

Counts = list[int | None]
"""Rows by bin; None where there are some, but fewer than ten."""


def told(count: int) -> int | None:
    """A count that may be shown; None for one that could point at a person."""
    return int(count) if count == 0 or count >= LEAST_ROWS else None


def sampled(rows: int, most: int = SAMPLE_ROWS) -> NDArray[np.int64]:
    """Positions of some of the rows, evenly among all."""
    return np.arange(rows) if rows <= most else np.linspace(0, rows - 1, most).astype(np.int64)


def merged(counts: NDArray[np.int64]) -> list[int]:
    """Where bins begin once neighbours are merged until each part has none or ten of its rows in each.

    Args:
        counts: ``[parts, bins]``.

    Returns:
        positions among the bins, the first 0, and the number of bins at the end; empty where not even all bins together
        hold enough.
    """
    n_bins, starts, open_ = counts.shape[1], [0], np.zeros(len(counts), np.int64)
    for i in range(n_bins):
        open_ = open_ + counts[:, i]
        if ((open_ == 0) | (open_ >= LEAST_ROWS)).all():
            starts.append(i + 1)
            open_ = np.zeros(len(counts), np.int64)
    if starts[-1] != n_bins:  # what is left over joins the last one
        starts[-1] = n_bins
    whole = counts.sum(axis=1)
    return starts if len(starts) > 1 and ((whole == 0) | (whole >= LEAST_ROWS)).all() else []


def spread_of(column: Column, parts: Mapping[str, NDArray[Any]]) -> dict[str, Any] | None:
    """How a column is spread in each part; None where there are too few rows to tell.

    Args:
        column: of the signature.
        parts: values ``[rows]`` by part, as the graph takes them.
    """
    present = {name: values[~missing_in(values)] for name, values in parts.items()}
    present = {name: values for name, values in present.items() if len(values) >= LEAST_ROWS}
    if not present:
        return None
    if column.kind == "category":
        return of_levels(list(column.public().levels or ()), present)
    if column.kind == "boolean":
        shares = {
            name: [told(int((values == which).sum())) for which in (1.0, 0.0)] for name, values in present.items()
        }
        return {"labels": ["true", "false"], "counts": shares}
    if column.minimum is None or column.maximum is None:
        return None
    kind = KINDS[column.kind]
    low, high = float(kind.taken(column.minimum)), float(kind.taken(column.maximum))
    return of_numbers(present, low, high, column.kind, whole=column.kind == "integer")


def missing_in(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values, as the graph takes them, are missing."""
    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    return np.asarray(values == (MISSING_STRING if values.dtype.kind == "O" else MISSING_TIMESTAMP), np.bool_)


def missing_of(values: NDArray[Any]) -> int | None:
    """How many rows lack a value; None where that are some, but fewer than ten."""
    return told(int(missing_in(values).sum()))


def of_numbers(
    parts: Mapping[str, NDArray[Any]], low: float, high: float, kind: str = "number", *, whole: bool = False
) -> dict[str, Any] | None:
    """Rows of each part in bins between two percentiles; the outermost hold what lies beyond, too."""
    if not low < high or not np.isfinite(high - low):
        return None
    n_bins = int(np.clip(min(map(len, parts.values())) // _ROWS_A_BIN, 2, MOST_BINS))
    edges = np.linspace(low, high, n_bins + 1)
    if whole and high - low < n_bins:
        edges = np.arange(low, high + 2) - 0.5
    counts = np.stack([_binned(values, edges) for values in parts.values()])
    starts = merged(counts)
    if len(starts) < 2:
        return None
    by_bin = np.add.reduceat(counts, starts[:-1], axis=1)
    found = {name: [told(n) for n in row] for name, row in zip(parts, by_bin.tolist(), strict=True)}
    return {"edges": edges[starts].tolist(), "kind": kind, "counts": found}


def _binned(values: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    places = np.searchsorted(edges, values.astype(np.float64), side="right") - 1
    return np.bincount(np.clip(places, 0, len(edges) - 2), minlength=len(edges) - 1)


def of_levels(levels: Sequence[str], parts: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Rows of each part by level, the first of them by name and the others together."""
    shown = list(levels[:MOST_LEVELS])
    return {"labels": [*shown, None], "counts": {name: _by_level(shown, values) for name, values in parts.items()}}


def _by_level(levels: Sequence[str | None], values: NDArray[Any]) -> Counts:
    found = dict(pl.Series(values, dtype=pl.String).value_counts().iter_rows())
    of_shown = [found.get(level, 0) for level in levels]
    return [*map(told, of_shown), told(len(values) - sum(of_shown))]


def counted(spread: Mapping[str, Any], values: NDArray[Any]) -> Counts:
    """Rows of one more part in the bins of a spread; values ``[rows]`` without those that are missing."""
    if "edges" in spread:
        return [told(n) for n in _binned(values, np.array(spread["edges"])).tolist()]
    if spread["labels"] == ["true", "false"]:
        return [told(int((values == which).sum())) for which in (1.0, 0.0)]
    return _by_level(spread["labels"][:-1], values)
