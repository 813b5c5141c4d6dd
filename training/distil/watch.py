"""The clock that teachers work by: they are given up as soon as it shows that they would take too long."""

from __future__ import annotations

from collections.abc import Callable

from rowcast.training.distil.teacher import TooLate

FEWEST_ROUNDS, LEAST_SHARE = 5, 0.1
"""Rounds of a fold, and share of the time there is, after which what all folds take can be told from what is done."""


class Watch:
    """Looks at the clock after each round of each fold.

    Args:
        called: the library.
        n_folds: that are fitted, one after the other, each of as many rounds.
        seconds: that all may take; infinite where there is no end to them.
        started: when they began.
        clock: monotonic seconds.
    """

    def __init__(self, called: str, n_folds: int, seconds: float, started: float, clock: Callable[[], float]) -> None:
        self.called, self.n_folds, self.seconds = called, n_folds, seconds
        self.clock, self.started = clock, started
        self.fold = 0
        self.began = self.first_round = started

    def begin(self, fold: int) -> None:
        """A fold is begun."""
        self.fold, self.began = fold, self.clock()

    def look(self, done: int, rounds: int) -> None:
        """A round of a fold is done.

        Raises:
            TooLate: there is no more time, or will not be enough.
        """
        now = self.clock()
        if done == 1:
            self.first_round = now
        before, spent = self.began - self.started, now - self.started
        of_round = (now - self.first_round) / (done - 1) if done > 1 else 0.0  # the first has the columns binned, too
        of_fold = self.first_round - self.began + of_round * (rounds - 1)
        needed = max(spent, before + of_fold * (self.n_folds - self.fold))
        tells = done >= FEWEST_ROUNDS and spent >= LEAST_SHARE * self.seconds
        if spent > self.seconds or (tells and needed > self.seconds):
            raise self._too_late(needed)

    def end(self, fold: int) -> None:
        """A fold is through.

        Raises:
            TooLate: there is not time for all of them.
        """
        needed = (self.clock() - self.started) / (fold + 1) * self.n_folds
        if needed > self.seconds:
            raise self._too_late(needed)

    def _too_late(self, needed: float) -> TooLate:
        return TooLate(f"{self.called} on {self.n_folds} folds takes about {seconds_told(needed)} s")


def check_pace(called: str, done: int, rows: int, spent: float, seconds: float) -> None:
    """Make sure that a teacher which answers rows comes to an end in time.

    Args:
        called: the teacher.
        done: rows that it has answered.
        rows: that it is asked about.
        spent: seconds so far.
        seconds: that all may take.

    Raises:
        TooLate: it would take longer.
    """
    needed = spent / done * rows
    if needed > seconds:
        raise TooLate(f"{called} on {rows:,} rows takes about {seconds_told(needed)} s")


def seconds_told(number: float) -> str:
    """Seconds in a message, in two digits or in whole ones."""
    return f"{number:.0f}" if number >= 9.95 else f"{number:.2g}" if number >= 0.01 else "less than 0.01"
