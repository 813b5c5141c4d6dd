"""Optimizers, and the averaging of weights; how the learning rate changes says :mod:`rowcast.training.fit.schedule`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from rowcast.models.errors import ConfigError
from rowcast.training.fit.muon import Muon
from rowcast.training.network.network import Embedded
from rowcast.training.settings import ComponentConfig

Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
OptimizerName = Literal["adamw", "adam", "sgd", "rmsprop", "nadam", "muon"]
ScheduleName = Literal["flat_cosine", "cosine", "step", "plateau", "one_cycle", "constant"]

_OF_OPTIMIZER: Mapping[str, tuple[str, ...]] = {
    "betas": ("adamw", "adam", "nadam", "muon"),
    "eps": ("adamw", "adam", "rmsprop", "nadam", "muon"),
    "momentum": ("sgd", "rmsprop", "muon"),
    "nesterov": ("sgd", "muon"),
    "alpha": ("rmsprop",),
}
_OF_SCHEDULE: Mapping[str, tuple[str, ...]] = {
    "step_at": ("step",),
    "factor": ("step", "plateau"),
    "plateau_patience": ("plateau",),
    "climb": ("one_cycle",),
}


class OptimizerConfig(ComponentConfig):
    """How weights move."""

    name: OptimizerName = "adamw"
    """adamw: Adam with decoupled weight decay. adam, rmsprop: decay is part of the gradient. nadam: Adam with Nesterov
    momentum. sgd: the plain one, with momentum. muon: layers by orthogonalised momentum, all else by adamw."""
    lr: float = Field(2e-3, gt=0.0, le=10.0)
    """Peak learning rate; 2e-3 is TabM's for adamw, and does for adam, nadam and muon. rmsprop wants about half of it,
    sgd (with momentum .9) about 50 times as much."""
    betas: tuple[Decay, Decay] | Literal["auto"] = "auto"
    """Of adamw, adam, nadam and muon: decay of the running means of the gradient and of its square.
    auto: .9 and .999."""
    eps: Annotated[float, Field(gt=0.0, le=1.0)] | Literal["auto"] = "auto"
    """Of adamw, adam, rmsprop, nadam and muon: what is added to the root of the mean square. auto: 1e-8."""
    momentum: Decay | Literal["auto"] = "auto"
    """Of sgd, rmsprop and muon: how much of the last step is in the next. auto: .9 for sgd, 0 for rmsprop, .95 for
    muon."""
    nesterov: bool | Literal["auto"] = "auto"
    """Of sgd and muon: look ahead along the momentum. auto: wherever there is momentum."""
    alpha: Decay | Literal["auto"] = "auto"
    """Of rmsprop: decay of the running mean of the squared gradient. auto: .99."""
    weight_decay: float = Field(3e-4, ge=0.0, le=10.0)
    """L2, on the shared weights of the layers alone: biases, scales and embeddings go without, as in TabM."""
    l1: float = Field(0.0, ge=0.0, le=10.0)
    """L1, on the same weights: each step takes lr * l1 off their size, and stops at 0. With average = 0, weights that
    are not needed become 0 exactly. 1e-3 to 1e-1 are usual."""
    schedule: ScheduleName = "flat_cosine"
    """flat_cosine stays at the peak for half of the fit and then falls to 0; with weight averaging it beat cosine by
    1.6% and a constant rate by 4% of RMSE on California housing. cosine falls all the time, step at step_at, plateau
    where the validation rows get no better; one_cycle climbs to the peak and falls to 0; constant stays there."""
    step_at: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = Field((0.5, 0.75), min_length=1, max_length=16)
    """Of step: shares of the fit after which the rate is multiplied by factor."""
    factor: float = Field(0.1, gt=0.0, lt=1.0)
    """Of step and plateau: what the rate is multiplied by."""
    plateau_patience: int = Field(5, ge=1)
    """Of plateau: looks at the validation rows without a better score after which the rate falls."""
    climb: float = Field(0.3, gt=0.0, lt=1.0)
    """Of one_cycle: share of the fit in which the rate climbs, from a 25th of the peak; there is no other warmup."""
    warmup: float = Field(0.01, ge=0.0, lt=1.0)
    """Share of the fit in which the rate climbs to its peak."""
    average: float = Field(0.995, ge=0.0, lt=1.0)
    """Decay of the running mean of the weights that is evaluated and kept; 0 keeps the last weights instead."""

    @model_validator(mode="after")
    def _fits_together(self) -> OptimizerConfig:
        self._check_owners(_OF_OPTIMIZER, "name", self.name)
        self._check_owners(_OF_SCHEDULE, "schedule", self.schedule)
        if self.nesterov is True and self._momentum == 0.0:
            raise ConfigError(
                f"'optimizer.nesterov' may be true where there is momentum, got 'optimizer.momentum' {self._momentum:g}"
            )
        return self

    def _check_owners(self, owners: Mapping[str, tuple[str, ...]], of: str, chosen: str) -> None:
        """Refuse a field that what is chosen does not have."""
        for field, having in owners.items():
            given = getattr(self, field)
            if given != type(self).model_fields[field].default and chosen not in having:
                raise ConfigError(
                    f"'optimizer.{field}' belongs to {' and '.join(having)}; optimizer.{of} is {chosen!r}; leave it "
                    f"out, or add --set optimizer.{of}={having[0]}"
                )

    @property
    def _momentum(self) -> float:
        usual = {"sgd": 0.9, "rmsprop": 0.0, "muon": 0.95}
        return usual.get(self.name, 0.0) if self.momentum == "auto" else self.momentum

    def settings(self) -> dict[str, Any]:
        """What the optimizer is built with, besides rate and decay: its own fields, where they are given."""
        given: dict[str, Any] = {
            field: getattr(self, field)
            for field in ("betas", "eps", "alpha")
            if getattr(self, field) != "auto" and self.name in _OF_OPTIMIZER[field]
        }
        if self.name in _OF_OPTIMIZER["momentum"]:
            given["momentum"] = self._momentum
        if self.name in _OF_OPTIMIZER["nesterov"]:
            given["nesterov"] = self._momentum > 0.0 if self.nesterov == "auto" else self.nesterov
        return given


def make_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimizer, with weight decay on matrices of the layers only."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        (decayed if is_decayed(name, parameter) else free).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    optimizer = _optimizer(network, groups, config)
    if config.l1:
        optimizer.register_step_post_hook(lambda of, *_: shrink(decayed, of.param_groups[0]["lr"] * config.l1))
    held = getattr(network, "held", None)
    if held is not None:
        optimizer.register_step_post_hook(lambda *_: held.put_back())
    return optimizer


class Held:
    """Parts of arrays that no step moves: their gradients are 0, and after a step they are put back, since decay, L1
    and momentum would move them all the same."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, array: Tensor, chosen: Tensor) -> None:
        """Hold elements of a parameter or buffer, as they are now; ``chosen`` is broadcast to its shape."""
        chosen = chosen.to(array.device).expand(array.shape).clone()
        if not bool(chosen.any()):
            return
        self._parts.append((array, chosen, array.detach().clone()))
        if array.requires_grad and bool(chosen.all()):
            array.requires_grad_(False)
        elif array.requires_grad:
            array.register_hook(lambda gradient: gradient.masked_fill(chosen, 0.0))

    @torch.no_grad()
    def put_back(self) -> None:
        """Make them what they were."""
        for array, chosen, values in self._parts:
            array.copy_(torch.where(chosen, values, array))


def _optimizer(network: nn.Module, groups: list[dict[str, Any]], config: OptimizerConfig) -> torch.optim.Optimizer:
    settings = config.settings()
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, **settings)
    if config.name == "rmsprop":
        return torch.optim.RMSprop(groups, lr=config.lr, **settings)
    if config.name == "nadam":
        return torch.optim.NAdam(groups, lr=config.lr, decoupled_weight_decay=True, **settings)
    if config.name == "muon":
        return Muon(groups, lr=config.lr, **settings)
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in network.parameters())
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, fused=fused, **settings)


def is_decayed(name: str, parameter: Tensor) -> bool:
    """Whether a parameter of a network is a weight of a layer; of a module of one's own, whether it is a matrix."""
    if name.startswith("module."):
        return parameter.dim() > 1
    return name.startswith("layers.") and name.endswith(".weight")


@torch.no_grad()
def shrink(weights: list[nn.Parameter], by: float) -> None:
    """Take ``by`` off the size of every weight, down to 0: the proximal step of an L1 penalty (Duchi and Singer 2009).

    The slope of the penalty, added to the gradient, would push weights to and fro about 0, and Adam would scale it.
    """
    for weight in weights:
        weight.copy_(F.softshrink(weight, by))


class WeightAverage:
    """An exponential running mean of a network's weights, at the side of the network; of statistics that it keeps, too.

    Args:
        network: the network in training.
        decay: weight of the past; 0 makes :attr:`network` the network itself.
    """

    def __init__(self, network: Embedded, decay: float) -> None:
        self.network = copy.deepcopy(network).eval() if decay else network
        self._source = network
        self._decay = decay
        self.steps = 0
        """How many it has taken in."""

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step. Early steps count more, so that the start is soon forgotten."""
        if not self._decay:
            return
        self.steps += 1
        decay = min(self._decay, self.steps / (self.steps + 10))
        torch._foreach_lerp_(_averaged(self.network), _averaged(self._source), 1.0 - decay)


def _averaged(network: nn.Module) -> list[Tensor]:
    """Weights, and statistics of batches."""
    statistics = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    return [*network.parameters(), *statistics]
