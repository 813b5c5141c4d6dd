"""How good the answers to some rows are, in curves and tables that tell of no single row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rowcast.models.session import Predictions
from rowcast.training.fit.weighted import shares, weighted_roc_auc
from rowcast.training.report.shares import LEAST_ROWS, of_numbers, told

MOST_CLASSES = 20
"""Of a confusion matrix; more are pooled."""
MOST_CURVES = 6
MOST_POINTS = 80
"""Of a curve."""
MOST_BINS = 20
Weight: TypeAlias = NDArray[np.float64]
"""How much each row counts, ``[rows]``."""
_ROWS_A_BIN = 40
"""Of predictions whose quartiles are shown: a quartile has ten rows beyond it."""


def answers_of(
    predictions: Predictions, actual: NDArray[Any], classes: Sequence[str], weight: Weight | None = None
) -> dict[str, Any]:
    """Facts on the answers to some rows: of classes or of numbers.

    Where rows have weights, shares and curves are weighted; what says how many rows there are counts rows.

    Args:
        predictions: of the rows.
        actual: their target, ``[rows]``.
        classes: in the order of the probabilities.
        weight: how much each row counts, ``[rows]``, all above 0; None where every row counts the same.
    """
    weight = np.ones(len(actual)) if weight is None else weight
    if predictions.probabilities is None:
        return {"rows": len(actual), "numbers": _numbers(predictions, actual, weight)}
    index = {label: i for i, label in enumerate(classes)}
    truth = np.array([index[label] for label in actual])
    said = np.array([index[label] for label in predictions.labels or ()])
    return {"rows": len(actual), "classes": _classes(truth, said, predictions.probabilities, classes, weight)}


# ─── classes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _classes(
    truth: NDArray[np.int64],
    said: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    weight: Weight,
) -> dict[str, Any]:
    rows_held, rows_called = (np.bincount(part, minlength=len(classes)) for part in (truth, said))
    held, called = (np.bincount(part, weight, len(classes)) for part in (truth, said))
    commonest = np.argsort(-rows_held, kind="stable")
    shown = np.sort(commonest[:MOST_CLASSES])
    pooled = np.full(len(classes), len(shown))
    pooled[shown] = np.arange(len(shown))
    n = len(shown) + (len(classes) > len(shown))
    confusion = np.bincount(pooled[truth] * n + pooled[said], minlength=n * n).reshape(n, n)
    hits = np.bincount(truth[truth == said], weight[truth == said], len(classes))
    per_class = [
        {
            "class": classes[c],
            "rows": told(rows_held[c]),
            "precision": _share(hits[c], called[c], rows_called[c]),
            "recall": _share(hits[c], held[c], rows_held[c]),
            "f1": _share(2 * hits[c], held[c] + called[c], rows_held[c]),
        }
        for c in shown
    ]
    binary = len(classes) == 2
    curves = [
        _curves(probabilities[:, c], truth == c, classes[c], weight)
        for c in ([1] if binary else commonest[:MOST_CURVES])
    ]
    sure = probabilities[:, 1] if binary else probabilities.max(axis=1)
    right = truth == 1 if binary else truth == probabilities.argmax(axis=1)
    return {
        "shown": [classes[c] for c in shown],
        "pooled": len(classes) - len(shown),
        "confusion": [[told(cell) for cell in row] for row in confusion.tolist()],
        "per_class": per_class,
        "curves": [curve for curve in curves if curve is not None],
        "reliability": _reliability(sure, right, weight) | {"of": classes[1] if binary else None},
    }


def _share(part: float, whole: float, rows: int) -> float | None:
    """A share of rows; None where they are too few to tell one."""
    return round(float(part / whole), 4) if rows >= LEAST_ROWS else None


def _curves(
    score: NDArray[np.float32], positive: NDArray[np.bool_], label: str, weight: Weight
) -> dict[str, Any] | None:
    """ROC and precision-recall of a class against the others, at points ten rows and more apart."""
    if min(int(positive.sum()), int((~positive).sum())) < LEAST_ROWS:
        return None
    all_positive, all_negative = float(weight[positive].sum()), float(weight[~positive].sum())
    order = np.argsort(-score, kind="stable")
    ordered, hits, passed = score[order], np.cumsum((weight * positive)[order]), np.cumsum(weight[order])
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) + 1  # rows above each distinct threshold
    precise = hits[last - 1] / passed[last - 1]
    average = float(np.sum(np.diff(hits[last - 1], prepend=0) * precise) / all_positive)
    wanted = np.arange(LEAST_ROWS, len(score), max(LEAST_ROWS, len(score) // MOST_POINTS))
    at = np.unique(last[np.searchsorted(last, wanted)])
    found, above = hits[at - 1], passed[at - 1]
    recall, share = found / all_positive, all_positive / (all_positive + all_negative)
    return {
        "class": label,
        "auc": round(weighted_roc_auc(positive, score.astype(np.float64), weight), 4),
        "average_precision": round(average, 4),
        "share": round(share, 4),
        "roc": [_rounded([0.0, *((above - found) / all_negative), 1.0]), _rounded([0.0, *recall, 1.0])],
        "pr": [_rounded([*recall, 1.0]), _rounded([*(found / above), share])],
    }


def _reliability(sure: NDArray[np.float32], right: NDArray[np.bool_], weight: Weight) -> dict[str, Any]:
    """Mean probability and the share that came true, in bins of equally many rows."""
    n_bins = int(np.clip(len(sure) // (2 * LEAST_ROWS), 0, MOST_BINS))
    if n_bins == 0:
        return {"said": [], "was": [], "rows": []}
    bins = np.array_split(np.argsort(sure, kind="stable"), n_bins)
    return {
        "said": _rounded([np.average(sure[rows], weights=weight[rows]) for rows in bins]),
        "was": _rounded([np.average(right[rows], weights=weight[rows]) for rows in bins]),
        "rows": [len(rows) for rows in bins],
    }


def _rounded(values: Sequence[Any]) -> list[float]:
    return [round(float(value), 4) for value in values]


# ─── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _numbers(predictions: Predictions, actual: NDArray[np.float64], weight: Weight) -> dict[str, Any]:
    """Answers and intervals in bins of the prediction, and how the residuals are spread."""
    predicted = predictions.prediction
    assert predicted is not None
    n_bins = int(np.clip(len(actual) // _ROWS_A_BIN, 0, MOST_BINS))
    order = np.argsort(predicted, kind="stable")
    bins = [
        _bin(predicted[rows], actual[rows], predictions, rows, weight[rows])
        for rows in (np.array_split(order, n_bins) if n_bins else ())
    ]
    found: dict[str, Any] = {"bins": bins, "residuals": None}
    if len(actual) > 5 * LEAST_ROWS:
        residual = actual - predicted
        beyond = max(LEAST_ROWS, len(residual) // 100)
        ordered = np.sort(residual)
        low, high = float(ordered[beyond]), float(ordered[-1 - beyond])
        found["residuals"] = of_numbers({"rows": residual}, low, high)
    if predictions.lower is not None and predictions.upper is not None:
        inside = (predictions.lower <= actual) & (actual <= predictions.upper)
        found["held"] = round(float(shares(weight)[inside].sum()), 4)
    return found


def _bin(
    predicted: NDArray[np.float64],
    actual: NDArray[np.float64],
    answers: Predictions,
    rows: NDArray[np.int64],
    weight: Weight,
) -> dict[str, Any]:
    """A bin of predictions: means, and the quartiles of what was true, which count rows."""
    low, high = np.quantile(actual, [0.25, 0.75], method="inverted_cdf")
    share = shares(weight)
    found = {
        "rows": len(rows),
        "prediction": _brief(share @ predicted),
        "actual": _brief(share @ actual),
        "low": _brief(low),
        "high": _brief(high),
    }
    if answers.lower is not None and answers.upper is not None:
        found |= {"lower": _brief(share @ answers.lower[rows]), "upper": _brief(share @ answers.upper[rows])}
    return found


def _brief(value: Any) -> float:
    """Five digits."""
    return float(f"{float(value):.5g}")
