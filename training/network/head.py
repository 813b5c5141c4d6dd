"""The last nodes of the graph: what the members say becomes an answer, calibrated and in the target's own units.

In float64 throughout, so that an answer does not depend on how many rows were run with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rowcast.training.network.labels import LabelRule, MostProbable
from rowcast.training.network.transform import TargetTransform

if TYPE_CHECKING:
    from rowcast.training.network.link import LogLink

Intervals = Literal["none", "constant", "quantiles"]
COVERAGE = 0.9
"""Share of rows whose target is to lie between ``lower`` and ``upper``, where none is asked for."""
_MOST = float(np.finfo(np.float64).max)


def answer_limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """What predictions lie between: the range of the training rows' targets, extended by a quarter to a half of it.

    No row has shown what is true farther out, and what a network says there of a row unlike all others is worth
    nothing. The limits are rounded to a power of two of about that quarter, so that they do not tell what the highest
    row holds.

    Args:
        values: the training rows' targets, ``[rows]``, not all the same.
    """
    low, high = float(values.min()), float(values.max())
    quarter = high / 4.0 - low / 4.0
    grid = math.ldexp(1.0, math.frexp(quarter)[1] - 1) if quarter > 0.0 else 0.0
    if grid < 1e-300:
        return low - quarter, high + quarter
    with np.errstate(over="ignore"):
        least = np.floor(low / grid - quarter / grid) * grid
        most = np.ceil(high / grid + quarter / grid) * grid
    return max(float(least), -_MOST), min(float(most), _MOST)


class ClassHead(nn.Module):
    """Member logits to calibrated probabilities: the mean of the members' probabilities, at a temperature, with a bias.

    Args:
        n_classes: how many.

    Shape: ``[members, rows, classes] float32 -> [rows, classes] float32``.
    """

    temperature: Tensor
    bias: Tensor

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        # One element and not a scalar: the exporter takes a scalar within 1e-5 of 1 for 1.
        self.register_buffer("temperature", torch.ones(1, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(n_classes, dtype=torch.float64))
        self.rule: LabelRule = MostProbable()
        """Which class a row is called; no tensor of the network's, but nodes of the graph."""
        self.threshold: dict[str, Any] | None = None
        """What ``model.json`` says of the rule, where one was asked for."""

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Log of the probability of each class, ``[..., n_outputs] -> [..., classes]``."""
        return torch.log_softmax(logits, dim=-1)

    def log_mean(self, logits: Tensor) -> Tensor:
        """Log of the members' mean probability, ``[rows, classes]`` float64."""
        log_probabilities = self.log_probabilities(logits.to(torch.float64))
        return torch.logsumexp(log_probabilities, dim=0) - math.log(logits.shape[0])

    def raw_output(self, logits: Tensor) -> Tensor:
        """Logits of the calibrated probabilities, ``[rows, classes]`` float64: all that comes after is a softmax."""
        return self.log_mean(logits) / self.temperature + self.bias

    def answer(self, raw: Tensor) -> Tensor:
        """The answer to :meth:`raw_output`."""
        return torch.softmax(raw, dim=-1).to(torch.float32)

    def forward(self, logits: Tensor) -> Tensor:
        return self.answer(self.raw_output(logits))


class OrdinalHead(ClassHead):
    """The same for classes in an order: each output is the log-odds that a row that reaches a level goes beyond it.

    The probability of lying beyond a level falls from level to level whatever the outputs are. This is the
    continuation-ratio model (Fienberg 1980), for networks Shi, Cao and Raschka 2023, "Deep neural networks for
    rank-consistent ordinal regression based on conditional probabilities" (CORN).

    Args:
        places: of each class, its place in the order, from 0 for the lowest.

    Shape: ``[members, rows, classes - 1] float32 -> [rows, classes] float32``.
    """

    places: Tensor
    passed: Tensor

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__(len(places))
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64))
        levels = torch.ones(len(places) - 1, len(places), dtype=torch.float64)
        self.register_buffer("passed", levels.triu(1))  # the levels that a row has gone beyond, for each place

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Log of the probability of each class, ``[..., classes - 1] -> [..., classes]``."""
        chosen = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=logits.dtype, device=logits.device)
        pairs = torch.log_softmax(logits.unsqueeze(-1) * chosen[0], dim=-1)  # log-odds against 0
        beyond, stays = (pairs * chosen[0]).sum(-1), (pairs * chosen[1]).sum(-1)
        last = (stays * 0.0).sum(-1, keepdim=True)  # whoever reaches the highest level stays there
        ordered = torch.matmul(beyond, self.passed.to(logits.dtype)) + torch.cat([stays, last], dim=-1)
        return ordered[..., self.places]


class RegressionHead(nn.Module):
    """Member outputs to a prediction in the target's own units, and an interval around it.

    The first output is the prediction. ``constant`` bounds lie at fixed distances from it, ``quantiles`` at fixed
    distances from two further outputs, each in the network's units; either way the prediction lies between them.

    Args:
        transform: fitted on the training rows' targets.
        intervals: which bounds; ``none`` for a prediction alone.
        coverage: share of rows whose target is to lie between the bounds.
        limits: what a prediction lies between, in the target's own units, see :func:`answer_limits`.
        further: shares of rows for further bounds, from the same outputs.

    Shape: ``[members, rows, 1 or 3] float32 -> [rows, 3] float64`` (prediction, lower, upper; with further shares all
    lower bounds, then all upper ones), or ``[rows, 1]``.
    """

    below: Tensor
    above: Tensor
    further_below: Tensor
    further_above: Tensor
    least: Tensor
    most: Tensor

    def __init__(
        self,
        transform: TargetTransform | LogLink,
        intervals: Intervals,
        limits: tuple[float, float] = (-_MOST, _MOST),
        coverage: float = COVERAGE,
        further: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.transform = transform
        self.intervals = intervals
        self.coverage = coverage
        self.further = tuple(further) if intervals != "none" else ()
        if self.further:
            self.register_buffer("further_below", torch.zeros(len(self.further), dtype=torch.float64))
            self.register_buffer("further_above", torch.zeros(len(self.further), dtype=torch.float64))
        self.register_buffer("below", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("above", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("least", torch.tensor([limits[0]], dtype=torch.float64))
        self.register_buffer("most", torch.tensor([limits[1]], dtype=torch.float64))

    def mean(self, outputs: Tensor) -> Tensor:
        """Mean over the members, in the network's units, ``[rows, n_outputs]`` float64."""
        return outputs.to(torch.float64).mean(dim=0)

    def raw_output(self, outputs: Tensor) -> Tensor:
        """What :meth:`answer` takes: :meth:`mean`."""
        return self.mean(outputs)

    def forward(self, outputs: Tensor) -> Tensor:
        return self.answer(self.raw_output(outputs))

    def misses(self, raw: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """How far rows lie below and above where their bounds start, in the network's units, ``[rows]`` each.

        Args:
            raw: see :meth:`raw_output`.
            wanted: what the rows hold, in the network's units, ``[rows]`` float64.
        """
        low, high = (1, 2) if self.intervals == "quantiles" else (0, 0)
        return raw[:, low] - wanted, wanted - raw[:, high]

    def answer(self, mean: Tensor) -> Tensor:
        """The answer to :meth:`mean`."""
        middle = self.transform(mean[:, :1])
        prediction = torch.minimum(torch.maximum(self.transform.smeared(middle), self.least), self.most)
        if self.intervals == "none":
            return prediction
        low, high = (mean[:, 1:2], mean[:, 2:3]) if self.intervals == "quantiles" else (mean[:, :1], mean[:, :1])
        below, above = self.shifts()
        lower = torch.minimum(self.transform(low - below), prediction)
        upper = torch.maximum(self.transform(high + above), prediction)
        return torch.cat([prediction, lower, upper], dim=1)

    def shifts(self) -> tuple[Tensor, Tensor]:
        """How far bounds lie below and above where they start, ``[levels]`` each: all in one go, for a node of a graph
        costs as much for one level as for eight."""
        if not self.further:
            return self.below, self.above
        return torch.cat([self.below, self.further_below]), torch.cat([self.above, self.further_above])
