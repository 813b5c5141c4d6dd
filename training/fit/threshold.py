"""From which probability on a row is called what: ``objective.threshold``, found on validation rows.

Whatever is found is judged honestly: the metrics that a decision tells are of two halves of the validation rows, each
called by the rule that the other half gave. The rule that stays is found on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import ConfigError
from rowcast.training.fit.calibrate import MAX_CELLS, MIN_ROWS, halves
from rowcast.training.fit.evaluate import label_metrics
from rowcast.training.network.labels import LabelRule, MostProbable, Scores, Threshold

Asked = Literal["none", "f1", "balanced_accuracy"] | float | dict[str, dict[str, float]]
"""``objective.threshold``."""
GRID = 64
"""Factors that are tried of a class at a time, where there are more than two classes."""
SWEEPS = 3
"""Over all classes, at most."""
_NAMES = {"f1": "F1", "balanced_accuracy": "balanced accuracy", "accuracy": "accuracy", "cost": "mean cost"}

Indices = NDArray[np.int64]
Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """A rule, what the manifest says of it, and the sentence that tells it."""

    rule: LabelRule
    record: dict[str, Any]
    decision: str


def check_threshold(asked: Asked, classes: Sequence[str]) -> None:
    """Refuse what has no meaning for these classes.

    Raises:
        ConfigError: a number for more than two classes, or costs of what is no error of theirs.
    """
    if isinstance(asked, float) and len(classes) > 2:
        raise ConfigError(
            "'objective.threshold' may be a number where there are two classes, got "
            f'{asked:g} for {len(classes)}: name "f1", "balanced_accuracy" or what each error costs'
        )
    if not isinstance(asked, dict):
        return
    named = [*asked, *(said for costs in asked.values() for said in costs)]
    if unknown := sorted(set(named) - set(classes)):
        raise ConfigError(
            f"'objective.threshold' names classes of the target, {', '.join(map(repr, classes[:10]))}, "
            f"got {', '.join(map(repr, unknown))}"
        )
    if right := [actual for actual, costs in asked.items() if actual in costs]:
        raise ConfigError(
            f"'objective.threshold' says what errors cost; {right[0]!r} said of {right[0]!r} is none: leave it out"
        )
    if not any(asked.values()):
        raise ConfigError(
            "'objective.threshold' says what at least one error costs, as {actual = {said = 5.0}}, got none"
        )


def find_rule(
    asked: Asked,
    classes: Sequence[str],
    probabilities: Probabilities,
    actual: Indices,
    weight: NDArray[np.float64] | None = None,
) -> Found | None:
    """The rule that was asked for; None where none was.

    Args:
        asked: ``objective.threshold``.
        classes: in the order of the columns of ``probabilities``.
        probabilities: of the validation rows, calibrated, ``[rows, classes]``.
        actual: their class indices, ``[rows]``.
        weight: how much each row counts, ``[rows]``, all above 0; None where every row counts the same.
    """
    if asked == "none":
        return None
    rows = _Rows(probabilities, actual, np.ones(len(actual)) if weight is None else weight)
    if isinstance(asked, dict):
        return _of_costs(asked, classes, rows)
    if isinstance(asked, float):
        rule: LabelRule = Threshold.at(asked)
        said = _told(rule, classes, "as objective.threshold says", rows, rule.choose(probabilities))
        return Found(rule, {"by": "number", **_shown(rule, classes)}, said)
    return _of_metric(asked, classes, rows)


@dataclass(frozen=True)
class _Rows:
    """Validation rows: ``probabilities [rows, classes]``, class indices ``actual [rows]``, and how much each counts."""

    probabilities: Probabilities
    actual: Indices
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.actual)

    def __getitem__(self, rows: NDArray[np.int64]) -> _Rows:
        return _Rows(self.probabilities[rows], self.actual[rows], self.weight[rows])


def _of_costs(asked: Mapping[str, Mapping[str, float]], classes: Sequence[str], rows: _Rows) -> Found:
    costs = costs_of(asked, classes)
    # Of two classes the second costs less from p * costs[1, 0] = (1 - p) * costs[0, 1] on.
    at = costs[0, 1] / (costs[0, 1] + costs[1, 0])
    rule = Threshold.at(at) if len(classes) == 2 else Scores.of_costs(costs)
    decision = _told(rule, classes, "for the least expected cost", rows, rule.choose(rows.probabilities), costs)
    table = {a: {s: float(costs[i, j]) for j, s in enumerate(classes) if j != i} for i, a in enumerate(classes)}
    return Found(rule, {"by": "costs", **_shown(rule, classes), "costs": table}, decision)


def costs_of(asked: Mapping[str, Mapping[str, float]], classes: Sequence[str]) -> NDArray[np.float64]:
    """What each error costs, ``[classes, classes]`` by actual class and by the class that is said; 1 unless named."""
    costs = 1.0 - np.eye(len(classes))
    for i, actual in enumerate(classes):
        for j, said in enumerate(classes):
            costs[i, j] = asked.get(actual, {}).get(said, costs[i, j])
    return costs


def _of_metric(name: Literal["f1", "balanced_accuracy"], classes: Sequence[str], rows: _Rows) -> Found:
    if len(rows) < MIN_ROWS or len(np.unique(rows.actual)) < 2:
        rule: LabelRule = Threshold.at(0.5) if len(classes) == 2 else MostProbable()
        held = f"{len(rows)} validation rows" if len(rows) < MIN_ROWS else "validation rows of one class"
        decision = f"the label is the most probable class: {held} are too few to find a threshold on"
        return Found(rule, {"by": name, **_shown(rule, classes)}, decision)
    kept = np.random.default_rng(0).permutation(len(rows))[: max(MIN_ROWS, MAX_CELLS // len(classes))]
    rows = rows[np.sort(kept)]

    def find(fitted: _Rows) -> LabelRule:
        if len(classes) == 2:
            return best_threshold(name, fitted.probabilities[:, 1], fitted.actual == 1, fitted.weight)
        return best_weights(name, fitted.probabilities, fitted.actual, fitted.weight)

    said = np.empty(len(rows), np.int64)
    first, second = halves(len(rows))
    for fitted, judged in ((first, second), (second, first)):
        said[judged] = find(rows[fitted]).choose(rows.probabilities[judged])
    rule = find(rows)
    of = f" of {classes[1]!r}" if name == "f1" and len(classes) == 2 else ""
    decision = _told(rule, classes, f"for the best {_NAMES[name]}{of} on validation rows", rows, said)
    return Found(rule, {"by": name, **_shown(rule, classes)}, f"{decision}, each half called by the rule of the other")


def best_threshold(
    name: Literal["f1", "balanced_accuracy"],
    score: NDArray[np.float32],
    positive: NDArray[np.bool_],
    weight: NDArray[np.float64] | None = None,
) -> Threshold:
    """The threshold with the highest metric, half-way to the next probability; of several the one nearest to a half.

    Args:
        name: of the metric; ``f1`` is that of the positive rows.
        score: ``[rows]`` probabilities of the second class.
        positive: whether a row is of the second class, ``[rows]``.
        weight: how much each row counts, ``[rows]``.
    """
    weight = np.ones(len(score)) if weight is None else weight
    order = np.argsort(-score, kind="stable")
    score = score[order].astype(np.float64)
    last = np.flatnonzero(np.diff(score, append=-1.0))  # of the rows that share a probability
    n_said = np.concatenate([[0.0], np.cumsum(weight[order])[last]])
    hits = np.concatenate([[0.0], np.cumsum((weight * positive)[order])[last]])
    n_positive, n_negative = float(weight[positive].sum()), float(weight[~positive].sum())
    if name == "f1":
        value = 2.0 * hits / (n_said + n_positive)
    else:
        value = (hits / n_positive + 1.0 - (n_said - hits) / n_negative) / 2.0 if n_positive and n_negative else hits
    edges = np.concatenate([[1.0], score[last], [0.0]])
    middle = (edges[:-1] + edges[1:]) / 2.0
    usable = edges[:-1] > edges[1:]  # nothing is above a probability of 1
    best = np.flatnonzero(usable & (value >= value[usable].max() - 1e-12))
    found = int(best[np.abs(middle[best] - 0.5).argmin()])
    threshold = Threshold.at(float(middle[found]))
    # Two neighbours may have no float32 between them: then the upper one itself, which is still called so.
    return threshold if threshold.value > edges[found + 1] else Threshold.at(float(edges[found]))


def best_weights(
    name: Literal["f1", "balanced_accuracy"],
    probabilities: Probabilities,
    actual: Indices,
    weight: NDArray[np.float64] | None = None,
) -> LabelRule:
    """Factors of the classes with the highest metric, one class tried after the other.

    Args:
        name: of the metric; ``f1`` is the mean over the classes that there are.
        probabilities: ``[rows, classes]``.
        actual: class indices, ``[rows]``.
        weight: how much each row counts, ``[rows]``.
    """
    p, n_classes = probabilities.astype(np.float64), probabilities.shape[1]
    rows = np.arange(len(p))

    def measure(said: Indices) -> float:
        return label_metrics(actual, said, n_classes, weight)[name]

    held = np.bincount(actual, weight, n_classes)
    starts = [np.ones(n_classes), 1.0 / np.where(held > 0, held, max(1.0, held.max()))]
    scored = [measure((p * weights).argmax(axis=1)) for weights in starts]
    weights, best = starts[int(np.argmax(scored))].copy(), max(scored)
    for _ in range(SWEEPS):
        before = best
        for c in range(n_classes):
            others = p * weights
            others[:, c] = -1.0
            rival = others.argmax(axis=1)
            with np.errstate(divide="ignore"):
                ratio = others[rows, rival] / p[:, c]
            ratio = ratio[np.isfinite(ratio) & (ratio > 0.0)]
            for factor in np.unique(np.quantile(ratio, np.linspace(0.0, 1.0, GRID))) * (1 + 1e-9) if len(ratio) else ():
                value = measure(np.where(p[:, c] * factor > others[rows, rival], c, rival))
                if value > best:
                    best, weights[c] = value, factor
        if best <= before:
            break
    return MostProbable() if np.all(weights == weights[0]) else Scores.of_weights(weights)


def _shown(rule: LabelRule, classes: Sequence[str]) -> dict[str, Any]:
    """What ``model.json`` says of a rule."""
    if isinstance(rule, Threshold):
        return {"class": classes[1], "value": rule.value}
    diagonal = np.ones(len(classes)) if isinstance(rule, MostProbable) else np.diag(rule.matrix)
    return {"weights": dict(zip(classes, diagonal.tolist(), strict=True))} if diagonal.any() else {}


def _told(
    rule: LabelRule,
    classes: Sequence[str],
    why: str,
    rows: _Rows,
    said: Indices,
    costs: NDArray[np.float64] | None = None,
) -> str:
    """The sentence on a rule: what it is, why, and what it does to the metrics of the validation rows."""
    if isinstance(rule, Threshold):
        what = f"the label is {classes[1]!r} from a probability of {rule.value:.4g} on"
    elif isinstance(rule, MostProbable):
        what = "the label is the most probable class"
    else:
        what = "the label is the class of the " + ("least expected cost" if costs is not None else "highest product")
        what += "" if costs is not None else " of its probability and a factor"
    most_probable = MostProbable().choose(rows.probabilities)
    even = None if bool((rows.weight == rows.weight[0]).all()) else rows.weight
    before, after = (label_metrics(rows.actual, labels, len(classes), even) for labels in (most_probable, said))
    if costs is not None:
        before["cost"], after["cost"] = (
            float(np.average(costs[rows.actual, labels], weights=rows.weight)) for labels in (most_probable, said)
        )
    moved = ", ".join(f"{_NAMES[name]} {before[name]:.3f} to {after[name]:.3f}" for name in reversed(list(before)))
    return f"{what}, {why}: {moved} on {len(rows):,} validation rows"
