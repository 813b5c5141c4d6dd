"""What is known of a trial that is over, and of the values of one that is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from rowcast.training.tune.space import Space
from rowcast.training.tune.study.limits import limit_of


@dataclass(frozen=True)
class Record:
    """A trial that is finished."""

    number: int
    """From 0, in the order in which they began."""
    value: float | None
    """What it is measured by, lower is better; of a pruned one at the rung that it was pruned at, if it got so far."""
    pruned: bool
    values: dict[str, Any]
    """Of the fields that are searched, by name."""
    seconds: float
    origin: str
    """``as given``, the name of a preset, or nothing where the values were sampled."""
    why: str
    """Why it was pruned."""
    cut_short: bool = False
    """Whether its time ended a fit of it, which might have done better with more."""
    limit_s: float = math.inf
    """Seconds that it might take; infinite where there was no end to them."""


def record_of(trial: FrozenTrial, space: Space) -> Record:
    """A trial that is finished."""
    end = trial.user_attrs.get("end", {})
    value = trial.value
    if value is None and trial.intermediate_values:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    return Record(
        number=trial.number,
        value=value,
        pruned=trial.state == TrialState.PRUNED,
        values=space.suggest(_Said(trial.params)),
        seconds=float(end.get("seconds", 0.0)),
        origin=str(trial.user_attrs.get("start", "")),
        why=str(end.get("why", "")),
        cut_short=bool(end.get("cut_short", False)),
        limit_s=limit_of(trial),
    )


def values_of(trial: FrozenTrial, space: Space) -> dict[str, Any] | None:
    """What a trial tries, by field; None where that is not all sampled yet."""
    try:
        return space.suggest(_Said(trial.params))
    except KeyError:
        return None


class _Said:
    """Suggests what a trial has been told."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def suggest_float(self, name: str, *_: Any, **__: Any) -> float:
        return float(self._params[name])

    def suggest_int(self, name: str, *_: Any, **__: Any) -> int:
        return int(self._params[name])

    def suggest_categorical(self, name: str, _: Any) -> Any:
        return self._params[name]
