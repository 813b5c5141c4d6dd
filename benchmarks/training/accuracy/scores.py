"""What answers are worth: one arithmetic for every contender, and how far a difference can be trusted."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rowcast.training.bootstrap import RESAMPLES, Counts, interval
from rowcast.training.fit.evaluate import class_metrics, expected_calibration_error, regression_metrics

Verdict = Literal["better", "level, better", "level, worse", "worse"]


def primary(task: str) -> str:
    """The metric that decides; lower is better."""
    return "rmse" if task == "regression" else "log_loss"


def metrics_code() -> str:
    """The code of the metrics, for the hash of a cell."""
    return "".join(map(inspect.getsource, (class_metrics, expected_calibration_error, regression_metrics)))


def score(task: str, classes: list[str], actual: NDArray[Any], answers: Mapping[str, NDArray[Any]], part: str) -> Any:
    """The metrics of a part, and the coverage of its intervals where there are any.

    Args:
        task: regression, binary or multiclass.
        classes: in the order of the columns of the answers.
        actual: ``[rows]``.
        answers: by part: predictions ``[rows]``, or probabilities ``[rows, classes]``; ``PART_lower``, ``PART_upper``.
        part: which.
    """
    predicted = answers[part]
    if not np.isfinite(predicted).all():
        raise ValueError(f"an answer is a finite number, got {predicted[~np.isfinite(predicted)][0]} in {part}")
    if task != "regression":
        return class_metrics(actual, predicted, classes)
    found = regression_metrics(actual, predicted)
    if f"{part}_lower" in answers:
        inside = (answers[f"{part}_lower"] <= actual) & (actual <= answers[f"{part}_upper"])
        found["coverage"] = float(inside.mean())
        found["width"] = float(np.mean(answers[f"{part}_upper"] - answers[f"{part}_lower"]))
    return found


def row_losses(task: str, classes: list[str], actual: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.float64]:
    """What each row adds to the primary metric, ``[rows]``: its squared error, or minus the log of its probability."""
    if task == "regression":
        return np.square(predicted - actual)
    index = {label: i for i, label in enumerate(classes)}
    of_label = predicted[np.arange(len(actual)), [index[label] for label in actual]].astype(np.float64)
    return -np.log(np.clip(of_label, 1e-15, 1.0))


def total(task: str, losses: NDArray[np.float64], counts: Counts | None = None) -> NDArray[np.float64]:
    """The primary metric of the losses of rows, ``[..., rows] -> [...]``; ``counts`` says how often each counts."""
    mean = losses.mean(axis=-1) if counts is None else losses @ counts / losses.shape[-1]
    return np.sqrt(mean) if task == "regression" else mean


def difference(
    task: str, ours: NDArray[np.float64], theirs: NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Our primary metric less theirs, and its interval by a paired bootstrap over rows.

    Source: Efron and Tibshirani 1993, chapter 13.

    Args:
        task: regression, binary or multiclass.
        ours: ``[seeds, rows]``; the metric is the mean over seeds.
        theirs: likewise of the same rows; it may hold another number of seeds.
        resamples: how many.
        seed: of the resampling.

    Returns:
        ``difference``, ``low`` and ``high``; below 0 we are better.
    """
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(f"both must answer the same rows, got {ours.shape[1]} and {theirs.shape[1]}")
    n_rows = ours.shape[1]

    def apart(counts: Counts) -> float:
        return float(total(task, ours, counts).mean() - total(task, theirs, counts).mean())

    low, high = interval(apart, n_rows, resamples=resamples, seed=seed)
    return {"difference": apart(np.ones(n_rows, np.int64)), "low": low, "high": high}


def verdict(found: Mapping[str, float]) -> Verdict:
    """Which side a difference is on; ``level`` where 0 lies inside its interval."""
    side: Literal["better", "worse"] = "better" if found["difference"] < 0 else "worse"
    if found["low"] <= 0 <= found["high"]:
        return "level, better" if side == "better" else "level, worse"
    return side


@dataclass(frozen=True)
class Tally:
    """How often we were better than a peer."""

    better: int
    """The metric is lower, whatever the interval."""
    clearly: int
    """Of these, 0 lies outside the interval."""
    level: int
    """The peer's metric is not higher, but 0 lies inside the interval."""
    of: int

    @classmethod
    def of_verdicts(cls, verdicts: Iterable[Verdict]) -> Tally:
        """Count them."""
        every = list(verdicts)
        clearly, level = every.count("better"), every.count("level, worse")
        return cls(clearly + every.count("level, better"), clearly, level, len(every))
