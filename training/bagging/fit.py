"""The fits of all folds, one after the other, and what they say of the rows that each has not seen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rowcast.models.arguments import named
from rowcast.models.errors import TrainingError
from rowcast.models.session import Predictions
from rowcast.training.bagging.core import FoldedCore
from rowcast.training.bagging.prepare import Bag
from rowcast.training.bagging.select import chosen_seeds, most_seeds
from rowcast.training.bagging.told import told_once
from rowcast.training.bagging.unseen import by_all_that_have_not_learned, by_its_fold, outputs_of_fold, to_all
from rowcast.training.columns.row_weights import mean_of_one
from rowcast.training.config import Config
from rowcast.training.export.graph import Core
from rowcast.training.fit.checkpoint import Checkpoint
from rowcast.training.fit.enough import is_too_short
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.fit.loop import FitResult, Progress, Report
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import calibrate_head, fit_network, joined
from rowcast.training.network.head import ClassHead, RegressionHead
from rowcast.training.own import Own
from rowcast.training.prepare import Part


@dataclass(frozen=True)
class Bagged:
    """What the fits of all folds gave."""

    core: FoldedCore
    fit: FitResult
    decisions: list[str]
    bag: Bag
    """Whose ``validation`` rows are those that a fit has left out."""
    answers: Predictions
    """To these rows, each by the fit that has not seen it."""


def fit_bag(
    bag: Bag,
    config: Config,
    device: torch.device,
    report: Report = lambda _: None,
    *,
    own: Own,
    interrupt: Interrupt | None = None,
    checkpoint: Checkpoint | None = None,
) -> Bagged:
    """Train a network for each fold, and calibrate them together.

    Args:
        bag: the table.
        config: of the networks and their training; a budget is shared by all folds.
        device: to train on.
        report: called after each look at the rows that say when to stop; what it answers ends the fits, if it is true.
        own: a loss in place of that of the config.
        interrupt: ends the fit of a fold at its next step, once it is true: those before it answer without it.
        checkpoint: where the fits are kept, and what they go on with.

    Raises:
        TrainingError: a fit cannot go on, or the budget is too small for one.
        TableError: the target cannot be computed with.
        ExportRefused: an encoder would make too much of a value that training did not see.
    """
    started = time.monotonic()
    n_folds, seeds = len(bag.folds), config.fit.seeds
    most = most_seeds(bag, config, own)
    cores: list[Core] = []
    fits: list[FitResult] = []
    said: list[list[str]] = []
    for number, prepared in enumerate(bag.folds):
        spent = sum(fit.seconds for fit in fits)
        looks: list[Progress] = []

        def told(
            progress: Progress, number: int = number, spent: float = spent, looks: list[Progress] = looks
        ) -> object:
            looks.append(progress)
            done = (number + progress.done) / n_folds
            return report(replace(progress, done=done, seconds=spent + progress.seconds))

        used = max(time.monotonic() - started, spent)  # folds that a checkpoint holds were paid for before
        core, result, notes = fit_network(
            prepared,
            _share(config, used, n_folds - number),
            device,
            told,
            own=own,
            interrupt=interrupt,
            checkpoint=checkpoint,
            first=number * seeds,
            calibrated=False,
        )
        _check_budget(looks, result, config, n_folds)
        if result.stopped == "interrupted" and fits:
            break
        cores.append(core)
        fits.append(result)
        said.append(notes)
        if result.stopped == "interrupted":
            break
    decisions = told_once(said)
    if len(cores) < n_folds:
        decisions.append(
            f"{len(cores)} of {n_folds} folds were fitted before it ended: they answer, and what is measured and "
            "calibrated are the rows of these"
        )
    objective = Objective(bag.target, config.objective, own.loss)
    bag = replace(bag, folds=bag.folds[: len(cores)], plan=bag.plan[: len(cores)])
    if config.data.split_by_time:
        cores, bag, note = without_early_folds(cores, bag, objective)
        decisions += note
    rows = bag.rows(np.concatenate([split.test for split in bag.plan]))
    weight = _weight_of(rows)
    cores, note = chosen_seeds(cores, bag, objective, most, weight)
    decisions += note
    folded, by_time = FoldedCore(cores, objective.head).cpu().eval(), bool(config.data.split_by_time)
    by_one = by_its_fold(folded, bag)
    decisions += calibrate_head(
        objective,
        by_all_that_have_not_learned(folded, bag),
        objective.encode(rows.target),
        weight,
        rows.target,
        by_time=by_time,
        # fits in time have learned more rows from one to the next: they differ by more than their number
        fewer=None if by_time else (by_one, to_all(bag.plan)),
    )
    answers = predictions_of(objective, objective.head(by_one))
    if isinstance(objective.head, RegressionHead) and objective.head.intervals != "quantiles":
        folded.network.keep_first()
    result = joined(fits)
    if len(fits) < n_folds:
        result = replace(result, stopped="interrupted")
    return Bagged(folded, result, decisions, replace(bag, validation=rows), answers)


def _weight_of(rows: Part) -> Tensor | None:
    """How much each row counts, ``[rows]`` with a mean of 1."""
    return None if rows.weight is None else torch.from_numpy(mean_of_one(rows.weight)).to(torch.float32)


def without_early_folds(cores: list[Core], bag: Bag, objective: Objective) -> tuple[list[Core], Bag, list[str]]:
    """Folds in time without those first ones that make the answers to the last one no better.

    The fit of the first fold has learned a few early rows only. None has learned the rows of the last fold, so these
    can tell from which fold on the networks answer best together.

    Args:
        cores: of each fold.
        bag: of all folds.
        objective: of all; its head is not calibrated yet.

    Returns:
        what stays, and the decision; empty where all folds do.
    """
    core, last = FoldedCore(cores, objective.head).cpu().eval(), bag.folds[-1].test
    said = [outputs_of_fold(core, fold, last) for fold in range(len(cores))]
    target, weight = objective.encode(last.target), _weight_of(last)
    with torch.no_grad():
        scores = [float(objective.score(torch.cat(said[i:]), target, weight)) for i in range(len(cores))]
    start = int(np.argmin(scores))
    if start == 0:
        return cores, bag, []
    fewer = replace(bag, folds=bag.folds[start:], plan=bag.plan[start:])
    note = (
        f"the fits of the first {start} of {len(cores)} folds, which learned the earliest rows alone, are left out: on "
        f"the rows of the last fold the others have a loss of {scores[start]:.4g}, and all together {scores[0]:.4g}; "
        "what is measured and calibrated are the rows of the others"
    )
    return cores[start:], fewer, [note]


def predictions_of(objective: Objective, answers: Tensor) -> Predictions:
    """The answers of a head as those of a graph.

    Args:
        objective: whose head it is.
        answers: of the head.
    """
    head, numbers = objective.head, answers.numpy()
    if isinstance(head, ClassHead):
        labels = np.array(objective.classes, object)[head.rule.choose(numbers)].tolist()
        return Predictions(labels=labels, probabilities=numbers)
    prediction: NDArray[Any] = numbers[:, 0]
    if head.intervals == "none":
        return Predictions(prediction=prediction)
    levels = 1 + len(head.further)
    lower, upper = numbers[:, 1 : 1 + levels], numbers[:, 1 + levels :]
    further = None
    if head.further:
        further = np.stack([lower[:, 1:], upper[:, 1:]], axis=2).reshape(len(numbers), -1)
    return Predictions(prediction=prediction, lower=lower[:, 0], upper=upper[:, 0], further=further)


def _share(config: Config, used: float, folds: int) -> Config:
    """The config of a fold, which has its share of the budget that is left."""
    if config.fit.budget_s == "none":
        return config
    share = max(config.fit.budget_s - used, 1e-6) / folds
    return config.model_copy(update={"fit": config.fit.model_copy(update={"budget_s": share})})


def _check_budget(looks: Sequence[Progress], result: FitResult, config: Config, folds: int) -> None:
    """Make sure that a fold had time enough for its first regular look at the rows that say when to stop.

    Raises:
        TrainingError: it had not.
    """
    if not is_too_short(looks, result):
        return
    assert config.fit.budget_s != "none"
    share = config.fit.budget_s / folds
    got = f"{share:.2g} s" if share >= 0.01 else "less than 0.01 s"
    raise TrainingError(
        f"a budget must be enough for an epoch of each of {folds} folds, got {got} for each, once the table is "
        f"prepared and publishing is paid for: raise --budget, or use fewer folds than --folds {named(folds)}; "
        "nothing was published"
    )
