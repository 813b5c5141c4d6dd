"""A loss of one's own, in place of a named one.

    def loss(outputs: Tensor, target: Tensor) -> Tensor: ...

For numbers, ``outputs`` and ``target`` are ``[n]`` float32 in the network's units: the target at mean 0 and deviation 1
(or as ``objective.target_transform`` says). For classes, ``outputs`` are logits ``[n, classes]`` and ``target`` class
indices ``[n]`` int64, in the order of the signature. It gives a loss for each row ``[n]``, or their mean.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rowcast.models.errors import ConfigError

LossFunction = Callable[[Tensor, Tensor], Tensor]
_ROWS = 6


def check_loss(function: LossFunction, n_classes: int) -> None:
    """Try a loss on a few rows.

    Args:
        function: the loss.
        n_classes: of the target; 0 for numbers.

    Raises:
        ConfigError: it fails, gives no loss for each row and no mean, nothing finite, or nothing with a slope.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (_ROWS, n_classes) if n_classes else (_ROWS,)
    outputs = torch.randn(shape, generator=generator, requires_grad=True)
    target = torch.arange(_ROWS) % n_classes if n_classes else torch.randn(_ROWS, generator=generator)
    tried = f"loss(outputs, target) of {list(shape)} and [{_ROWS}]"
    try:
        losses = function(outputs, target)
    except Exception as error:
        line = next(iter(str(error).splitlines()), "")
        raise ConfigError(f"{tried} must give a loss, got {type(error).__name__}: {line}") from error
    if not isinstance(losses, Tensor):
        raise ConfigError(f"{tried} must give a tensor, got {type(losses).__name__}")
    if tuple(losses.shape) not in ((), (_ROWS,)) or not losses.is_floating_point():
        raise ConfigError(
            f"{tried} must give a loss for each row, [{_ROWS}], or their mean, [], got {list(losses.shape)} of "
            f"{str(losses.dtype).removeprefix('torch.')}"
        )
    wild = losses.detach()[~torch.isfinite(losses)].flatten()
    if len(wild):
        raise ConfigError(f"{tried} must give finite numbers, got {float(wild[0]):g}")
    if not losses.requires_grad:
        raise ConfigError(f"{tried} must have a gradient, got a loss that does not hang on the outputs")
    (slope,) = torch.autograd.grad(losses.mean(), outputs, allow_unused=True)
    if slope is None or not bool(torch.isfinite(slope).all()) or not bool(slope.any()):
        got = "none" if slope is None else slope.flatten().tolist()
        raise ConfigError(f"{tried} must have a finite gradient that is not 0 everywhere, got {got}")
