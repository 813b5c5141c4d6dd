"""How a study shows its progress: a line for each trial that is over, and what is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rowcast.api.display import Display, duration

if TYPE_CHECKING:
    from rowcast.training.tune.telling import Standing


class TrialLines:
    """Tells of trials on a display.

    Args:
        display: where.
        term: how a sentence is put, for a caller in Python or on the command line.
    """

    def __init__(self, display: Display, term: Callable[[str], str] = str) -> None:
        self._display, self._term = display, term

    def report(self, standing: Standing) -> None:
        """Take in a trial that is over."""
        self._display.say(self._term(line_of_trial(standing)))
        of = "" if standing.wanted is None else f" of {standing.wanted}"
        share = None if standing.wanted is None else min(standing.done / standing.wanted, 1.0)
        self._display.doing(f"{standing.done}{of} trials", share)

    def say(self, text: str) -> None:
        """Take in a sentence."""
        self._display.say(self._term(text))
        self._display.doing("tuning", None)


def line_of_trial(standing: Standing) -> str:
    """A trial that is over, and where the study stands."""
    trial, best = standing.trial, standing.best
    of = "" if standing.wanted is None else f"/{standing.wanted}"
    value = "no value" if trial.value is None else f"{standing.measure} {trial.value:.5g}"
    origin = f" ({trial.origin})" if trial.origin else ""
    ended = f", pruned{'' if trial.why.startswith('after ') else ':'} {trial.why}" if trial.pruned else ""
    line = f"{standing.done}{of}: trial {trial.number}{origin}, {value}{ended}, {duration(trial.seconds)}"
    if best is not None:
        line += f"; best {best.value:.5g}" + (", this one" if best is trial else f" of trial {best.number}")
    return line if standing.left_s is None else f"{line}; {duration(standing.left_s)} left"
