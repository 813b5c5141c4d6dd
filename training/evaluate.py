"""How good the answers are: metrics, calibration and prediction intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

COVERAGE = 0.9
"""Share of rows whose target lies between ``lower`` and ``upper``."""
_EPSILON = 1e-15


def regression_metrics(actual: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
    """``rmse`` and ``mae`` in the target's own units, and ``r2``; r2 is 0 for a constant target.

    Args:
        actual: ``[rows]``.
        predicted: ``[rows]``.
    """
    error = predicted - actual
    total = float(np.sum((actual - actual.mean()) ** 2))
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "r2": 1.0 - float(np.sum(error**2)) / total if total > 0 else 0.0,
    }


def class_metrics(
    labels: Sequence[str] | NDArray[Any], probabilities: NDArray[np.float32], classes: Sequence[str]
) -> dict[str, float]:
    """``accuracy balanced_accuracy roc_auc log_loss brier ece``, all between 0 and 1 but log_loss.

    ``roc_auc`` is one-vs-rest, macro, over the classes that these rows hold; it is left out when they hold only one.
    ``brier`` is the mean squared distance to the one-hot label, halved, which for two classes is the usual score of
    the second. ``ece`` has 15 bins of equal width over the probability of the answer (Guo et al. 2017, section 2).

    Args:
        labels: ``[rows]`` actual labels.
        probabilities: ``[rows, classes]``.
        classes: in the order of the columns of ``probabilities``.
    """
    index = {label: i for i, label in enumerate(classes)}
    actual = np.array([index[label] for label in labels])
    p = probabilities.astype(np.float64)
    answer = p.argmax(axis=1)
    one_hot = np.eye(len(classes))[actual]
    present = np.unique(actual)
    metrics = {
        "accuracy": float(np.mean(answer == actual)),
        "balanced_accuracy": float(np.mean([np.mean(answer[actual == c] == c) for c in present])),
    }
    if len(present) > 1:
        scored = present[1:] if len(classes) == 2 else present
        metrics["roc_auc"] = float(np.mean([roc_auc_score(actual == c, p[:, c]) for c in scored]))
    metrics["log_loss"] = float(-np.mean(np.log(np.clip(p[np.arange(len(p)), actual], _EPSILON, 1.0))))
    metrics["brier"] = float(np.mean(np.sum((p - one_hot) ** 2, axis=1)) / 2)
    metrics["ece"] = expected_calibration_error(p.max(axis=1), answer == actual)
    return metrics


def expected_calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], n_bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over bins of equal width, weighted by their rows."""
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gap = np.bincount(bins, weights=confidence - right, minlength=n_bins)
    return float(np.abs(gap).sum() / len(confidence))


def fit_temperature(log_probabilities: NDArray[np.float64], actual: NDArray[np.int64]) -> float:
    """The temperature that gives the best log-loss on held-out rows (Guo et al. 2017, section 4.2).

    The log-loss is convex in 1/T, so a golden-section search over log T finds its one minimum.

    Args:
        log_probabilities: ``[rows, classes]`` of rows that no weight was fitted on.
        actual: ``[rows]`` class indices.

    Returns:
        T, between 0.1 and 10; 1 where no other is better.
    """

    def loss(log_t: float) -> float:
        scaled = log_probabilities / math.exp(log_t)
        top = scaled.max(axis=1, keepdims=True)
        normaliser = np.log(np.exp(scaled - top).sum(axis=1)) + top[:, 0]
        return float(np.mean(normaliser - scaled[np.arange(len(actual)), actual]))

    low, high = math.log(0.1), math.log(10.0)
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    best = (low + high) / 2
    return math.exp(best) if loss(best) < loss(0.0) else 1.0


def interval_half_width(residuals: NDArray[np.float64], coverage: float = COVERAGE) -> float:
    """Half the width of a split-conformal interval (Lei et al. 2018, section 2.2), in the target's own units.

    Args:
        residuals: ``[rows]`` of rows that no weight was fitted on.
        coverage: share of new rows that the interval is to hold.
    """
    rank = min(math.ceil((len(residuals) + 1) * coverage), len(residuals))
    return float(np.sort(np.abs(residuals))[rank - 1])
