"""How the learning rate changes over a fit."""

from __future__ import annotations

import math

from rowcast.training.fit.optimizer import OptimizerConfig

_LOW = 1.0 / 25.0
"""Of the peak: where one_cycle begins (Smith and Topin 2019, "Super-convergence")."""
_LEAST = 1e-3
"""Of the peak: below this a plateau lowers the rate no further."""


class Schedule:
    """The learning rate of a fit: of how much of it is over, and for ``plateau`` of how the validation rows do.

    Args:
        config: ``schedule`` and the fields that belong to it.
    """

    def __init__(self, config: OptimizerConfig) -> None:
        self._config = config
        self.lowered = 1.0
        """What a plateau has multiplied the rate by."""
        self.best = math.inf
        self.looks_since = 0

    def rate(self, done: float) -> float:
        """The rate when ``done`` (0 to 1) of the fit is over."""
        return learning_rate(done, self._config) * self.lowered

    def state(self) -> dict[str, float]:
        """What looks have changed, by attribute."""
        return {"lowered": self.lowered, "best": self.best, "looks_since": self.looks_since}

    def look(self, score: float) -> None:
        """Take in the score of the validation rows; lower is better."""
        if self._config.schedule != "plateau":
            return
        self.looks_since += 1
        if score < self.best:
            self.best, self.looks_since = score, 0
        elif self.looks_since >= self._config.plateau_patience and self.lowered > _LEAST * 1.001:
            self.lowered, self.looks_since = self.lowered * self._config.factor, 0


def learning_rate(progress: float, config: OptimizerConfig) -> float:
    """The rate when ``progress`` (0 to 1) of the fit is over, before a plateau has lowered it."""
    if config.schedule == "one_cycle":
        return config.lr * _one_cycle(progress, config.climb)
    if progress < config.warmup:
        return config.lr * max(progress / config.warmup, 1e-3)
    if config.schedule in ("constant", "plateau"):
        return config.lr
    if config.schedule == "step":
        return config.lr * config.factor ** sum(progress >= at for at in config.step_at)
    falling = progress if config.schedule == "cosine" else max(0.0, 2.0 * progress - 1.0)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * min(falling, 1.0)))


def _one_cycle(progress: float, climb: float) -> float:
    """Share of the peak: up along half a cosine, and down along another."""
    if progress < climb:
        return _LOW + (1.0 - _LOW) * 0.5 * (1.0 - math.cos(math.pi * progress / climb))
    return 0.5 * (1.0 + math.cos(math.pi * min((progress - climb) / (1.0 - climb), 1.0)))
