"""What the network is asked to minimise, and how its outputs become answers: one objective a task."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import ConfigError
from models.signature import Task
from training.settings import ComponentConfig
from training.target import Target


class ObjectiveConfig(ComponentConfig):
    """The loss."""

    loss: Literal["auto", "cross_entropy", "mse", "mae", "huber"] = "auto"
    """auto is cross_entropy for classes and mse for regression, the proper scores of a probability and of a mean."""
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of a class label given to the other classes. Off: it makes probabilities worse."""


class ClassHead(nn.Module):
    """Member logits to calibrated probabilities: the mean of the members' probabilities, at a temperature.

    In float64 from here on, so that an answer does not depend on how many rows were run with it.

    Shape: ``[members, rows, classes] float32 -> [rows, classes] float32``.
    """

    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.ones(1, dtype=torch.float64))  # no scalar, as in RegressionHead

    def log_mean(self, logits: Tensor) -> Tensor:
        """Log of the members' mean probability, ``[rows, classes]`` float64."""
        log_probabilities = torch.log_softmax(logits.to(torch.float64), dim=-1)
        return torch.logsumexp(log_probabilities, dim=0) - math.log(logits.shape[0])

    def forward(self, logits: Tensor) -> Tensor:
        return torch.softmax(self.log_mean(logits) / self.temperature, dim=-1).to(torch.float32)


class RegressionHead(nn.Module):
    """Member outputs to a prediction in the target's own units, and an interval around it.

    Shape: ``[members, rows, 1] float32 -> [rows, 3] float64``: prediction, lower, upper.
    """

    mean: Tensor
    scale: Tensor
    half_width: Tensor

    def __init__(self, mean: float, scale: float) -> None:
        super().__init__()
        # One element and not a scalar: the exporter takes a scalar within 1e-8 of 0, or 1e-5 of 1, for 0 or 1.
        self.register_buffer("mean", torch.tensor([mean], dtype=torch.float64))
        self.register_buffer("scale", torch.tensor([scale], dtype=torch.float64))
        self.register_buffer("half_width", torch.zeros(1, dtype=torch.float64))

    def forward(self, outputs: Tensor) -> Tensor:
        prediction = outputs.to(torch.float64).mean(dim=0) * self.scale + self.mean
        return torch.cat([prediction, prediction - self.half_width, prediction + self.half_width], dim=1)


class Objective:
    """The loss and the head of one task, fitted on training targets.

    Args:
        target: the training rows' target.
        config: which loss.

    Raises:
        ConfigError: the loss does not belong to the task.
    """

    def __init__(self, target: Target, config: ObjectiveConfig) -> None:
        self.task: Task = target.task
        self.classes = target.classes
        self.loss_name = _loss_name(target.task, config)
        self.label_smoothing = config.label_smoothing
        self.head: ClassHead | RegressionHead
        if self.task == "regression":
            self.n_outputs = 1
            self.mean, self.scale = _mean_and_scale(target.values)
            self.head = RegressionHead(self.mean, self.scale)
        else:
            self.n_outputs = len(target.classes)
            self.head = ClassHead()

    def encode(self, values: NDArray[Any]) -> Tensor:
        """Targets as the loss takes them: class indices int64 ``[rows]``, or standardised float32 ``[rows]``."""
        if isinstance(self.head, RegressionHead):
            return torch.from_numpy(((values - self.mean) / self.scale).astype(np.float32))
        index = {label: i for i, label in enumerate(self.classes)}
        return torch.tensor([index[label] for label in values], dtype=torch.int64)

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Mean over members of the mean loss over rows: every member learns the task on its own (TabM, section 3.2).

        Args:
            outputs: ``[members, rows, n_outputs]``.
            target: ``[rows]``, from :meth:`encode`.
        """
        members = outputs.shape[0]
        if self.loss_name == "cross_entropy":
            return F.cross_entropy(outputs.flatten(0, 1), target.repeat(members), label_smoothing=self.label_smoothing)
        predicted, wanted = outputs.squeeze(-1), target.expand(members, -1)
        if self.loss_name == "mse":
            return F.mse_loss(predicted, wanted)
        return F.l1_loss(predicted, wanted) if self.loss_name == "mae" else F.huber_loss(predicted, wanted)

    def score(self, outputs: Tensor, target: Tensor) -> Tensor:
        """What early stopping watches, lower is better: the loss of the ensemble's own answer on validation rows."""
        if isinstance(self.head, ClassHead):
            return F.nll_loss(self.head.log_mean(outputs), target)
        mean = outputs.mean(dim=0).squeeze(-1)
        if self.loss_name == "mae":
            return F.l1_loss(mean, target)
        return F.huber_loss(mean, target) if self.loss_name == "huber" else F.mse_loss(mean, target)


def _mean_and_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation, whose squares neither overflow nor vanish; 1 for the deviation of a constant."""
    exponent = np.frexp(np.abs(values).max())[1]
    shrunk = np.ldexp(values, -exponent)
    return float(np.ldexp(shrunk.mean(), exponent)), float(np.ldexp(shrunk.std(), exponent)) or 1.0


def _loss_name(task: Task, config: ObjectiveConfig) -> str:
    fitting = ("mse", "mae", "huber") if task == "regression" else ("cross_entropy",)
    if config.loss == "auto":
        return fitting[0]
    if config.loss not in fitting:
        raise ConfigError(
            f"'objective.loss' must be auto or {' or '.join(fitting)} for a {task} target, however: {config.loss!r}"
        )
    return config.loss
