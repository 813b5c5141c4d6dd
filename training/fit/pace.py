"""How a fit gets on: how much of it is over after so many epochs, and whether more are added.

A small table may be through with its epochs while validation rows still get better: with little noise there is always
more to learn. So before the rate begins to fall, in the middle of the fit, epochs are added one by one for as long as
the last looks at the validation rows paid, up to the number of rows that the fit may visit. Then it ends as planned.

On 1,500 rows of two smooth functions (``balanced``) RMSE on other rows fell from .246 and .084 after the planned 100
epochs to .155 and .052 after 300.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rowcast.training.fit.history import Look

GAIN = 0.02
"""By how much of itself the loss of the validation rows has to have fallen over the last looks, as many as patience
waits for."""


@dataclass
class Pace:
    """How much of a fit is over.

    Args:
        planned: epochs.
        most: epochs, with those that are added.
        patience: looks without a better score that end a fit.
        added: epochs so far.
    """

    planned: int
    most: int
    patience: int
    added: int = 0

    @property
    def epochs(self) -> int:
        """As far as is known: those that were planned, and those that were added."""
        return self.planned + self.added

    def done(self, passed: float) -> float:
        """How much of the fit is over, 0 to 1, after so many epochs; in those that are added it is a half."""
        return min(passed, max(self.planned / 2, passed - self.added)) / self.planned

    def began(self, epoch: int, history: Sequence[Look]) -> int:
        """Take in that an epoch begins, and add one where that pays; how many were added.

        Args:
            epoch: from 1.
            history: all looks so far.
        """
        in_the_middle = 2 * (epoch - 1 - self.added) >= self.planned > 2 * (epoch - 2 - self.added)
        if in_the_middle and self.epochs < self.most and self._pays([look.validation_loss for look in history]):
            self.added += 1
        return self.added

    def _pays(self, losses: Sequence[float]) -> bool:
        if len(losses) <= self.patience:
            return False
        before = min(losses[: -self.patience])
        return before - min(losses) > GAIN * abs(before)
