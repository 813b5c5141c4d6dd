"""What is told of a study as it goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rowcast.models.durations import said_seconds
from rowcast.training.tune.clock import Clock
from rowcast.training.tune.outcome import best_of
from rowcast.training.tune.space import AS_GIVEN
from rowcast.training.tune.study.limits import is_longer
from rowcast.training.tune.study.record import Record
from rowcast.training.tune.study.study import Study


@dataclass(frozen=True)
class Standing:
    """Where a study stands after a trial."""

    trial: Record
    """The one that is over."""
    done: int
    """How many are finished, whoever ran them."""
    wanted: int | None
    """How many are to be; None for as many as there is time for."""
    best: Record | None
    measure: str
    left_s: float | None
    """Until trials end: of the budget, or as fast as it goes; None where that is not known yet."""


class Telling:
    """Tells of each trial that is over, once, whichever process ran it.

    Args:
        study: whose trials.
        measure: what they are measured by.
        wanted: how many are to be finished; None for no end.
        clock: when trials end.
        report: told of each trial.
        say: told of all else.
    """

    def __init__(
        self,
        study: Study,
        measure: str,
        wanted: int | None,
        clock: Clock,
        report: Callable[[Standing], None],
        say: Callable[[str], None],
    ) -> None:
        self._study, self._measure, self._wanted, self._clock = study, measure, wanted, clock
        self._report, self._say = report, say
        before = study.finished()
        self._known = {record.number for record in before}
        self._began, self._before = time.monotonic(), len(before)
        self.taken = _seconds_through(before)
        """Seconds of the trials that ran through."""
        self.cut_short = any_cut_short(before, clock)
        """Whether the time cut one of these short, as it would one that is begun now."""

    def __call__(self) -> None:
        """Tell of the trials that are over since it was last called."""
        records = self._study.finished()
        self.taken = _seconds_through(records)
        self.cut_short = any_cut_short(records, self._clock)
        told = [record for record in records if record.number in self._known]
        for record in records:
            if record.number not in self._known:
                told.append(record)
                standing = Standing(
                    record, len(told), self._wanted, best_of(told), self._measure, self._left_s(len(told))
                )
                self._report(standing)
                if record.cut_short and record.origin == AS_GIVEN:
                    self._say(
                        f"the config as given takes longer than the {said_seconds(record.limit_s)} of a trial: trials "
                        "are cut short, and half of the time is kept for the last fit; raise --budget, or try fewer "
                        "with --trials, for trials that say more"
                    )
        self._known = {record.number for record in records}

    def waits(self) -> None:
        """Take in that there is nothing to try but what others are at."""
        for trial in self._study.waited_for():
            self._say(f"waiting: {trial}")

    def _left_s(self, done: int) -> float | None:
        left = math.inf if math.isinf(self._clock.budget_s) else max(self._clock.left_s(cut_short=self.cut_short), 0.0)
        if self._wanted is not None and done:
            each = (time.monotonic() - self._began) / max(done - self._before, 1)
            left = min(left, max(self._wanted - done, 0) * each)
        return None if math.isinf(left) else left


def any_cut_short(records: Sequence[Record], clock: Clock) -> bool:
    """Whether the time cut a trial short, as it would one that is begun now."""
    return any(record.cut_short and not is_longer(clock.trial_s, record.limit_s) for record in records)


def _seconds_through(records: Sequence[Record]) -> list[float]:
    """Of the trials that ran through."""
    return [record.seconds for record in records if not record.pruned]


def count(trials: int) -> str:
    """So many trials, in words."""
    return "1 trial" if trials == 1 else f"{trials:,} trials"
