"""A model's metrics on parts of a table: where it does well, and where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.errors import TableError
from rowcast.models.repository import StoredModel
from rowcast.models.session import Predictions
from rowcast.training.columns.reading import parse_numbers
from rowcast.training.fit.weighted import shares
from rowcast.training.predict import Judged, metrics_of_model

MAX_VALUES = 20
"""Numbers and times with more different values are cut into bins."""
N_BINS = 10
"""Of about as many rows each."""
FEW_ROWS = 30
"""Metrics of fewer rows say little."""
MAX_SLICES = 1000
"""More slices than this are no overview any more."""


def slices_of(model: StoredModel, judged: Judged, by: Sequence[str]) -> pl.DataFrame:
    """Metrics of a stored model for each value of a column, or each combination of values of several.

    Numbers and times with more than 20 different values are cut into ten bins of about as many rows. A column need not
    be one of the model's.

    Args:
        model: which said so.
        judged: rows that hold the target, and what the model says of them.
        by: names of columns.

    Returns:
        a row for each slice, in the order of the values, null last: the columns of ``by``, ``rows``, ``few`` (whether
        the slice has fewer than 30 rows), the metrics, null where the slice cannot have one, and ``coverage``, the
        share of rows between ``lower`` and ``upper``, where the model has intervals.

    Raises:
        TableError: the table lacks a column, or they make more than 1,000 slices.
    """
    table, by = judged.known.table, list(dict.fromkeys(by))
    for name in by:
        table.require(name, "--by names")
    cuts = [_cut(table.frame[name]) for name in by]
    codes, slices = _slices([cut.codes for cut in cuts])
    if len(slices) > MAX_SLICES:
        raise TableError(
            f"{table.source}: --by must give at most {MAX_SLICES:,} slices, got {len(slices):,} of {', '.join(by)}: "
            "name a column of fewer values"
        )
    found = [_measured(model, judged, np.flatnonzero(codes == i)) for i in range(len(slices))]
    names = list(dict.fromkeys(name for row in found for name in row))
    taken = [name for name in by if name in names]
    if taken:
        also = "which the metrics also hold: rename it in the table"
        raise TableError(f"--by names {', '.join(map(repr, taken))}, {also}")
    values = [cut.values.gather(slices[:, i]).alias(name) for i, (name, cut) in enumerate(zip(by, cuts, strict=True))]
    metrics = [pl.Series(name, [row.get(name) for row in found], strict=False) for name in names]
    return pl.DataFrame([*values, *metrics])


def as_text(slices: pl.DataFrame) -> str:
    """The slices as a table to read, with a mark at those of few rows."""
    few = slices["few"].to_list()
    columns = []
    for column in slices.drop("few").get_columns():
        texts = ["" if value is None else _shown(value) for value in column.to_list()]
        if column.name == "rows":
            texts = [f"{text}{'*' if mark else ' '}" for text, mark in zip(texts, few, strict=True)]
        width = max(map(len, [column.name, *texts]))
        columns.append([text.rjust(width) for text in (column.name, *texts)])
    lines = ["  ".join(row) for row in zip(*columns, strict=True)]
    return "\n".join([*lines, f"* fewer than {FEW_ROWS} rows, which say little"] if any(few) else lines)


def _measured(model: StoredModel, judged: Judged, rows: NDArray[np.int64]) -> dict[str, Any]:
    """What is told of one slice."""
    told = judged.predictions
    predictions = Predictions(
        labels=None if told.labels is None else [told.labels[row] for row in rows],
        probabilities=_of(told.probabilities, rows),
        prediction=_of(told.prediction, rows),
        lower=_of(told.lower, rows),
        upper=_of(told.upper, rows),
    )
    actual, weight = judged.known.actual[rows], _of(judged.known.weight, rows)
    measured: dict[str, Any] = {"rows": len(rows), "few": len(rows) < FEW_ROWS}
    measured |= metrics_of_model(model.manifest, predictions, actual, weight)
    if predictions.lower is not None and predictions.upper is not None:
        inside = (predictions.lower <= actual) & (actual <= predictions.upper)
        measured["coverage"] = float(inside.mean() if weight is None else shares(weight)[inside].sum())
    return measured


def _of(values: NDArray[Any] | None, rows: NDArray[np.int64]) -> Any:
    return None if values is None else values[rows]


# --- values -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cut:
    """A column cut into slices: the slice of each row ``[rows]``, and what each slice is called."""

    codes: NDArray[np.int64]
    values: pl.Series


def _cut(column: pl.Series) -> _Cut:
    """Slices of a column in the order of its values, null last."""
    if column.dtype == pl.String:
        numbers, written = parse_numbers(column)
        if bool((written | column.is_null().to_numpy()).all()) and written.any():
            column = pl.Series(column.name, numbers).fill_nan(None)
    elif column.dtype.is_nested() or column.dtype == pl.Object:
        column = column.map_elements(str, return_dtype=pl.String)
    elif column.dtype.is_float():
        column = column.fill_nan(None)
    ordered = column.unique().drop_nulls().sort()
    if len(ordered) > MAX_VALUES and (column.dtype.is_numeric() or column.dtype.is_temporal()):
        return _binned(column)
    values = ordered if column.null_count() == 0 else ordered.extend(pl.Series([None], dtype=ordered.dtype))
    places = pl.DataFrame({"value": values, "place": np.arange(len(values))})
    at = pl.DataFrame({"value": column}).join(places, on="value", how="left", nulls_equal=True, maintain_order="left")
    return _Cut(at["place"].to_numpy().astype(np.int64), values)


def _binned(column: pl.Series) -> _Cut:
    """Bins of about as many rows each, called by the least and the largest value that they hold."""
    missing = column.is_null().to_numpy()
    present = column.drop_nulls()
    order = present.to_physical() if present.dtype.is_temporal() else present
    ranks = order.rank("average").to_numpy()  # equal values stay together
    of_present = np.minimum(((ranks - 0.5) * N_BINS / len(present)).astype(np.int64), N_BINS - 1)
    held, of_present = np.unique(of_present, return_inverse=True)
    codes = np.full(len(column), len(held), np.int64)
    codes[~missing] = of_present
    bins = [present.filter(pl.Series(of_present == place)) for place in range(len(held))]
    names = [f"{_shown(values.min())} to {_shown(values.max())}" for values in bins]
    return _Cut(codes, pl.Series([*names, None] if missing.any() else names, dtype=pl.String))


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _slices(codes: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The slice of each row ``[rows]``, and the codes that each slice is made of ``[slices, columns]``."""
    found, of_row = np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)
    return of_row.reshape(-1), found
