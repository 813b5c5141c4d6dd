"""How good the labels are, and the order of probabilities where one class is rare: metrics beside the usual ones.

Of two classes these are of the second one, as probabilities of one column are; of more, the mean over the classes that
the rows hold or that were said. All follow scikit-learn, where a class that is never answered has a precision of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFUSION_METRICS = ("precision", "recall", "f1", "average_precision")
"""The names of what :func:`confusion_metrics` tells."""


def confusion_metrics(
    labels: Sequence[str] | NDArray[Any],
    answers: Sequence[str],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    weight: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """``precision recall f1 average_precision``, all between 0 and 1.

    Args:
        labels: ``[rows]`` actual labels.
        answers: ``[rows]`` labels that the model gives.
        probabilities: ``[rows, classes]``.
        classes: in the order of the columns of ``probabilities``.
        weight: how much each row counts, ``[rows]``, all above 0; None where every row counts the same.
    """
    matrix = confusion(labels, answers, classes, weight)
    right, held, told = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    scored = np.flatnonzero(held + told) if len(classes) > 2 else np.array([1])
    with np.errstate(invalid="ignore"):
        precision = np.nan_to_num(right / told)[scored]
        recall = np.nan_to_num(right / held)[scored]
        f1 = np.nan_to_num(2 * right / (told + held))[scored]
    metrics = {"precision": float(precision.mean()), "recall": float(recall.mean()), "f1": float(f1.mean())}
    actual = np.asarray(labels)
    ranked = [c for c in scored if held[c]]
    if ranked:
        metrics["average_precision"] = float(
            np.mean([average_precision(actual == classes[c], probabilities[:, c], weight) for c in ranked])
        )
    return metrics


def confusion(
    labels: Sequence[str] | NDArray[Any],
    answers: Sequence[str],
    classes: Sequence[str],
    weight: NDArray[np.float64] | None = None,
) -> NDArray[Any]:
    """How often a class (row) got a label (column), ``[classes, classes]``: counts, or sums of weights."""
    index = {label: i for i, label in enumerate(classes)}
    place = np.array([index[label] for label in labels]) * len(classes) + np.array([index[label] for label in answers])
    counted = np.bincount(place, weights=weight, minlength=len(classes) ** 2)
    return counted.reshape(len(classes), len(classes))


def average_precision(
    positive: NDArray[np.bool_], score: NDArray[Any], weight: NDArray[np.float64] | None = None
) -> float:
    """The mean of the precision over the positive rows, each at its own score as the threshold; ties stand together.

    Args:
        positive: ``[rows]``, some at least.
        score: ``[rows]``, higher for positive rows.
        weight: how much each row counts, ``[rows]``; None where every row counts the same.
    """
    weight = np.ones(len(score)) if weight is None else weight
    _, place = np.unique(-score, return_inverse=True)
    held = np.bincount(place, weights=np.where(positive, weight, 0.0))
    passed = np.cumsum(np.bincount(place, weights=weight))
    return float(np.sum(held / held.sum() * np.cumsum(held) / passed))
