"""The fits of all folds in rounds: one of each fold, then one more of each with other seeds.

A network of each fold is needed before any can answer, and a fit that is cut short may be worse than none. So within a
budget the first round has all the time, and another is begun only if it can have most of what the first took.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from rowcast.models.arguments import named
from rowcast.models.durations import said_seconds
from rowcast.models.errors import TrainingError
from rowcast.training.bagging.core import networks_of
from rowcast.training.bagging.prepare import Bag
from rowcast.training.bagging.told import told_once
from rowcast.training.budget.spend import ENOUGH
from rowcast.training.config import Config
from rowcast.training.export.graph import Core
from rowcast.training.fit.checkpoint import Checkpoint
from rowcast.training.fit.enough import is_too_short
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.fit.loop import FitResult, Progress, Report
from rowcast.training.fit_network import fit_network, joined
from rowcast.training.network.network import Ensemble
from rowcast.training.own import Own


@dataclass(frozen=True)
class Rounds:
    """What was fitted."""

    cores: list[Core]
    """Of each fold, with a network of each round; of the first folds alone, where the first round was ended."""
    fit: FitResult
    decisions: list[str]


@dataclass(frozen=True)
class _Fitted:
    core: Core
    fit: FitResult
    said: list[str]


def fit_rounds(
    bag: Bag,
    config: Config,
    device: torch.device,
    report: Report,
    *,
    own: Own,
    interrupt: Interrupt | None,
    checkpoint: Checkpoint | None,
    after: float,
) -> Rounds:
    """Fit each fold as often as ``config.fit.seeds`` says, or as there is time for.

    A round that a signal or a callback ends is left out, unless it is the first.

    Args:
        bag: the table.
        config: of the networks and their training; a budget is for all of them.
        device: to train on.
        report: called after each look; what it answers ends the fits, if it is true.
        own: a loss in place of that of the config.
        interrupt: ends what is being fitted at its next step, once it is true.
        checkpoint: where the fits are kept, and what they go on with.
        after: seconds to leave for export, gate and calibration of each network of the rounds after the first.

    Raises:
        TrainingError: a fit cannot go on, or the budget is too small for one of each fold.
    """
    started, budget = time.monotonic(), config.fit.budget_s
    n_folds, seeds = len(bag.folds), config.fit.seeds
    rounds: list[list[_Fitted]] = []
    ended = ""
    while len(rounds) < seeds and not ended:
        number = len(rounds)
        made = [one for round_ in rounds for one in round_]
        spent_before = sum(one.fit.seconds for one in made)
        until = budget
        if rounds and budget != "none":
            used = max(time.monotonic() - started, spent_before)
            usual = sum(one.fit.seconds for one in rounds[0])
            seconds = seconds_of_round(budget - used, usual, number, seeds, n_folds * after)
            if seconds == 0.0:
                break
            until = used + seconds
        if rounds and interrupt:
            ended = "before it began"
            break
        round_: list[_Fitted] = []
        for fold, prepared in enumerate(bag.folds):
            spent = spent_before + sum(one.fit.seconds for one in round_)
            looks: list[Progress] = []

            def told(
                progress: Progress,
                at: int = number * n_folds + fold,
                spent: float = spent,
                looks: list[Progress] = looks,
            ) -> object:
                looks.append(progress)
                done, so_far = (at + progress.done) / (seeds * n_folds), spent + progress.seconds
                if budget != "none" and seeds > 1:  # there may be no time for all rounds
                    done = max(done, min(so_far / budget, 1.0))
                return report(replace(progress, done=done, seconds=so_far))

            used = max(time.monotonic() - started, spent)  # folds that a checkpoint holds were paid for before
            once = config.fit.model_copy(update={"seeds": 1})
            if until != "none":
                once = once.model_copy(update={"budget_s": max(until - used, 1e-6) / (n_folds - fold)})
            core, result, notes = fit_network(
                prepared,
                config.model_copy(update={"fit": once}),
                device,
                told,
                own=own,
                interrupt=interrupt,
                checkpoint=checkpoint,
                first=fold * seeds + number,
                calibrated=False,
            )
            if number == 0:
                _check_budget(looks, result, config, n_folds)
            if result.stopped == "interrupted" and (number > 0 or round_):
                ended = f"in fold {fold + 1}"
                break
            round_.append(_Fitted(core, result, notes))
            if result.stopped == "interrupted":
                ended = f"in fold {fold + 1}"
                break
        if number == 0 or len(round_) == n_folds:
            rounds.append(round_)
    return _together(rounds, config, n_folds, ended)


def seconds_of_round(left: float, usual: float, rounds: int, most: int, after: float) -> float:
    """Seconds of the next round; 0 where there is not time enough for one.

    As many rounds as may still answer share what is left, if each gets :data:`.spend.ENOUGH` of what one takes; else
    fewer.

    Args:
        left: seconds of the budget.
        usual: that a round takes.
        rounds: that were made.
        most: how many may answer.
        after: seconds to leave for what follows each round after the first.
    """
    for more in range(most - rounds, 0, -1):
        each = (left - after * (rounds + more - 1)) / more
        if each >= ENOUGH * usual:
            return each
    return 0.0


def _together(rounds: Sequence[Sequence[_Fitted]], config: Config, n_folds: int, ended: str) -> Rounds:
    """The networks of each fold side by side, and what is to be told of their fits."""
    folds = list(zip(*rounds, strict=True))
    decisions = told_once([fold[0].said for fold in folds])
    n, seeds = len(rounds), config.fit.seeds
    if config.fit.budget_s != "none":
        took = [one.fit.seconds for fold in folds for one in fold]
        decisions.append(
            f"the budget left {said_seconds(config.fit.budget_s)} for fits: {n * len(folds)} of {seeds * n_folds} were "
            f"made, {n} of each fold, and took {min(took):.2g} to {max(took):.2g} s each"
        )
    if len(folds) < n_folds:
        decisions.append(
            f"{len(folds)} of {n_folds} folds were fitted before it ended: they answer, and what is measured and "
            "calibrated are the rows of these"
        )
    elif ended and n < seeds:
        decisions.append(f"round {n + 1} of {seeds} was ended {ended}: the {n} of each fold before it answer")
    fits = [joined([one.fit for one in fold]) if n > 1 else fold[0].fit for fold in folds]
    result = joined(fits)
    result = replace(result, stopped="interrupted") if ended else result
    return Rounds([_side_by_side([one.core for one in fold]) for fold in folds], result, decisions)


def _side_by_side(cores: Sequence[Core]) -> Core:
    networks = [network for core in cores for network in networks_of(core)]
    if len(networks) == 1:
        return cores[0]
    return Core(cores[0].encoder, Ensemble(networks), cores[0].head).cpu().eval()


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
