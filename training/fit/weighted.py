"""The metrics of :mod:`rowcast.training.fit.evaluate` where rows count more or less, as scikit-learn weights them.

A row of weight 2 counts like two rows. These are functions of their own, so that the metrics of a table without weights
stay what they are to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EPSILON = 1e-15


def weighted_regression_metrics(
    actual: NDArray[np.float64], predicted: NDArray[np.float64], weight: NDArray[np.float64]
) -> dict[str, float]:
    """As :func:`rowcast.training.fit.evaluate.regression_metrics`; ``weight [rows]``, all above 0."""
    # Divided by a power of two, which is exact, so that no square overflows or vanishes.
    exponent = np.frexp(np.maximum(np.abs(actual), np.abs(predicted)).max())[1]
    actual, predicted = np.ldexp(actual, -exponent), np.ldexp(predicted, -exponent)
    share = shares(weight)
    error = predicted - actual
    total = float(share @ (actual - share @ actual) ** 2)
    return {
        "rmse": float(np.ldexp(np.sqrt(share @ error**2), exponent)),
        "mae": float(np.ldexp(share @ np.abs(error), exponent)),
        "r2": 1.0 - float(share @ error**2) / total if total > 0 else 0.0,
    }


def weighted_class_metrics(
    labels: Sequence[str] | NDArray[Any],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    weight: NDArray[np.float64],
    said: Sequence[str] | None = None,
) -> dict[str, float]:
    """As :func:`rowcast.training.fit.evaluate.class_metrics`; ``weight [rows]``, all above 0."""
    index = {label: i for i, label in enumerate(classes)}
    actual = np.array([index[label] for label in labels])
    p = probabilities.astype(np.float64)
    share = shares(weight)
    probable = p.argmax(axis=1)
    right = probable == actual if said is None else np.array([index[label] for label in said]) == actual
    present = np.unique(actual)
    recalls = [share[right & (actual == c)].sum() / share[actual == c].sum() for c in present]
    metrics = {"accuracy": float(share[right].sum()), "balanced_accuracy": float(np.mean(recalls))}
    if len(present) > 1:
        scored = present[1:] if len(classes) == 2 else present
        metrics["roc_auc"] = float(np.mean([weighted_roc_auc(actual == c, p[:, c], share) for c in scored]))
    of_label = np.clip(p[np.arange(len(p)), actual], _EPSILON, 1.0)
    metrics["log_loss"] = float(-(share @ np.log(of_label)))
    distance = np.sum((p - np.eye(len(classes))[actual]) ** 2, axis=1)
    metrics["brier"] = float(share @ distance) / (2 if len(classes) == 2 else 1)
    metrics["ece"] = weighted_calibration_error(p.max(axis=1), probable == actual, share)
    return metrics


def weighted_roc_auc(positive: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """The share of pairs of a positive and a negative row in which the positive one scores higher; ties count half.

    A pair counts as much as the product of its rows' weights.

    Args:
        positive: ``[rows]``, some and not all.
        score: ``[rows]``.
        weight: ``[rows]``, all above 0.
    """
    _, place = np.unique(score, return_inverse=True)
    negative = np.bincount(place, weights=np.where(positive, 0.0, weight))
    lower = np.cumsum(negative) - negative / 2
    held = np.where(positive, weight, 0.0)
    return float(held @ lower[place] / (held.sum() * negative.sum()))


def weighted_calibration_error(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], weight: NDArray[np.float64], n_bins: int = 15
) -> float:
    """As :func:`rowcast.training.fit.evaluate.expected_calibration_error`; ``weight [rows]``, all above 0."""
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gap = np.bincount(bins, weights=(confidence - right) * weight, minlength=n_bins)
    return float(np.abs(gap).sum() / weight.sum())


def shares(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights above 0 as shares of their sum, ``[rows]``; by the largest first, so that their sum is a double."""
    scaled = weight / weight.max()
    return np.asarray(scaled / scaled.sum())
