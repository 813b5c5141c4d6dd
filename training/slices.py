"""A model's metrics on parts of a table: where it does well, and where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.errors import TableError
from rowcast.models.labels import typed_labels
from rowcast.models.levels import LevelType
from rowcast.models.repository import Manifest, StoredModel
from rowcast.models.session import Predictions
from rowcast.models.values import EXACT_WHOLE
from rowcast.training.columns.declared import KINDS, Declared
from rowcast.training.columns.infer import infer_columns
from rowcast.training.columns.reading import ColumnRule, read_column
from rowcast.training.data.config import DataConfig
from rowcast.training.data.table import Table
from rowcast.training.fit.weighted import shares
from rowcast.training.predict import Judged, Known, label_type_in, metrics_of_model, nulls_of, rule_of

MAX_VALUES = 20
"""Numbers and times with more different values are cut into bins."""
N_BINS = 10
"""Of about as many rows each."""
FEW_ROWS = 30
"""Metrics of fewer rows say little."""
MAX_SLICES = 1000
"""More slices than this are no overview any more."""
_MOST_SECONDS = 2.0**62 / 1e6
"""Of a duration that is shown as one."""


def slices_of(model: StoredModel, judged: Judged, by: Sequence[str]) -> pl.DataFrame:
    """Metrics of a stored model for each value of a column, or each combination of values of several.

    Numbers and times with more than 20 different values are cut into ten bins of about as many rows. A column is read
    as the model reads it, so that every form of a table has the same slices; one that the model does not have, as
    training would read it.

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
    cuts = [_cut(_read(model, judged.known, name)) for name in by]
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


# --- what a column holds ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Values:
    """A column as it is cut: numbers, dates, times, durations, booleans or texts ``[rows]``, null where missing."""

    column: pl.Series
    are_levels: bool = False
    """Whether each value is a slice, however many there are."""


def _read(model: StoredModel, known: Known, name: str) -> _Values:
    """A column by its rule in the model; another one by the rule that training would make."""
    manifest = model.manifest
    signature = manifest.signature
    if name == signature.target and signature.classes:
        labels = typed_labels(known.actual.tolist(), signature.classes, label_type_in(manifest))
        return _Values(pl.Series(name, labels), are_levels=True)
    if name == signature.target:
        whole = bool(np.all(known.actual == np.floor(known.actual)))
        return _by_rule(ColumnRule(name, "integer" if whole else "number", False, frozenset()), known.actual)
    column = next((column for column in signature.columns if column.name == name), None)
    if column is not None:
        return _by_rule(rule_of(column, nulls_of(manifest)), known.columns[name], are_levels=True)
    try:
        rule, values = _as_training(known.table, name, manifest)
    except TableError:  # training would ask a person what is meant
        return _Values(_as_it_stands(known.table.frame[name]))
    return _by_rule(rule, values, are_levels=rule.declared)


def _as_training(table: Table, name: str, manifest: Manifest) -> tuple[ColumnRule, NDArray[Any]]:
    """A column that the model does not have: its rule, as training would find it in these rows, and its values.

    Raises:
        TableError: training would refuse it.
    """
    data, read = manifest.config.get("data", {}), dict[str, NDArray[Any]]()
    said = {kind: [one for one in data.get(kind, ()) if one == name] for kind in KINDS}
    said["date"] = [one for one in data.get("date", ()) if name in (one, one.rpartition("=")[0])]  # COL=dmy
    declared = Declared.of(DataConfig(**said, decimal=data.get("decimal", "")), table)
    others, null = {other for other in table.names if other != name}, data.get("null", ())
    (rule,), _ = infer_columns(table, exclude=others, null=null, keep=True, declared=declared, read=read)
    return rule, read[name] if name in read else read_column(table, rule)


def _by_rule(rule: ColumnRule, values: NDArray[Any], *, are_levels: bool = False) -> _Values:
    """Values as :func:`read_column` gives them ``[rows]``, in the type that shows what they are.

    Args:
        rule: of the column.
        values: of it.
        are_levels: whether levels of a category that are numbers are levels and no numbers.
    """
    missing = pl.Series(rule.is_missing(values))
    if rule.dtype == np.dtype(object):
        return _levels(pl.Series(rule.name, values.tolist(), pl.String).set(missing, None), rule.levels_of, are_levels)
    if rule.dtype == np.dtype(np.int64):
        times = pl.Series(rule.name, values).set(missing, None).cast(pl.Datetime("us"))
        days = times.dt.date()
        return _Values(days if (days.cast(pl.Datetime("us")) == times).all() else times)
    numbers = pl.Series(rule.name, values).fill_nan(None)
    most = float(np.max(np.abs(values[~np.isnan(values)]), initial=0.0))
    if rule.kind == "boolean":
        return _Values(numbers.cast(pl.Boolean))
    if rule.kind == "duration" and most < _MOST_SECONDS:
        return _Values((numbers * 1e6).round().cast(pl.Int64).cast(pl.Duration("us")))
    return _Values(numbers.cast(pl.Int64) if rule.kind == "integer" and most <= EXACT_WHOLE else numbers)


def _levels(texts: pl.Series, of: LevelType | None, are_levels: bool) -> _Values:
    """Levels of a category; in the order of numbers where they are numbers."""
    dtype = {"whole": pl.Int64, "number": pl.Float64}.get(of or "")
    typed = texts if dtype is None else texts.cast(dtype, strict=False)
    return _Values(typed if typed.null_count() == texts.null_count() else texts, are_levels)


def _as_it_stands(column: pl.Series) -> pl.Series:
    if column.dtype.is_nested() or column.dtype == pl.Object:
        return column.map_elements(str, return_dtype=pl.String)
    return column.fill_nan(None) if column.dtype.is_float() else column


# --- slices of it -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cut:
    """A column cut into slices: the slice of each row ``[rows]``, and what each slice is called."""

    codes: NDArray[np.int64]
    values: pl.Series


def _cut(values: _Values) -> _Cut:
    """Slices of a column in the order of its values, null last."""
    column = values.column
    ordered = column.unique().drop_nulls().sort()
    is_measured = not values.are_levels and (column.dtype.is_numeric() or column.dtype.is_temporal())
    if len(ordered) > MAX_VALUES and is_measured:
        return _binned(column)
    every = ordered if column.null_count() == 0 else ordered.extend(pl.Series([None], dtype=ordered.dtype))
    places = pl.DataFrame({"value": every, "place": np.arange(len(every))})
    at = pl.DataFrame({"value": column}).join(places, on="value", how="left", nulls_equal=True, maintain_order="left")
    return _Cut(at["place"].to_numpy().astype(np.int64), every)


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
