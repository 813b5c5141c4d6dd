"""What answers stand for where a fit starts from a model: the same unit and classes, if the target is the same."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from rowcast.models.signature import Task
from rowcast.training.columns.target import CANONICAL_WHOLE, Target, Unit
from rowcast.training.fit.objective import MEANS, ObjectiveConfig
from rowcast.training.network.spread import spread_of
from rowcast.training.start.keys import named_list
from rowcast.training.start.record import Answers
from rowcast.training.start.start import Start

_FARTHEST = 10.0
"""Times the deviation that new targets may lie away from the centre, or be apart, as compared to the model's: farther
out, its unit would make them one value, or millions."""

_DOMINATED = 3.0
"""See :func:`rowcast.training.network.spread.spread_of`."""


def target_like(start: Start, target: Target, config: ObjectiveConfig) -> tuple[Target, list[str]]:
    """The target of training rows, in the unit or with the classes of the model that the fit starts from.

    Args:
        start: the model.
        target: of the training rows.
        config: of this fit.

    Returns:
        the target; and a sentence on whether the outputs are carried over.
    """
    answers = start.answers
    if answers is None:
        return target, [f"{start.called} was pre-trained without a target, so that the last layer starts fresh"]
    fresh = "so that the last layer starts fresh, and so does what its answers stand for"
    if target.name != answers.target:
        return target, [f"{start.called} predicts {answers.target!r} and this fit {target.name!r}, {fresh}"]
    if (target.task == "regression") != (answers.task == "regression"):
        return target, [
            f"{target.name!r} is {_of(target.task)} here and {_of(answers.task)} in {start.called}, {fresh}"
        ]
    head = _head_of(target, config)
    if head != answers.head:
        return target, [f"outputs are {head} here and {answers.head} in {start.called}, {fresh}"]
    if target.task != "regression":
        return _with_classes(start, target, answers)
    assert answers.unit is not None
    unit = Unit(**answers.unit)
    why = _misfit(target, unit)
    if why:
        return target, [f"the target {target.name!r} {why} in {start.called}, {fresh}"]
    return replace(target, unit=unit), [f"answers stay in the unit of {start.called}"]


def outputs_carried(
    start: Start, target: Target, config: ObjectiveConfig, n_outputs: int, n_there: int
) -> list[int] | None:
    """For each output of the network the one that it starts from; -1 for a fresh one, None if all are.

    Args:
        start: the model.
        target: from :func:`target_like`.
        config: of this fit.
        n_outputs: of this fit.
        n_there: outputs of the model.
    """
    answers = start.answers
    if answers is None or target.name != answers.target or _head_of(target, config) != answers.head:
        return None
    if answers.head == "ordinal":
        same = tuple(config.order or target.classes) == answers.classes
        return list(range(n_outputs)) if same and n_outputs == n_there else None
    if target.task != "regression":
        place = {label: i for i, label in enumerate(answers.classes)}
        found = [place.get(label, -1) for label in target.classes]
        return found if max(found) >= 0 else None
    if target.unit is None:
        return None
    # Of a model whose intervals are constant only the prediction is left: bounds start where it is.
    return list(range(n_outputs)) if n_outputs <= n_there else [0] * n_outputs


def _head_of(target: Target, config: ObjectiveConfig) -> str:
    if target.task != "regression":
        return "ordinal" if config.loss == "ordinal" else "classes"
    if config.loss in MEANS:
        return config.loss
    return "standardise" if config.target_transform == "auto" else config.target_transform


def _with_classes(start: Start, target: Target, answers: Answers) -> tuple[Target, list[str]]:
    """With the classes that the model knows, too, whether or not a new row holds them."""
    known, held = set(answers.classes), set(target.classes)
    if not known & held:
        return target, [f"no class of {start.called} occurs in the training rows, so that the last layer starts fresh"]
    if answers.head == "ordinal":
        return target, []
    absent, fresh = sorted(known - held), sorted(held - known)
    said = f"classes are those of {start.called}"
    said += f", and {named_list(fresh)}, which it did not know" if fresh else ""
    if absent:
        said += f"; no training row here holds {named_list(absent)}, so that the model will unlearn to say it"
    classes = sorted(known | held)
    whole = all(re.fullmatch(CANONICAL_WHOLE, label) for label in classes)
    ordered = tuple(sorted(classes, key=int) if whole else classes)
    task: Task = "binary" if len(ordered) == 2 else "multiclass"
    return replace(target, classes=ordered, task=task), [said]


def _misfit(target: Target, unit: Unit) -> str:
    """Why targets cannot be learned in a unit; nothing if they can."""
    values = target.values
    if unit.transform == "log":
        if values.min() < 0.0 or (unit.shift == 0.0 and values.min() <= 0.0):
            return "may be 0 here, of which there is no logarithm as it was taken"
        values = np.log(values + unit.shift)
    if unit.transform in MEANS:
        ratio = float(values.mean()) / unit.deviation if unit.deviation > 0.0 else np.inf
        return "" if 1.0 / _FARTHEST <= ratio <= _FARTHEST else f"has a mean {ratio:.3g} times that which it had"
    if unit.transform == "none":
        return ""
    spread = spread_of(values, _DOMINATED)
    away = 2.0 * abs(spread.centre / 2.0 - unit.centre / 2.0) / unit.deviation
    apart = spread.deviation / unit.deviation
    if away > _FARTHEST:
        return f"lies {away:.3g} deviations away from where it lay"
    return "" if 1.0 / _FARTHEST <= apart <= _FARTHEST else f"varies {apart:.3g} times as much as it did"


def _of(task: Task) -> str:
    return "a regression" if task == "regression" else "one of classes"
