"""The last fit, with the best config: whether it can be had at all, whether its network is there, what time it has."""

from __future__ import annotations

import math

from rowcast.training.bagging.plan import check_folds
from rowcast.training.config import Config
from rowcast.training.own import Own
from rowcast.training.ranks.ranks import ALONE
from rowcast.training.start.start import check_start
from rowcast.training.track.tracker import check_trackers
from rowcast.training.tune.clock import Clock
from rowcast.training.tune.objective import Fitted, Trials, own_limit
from rowcast.training.tune.study.study import Record


def check_last_fit(config: Config, own: Own) -> None:
    """Make sure that the last fit can be had at all: to be told that after the last trial would be late.

    Raises:
        ConfigError: it cannot be; names both of what does not go together.
    """
    check_trackers(config.track)
    check_start(None, config)
    if config.fit.folds != "none":
        check_folds(config, validation=None, start=None, own_network=own.network is not None, ranks=ALONE)


def kept(fits: Trials, best: Record, chosen: Config, clock: Clock, reading_s: float) -> Fitted | None:
    """The network of the best trial, where this process has it and another fit would give no other one.

    Args:
        fits: of this process.
        best: the best trial.
        chosen: its config.
        clock: says what time is left for another fit of one that was cut short.
        reading_s: what reading the table takes.
    """
    if fits.best is None or fits.best[0] != best.number or chosen.fit.seeds > 1 or chosen.fit.folds != "none":
        return None
    measured = fits.best[1]
    has_more_time = clock.left_in_all_s - reading_s > measured.seconds
    return None if measured.cut_short and has_more_time else measured.fitted


def in_time(chosen: Config, best: Record, clock: Clock, reading_s: float) -> Config:
    """The config of the last fit, which takes what is left of the time, and no less than its trial did."""
    if math.isinf(clock.budget_s):
        return chosen
    within = min(max(clock.left_in_all_s - reading_s, best.seconds, 1.0), own_limit(chosen))
    return chosen.model_copy(update={"fit": chosen.fit.model_copy(update={"budget_s": within})})
