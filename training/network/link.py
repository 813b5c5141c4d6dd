"""Counts and amounts: a network says the logarithm of a mean, and how far a row may lie from it grows with that mean.

This is the log link of generalised linear models (McCullagh and Nelder 1989): an answer is never below 0, and what
moves it multiplies it. The logarithm is of the mean over that of the training rows, so that an untrained network
answers about that one, whatever the unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rowcast.models.errors import TableError
from rowcast.training.columns.target import Unit
from rowcast.training.network.head import COVERAGE, Intervals, RegressionHead
from rowcast.training.network.spread import mean_and_deviation

_MEANS = (1e-30, 1e30)
"""Means of a target: beyond these float32 reads a constant of the graph as 0 or as infinite."""
_LARGEST = 1e30
"""Target over mean, at most."""
_LOWEST = -60.0
"""Logarithm of the smallest mean that is told from 0, beside that of the training rows."""


class LogLink(nn.Module):
    """What a network says, to a mean in the target's own units: ``scale * exp(raw)``.

    Args:
        values: the training rows' targets, ``[rows]``.
        name: of the target, for errors.
        loss: ``poisson``, ``gamma`` or ``tweedie``.
        most: what no answer lies above, in the target's own units.

    Raises:
        TableError: a target is below 0, for gamma also 0; or their mean is beyond what float32 can hold.
    """

    scale: Tensor
    floor: Tensor
    ceiling: Tensor
    factor: Tensor

    def __init__(
        self, values: NDArray[np.float64], name: str, loss: str, most: float, unit: Unit | None = None
    ) -> None:
        super().__init__()
        self._target, self.loss = name, loss
        self.name = "log_link"
        self.check(values)
        mean, self.unit = mean_and_deviation(values)
        least, largest = _MEANS
        if not least <= mean <= largest:
            raise TableError(
                f"the target {name!r} must have a mean of {least:g} to {largest:g} in the training rows for "
                f"objective.loss={loss}, got {mean:.3g}: multiply it by 1e{-round(math.log10(mean))} in the table, and "
                "divide answers by that"
            )
        mean = mean if unit is None else unit.deviation
        self._mean = mean  # a number beside the buffer, to encode with wherever that one is
        self.register_buffer("scale", torch.tensor([mean], dtype=torch.float64))
        ceiling = math.log(min(max(most / mean, 1.0), 1e300))
        self.register_buffer("ceiling", torch.tensor([ceiling], dtype=torch.float64))
        self.register_buffer("floor", torch.tensor([_LOWEST], dtype=torch.float64))
        self.register_buffer("factor", torch.ones(1, dtype=torch.float64))

    def check(self, values: NDArray[np.float64]) -> None:
        """Refuse targets that the distribution cannot have.

        Raises:
            TableError: names the value and the way out.
        """
        lowest = float(values.min(initial=math.inf))
        if lowest < 0.0 or (lowest == 0.0 and self.loss == "gamma"):
            above = "more than 0" if self.loss == "gamma" else "at least 0"
            others = (
                "--set objective.loss=tweedie takes 0 too" if lowest == 0.0 else "--set objective.loss=mse takes any"
            )
            raise TableError(
                f"objective.loss={self.loss} is for a target of {above}, got a row in which {self._target!r} is "
                f"{lowest:g}: {others}, or leave such rows out"
            )

    def encode(self, values: NDArray[np.float64], *, cut_off: bool = True) -> NDArray[np.float32]:
        """Targets over the mean of the training rows, ``[rows]``; for ``cut_off`` see :class:`TargetTransform`."""
        self.check(values)
        scaled: NDArray[np.float32] = np.minimum(values / self._mean, _LARGEST).astype(np.float32)
        if self.loss == "gamma":
            return np.maximum(scaled, np.finfo(np.float32).tiny)
        return scaled

    @property
    def range(self) -> tuple[float, float]:
        """The values beyond which one is learned as if it lay there: none."""
        return 0.0, math.inf

    def survives(self, values: NDArray[np.float64]) -> bool:
        """Whether targets ``[rows]`` survive the way into the network's units, which are float32."""
        return bool(np.isfinite(self.encode(values)).all())

    def raw_output(self, outputs: Tensor) -> Tensor:
        """Outputs as they are exponentiated, any shape."""
        return torch.minimum(torch.maximum(outputs, self.floor), self.ceiling)

    def forward(self, outputs: Tensor) -> Tensor:
        """Means in the target's own units, float64, any shape."""
        return torch.exp(self.raw_output(outputs.to(torch.float64))) * self.scale

    def smeared(self, values: Tensor) -> Tensor:
        """What :meth:`forward` gave, right on average, see :meth:`balance`."""
        return values * self.factor

    def balance(self, outputs: Tensor, wanted: Tensor, of_rows: Tensor | None = None) -> float:
        """Set the factor that makes predictions right on average over held-out rows, if they clearly are not.

        A generalised linear model is right on average over its training rows; a network that stops early need not be
        (Wüthrich 2020, "Bias regularization in neural network models for general insurance pricing"). By less than two
        standard errors, luck may have made the difference.

        Args:
            outputs: of held-out rows, ``[rows]`` float64.
            wanted: from :meth:`encode`, ``[rows]`` float64.
            of_rows: weights of the rows with a mean of 1, ``[rows]``; without them every row counts the same.

        Returns:
            the factor; 1 where predictions stay as they are.
        """
        predicted = torch.exp(self.raw_output(outputs))
        if of_rows is not None:
            predicted, wanted = predicted * of_rows, wanted * of_rows
        apart = wanted - predicted
        clearly = len(apart) > 1 and apart.mean().abs() > 2.0 * apart.std() / math.sqrt(len(apart))
        factor = float(wanted.mean() / predicted.mean())
        if clearly and math.isfinite(factor) and factor > 0.0:
            self.factor.fill_(factor)
        return float(self.factor)


class MeanHead(RegressionHead):
    """Member outputs to the mean of a count or an amount, and an interval around it; all are at least 0.

    An answer is the mean of the members' means. Bounds lie at fixed multiples of the deviation that the distribution
    has there (the mean to half of its power): from the prediction where they are ``constant``, and where they are
    ``quantiles`` from the exponentials of two further outputs.

    Args:
        link: fitted on the training rows' targets.
        power: of the mean, to which the variance is in proportion.
        intervals: which bounds; ``none`` for a prediction alone.
        limits: what a prediction lies between, in the target's own units.
        coverage: share of rows whose target is to lie between the bounds.
        further: the same for further bounds.

    Shape: ``[members, rows, 1 or 3] float32 -> [rows, 3] float64`` (prediction, lower, upper), or ``[rows, 1]``.
    """

    nothing: Tensor

    def __init__(
        self,
        link: LogLink,
        power: float,
        intervals: Intervals,
        limits: tuple[float, float],
        coverage: float = COVERAGE,
        further: Sequence[float] = (),
    ) -> None:
        super().__init__(link, intervals, (max(limits[0], 0.0), limits[1]), coverage, further)
        self.link = link
        self.power = power
        self.register_buffer("nothing", torch.zeros(1, dtype=torch.float64))

    def mean(self, outputs: Tensor) -> Tensor:
        """Logarithm of the members' mean, ``[rows, n_outputs]`` float64."""
        return torch.logsumexp(outputs.to(torch.float64), dim=0) - math.log(outputs.shape[0])

    def _parts(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Prediction, where both bounds start, and the deviation there, all over the training rows' mean."""
        log_mean = self.link.raw_output(raw[:, :1])
        middle = torch.exp(log_mean)
        deviation = torch.exp(log_mean * (self.power / 2.0))
        if self.intervals != "quantiles":
            return middle, middle, middle, deviation
        return (
            middle,
            torch.exp(self.link.raw_output(raw[:, 1:2])),
            torch.exp(self.link.raw_output(raw[:, 2:3])),
            deviation,
        )

    def misses(self, raw: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """How far rows lie below and above where their bounds start, in deviations, ``[rows]`` each."""
        _, low, high, deviation = (part[:, 0] for part in self._parts(raw))
        return (low - wanted) / deviation, (wanted - high) / deviation

    def answer(self, mean: Tensor) -> Tensor:
        """The answer to :meth:`mean`."""
        middle, low, high, deviation = self._parts(mean)
        scale = self.link.scale
        prediction = torch.minimum(torch.maximum(middle * self.link.factor * scale, self.least), self.most)
        if self.intervals == "none":
            return prediction
        below, above = self.shifts()
        lower = torch.minimum(torch.maximum(low - below * deviation, self.nothing) * scale, prediction)
        upper = torch.maximum((high + above * deviation) * scale, prediction)
        return torch.cat([prediction, lower, upper], dim=1)
