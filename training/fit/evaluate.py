"""How good the answers are: the metrics of each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EPSILON = 1e-15


def regression_metrics(actual: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
    """``rmse`` and ``mae`` in the target's own units, and ``r2``; r2 is 0 for a constant target.

    Args:
        actual: ``[rows]``.
        predicted: ``[rows]``.
    """
    # Divided by a power of two, which is exact, so that no square overflows or vanishes.
    exponent = np.frexp(np.maximum(np.abs(actual), np.abs(predicted)).max())[1]
    actual, predicted = np.ldexp(actual, -exponent), np.ldexp(predicted, -exponent)
    error = predicted - actual
    total = float(np.sum((actual - actual.mean()) ** 2))
    return {
        "rmse": float(np.ldexp(np.sqrt(np.mean(error**2)), exponent)),
        "mae": float(np.ldexp(np.mean(np.abs(error)), exponent)),
        "r2": 1.0 - float(np.sum(error**2)) / total if total > 0 else 0.0,
    }


def class_metrics(
    labels: Sequence[str] | NDArray[Any],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    said: Sequence[str] | None = None,
) -> dict[str, float]:
    """``accuracy balanced_accuracy roc_auc log_loss brier ece``, all between 0 and 1 but log_loss.

    ``accuracy`` and ``balanced_accuracy`` are of the labels that were ``said``; where none are given, of the most
    probable classes.

    ``roc_auc`` is one-vs-rest, macro, over the classes that these rows hold; it is left out when they hold only one.
    ``brier`` is the mean squared error of the second class's probability for two classes, and the mean squared distance
    to the one-hot label for more, as in scikit-learn. ``ece`` has 15 bins of equal width over the probability of the
    most probable class (Guo et al. 2017, section 2).

    Args:
        labels: ``[rows]`` actual labels.
        probabilities: ``[rows, classes]``.
        classes: in the order of the columns of ``probabilities``.
        said: ``[rows]`` labels that follow a threshold.
    """
    index = {label: i for i, label in enumerate(classes)}
    actual = np.array([index[label] for label in labels])
    p = probabilities.astype(np.float64)
    answer = p.argmax(axis=1)
    one_hot = np.eye(len(classes))[actual]
    present = np.unique(actual)
    of_labels = answer if said is None else np.array([index[label] for label in said])
    metrics = label_metrics(actual, of_labels, len(classes))
    del metrics["f1"]  # :mod:`rowcast.training.fit.confusion` tells it beside precision and recall
    if len(present) > 1:
        scored = present[1:] if len(classes) == 2 else present
        metrics["roc_auc"] = float(np.mean([roc_auc(actual == c, p[:, c]) for c in scored]))
    metrics["log_loss"] = float(-np.mean(np.log(np.clip(p[np.arange(len(p)), actual], _EPSILON, 1.0))))
    metrics["brier"] = float(np.mean(np.sum((p - one_hot) ** 2, axis=1))) / (2 if len(classes) == 2 else 1)
    metrics["ece"] = expected_calibration_error(p.max(axis=1), answer == actual)
    return metrics


def label_metrics(
    actual: NDArray[np.int64], said: NDArray[np.int64], n_classes: int, weight: NDArray[np.float64] | None = None
) -> dict[str, float]:
    """``accuracy``, ``balanced_accuracy`` (the mean recall of the classes that these rows hold) and ``f1``.

    ``f1`` is that of the second of two classes, and the mean over more, of those that these rows hold or that were
    said; 0 where neither is.

    Args:
        actual: ``[rows]`` class indices.
        said: ``[rows]`` likewise.
        n_classes: how many there are.
        weight: how much each row counts, ``[rows]``, all above 0; None where every row counts the same.
    """
    right = said == actual
    held, called = (np.bincount(part, weight, n_classes) for part in (actual, said))
    hits = np.bincount(actual[right], None if weight is None else weight[right], n_classes)
    some = held + called > 0
    f1 = 2.0 * hits / np.where(some, held + called, 1)
    return {
        "accuracy": float(np.mean(right) if weight is None else weight[right].sum() / weight.sum()),
        "balanced_accuracy": float(np.mean(hits[held > 0] / held[held > 0])),
        "f1": float(f1[1] if n_classes == 2 else np.mean(f1[some])),
    }


def roc_auc(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """The share of pairs of a positive and a negative row in which the positive one scores higher; ties count half.

    Counted by ranks (Mann and Whitney 1947): scikit-learn, which says the same, takes more than a second to import.

    Args:
        positive: ``[rows]``, some and not all.
        score: ``[rows]``.
    """
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def expected_calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], n_bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over bins of equal width, weighted by their rows."""
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gap = np.bincount(bins, weights=confidence - right, minlength=n_bins)
    return float(np.abs(gap).sum() / len(confidence))
