"""Slices of rows that a model answers worse than others: a level, a quarter of a number, rows without a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.kinds import KINDS
from rowcast.models.session import Predictions
from rowcast.models.signature import Column, Signature
from rowcast.training.fit.weighted import shares
from rowcast.training.report.shares import sampled

LEAST_ROWS = 30
"""Of a slice: fewer say nothing about it."""
MOST_SLICES = 10
CLEARLY = 2.0
"""Standard errors that the loss of a slice is above that of all rows."""
MOST_COLUMNS = 60
MOST_LEVELS = 50


def worst_slices(
    signature: Signature,
    columns: Mapping[str, NDArray[Any]],
    predictions: Predictions,
    actual: NDArray[Any],
    weight: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """The slices whose loss is most clearly above that of all rows.

    Args:
        signature: of the model.
        columns: its inputs, ``[rows]`` each.
        predictions: of the rows.
        actual: their target, ``[rows]``.
        weight: how much each row counts, ``[rows]``, all above 0; None where every row counts the same.
    """
    rows = sampled(len(actual))
    losses = row_losses(predictions, actual, signature.classes)[rows]
    share = shares(np.ones(len(rows)) if weight is None else weight[rows])
    mean, looked_at = float(share @ losses), 0
    found: list[dict[str, Any]] = []
    for column in signature.columns[:MOST_COLUMNS]:
        for slice_, inside in _slices(column, columns[column.name][rows]):
            n = int(inside.sum())
            if n < LEAST_ROWS or n == len(rows):
                continue
            looked_at += 1
            of_slice = shares(share[inside])
            own = float(of_slice @ losses[inside])
            error = float(np.sqrt(of_slice**2 @ (losses[inside] - own) ** 2))
            above = (own - mean) / error if error > 0.0 else 0.0
            if above > CLEARLY:
                found.append({"column": column.name, "slice": slice_, "rows": n, "loss": own, "above": above})
    found.sort(key=lambda one: -one["above"])
    root = np.sqrt if not signature.classes else float
    worst = [{**one, "loss": _brief(root(one["loss"])), "above": round(one["above"], 1)} for one in found[:MOST_SLICES]]
    return {
        "metric": "log_loss" if signature.classes else "rmse",
        "overall": _brief(root(mean)),
        "looked_at": looked_at,
        "rows": len(rows),
        "worst": worst,
    }


def row_losses(predictions: Predictions, actual: NDArray[Any], classes: tuple[str, ...]) -> NDArray[np.float64]:
    """What each row adds to the loss, ``[rows]``: its squared error, or minus the log of its probability."""
    if predictions.probabilities is None:
        assert predictions.prediction is not None
        error: NDArray[np.float64] = predictions.prediction - actual
        return error**2
    index = {label: i for i, label in enumerate(classes)}
    of_label = predictions.probabilities[np.arange(len(actual)), [index[label] for label in actual]]
    return -np.log(np.clip(of_label.astype(np.float64), 1e-15, 1.0))


def _slices(column: Column, values: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Slices of a column in words, and whether a row is inside."""
    if column.kind == "category":
        yield "missing", values == column.missing
        for level in list(column.public().levels or ())[:MOST_LEVELS]:
            yield level, values == level
        return
    if column.kind == "text":
        yield "missing", values == column.missing
        return
    missing = np.isnan(values) if values.dtype.kind == "f" else values == column.missing
    yield "missing", missing
    if column.kind == "boolean":
        for word, value in (("true", 1.0), ("false", 0.0)):
            yield word, values == value
        return
    present = values[~missing]
    if len(present) < 4 * LEAST_ROWS:
        return
    shown = KINDS[column.kind].shown
    cuts = [present.dtype.type(cut) for cut in np.quantile(present, [0.25, 0.5, 0.75], method="inverted_cdf")]
    low, middle, high = (_text(shown(cut)) for cut in cuts)
    yield f"up to {low}", ~missing & (values <= cuts[0])
    yield f"{low} to {middle}", (values > cuts[0]) & (values <= cuts[1])
    yield f"{middle} to {high}", (values > cuts[1]) & (values <= cuts[2])
    yield f"above {high}", values > cuts[2]


def _text(shown: Any) -> str:
    return f"{shown:.5g}" if isinstance(shown, float) else str(shown)


def _brief(value: Any) -> float:
    return float(f"{float(value):.4g}")
