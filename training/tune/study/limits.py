"""What time a trial has, and which of these limits are the same for whoever compares trials."""

from __future__ import annotations

import math

from optuna.trial import FrozenTrial

LONGER = 1.5
"""Times as long, from which on a limit is another one: what was cut short by the shorter might have done better."""


def limit_of(trial: FrozenTrial) -> float:
    """Seconds that a trial might take; infinite where there was no end to them."""
    limit = trial.user_attrs.get("limit")
    return math.inf if limit is None else float(limit)


def is_longer(limit_s: float, other_s: float) -> bool:
    """Whether a limit is so much longer than another one that trials under the two are not alike."""
    return limit_s > LONGER * other_s


def are_alike(limit_s: float, other_s: float) -> bool:
    """Whether neither of two limits is so much longer than the other."""
    return not is_longer(limit_s, other_s) and not is_longer(other_s, limit_s)
