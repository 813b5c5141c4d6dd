"""What a teacher says, made sure of: a finite number for each row, or a probability for each row and class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import RowcastError
from rowcast.training.columns.target import Target, class_of
from rowcast.training.distil.teacher import Answers

OFF = 1e-3
"""What probabilities of a row may add up to beside 1: they are rounded in a file, and float32 elsewhere."""

Where = Callable[[int], str]
"""How a row is named, by its position."""


def checked(
    values: NDArray[np.float64], target: Target, where: Where, called: str, error: type[RowcastError]
) -> Answers:
    """The answers of a teacher to some rows.

    Args:
        values: numbers ``[rows]``, or probabilities ``[rows, classes]`` in the order of the target's classes.
        target: of the training rows; numbers beyond its least and most are set to these.
        where: how a row is named.
        called: how the teacher is named.
        error: what is raised.

    Raises:
        RowcastError: an answer is no finite number, no probability, or they add up to something else than 1.
    """
    bad = ~np.isfinite(values) if values.ndim == 1 else ~np.isfinite(values).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        came = values[row] if values.ndim == 1 else values[row][~np.isfinite(values[row])][0]
        what = "no number" if np.isnan(came) else f"{came:g}"
        raise error(f"{called} must say a finite number for each row, got {what} for {where(row)}")
    if not target.classes:
        return np.clip(values, target.values.min(), target.values.max())
    outside = ((values < -OFF) | (values > 1.0 + OFF)).any(axis=1)
    if outside.any():
        row = int(outside.argmax())
        came = next(value for value in values[row] if not -OFF <= value <= 1.0 + OFF)
        raise error(f"{called} must say probabilities of 0 to 1, got {came:g} for {where(row)}")
    total = values.sum(axis=1)
    wrong = np.abs(total - 1.0) > OFF
    if wrong.any():
        row = int(wrong.argmax())
        raise error(f"{called} must say probabilities that add up to 1, got {total[row]:g} for {where(row)}")
    shares = np.clip(values, 0.0, 1.0)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def own_answers(values: NDArray[np.generic], target: Target) -> Answers:
    """Targets ``[rows]`` as a teacher would say them that is certain."""
    if not target.classes:
        return np.array(values, np.float64)
    index = {label: i for i, label in enumerate(target.classes)}
    return np.eye(len(target.classes))[[index[str(label)] for label in values]]


def columns_of_classes(
    known: Sequence[str], target: Target, called: str, way_out: str, error: type[RowcastError]
) -> list[int]:
    """For each class of the target, which of a teacher's classes it is.

    Args:
        known: the teacher's classes, as texts.
        target: of the training rows.
        called: how the teacher is named.
        way_out: what to do, behind a colon.
        error: what is raised.

    Raises:
        RowcastError: the teacher knows other classes.
    """
    place = {class_of(text, target.classes) or text: i for i, text in enumerate(known)}
    lacks = [label for label in target.classes if label not in place]
    more = [text for text in place if text not in target.classes]
    if lacks or more:
        differ = [f"lacks {_listed(lacks)}"] if lacks else []
        differ += [f"adds {_listed(more)}"] if more else []
        raise error(
            f"a teacher must have the classes of the target, {_listed(target.classes)}, but {called} "
            f"{' and '.join(differ)}: {way_out}"
        )
    return [place[label] for label in target.classes]


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(map(repr, labels[:10]))
    return shown if len(labels) <= 10 else f"{shown} and {len(labels) - 10} more"
