"""What a fit asks of the processes that it runs in. Alone, which is the default, every answer is one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rowcast.training.fit.interrupt import Interrupt

P = TypeVar("P")


class Followed(Exception):
    """The work of this process is done: process 0 has what was learned, and publishes it."""


class Ranks:
    """The processes of a fit, of which this is one; here a process alone."""

    rank = 0
    """Number of this process, from 0."""
    size = 1
    """How many there are."""

    @property
    def leads(self) -> bool:
        """Whether this process decides, writes and publishes."""
        return self.rank == 0

    @property
    def decisions(self) -> list[str]:
        """What training by several processes means for the model, in sentences."""
        return []

    def device(self, device: torch.device) -> torch.device:
        """The device of this process, where the fit is on ``device``.

        Raises:
            DeviceError: there is none for it.
        """
        return device

    def meet(self, facts: Mapping[str, Any] | None = None) -> None:
        """Wait until every process has come here.

        Args:
            facts: about what is trained, a mapping of names to what JSON can hold; the same in all processes.

        Raises:
            TrainingError: a process is gone, or its facts are others.
        """

    def follow(self) -> None:
        """Wait until the model is ready to be published; process 0 comes back from here, and the others are done.

        Raises:
            Followed: in every other process.
            TrainingError: a process is gone.
        """

    def begin(self, network: nn.Module, seed: int) -> None:
        """Start from the same weights as all others, with noise (dropout, augmentation) of one's own."""

    def check_batch(self, rows: int) -> None:
        """Make sure that a batch of so many rows has some for every process.

        Raises:
            ConfigError: it has not.
        """

    def bounds(self, start: int, stop: int) -> tuple[int, int]:
        """This process's part of a batch, whose rows stand from ``start`` up to ``stop`` in the order of all."""
        return start, stop

    def backward(self, loss: Tensor, network: nn.Module, rows: int) -> Tensor:
        """Gradients of the mean loss of a whole batch, in all processes.

        Args:
            loss: mean over this process's part of the batch.
            network: whose parameters get the gradients.
            rows: of this part.

        Returns:
            the loss of the whole batch, a scalar on its device.
        """
        loss.backward()
        return loss.detach()

    def agreed(self, seconds: float, interrupt: Interrupt | None) -> float:
        """The seconds of the fit in all processes, once a step: those of process 0.

        Args:
            seconds: of this process.
            interrupt: of this process; once one process is interrupted, all are, at the same step.
        """
        return seconds

    def interrupted(self, interrupt: Interrupt | None) -> bool:
        """Whether all processes are interrupted, as of the last :meth:`agreed`."""
        return bool(interrupt)

    def all_interrupted(self, interrupt: Interrupt | None) -> bool:
        """Whether a process is interrupted, asked of all of them: between fits, where no step is taken."""
        return bool(interrupt)

    def said(self, number: float) -> float:
        """The number of process 0."""
        return number

    def told(self, report: Callable[[P], object], progress: P) -> bool:
        """Tell process 0's ``report``, and hear in all processes whether its answer is true."""
        return bool(report(progress))

    def part(self, rows: int) -> slice:
        """This process's part of rows that are only answered."""
        return slice(0, rows)

    def joined(self, outputs: Tensor, rows: int) -> Tensor:
        """Outputs of all rows.

        Args:
            outputs: of this process's part of the rows, ``[members, part, n_outputs]``.
            rows: of all parts.

        Returns:
            ``[members, rows, n_outputs]``.
        """
        return outputs


ALONE = Ranks()
