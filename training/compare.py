"""Two published models on the same rows: which is better, and whether the rows can tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import ModelError, TableError
from rowcast.models.repository import StoredModel
from rowcast.models.seeds import checked_seed
from rowcast.models.session import Predictions
from rowcast.training.bootstrap import LEVEL, percentiles, resamples_of
from rowcast.training.columns.row_weights import mean_of_one
from rowcast.training.predict import bulk_session, open_known, predict_columns

RESAMPLES = 1000
HIGHER_IS_BETTER = frozenset({"r2", "accuracy", "balanced_accuracy", "f1", "roc_auc"})

Counts = NDArray[Any]
"""How much each row counts, ``[rows]``: how often it was drawn, times its weight."""
Metric = Callable[[Counts], float]
"""A metric of rows that count as often as they were drawn; NaN where those do not tell it."""


def main_metric(task: str) -> str:
    """The metric that decides: RMSE, or log-loss, which probabilities that are wrong raise as labels that are."""
    return "rmse" if task == "regression" else "log_loss"


def compare(
    a: StoredModel,
    b: StoredModel,
    source: Any,
    *,
    encoding: str | None = None,
    separator: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    called: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Measure two models on the same rows. They may take different columns of the table.

    Rows count as a column of weights says where both were trained with it and the table holds it; else each the same.

    Args:
        a: a model.
        b: another one, of the same target and task.
        source: a file or a data frame that holds the target and the columns of both.
        encoding: of a text file.
        separator: of its fields.
        resamples: of the paired bootstrap over rows.
        seed: of the resampling.
        called: what the two are called, where that is not ``name:version``.

    Returns:
        ``models`` (what both are called), ``task``, ``target``, ``rows``, ``weight`` (the column of weights, or
        None), ``metric`` (the main one), and of it
        ``a``, ``b``, ``difference`` (a less b), ``interval`` (``[low, high]``, at ``level`` .95) and ``better``
        (``"a"``, ``"b"``, or None where 0 lies in the interval); ``metrics``: the same five of every metric by name;
        ``verdict``: a sentence.

    Raises:
        ConfigError: the seed is out of range.
        ModelError: the two do not answer the same question.
        TableError: the table lacks a column, or holds a value that does not fit.
    """
    seed = checked_seed(seed)
    names = called or (_called(a), _called(b))
    _check_alike(a, b, names)
    columns = {model.manifest.config.get("data", {}).get("weight", "") for model in (a, b)}
    alike = len(columns) == 1
    knowns = [open_known(model, source, encoding=encoding, separator=separator, weighted=alike) for model in (a, b)]
    signature = a.manifest.signature
    if len(knowns[0]) != len(knowns[1]) or not np.array_equal(knowns[0].actual, knowns[1].actual):
        raise TableError(
            f"both models must read the same targets, got others of {names[0]} and of {names[1]}: they were "
            "trained with other values for null, or other names of columns; give the table as one of them reads it"
        )
    actual = knowns[0].actual
    answers = [predict_columns(bulk_session(model), known.columns) for model, known in zip((a, b), knowns, strict=True)]
    sides = [
        _metrics(actual, found, model.manifest.signature.classes, signature.classes)
        for model, found in zip((a, b), answers, strict=True)
    ]
    weight = knowns[0].weight
    metrics = _compared(sides[0], sides[1], len(actual), weight, resamples, seed)
    main = main_metric(signature.task)
    return {
        "models": list(names),
        "task": signature.task,
        "target": signature.target,
        "rows": len(actual),
        "weight": None if weight is None else columns.pop(),
        "metric": main,
        **metrics[main],
        "level": LEVEL,
        "metrics": metrics,
        "verdict": _verdict(main, metrics[main], len(actual), names),
    }


def _check_alike(a: StoredModel, b: StoredModel, names: tuple[str, str]) -> None:
    ours, theirs = a.manifest.signature, b.manifest.signature
    for what, one, other in (
        ("task", ours.task, theirs.task),
        ("target", ours.target, theirs.target),
        ("classes", sorted(ours.classes), sorted(theirs.classes)),
    ):
        if one != other:
            plural = what if what == "classes" else f"one {what}"
            raise ModelError(
                f"two models can be compared that have {'the same ' if what == 'classes' else ''}{plural}, got "
                f"{_short(one)} in {names[0]} and {_short(other)} in {names[1]}"
            )


def _short(value: str | list[str]) -> str:
    if isinstance(value, str):
        return repr(value)
    return ", ".join(map(repr, value[:10])) + (", ..." if len(value) > 10 else "")


def _called(model: StoredModel) -> str:
    return f"{model.manifest.name}:{model.manifest.version}"


def _compared(
    ours: Mapping[str, Metric],
    theirs: Mapping[str, Metric],
    rows: int,
    weight: NDArray[np.float64] | None,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    each: Any = 1 if weight is None else mean_of_one(weight)
    every = np.ones(rows, np.int64) * each
    found = {name: (ours[name](every), theirs[name](every)) for name in ours}
    found = {name: both for name, both in found.items() if np.isfinite(both).all()}
    drawn: dict[str, list[float]] = {name: [] for name in found}
    for counts in resamples_of(rows, resamples, seed):
        for name, differences in drawn.items():
            differences.append(ours[name](counts * each) - theirs[name](counts * each))
    compared: dict[str, dict[str, Any]] = {}
    for name, (a, b) in found.items():
        told = np.array(drawn[name])
        low, high = percentiles(told[np.isfinite(told)])
        better = None
        if not low <= 0.0 <= high:
            better = "a" if (a > b) == (name in HIGHER_IS_BETTER) else "b"
        compared[name] = {"a": a, "b": b, "difference": a - b, "interval": [low, high], "better": better}
    return compared


def _verdict(name: str, found: Mapping[str, Any], rows: int, names: tuple[str, str]) -> str:
    called = {"a": names[0], "b": names[1]} if names[0] != names[1] else {"a": "a", "b": "b"}
    low, high = found["interval"]
    told = f"{name} {found['a']:.4g} and {found['b']:.4g}, difference {found['difference']:.3g} [{low:.3g}, {high:.3g}]"
    better = found["better"]
    if better is None:
        return f"{rows:,} rows cannot tell which of {called['a']} and {called['b']} is better: {told}"
    return f"{called[better]} is better than {called['b' if better == 'a' else 'a']} on {rows:,} rows: {told}"


# ─── metrics of drawn rows ───────────────────────────────────────────────────────────────────────────────────────────


def _metrics(
    actual: NDArray[Any], answers: Predictions, own_classes: tuple[str, ...], classes: tuple[str, ...]
) -> dict[str, Metric]:
    """The metrics of one model; ``classes`` is the order that both are read in."""
    if answers.probabilities is None:
        assert answers.prediction is not None
        return _of_numbers(actual, answers.prediction)
    order = [own_classes.index(label) for label in classes]
    index = {label: i for i, label in enumerate(classes)}
    assert answers.labels is not None
    return _of_classes(
        np.array([index[label] for label in actual]),
        np.array([index[label] for label in answers.labels]),
        answers.probabilities[:, order].astype(np.float64),
    )


def _of_numbers(actual: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, Metric]:
    # Divided by a power of two, which is exact, so that no square overflows or vanishes.
    exponent = np.frexp(np.maximum(np.abs(actual), np.abs(predicted)).max())[1]
    actual, predicted = np.ldexp(actual, -exponent), np.ldexp(predicted, -exponent)
    error = predicted - actual
    squared, absolute = error**2, np.abs(error)

    def r2(counts: Counts) -> float:
        mean = float(counts @ actual) / counts.sum()
        total = float(counts @ (actual - mean) ** 2)
        return 1.0 - float(counts @ squared) / total if total > 0.0 else float("nan")

    return {
        "rmse": lambda counts: float(np.ldexp(np.sqrt(counts @ squared / counts.sum()), exponent)),
        "mae": lambda counts: float(np.ldexp(counts @ absolute / counts.sum(), exponent)),
        "r2": r2,
    }


def _of_classes(
    actual: NDArray[np.int64], said: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> dict[str, Metric]:
    """Of labels that were said and probabilities ``[rows, classes]``; without ``ece``, which a bootstrap raises."""
    n_classes = probabilities.shape[1]
    log_loss = -np.log(np.clip(probabilities[np.arange(len(actual)), actual], 1e-15, 1.0))
    brier = np.sum((probabilities - np.eye(n_classes)[actual]) ** 2, axis=1) / (2 if n_classes == 2 else 1)
    right = said == actual
    present = np.unique(actual)
    scored = present[1:] if n_classes == 2 and len(present) == 2 else present
    places = {c: np.unique(probabilities[:, c], return_inverse=True)[1] for c in scored}

    def mean(values: NDArray[Any]) -> Metric:
        return lambda counts: float(counts @ values / counts.sum())

    def balanced_accuracy(counts: Counts) -> float:
        held = np.bincount(actual, counts, n_classes)
        return float(np.mean(np.bincount(actual, counts * right, n_classes)[held > 0] / held[held > 0]))

    def f1(counts: Counts) -> float:
        both = np.bincount(actual, counts, n_classes) + np.bincount(said, counts, n_classes)
        each = 2.0 * np.bincount(actual, counts * right, n_classes) / np.maximum(both, 1)
        return float(each[1] if n_classes == 2 else np.mean(each[both > 0]))

    def roc_auc(counts: Counts) -> float:
        areas = []
        for c, place in places.items():
            positive = np.bincount(place, counts * (actual == c))
            negative = np.bincount(place, counts * (actual != c))
            pairs = positive.sum() * negative.sum()
            areas.append(positive @ (np.cumsum(negative) - negative / 2) / pairs if pairs > 0 else float("nan"))
        return float(np.mean(areas))

    return {
        "log_loss": mean(log_loss),
        "roc_auc": roc_auc,
        "brier": mean(brier),
        "accuracy": mean(right),
        "balanced_accuracy": balanced_accuracy,
        "f1": f1,
    }
