"""Rungs: when a trial is compared with those before it, and ended if it is no good.

This is asynchronous successive halving (Li et al. 2020, "A system for massively parallel hyperparameter tuning",
section 3.2), but that the first trials at a rung all go on: among so few, being second best says nothing. A trial that
was ended from outside is tried again, and so it counts once: by what its repetition does. One that had much more time,
or less, has come to a rung after other steps, and is not compared.
"""

from __future__ import annotations

import math

import optuna
from optuna.trial import FrozenTrial, TrialState

from rowcast.training.tune.study.limits import are_alike, limit_of

RUNGS = (12, 36)
"""Percent of a trial after which it is compared. Of one fit both lie in the half in which the learning rate stays at
its peak, so that trials are compared at the same rate; of several folds all trials are compared in the same one."""
SURVIVING = 3
"""One in so many goes on: the best third."""
FREE = 4
"""Trials that pass a rung whatever they do there."""


class Rungs(optuna.pruners.BasePruner):  # type: ignore[misc, unused-ignore]
    """Ends a trial that at its last rung is not in the best third of all that came there."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether to end it."""
        rung = trial.last_step
        if rung is None:
            return False
        value = trial.intermediate_values[rung]
        others = [
            other.intermediate_values[rung]
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
            and other.state != TrialState.FAIL
            and rung in other.intermediate_values
            and are_alike(limit_of(other), limit_of(trial))
        ]
        ahead = sum(other <= value for other in others)
        return len(others) >= FREE and ahead >= math.ceil((len(others) + 1) / SURVIVING)
