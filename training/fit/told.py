"""Who is told how a fit goes, and what a signal or a callback made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rowcast.models.warnings import Caution, InterruptedWarning
from rowcast.training.fit.enough import is_too_short
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.fit.loop import FitResult, Progress, Report


class Told:
    """Called after each look at the validation rows; true once one of those that it tells wants the fit to end.

    Args:
        reports: told of each look, all of them, even where one has already said that the fit is to end.
        say: told what happens meanwhile, in a sentence.
    """

    def __init__(self, reports: Sequence[Report], say: Callable[[str], None]) -> None:
        self.reports = list(reports)
        self.looks: list[Progress] = []
        self.say = say
        self.interrupt = Interrupt()
        self._said = False
        self.ended_by = ""
        """The signal that ended the fit before it was over, if one did."""

    def __call__(self, progress: Progress) -> bool:
        self.looks.append(progress)
        answers = [bool(report(progress)) for report in self.reports]
        self._say_once()
        return any(answers)

    def _say_once(self) -> None:
        """What a signal does, once it has come."""
        if self.interrupt and not self._said:
            self._said = True
            self.say(
                f"{self.interrupt.name}: the fit ends, and the best weights so far are published; "
                "once more, and all ends at once with nothing published"
            )

    def how_it_ended(self, result: FitResult) -> list[str]:
        """Sentences for the decisions: epochs that were added, and a budget, signal or callback that ended the fit."""
        most = "at most " if len(result.fits) > 1 else ""
        added = [f"{most}{result.added} epochs were added to those planned, since validation rows still got better"]
        added = added if result.added else []
        if is_too_short(self.looks, result):
            added.append(
                "the budget ended the fit within its first epoch, before a regular look at the validation rows: the "
                "model has hardly learned; raise --budget"
            )
        if result.stopped != "interrupted":
            return added
        self._say_once()
        self.ended_by = self.interrupt.name
        best = f"those of epoch {result.best_epoch}" if result.best_epoch else "those before the first step"
        by = self.ended_by or "a callback"
        note = f"the fit was ended by {by} in epoch {result.epochs}: the weights are the best so far, {best}"
        return [*added, Caution(note, InterruptedWarning) if self.ended_by else note]
