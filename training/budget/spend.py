"""Whole fits, one after the other, as many as a budget has time for.

A fit that is cut short may be worse than none: on 1,000 rows of California, four fits that shared 15 s had an RMSE of
.563 to .615, and one alone, which stopped by itself after 8 s, .54. So the first has all the time, and others are begun
only if each can have most of what it took.

Where those that answer are made again on all rows, that comes before more fits: what it takes is kept back for each.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch

from rowcast.models.durations import said_seconds
from rowcast.training.budget.choice import Panel
from rowcast.training.budget.ways import USUAL, Way, twice_as_long, ways_of
from rowcast.training.config import Config
from rowcast.training.export.graph import Core
from rowcast.training.fit.checkpoint import Checkpoint
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.fit.loop import FitResult, Progress, Report, outputs_of
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import calibrated_core, fit_network, joined, to_batch
from rowcast.training.network.network import Embedded, Ensemble
from rowcast.training.own import Own
from rowcast.training.prepare import Prepared
from rowcast.training.refit import GRAPH_OF_METRICS, LEAST_TIME, First

MOST_FITS = 16
"""That are tried, whatever the budget."""
ENOUGH = 0.6
"""Share of what a fit took so far that each of several others has at least: the schedule bends to the time there is."""
LAST = 0.3
"""The same of a single one, from which it is begun: validation rows say whether it answers."""


@dataclass(frozen=True)
class _Tried:
    way: Way
    first: First
    network: Embedded

    @property
    def fit(self) -> FitResult:
        return self.first.fit


@dataclass(frozen=True)
class Spent:
    """What a budget went for."""

    core: Core
    fit: FitResult
    """All fits, with those that do not answer."""
    answering: tuple[First, ...]
    decisions: list[str]


def spends(prepared: Prepared, config: Config) -> bool:
    """Whether fits are made until the budget is spent: a fit that starts from a model has as many as that has."""
    fit = config.fit
    return fit.until_spent and fit.budget_s != "none" and fit.refit is not True and prepared.begun is None


def fit_within(
    prepared: Prepared,
    config: Config,
    device: torch.device,
    report: Report,
    *,
    own: Own,
    interrupt: Interrupt | None,
    checkpoint: Checkpoint | None,
    after: float,
    again: float = 0.0,
) -> Spent:
    """Fit as often as there is time, and calibrate the networks that answer together.

    First come fits as configured, ``config.fit.seeds`` at most; then, if time is left, some in other ways. Not more
    than ``config.fit.seeds`` answer. A fit that a signal or a callback ends is left out, unless it is the first.

    Args:
        prepared: the table.
        config: of every fit; its budget is for all of them.
        device: to train on.
        report: called after each look of each fit; what it answers ends them, if it is true.
        own: a network and a loss in place of those of the config.
        interrupt: ends what is being fitted at its next step, once it is true.
        checkpoint: where fits are kept; all of them are as configured then, so that they can be gone on with.
        after: seconds to leave for export, gate and calibration of each network after the first that answers.
        again: what an epoch of all rows takes, as a multiple of one here, where those that answer are made again: the
            time for it is kept back, if it is left after the first fit. 0 where they are not.

    Raises:
        TrainingError: see :func:`rowcast.training.fit_network.fit_network`.
    """
    started = time.monotonic()
    budget, most = config.fit.budget_s, config.fit.seeds
    assert budget != "none"
    others = ways_of(config) if checkpoint is None and not own.network else []
    tried: list[_Tried] = []
    notes: list[str] = []
    ended = False
    while not ended and len(tried) < MOST_FITS:
        if len(tried) == most and not others:
            break
        way = USUAL if len(tried) < most else _next(tried, others, config)
        spent = max(time.monotonic() - started, sum(one.fit.seconds for one in tried))
        if tried and interrupt:
            ended = True
            break
        seconds = budget - spent
        if tried:
            usual = max(one.fit.seconds / one.way.longer for one in tried)
            takes = sorted((again * one.first.best_share * one.fit.seconds for one in tried), reverse=True)[:most]
            owed = sum(takes) + (GRAPH_OF_METRICS * after * len(takes) if again else 0.0)
            if len(tried) == 1 and seconds < LEAST_TIME * owed:
                again = owed = 0.0
            more = 1.0
            if len(tried) < most:
                more += again * fmean(one.first.best_share for one in tried)
            seconds = share(seconds - owed, more * way.longer * usual, len(tried), most, after) / more
            if seconds <= 0.0:
                break
        number = len(tried)

        def told(progress: Progress, number: int = number, spent: float = spent) -> object:
            so_far = spent + progress.seconds
            done = max(so_far / budget, (number + progress.done) / MOST_FITS)
            return report(replace(progress, done=min(done, 1.0), seconds=so_far))

        once = way.of(config)
        once = once.model_copy(update={"fit": once.fit.model_copy(update={"seeds": 1, "budget_s": max(seconds, 1e-6)})})
        core, fit, said = fit_network(
            prepared,
            once,
            device,
            told,
            own=own,
            interrupt=interrupt,
            checkpoint=checkpoint,
            first=number,
            calibrated=False,
        )
        notes = notes or said
        ended = fit.stopped == "interrupted"
        if tried and ended and not fit.validation_loss <= max(one.fit.validation_loss for one in tried):
            break
        assert not isinstance(core.network, Ensemble)
        tried.append(_Tried(way, First(once, number, fit), core.network))
    answering, told_of = _answering(tried, prepared, config, own, ended=ended)
    networks = [one.network for one in answering]
    core, decisions = calibrated_core(networks, prepared, config, device, own=own, interrupt=interrupt)
    result = joined([one.fit for one in tried])
    result = replace(result, stopped="interrupted") if ended else result
    return Spent(core, result, tuple(one.first for one in answering), [*notes, told_of, *decisions])


def share(left: float, usual: float, fits: int, most: int, after: float) -> float:
    """Seconds of the next fit; 0 where none is worth to be begun.

    As many fits as may still answer share what is left, if each gets :data:`ENOUGH` of what one takes; else fewer, or
    one that gets :data:`LAST` of it.

    Args:
        left: seconds of the budget.
        usual: that a fit takes.
        fits: that were made.
        most: how many may answer.
        after: seconds to leave for export, gate and calibration of each network after the first that answers.
    """
    for more in range(max(most - fits, 1), 0, -1):
        each = (left - after * min(fits + more - 1, most - 1)) / more
        if each >= (ENOUGH if more > 1 else LAST) * usual:
            return each
    return 0.0


def _next(tried: Sequence[_Tried], others: Sequence[Way], config: Config) -> Way:
    """The way of the next fit, once those as configured are through: one that was not tried, else the best so far."""
    usual = [one.fit for one in tried if one.way is USUAL]
    ways = [*others]
    if config.fit.epochs == "auto" and 2 * sum(fit.stopped == "epochs" for fit in usual) > len(usual):
        longest = max(fit.epochs for fit in usual[: config.fit.seeds])  # with the epochs that were added
        ways.insert(0, twice_as_long(longest))
    losses: dict[str, list[float]] = {}
    for one in tried:
        losses.setdefault(one.way.called, []).append(one.fit.validation_loss)
    new = next((way for way in ways if way.called not in losses), None)
    if new is not None:
        return new
    best = min(losses, key=lambda called: fmean(losses[called]))
    return next(one.way for one in tried if one.way.called == best)


def _answering(
    tried: Sequence[_Tried], prepared: Prepared, config: Config, own: Own, *, ended: bool
) -> tuple[list[_Tried], str]:
    """The fits that answer, and the decision about what the budget went for; ``ended``: before it was spent."""
    most = config.fit.seeds
    assert config.fit.budget_s != "none"
    left = f"the budget left {said_seconds(config.fit.budget_s)} for fits"
    if ended:
        of = f"of {most} made" if len(tried) <= most else f"made ({_counted(tried)})"
        went = f"{left}, and they were ended with {len(tried)} {of}"
    elif len(tried) > most:
        went = f"{left}, which went for {len(tried)} ({_counted(tried)})"
    else:
        went = f"{left}, enough for {'one' if len(tried) == 1 else len(tried)} of {most}"
    if len(tried) == 1:
        return list(tried), went
    objective = Objective(prepared.target, config.objective, own.loss)
    rows = to_batch(prepared.validation, prepared.encoder, objective, torch.device("cpu"))
    with torch.no_grad():
        said = [outputs_of(one.network, prepared.encoder, rows) for one in tried]
    panel, usual = Panel(said, rows.target, rows.weight, objective), list(range(min(most, len(tried))))
    chosen = panel.chosen(usual, most)
    answering = [tried[i] for i in chosen]
    if len(chosen) == len(tried):
        return answering, went
    if chosen == usual:
        which = f"{_answer(answering)}, as no other choice was found better on validation rows"
    else:
        which = (
            f"{_answer(answering)}, chosen on validation rows, where the loss is {panel.loss(chosen):.4g}; "
            f"{panel.loss(usual):.4g} with {_counted([tried[i] for i in usual])}"
        )
        if len(chosen) < len(usual):
            which += f"; more networks did not take {panel.worth:.1%} off it" if panel.worth else "; more did no better"
    return answering, f"{went}: {which}"


def _answer(fits: Sequence[_Tried]) -> str:
    return f"{_counted(fits)} {'answers' if len(fits) == 1 else 'answer'}"


def _counted(fits: Sequence[_Tried]) -> str:
    """How many there are of each way."""
    return ", ".join(f"{n} {called}" for called, n in Counter(one.way.called for one in fits).items())
