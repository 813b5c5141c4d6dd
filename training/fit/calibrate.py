"""Answers put right on validation rows: probabilities that mean what they say, intervals that hold what they promise.

Whatever is chosen here is chosen honestly: a way is fitted on some of the validation rows and judged on the others, in
turn until every row has judged. The way that won is fitted once more on all of them.

``of_rows`` are weights of the validation rows ``[rows]`` with a mean of 1, or None where every row counts the same: a
row of weight 2 counts like two rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from rowcast.training.fit.losses import mean_over_rows
from rowcast.training.network.head import ClassHead, Intervals, RegressionHead

MIN_ROWS = 20
"""Fewer validation rows cannot tell whether calibration helps, and probabilities stay as they are."""
MIN_CONTEST_ROWS = 100
"""Fewer validation rows cannot tell which intervals are narrower: a half would hold too few rows outside them."""
SLACK = 1e-5
"""By how much bounds are let out, in the network's units: where very many rows are the same one, they would stand just
at its edge, and rounding would put all of them outside."""
STRETCHES = 4
"""Of time, after a split by time: what lowers the loss in each of them is likely to lower it in the next one, too."""
MAX_CELLS = 10_000_000
"""Validation rows times classes that calibration looks at, at most, which bounds time and memory."""


# ─── probabilities ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Calibration:
    """Log-probabilities times ``inverse`` plus ``bias`` ``[classes]`` are the logits of calibrated probabilities."""

    inverse: float
    bias: NDArray[np.float64]

    def losses(self, log_probabilities: NDArray[np.float64], actual: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-loss of each row, ``[rows]``."""
        logits = log_probabilities * self.inverse + self.bias
        logits = logits - logits.max(axis=1, keepdims=True)
        losses: NDArray[np.float64] = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), actual]
        return losses


@dataclass(frozen=True)
class Fewer:
    """What fewer networks say of the validation rows than those that are calibrated on them.

    Networks that answer together are less sure of themselves than each is, the more so the more they are. So where rows
    can be answered by some of them only (see :mod:`rowcast.training.bagging.unseen`), a temperature that is right for
    these is too high for all. What several networks add to one goes with 1 over their number, as the variance of a mean
    does, and so is the temperature carried on: on covertype (8,000 rows, five folds) that of one fit was 1.28, that of
    1.6 on average 1.19, and of all 1.06 by this rule; the best on test rows was 1.05.
    """

    log_probabilities: NDArray[np.float64]
    """Of the validation rows, by the fewer ones, ``[rows, classes]``."""
    step: float
    """How far the temperature is carried on, in differences between the fewer ones and those that are calibrated."""

    def temperature_of_all(self, of_fewer: float, of_some: float, chosen: float) -> float:
        """The temperature of all networks.

        It is not carried on beyond 1: what is too sure of itself is softened less, but not sharpened by a guess.

        Args:
            of_fewer: what is right for the fewer ones.
            of_some: what is right for those that answer the validation rows.
            chosen: for these, too, beside whatever else was fitted.
        """
        carried = chosen - self.step * max(0.0, of_fewer - of_some)
        return max(carried, min(chosen, 1.0))


OfRows = NDArray[np.float64] | None
Fit = Callable[[NDArray[np.float64], NDArray[np.int64], OfRows], Calibration]
"""Takes log-probabilities ``[rows, classes]`` of rows that the network was not fitted on, class indices ``[rows]``, and
weights of the rows."""


def fit_affine(
    log_probabilities: NDArray[np.float64], actual: NDArray[np.int64], of_rows: OfRows = None
) -> Calibration:
    """One factor and a bias for each class; with two classes, ``a * logit + b``.

    A standard normal prior, which counts like a row, keeps few rows and absent classes from saying too much.

    Args:
        log_probabilities: ``[rows, classes]`` of rows that no weight was fitted on.
        actual: ``[rows]`` class indices.
        of_rows: weights of the rows, ``[rows]``.
    """
    rows, classes = log_probabilities.shape
    one_hot = np.eye(classes)[actual]
    centre = np.concatenate([[1.0], np.zeros(classes)])

    def loss_and_gradient(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = log_probabilities * parameters[0] + parameters[1:]
        logits = logits - logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        error = (np.exp(log_p) - one_hot) / rows
        if of_rows is not None:
            error = error * of_rows[:, None]
        gradient = np.concatenate([[np.sum(error * log_probabilities)], error.sum(axis=0)])
        away = parameters - centre
        loss = -_mean(log_p[np.arange(rows), actual], of_rows) + away @ away / (2 * rows)
        return float(loss), gradient + away / rows

    bounds = [(0.1, 10.0)] + [(-10.0, 10.0)] * classes
    found = minimize(loss_and_gradient, centre, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration(float(found[0]), found[1:] - found[1:].mean())


def fit_temperature(
    log_probabilities: NDArray[np.float64], actual: NDArray[np.int64], of_rows: OfRows = None
) -> Calibration:
    """The temperature that sharpens or softens probabilities to what held-out rows show (Guo et al. 2017, section 4.2).

    It is fitted beside a bias for each class, which is then thrown away: where validation rows hold other shares of the
    classes than training rows did (a quiet season, after a split by time), the bias takes up that difference, which a
    bare temperature would take for over- or underconfidence. On `flights` the bare one raised the test log-loss from
    .501 to .517.
    """
    return Calibration(fit_affine(log_probabilities, actual, of_rows).inverse, np.zeros(log_probabilities.shape[1]))


def calibrate_classes(
    head: ClassHead,
    log_probabilities: NDArray[np.float64],
    actual: NDArray[np.int64],
    *,
    method: str = "auto",
    by_time: bool = False,
    weights: NDArray[np.float64] | None = None,
    of_rows: OfRows = None,
    fewer: Fewer | None = None,
) -> str:
    """Set the head's temperature and bias where that helps; say what was decided.

    Args:
        head: what is calibrated.
        log_probabilities: of the validation rows, uncalibrated, ``[rows, classes]``.
        actual: their class indices, ``[rows]``.
        method: ``objective.calibration``.
        by_time: the table is split by time, and the rows are in its order. Shares of the classes differ by season, so
            that ``auto`` takes no bias; so does overconfidence, so that a calibration has to help at all times.
        weights: of the classes in the loss, if there are any.
        of_rows: weights of the validation rows, ``[rows]``.
        fewer: the same rows by fewer networks, where more will answer than have answered the validation rows.
    """
    if method == "none":
        return "probabilities are left as they are, as objective.calibration says"
    if len(actual) < MIN_ROWS:
        return f"probabilities are left as they are: {len(actual)} validation rows are too few to calibrate on"
    kept = np.random.default_rng(0).permutation(len(actual))[: max(MIN_ROWS, MAX_CELLS // log_probabilities.shape[1])]
    kept.sort()
    judges = _stretches(len(kept)) if by_time else halves(len(kept))
    log_p, actual = log_probabilities[kept], actual[kept]
    of_rows = _of(of_rows, kept)
    # A network that learned with weights says p_c * w_c over their sum. That is known, and needs no estimate.
    undone = np.zeros(log_p.shape[1]) if weights is None else -np.log(weights)
    ways: dict[str, Fit] = {"unweighted": _as_they_are} if weights is not None else {}
    if method in ("auto", "temperature"):
        ways["temperature"] = fit_temperature
    if method == "affine" or (method == "auto" and not by_time):
        ways["affine"] = fit_affine
    best, losses = "", _as_they_are(log_p, actual, of_rows).losses(log_p, actual)
    for name, way in ways.items():
        tried = cross_fitted_losses(way, log_p + undone, actual, judges, of_rows)
        at_all_times = all(_mean((tried - losses)[judged], _of(of_rows, judged)) < 0 for judged in judges)
        if _clearly_lower(tried, losses, of_rows) and (at_all_times or not by_time or way is _as_they_are):
            best, losses = name, tried
    if not best:
        when = f", in each of {STRETCHES} stretches of time" if by_time else ""
        return f"probabilities are left as they are: no calibration gave held-out rows a clearly better log-loss{when}"
    chosen, carried = ways[best](log_p + undone, actual, of_rows), ""
    if fewer is not None and best != "unweighted":
        of_fewer, of_some = (
            1.0 / fit_temperature(told + undone, actual, of_rows).inverse
            for told in (fewer.log_probabilities[kept], log_p)
        )
        temperature = fewer.temperature_of_all(of_fewer, of_some, 1.0 / chosen.inverse)
        if temperature < 1.0 / chosen.inverse:
            carried = f" ({1.0 / chosen.inverse:.3f} for the fits that answer a row here: all together are less sure)"
            chosen = Calibration(1.0 / temperature, chosen.bias)
    head.temperature.fill_(1.0 / chosen.inverse)
    head.bias.copy_(torch.from_numpy(chosen.inverse * undone + chosen.bias))
    note = f"probabilities are calibrated at temperature {1.0 / chosen.inverse:.3f}{carried}"
    note = {
        "unweighted": "probabilities are those of unweighted rows",
        "temperature": note,
        "affine": f"{note} and with a bias for each class",
    }[best]
    out_again = "" if weights is None else "; what class_weights did to them is taken out again"
    return f"{note}, chosen on validation rows{out_again}"


def cross_fitted_losses(
    way: Fit,
    log_probabilities: NDArray[np.float64],
    actual: NDArray[np.int64],
    judges: Sequence[NDArray[np.int64]],
    of_rows: OfRows = None,
) -> NDArray[np.float64]:
    """Log-loss of each row after a calibration fitted without those that it judges with, ``[rows]``."""
    losses = np.empty(len(actual))
    for judged in judges:
        fitted = np.setdiff1d(np.arange(len(actual)), judged, assume_unique=True)
        calibration = way(log_probabilities[fitted], actual[fitted], _of(of_rows, fitted))
        losses[judged] = calibration.losses(log_probabilities[judged], actual[judged])
    return losses


def _as_they_are(
    log_probabilities: NDArray[np.float64], actual: NDArray[np.int64], of_rows: OfRows = None
) -> Calibration:
    return Calibration(1.0, np.zeros(log_probabilities.shape[1]))


def _clearly_lower(new: NDArray[np.float64], old: NDArray[np.float64], of_rows: OfRows) -> bool:
    """Whether a loss is lower by more than its standard error: by less, luck may have chosen."""
    gain = old - new
    if of_rows is None:
        return bool(gain.mean() > gain.std() / math.sqrt(len(gain)))
    mean = _mean(gain, of_rows)
    return bool(mean > math.sqrt(float(np.sum(np.square(of_rows * (gain - mean))))) / float(of_rows.sum()))


def _mean(values: NDArray[np.float64], of_rows: OfRows) -> float:
    return float(np.mean(values) if of_rows is None else np.average(values, weights=of_rows))


def _of(of_rows: OfRows, chosen: NDArray[np.int64]) -> OfRows:
    """The weights of some of the rows, which have a mean of 1 too."""
    return None if of_rows is None else of_rows[chosen] / of_rows[chosen].mean()


# ─── intervals ───────────────────────────────────────────────────────────────────────────────────────────────────────


def calibrate_intervals(
    head: RegressionHead,
    answers: Tensor,
    target: Tensor,
    *,
    contest: bool = False,
    two_sided: bool = False,
    actual: Tensor | None = None,
    of_rows: Tensor | None = None,
) -> str:
    """Set the head's bounds; say what was decided.

    Args:
        head: what is calibrated; its kind of intervals stays, or is chosen in a ``contest``.
        answers: of the validation rows, in the network's units, ``[rows, n_outputs]`` float64.
        target: likewise, ``[rows]``.
        contest: choose the kind whose bounds are closer together in the target's own units.
        two_sided: each bound is to leave half of the misses; for a prediction that is not the middle.
        actual: ``target`` in its own units, where the way there and back would not end at the same number.
        of_rows: weights of the rows, ``[rows]``.
    """
    if head.intervals == "none":
        return "there are no intervals, as objective.intervals says"
    note = ""
    if contest and len(target) >= MIN_CONTEST_ROWS:
        constant, quantiles = (
            _held_out_width(head, kind, answers, target, of_rows, two_sided=two_sided)
            for kind in ("constant", "quantiles")
        )
        head.intervals = "quantiles" if quantiles < constant else "constant"
        note = f"; constant ones would be {constant / quantiles:.3g} times as wide" if quantiles < constant else ""
    elif contest:
        head.intervals = "constant"
    _fit_bounds(head, answers, target, of_rows, two_sided=two_sided)
    kind = "follow the row" if head.intervals == "quantiles" else "are equally wide for every row"
    if head.intervals == "constant" and head.transform.name == "log":
        kind = "are in proportion to the prediction"
    elif head.intervals == "constant" and head.transform.name == "log_link":
        kind = "grow with the prediction as far as the rows spread there"
    bounds = head.answer(answers)[:, 1:]
    own = head.transform(target) if actual is None else actual
    said = []
    for i, level in enumerate((head.coverage, *head.further)):
        lower, upper = bounds[:, i], bounds[:, 1 + len(head.further) + i]
        held = float(mean_over_rows(((lower <= own) & (own <= upper)).double(), of_rows))
        width = float(mean_over_rows(upper - lower, of_rows))
        said.append(f"{width:.4g} wide on average, asked to hold {level:.10g} of all rows; they hold {held:.4f}")
    further = "".join(f"; further ones {words}" for words in said[1:])
    return f"intervals {kind}, {said[0]} of the {len(own):,} validation rows{note}{further}"


def conformal_quantile(scores: Tensor, level: float, of_rows: Tensor | None = None) -> float:
    """What at least ``level`` of new rows score at most (Lei et al. 2018, section 2.2); the highest where rows are few.

    Rows with weights are those of Tibshirani et al. (2019, section 2); a new row, whose weight nobody knows, is taken
    for one of mean weight.

    Args:
        scores: ``[rows]`` of rows that no weight was fitted on.
        level: share of rows, 0 to 1.
        of_rows: weights of the rows, ``[rows]``.
    """
    if of_rows is not None:
        order = torch.argsort(scores)
        passed = torch.cumsum(of_rows[order], dim=0)
        needed = (float(passed[-1]) + float(of_rows.mean())) * level
        return float(scores[order][min(int((passed < needed).sum()), len(scores) - 1)])
    rank = min(math.ceil((len(scores) + 1) * level), len(scores))
    return float(torch.sort(scores).values[rank - 1])


def _fit_bounds(
    head: RegressionHead, answers: Tensor, target: Tensor, of_rows: Tensor | None, *, two_sided: bool
) -> None:
    """Shift the bounds until they hold their share of the rows (Romano et al. 2019, section 3)."""
    under, over = head.misses(answers, target)
    for i, level in enumerate((head.coverage, *head.further)):
        if two_sided:
            each = (1.0 + level) / 2
            below, above = conformal_quantile(under, each, of_rows), conformal_quantile(over, each, of_rows)
        else:
            below = above = conformal_quantile(torch.maximum(under, over), level, of_rows)
        if i == 0:
            head.below.fill_(below + SLACK)
            head.above.fill_(above + SLACK)
        else:
            head.further_below[i - 1] = below + SLACK
            head.further_above[i - 1] = above + SLACK


def _held_out_width(
    head: RegressionHead,
    kind: Intervals,
    answers: Tensor,
    target: Tensor,
    of_rows: Tensor | None,
    *,
    two_sided: bool,
) -> float:
    """Mean width of intervals of a kind, in the target's own units, on rows their bounds were not fitted on."""
    head.intervals = kind
    widths = torch.empty_like(target)
    first, second = halves(len(target))
    for fitted, judged in ((first, second), (second, first)):
        weights = None if of_rows is None else of_rows[fitted]
        _fit_bounds(head, answers[fitted], target[fitted], weights, two_sided=two_sided)
        answer = head.answer(answers[judged])
        widths[judged] = answer[:, 2 + len(head.further)] - answer[:, 1]
    return float(mean_over_rows(widths, of_rows))


def halves(rows: int) -> tuple[NDArray[np.int64], ...]:
    """Two halves of the rows at random, the same for the same number of rows."""
    order = np.random.default_rng(1).permutation(rows)
    return order[: rows // 2], order[rows // 2 :]


def _stretches(rows: int) -> tuple[NDArray[np.int64], ...]:
    """Rows that follow one another, in equal numbers."""
    return tuple(np.array_split(np.arange(rows), STRETCHES))
