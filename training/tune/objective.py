"""One trial: fits a config, and says how well it does on validation rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rowcast.models.arguments import named
from rowcast.models.durations import said_seconds
from rowcast.models.errors import TrainingError
from rowcast.training.config import Config
from rowcast.training.export.graph import Core
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.fit.loop import FitResult, Progress
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import fit_network
from rowcast.training.network.transform import TargetTransform
from rowcast.training.own import Own
from rowcast.training.prepare import Prepared
from rowcast.training.tune.rows import Rows
from rowcast.training.tune.study.rungs import RUNGS

Rung = Callable[[int, float], None]
"""Told how well a trial does at a rung; raises if it is to end there."""


Fitted = tuple[Core, FitResult, list[str]]
"""What a fit gives, see :func:`rowcast.training.fit_network.fit_network`."""


class GivenUp(Exception):
    """A trial that was asked to end before it was over."""


class OutOfTime(TrainingError):
    """A trial whose time was over before the last of its fits: that says nothing of its values."""


@dataclass(frozen=True)
class Measure:
    """What the value of a trial is: lower is better."""

    name: str
    """``rmse`` or ``mae`` in the target's own units, ``log_loss``, or ``loss`` for what has no such name."""
    unit: float = 1.0
    root: bool = False

    def of(self, score: float) -> float:
        """The value of what early stopping watches, see :meth:`Objective.score`."""
        return (math.sqrt(score) if self.root else score) * self.unit


def measure_of(prepared: Prepared, config: Config, own: Own) -> Measure:
    """What trials are measured by."""
    objective = Objective(prepared.target, config.objective, own.loss)
    if objective.loss_name == "cross_entropy" and objective.class_weights is None:
        return Measure("log_loss")
    transform = objective.transform if objective.task == "regression" else None
    if objective.loss_name in ("mse", "mae") and isinstance(transform, TargetTransform) and transform.name != "log":
        rooted = objective.loss_name == "mse"
        return Measure("rmse" if rooted else "mae", transform.fitted.deviation, rooted)
    return Measure("loss")


@dataclass(frozen=True)
class Measured:
    """What came of a trial."""

    value: float
    seconds: float
    """Of the fits, and of reading the columns where the features were new."""
    fitted: Fitted | None = None
    """Of the one fit; None where there were folds."""
    cut_short: bool = False
    """Whether the time of the trial ended a fit of it: with more it might have done better."""


@dataclass
class Trials:
    """Fits configs on the rows of trials, and keeps the best network, which need not be fitted again.

    Args:
        rows: training and validation rows.
        device: to train on.
        own: a network or a loss in place of those of the config.
        interrupt: ends a fit at its next step, once it is true.
    """

    rows: Rows
    device: torch.device
    own: Own
    interrupt: Interrupt
    best: tuple[int, Measured] | None = None
    """The best trial of this process: its number, and what came of it."""

    def keep(self, number: int, measured: Measured) -> None:
        """Keep what came of a trial, where none before was as good."""
        if self.best is None or measured.value < self.best[1].value:
            self.best = (number, measured)

    def run(self, config: Config, *, budget_s: float, rung: Rung, look: Callable[[], bool]) -> Measured:
        """Fit a config, once or on each fold.

        Args:
            config: of the trial.
            budget_s: wall clock that it may take; infinite for no end.
            rung: told of each rung.
            look: called after each look at the validation rows; true ends the trial.

        Raises:
            GivenUp: the interrupt or ``look`` has ended it.
            OutOfTime: there is no time for a fit, or for that of a fold.
            TrainingError: the fit cannot go on.
        """
        started = time.monotonic()
        values: list[float] = []
        fitted: Fitted | None = None
        cut_short = False
        parts = self.rows.prepared(config)
        ladder = _Ladder(rung, len(parts))
        for number, prepared in enumerate(parts):
            left = budget_s - (time.monotonic() - started)
            if left <= 0.0:  # what was shown some batches would say nothing
                raise OutOfTime(_over(budget_s, number, len(parts)))
            share = left / (len(parts) - number)
            value, fitted = self._fit(prepared, _once(config, share), values, ladder, look)
            values.append(value)
            cut_short = cut_short or (fitted[1].stopped == "budget" and share < own_limit(config))
            ladder.climb(values)
        seconds = time.monotonic() - started
        return Measured(float(np.mean(values)), seconds, fitted if len(parts) == 1 else None, cut_short)

    def _fit(
        self, prepared: Prepared, config: Config, before: Sequence[float], ladder: _Ladder, look: Callable[[], bool]
    ) -> tuple[float, Fitted]:
        """One fit; ``before``: what those of the folds before came to."""
        measure = measure_of(prepared, config, self.own)
        best, ended = math.inf, False

        def report(progress: Progress) -> bool:
            nonlocal best, ended
            best = min(best, progress.validation_loss)
            ladder.climb([*before, measure.of(best)], progress.done)
            ended = ended or look()
            return ended

        fitted = fit_network(prepared, config, self.device, report, own=self.own, interrupt=self.interrupt)
        if fitted[1].stopped == "interrupted":
            raise GivenUp
        return measure.of(fitted[1].validation_loss), fitted


class _Ladder:
    """Tells of the rungs that a trial comes to.

    Args:
        rung: told of each.
        folds: fits of the trial.
    """

    def __init__(self, rung: Rung, folds: int) -> None:
        self._rung, self._folds = rung, folds
        self._passed = 0

    def climb(self, values: Sequence[float], done: float = 1.0) -> None:
        """Take in where a trial stands.

        Args:
            values: of its fits so far.
            done: share of the last of them that is over.
        """
        percent = 100 * (len(values) - 1 + done) / self._folds
        while self._passed < len(RUNGS) and percent >= RUNGS[self._passed] and percent < 100:
            self._passed += 1
            self._rung(RUNGS[self._passed - 1], float(np.mean(values)))


def _over(budget_s: float, number: int, folds: int) -> str:
    """Why a trial ends whose time was over before one of its fits."""
    if folds == 1:
        return f"its {said_seconds(budget_s)} were over before its fit began: raise --budget"
    return (
        f"its {said_seconds(budget_s)} were over after {number} of {folds} folds: raise --budget, or use fewer folds "
        f"than --folds {named(folds)}"
    )


def own_limit(config: Config) -> float:
    """Seconds that the config itself gives a fit; infinite for no end."""
    return math.inf if config.fit.budget_s == "none" else config.fit.budget_s


def _once(config: Config, budget_s: float) -> Config:
    """The config of a fit of a trial: one seed, no second fit, and its share of the time."""
    within = min(own_limit(config), budget_s)
    fields = {"seeds": 1, "folds": "none", "refit": False, "budget_s": "none" if math.isinf(within) else within}
    return config.model_copy(update={"fit": config.fit.model_copy(update=fields)})
