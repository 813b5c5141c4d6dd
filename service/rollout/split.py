"""Two versions of a model at work side by side: who answers a request, and what is counted of it."""

from __future__ import annotations

from typing import Any, Generic, TypeAlias, TypeVar

from rowcast.service.rollout.tally import Tally
from rowcast.service.rollout.trial import Sides, Trial

M = TypeVar("M")

_FAILED = frozenset({429, 500, 503, 504})
"""Statuses of requests that were not answered, and not through their own fault."""


class Split(Generic[M]):
    """A version on trial beside the live one.

    Args:
        trial: what is said of it.
        live: the model that is live.
        new: the one on trial.
        tally: what is counted of it.
    """

    def __init__(self, trial: Trial, live: M, new: M, tally: Tally) -> None:
        self.trial = trial
        self.live = live
        self.new = new
        self.tally = tally
        self._sides = Sides(trial.name, trial.version, trial.canary or 0.0)

    def is_new(self, key: bytes | None, body: bytes) -> bool:
        """Whether the version on trial answers a request that names no version.

        Args:
            key: of the request; None where it has none.
            body: of the request.
        """
        return self._sides.takes_body(body) if key is None else self._sides.takes(key)

    def count(self, status: int, seconds: float, *, new: bool) -> None:
        """Count a request that one of them has answered, or has not."""
        tally = self.tally
        if status == 200:
            if new:
                tally.new_answered += 1
                tally.new_times.add(seconds)
            else:
                tally.old_answered += 1
                tally.old_times.add(seconds)
        elif status in _FAILED:
            if new:
                tally.new_failed += 1
            else:
                tally.old_failed += 1


AnySplit: TypeAlias = "Split[Any]"
