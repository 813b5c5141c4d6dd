"""A fit at one moment, as tensors and facts: with them it goes on as if it had never ended, to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rowcast.training.fit.history import Look

if TYPE_CHECKING:
    from rowcast.training.fit.loop import Best
    from rowcast.training.fit.optimizer import WeightAverage
    from rowcast.training.fit.schedule import Schedule


@dataclass
class Position:
    """How far a fit has come."""

    epoch: int
    """The epoch that it is in, from 1."""
    steps: int
    """Steps of that epoch that are done."""
    total_loss: Tensor
    """Of these steps, a number."""
    drawn_from: Tensor
    """State of the generator that the order of this epoch's rows is drawn from."""
    done: float
    """Share of the training that is over."""
    budget: float
    """Seconds of the fit at most; infinite if there is no limit."""
    seconds: float = 0.0
    """Since the fit began."""
    added: int = 0
    """Epochs beyond those that were planned."""
    history: list[Look] = field(default_factory=list)

    def begin(self, epoch: int, drawn_from: Tensor) -> None:
        """Be at the start of an epoch."""
        self.epoch, self.steps, self.drawn_from = epoch, 0, drawn_from
        self.total_loss = torch.zeros_like(self.total_loss)


@dataclass(frozen=True)
class Snapshot:
    """Everything that the next step of a fit depends on."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Moving:
    """The parts of a fit that change from step to step."""

    network: nn.Module
    average: WeightAverage
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    best: Best

    def snapshot(self, position: Position) -> Snapshot:
        """What they are now."""
        tensors = {"total_loss": position.total_loss, "drawn_from": position.drawn_from, **_random_states()}
        tensors |= _named("network", self.network.state_dict())
        if self.average.network is not self.network:
            tensors |= _named("average", self.average.network.state_dict())
        tensors |= _named("best", self.best.weights)
        numbers: dict[str, dict[str, Any]] = {}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= _named(f"optimizer.{index}", {k: v for k, v in state.items() if isinstance(v, Tensor)})
            numbers[str(index)] = {k: v for k, v in state.items() if not isinstance(v, Tensor)}
        facts = {
            "epoch": position.epoch,
            "steps": position.steps,
            "done": position.done,
            "seconds": position.seconds,
            "budget": position.budget,
            "added": position.added,
            "history": position.history,
            "best": {
                "score": self.best.score,
                "last_score": self.best.last_score,
                "epoch": self.best.epoch,
                "looks_since": self.best.looks_since,
            },
            "averaged": self.average.steps,
            "schedule": self.schedule.state(),
            "optimizer": numbers,
        }
        return Snapshot(tensors, facts)

    def restore(self, snapshot: Snapshot, position: Position) -> None:
        """Make them, and the position, what they were.

        Raises:
            ValueError: they have other tensors, or tensors of other shapes.
        """
        tensors, facts = snapshot.tensors, snapshot.facts
        load_weights(self.network, _of("network", tensors))
        if self.average.network is not self.network:
            load_weights(self.average.network, _of("average", tensors))
        self.average.steps = facts["averaged"]
        device = next(self.network.parameters()).device
        self.best.weights = {name: tensor.to(device) for name, tensor in _of("best", tensors).items()}
        for name, value in facts["best"].items():
            setattr(self.best, name, value)
        for name, value in facts["schedule"].items():
            setattr(self.schedule, name, value)
        state = {int(i): {**numbers, **_of(f"optimizer.{i}", tensors)} for i, numbers in facts["optimizer"].items()}
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        _set_random_states(tensors)
        position.epoch, position.steps = facts["epoch"], facts["steps"]
        position.total_loss, position.drawn_from = tensors["total_loss"].to(device), tensors["drawn_from"]
        position.done, position.seconds, position.budget = facts["done"], facts["seconds"], facts["budget"]
        position.added = facts.get("added", 0)  # a checkpoint of an earlier version has none
        position.history = [Look(*look) for look in facts["history"]]


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _of(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a network its weights.

    Raises:
        ValueError: they are of another one.
    """
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    kept = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if own != kept:
        differing = sorted(name for name in own.keys() | kept.keys() if own.get(name) != kept.get(name))
        name = differing[0]
        raise ValueError(f"{name!r} of the network is {_shape(own.get(name))}, and {_shape(kept.get(name))} in it")
    network.load_state_dict(dict(tensors))


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else " x ".join(map(str, shape)) or "a number"


def _random_states() -> dict[str, Tensor]:
    """Of what dropout and augmentation draw from: the CPU's generator, and that of the CUDA device in use."""
    states = {"random": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["random_cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(tensors: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(tensors["random"])
    if "random_cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random_cuda"])
