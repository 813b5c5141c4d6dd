"""The fits of all folds, one after the other, and what they say of the rows that each has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rowcast.models.session import Predictions
from rowcast.training.bagging.core import FoldedCore
from rowcast.training.bagging.prepare import Bag
from rowcast.training.bagging.rounds import fit_rounds
from rowcast.training.bagging.select import chosen_members, most_members
from rowcast.training.bagging.unseen import by_all_that_have_not_learned, by_its_fold, outputs_of_fold, to_all
from rowcast.training.columns.row_weights import mean_of_one
from rowcast.training.config import Config
from rowcast.training.export.graph import Core
from rowcast.training.fit.checkpoint import Checkpoint
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.fit.loop import FitResult, Report
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import calibrate_head
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
    after: float = 0.0,
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
        after: seconds to leave for what follows each network that answers beside the first of its fold.

    Raises:
        TrainingError: a fit cannot go on, or the budget is too small for one.
        TableError: the target cannot be computed with.
        ExportRefused: an encoder would make too much of a value that training did not see.
    """
    most = most_members(bag, config, own)
    fitted = fit_rounds(bag, config, device, report, own=own, interrupt=interrupt, checkpoint=checkpoint, after=after)
    cores, decisions = fitted.cores, fitted.decisions
    objective = Objective(bag.target, config.objective, own.loss)
    bag = replace(bag, folds=bag.folds[: len(cores)], plan=bag.plan[: len(cores)])
    if config.data.split_by_time:
        cores, bag, note = without_early_folds(cores, bag, objective)
        decisions += note
    rows = bag.rows(np.concatenate([split.test for split in bag.plan]))
    weight = _weight_of(rows)
    cores, note = chosen_members(cores, bag, objective, most, config.seed)
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
    return Bagged(folded, fitted.fit, decisions, replace(bag, validation=rows), answers)


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
