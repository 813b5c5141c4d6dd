"""Between the target's own units and those a network learns well: fitted on training targets, undone in the graph."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rowcast.models.errors import ConfigError
from rowcast.training.columns.disclosure import ends
from rowcast.training.columns.target import Unit
from rowcast.training.network.spread import Spread, spread_of

TransformName = Literal["none", "standardise", "log"]
_LOG_MAX, _SMEARING_MAX = 700.0, 1000.0
"""The exponential of a little more, times a factor, is beyond a double."""
_FARTHEST = 1e30
"""In the network's units: a loss of float32 can still be summed."""
_STEP = 100
"""Powers of two that an answer is multiplied by at a time: the exporter takes what float32 reads as 0 for 0."""


class TargetTransform(nn.Module):
    """One target to about mean 0 and deviation 1, and answers back to the target's own units.

    ``none`` leaves values as they are; ``standardise`` is ``(y - mean) / deviation``; ``log`` is the same of ``ln(y)``,
    or of ``ln(1 + y)`` where some training rows hold 0. Where a few wild rows would set the deviation, it is that of
    the others, and the wild ones are learned as if they lay not quite as far out
    (:mod:`rowcast.training.network.spread`).

    The exponential of a mean logarithm is more like a median and lies below the mean: a factor found on held-out rows
    makes up for it (Duan 1983, "Smearing estimate: a nonparametric retransformation method"). What the network says
    is cut off a deviation beyond the range of the training rows, ten at either end left out, before the exponential
    blows it up.

    Args:
        values: the training rows' targets, ``[rows]``.
        name: which transform.
        dominated: from how many times the deviation of the other rows on a few wild ones are not to set the unit;
            infinite for never.
        unit: of a network that the fit starts from, whatever the rows say.

    Raises:
        ConfigError: a log is asked for and a training row holds a value below 0.
    """

    small_mean: Tensor
    small_scale: Tensor
    floor: Tensor
    ceiling: Tensor
    smearing: Tensor
    step: Tensor

    def __init__(
        self,
        values: NDArray[np.float64],
        name: TransformName,
        dominated: float = math.inf,
        unit: Unit | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.unit = spread_of(values, dominated).deviation
        self.shift = 0.0
        if name == "log":
            if values.min() < 0:
                raise ConfigError(
                    "'objective.target_transform' may be \"log\" where no target is below 0, got a training row "
                    f'holds {values.min():g}; leave it at "auto"'
                )
            self.shift = 0.0 if values.min() > 0 else 1.0
            self.shift = self.shift if unit is None else unit.shift
        self.fitted = Spread(0.0, 1.0) if name == "none" else spread_of(self._compressed(values), dominated)
        if unit is not None:
            self.fitted = self.fitted._replace(centre=unit.centre, deviation=unit.deviation)
        spread = self.fitted.deviation
        exponent = int(np.frexp(spread)[1])
        self.steps = int(exponent / _STEP)
        rest = np.array([self.fitted.centre, spread])
        for _ in range(abs(self.steps)):  # one at a time: all of them together may be beyond a double
            rest = np.ldexp(rest, -_STEP if self.steps > 0 else _STEP)
        # One element and not a scalar: the exporter takes a scalar within 1e-8 of 0, or 1e-5 of 1, for 0 or 1.
        self.register_buffer("small_mean", torch.from_numpy(rest[:1].copy()))
        self.register_buffer("small_scale", torch.from_numpy(rest[1:].copy()))
        step = 2.0 ** (_STEP if self.steps > 0 else -_STEP)
        self.register_buffer("step", torch.tensor([step], dtype=torch.float64))
        if name == "log":
            logs = self._compressed(values)
            self.lowest = float(logs.min()) - spread  # for encoding alone: it is not in the graph
            low, high = ends(logs)
            self.register_buffer("floor", torch.tensor([low - spread], dtype=torch.float64))
            self.register_buffer("ceiling", torch.tensor([min(high + spread, _LOG_MAX)], dtype=torch.float64))
            self.register_buffer("smearing", torch.ones(1, dtype=torch.float64))

    @property
    def mean(self) -> Tensor:
        """What an answer of 0 stands for, before an exponential, ``[1]`` float64."""
        return torch.tensor([self.fitted.centre], dtype=torch.float64)

    @property
    def scale(self) -> Tensor:
        """What a step of 1 stands for, before an exponential, ``[1]`` float64."""
        return torch.tensor([self.fitted.deviation], dtype=torch.float64)

    def keep_wild_rows(self) -> None:
        """Learn all rows as they are, however far out."""
        self.fitted = Spread(self.fitted.centre, self.fitted.deviation)

    @property
    def range(self) -> tuple[float, float]:
        """The values, in the target's own units, beyond which one is learned as if it lay there."""
        if self.name != "log":
            return self.fitted.low, self.fitted.high
        low, high = (np.exp(np.minimum(end, _LOG_MAX)) for end in (self.fitted.low, self.fitted.high))
        return float(low) - self.shift, float(high) - self.shift if self.fitted.high < _LOG_MAX else math.inf

    def beyond(self, values: NDArray[np.float64]) -> tuple[float, float]:
        """Shares of the training rows ``[rows]`` below and above that range."""
        written = self._compressed(values)
        return float(np.mean(written < self.fitted.low)), float(np.mean(written > self.fitted.high))

    def encode(self, values: NDArray[np.float64], *, cut_off: bool = True) -> NDArray[np.float32]:
        """Targets as the network learns them, ``[rows]``. A value that a log does not take counts as the lowest one.

        Args:
            values: in the target's own units.
            cut_off: whether one beyond :attr:`range` counts as if it lay there. Intervals are measured on all as they
                are, or held-out rows that lie farther and farther out would not widen them.
        """
        if self.name == "log":
            values = np.maximum(values, np.exp(self.lowest) - self.shift)
        fitted = self.fitted
        near = self._compressed(values)
        near = np.clip(near, fitted.low, fitted.high) if cut_off else near
        # Halved, for the difference may be beyond a double.
        scaled: NDArray[np.float64] = 2.0 * np.clip(
            (near / 2.0 - fitted.centre / 2.0) / fitted.deviation, -1e300, 1e300
        )
        return np.clip(scaled, -_FARTHEST, _FARTHEST).astype(np.float32)

    def survives(self, values: NDArray[np.float64]) -> bool:
        """Whether targets ``[rows]`` survive the way into the network's units, which are float32, and back."""
        inside = self.encode(values)
        back = self(torch.from_numpy(inside)).numpy()
        values = np.clip(values, *self.range)  # a few wild ones are learned as if they lay less far out
        size = np.abs(values).max()
        cut_off = self.name == "log"  # the farthest ones are, on purpose
        finite = np.isfinite(inside).all() and np.isfinite(back).all()
        return bool(finite and (cut_off or np.abs(back / size - values / size).max() <= 1e-3))

    def forward(self, answers: Tensor) -> Tensor:
        """Answers in the target's own units, float64, any shape. Rising, so that a quantile stays that quantile."""
        values = answers.to(torch.float64) * self.small_scale + self.small_mean
        for _ in range(abs(self.steps)):
            values = values * self.step
        if self.name != "log":
            return values
        return torch.exp(torch.minimum(torch.maximum(values, self.floor), self.ceiling)) - self.shift

    def smeared(self, values: Tensor) -> Tensor:
        """Means of what :meth:`forward` gave for mean logarithms."""
        return (values + self.shift) * self.smearing - self.shift if self.name == "log" else values

    def fit_smearing(self, answers: Tensor, actual: Tensor, of_rows: Tensor | None = None) -> float:
        """Set the factor: what held-out rows hold in all, over what they are told in all.

        Duan takes the mean of the ratios; the ratio of the totals does not hang on the rows that are told the least,
        and is right on average whether or not the errors grow with the answer.

        Args:
            answers: in the network's units, ``[rows]``.
            actual: in the target's own units, ``[rows]``.
            of_rows: weights of the rows, ``[rows]``; without them every row counts the same.
        """
        predicted, held = self.forward(answers) + self.shift, actual + self.shift
        most = torch.maximum(predicted.abs().max(), held.abs().max())
        predicted, held = predicted / most, held / most
        if of_rows is not None:
            predicted, held = predicted * of_rows, held * of_rows
        factor = float(held.mean() / predicted.mean())
        self.smearing.fill_(min(factor, _SMEARING_MAX) if math.isfinite(factor) and factor > 0 else 1.0)
        return float(self.smearing)

    def _compressed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(values + self.shift) if self.name == "log" else values
