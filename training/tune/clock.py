"""How the time is shared: so much for trials, so much for the last fit."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rowcast.training.config import Config

LAST_SHARE, LAST_SHARE_OF_MANY = 0.25, 0.5
"""Of the budget, for the fit of the best config and all that follows it; more where that is several fits, and where
trials are cut short: what is published is to be fitted for longer than they were."""
LEAST_TRIALS = 4
"""A trial takes at most this part of the time for trials: or the first one would take all of it."""
LEAST_TRIAL_S = 1.0
"""A trial may take this at least, or none is begun: a network that was shown some batches says nothing."""
WORTH = 0.5
"""Of the time that a trial takes, that has to be left for another to be begun: with less, its learning rate would fall
too early for it to be compared."""


@dataclass(frozen=True)
class Clock:
    """When trials end, and what each may take.

    Args:
        began: when tuning did, on the monotonic clock.
        budget_s: of all of it; infinite for no end.
        last_s: of that, for the last fit.
        trial_s: a trial at most.
        last_of_cut_s: for the last fit once a trial was cut short.
    """

    began: float
    budget_s: float = math.inf
    last_s: float = 0.0
    trial_s: float = math.inf
    last_of_cut_s: float = 0.0

    def left_s(self, *, cut_short: bool) -> float:
        """For trials; ``cut_short``: whether one of them was."""
        last_s = max(self.last_s, self.last_of_cut_s) if cut_short else self.last_s
        return self.left_in_all_s - last_s

    @property
    def left_in_all_s(self) -> float:
        """For trials and the last fit."""
        return self.budget_s - (time.monotonic() - self.began)

    def shares(self) -> dict[str, float]:
        """How the time is shared, for another process."""
        return {"last_s": self.last_s, "trial_s": self.trial_s, "last_of_cut_s": self.last_of_cut_s}

    def for_trial(self, taken: Sequence[float], *, cut_short: bool = False) -> float | None:
        """What the next trial may take; None where there is no time for one.

        Args:
            taken: what those took that ran through.
            cut_short: whether the time cut one of them short.
        """
        if math.isinf(self.budget_s):
            return math.inf
        left = self.left_s(cut_short=cut_short)
        need = LEAST_TRIAL_S
        if taken:
            usual = sorted(taken)[len(taken) // 2]
            need = max(WORTH * min(usual, self.trial_s), 1e-3)
        return None if left < need else min(left, self.trial_s)


def clock_of(config: Config, budget_s: float | None, *, began: float, wanted: int | None, publish: bool) -> Clock:
    """Share a budget.

    Args:
        config: of the last fit.
        budget_s: of all; None for no end.
        began: when tuning did.
        wanted: how many trials; None for as many as there is time for.
        publish: whether there is a last fit.
    """
    if budget_s is None:
        return Clock(began)
    many = config.fit.seeds > 1 or config.fit.refit is True or config.fit.folds != "none"
    last_of_cut = budget_s * LAST_SHARE_OF_MANY if publish else 0.0
    last = budget_s * LAST_SHARE if publish and not many else last_of_cut
    used = time.monotonic() - began
    left = max(budget_s - last - used, 0.0)
    trial = max(left / min(wanted or LEAST_TRIALS, LEAST_TRIALS), LEAST_TRIAL_S)
    return Clock(began, budget_s, last, trial, last_of_cut)
