"""What a process pays once, before its first fit, so that no fit's share of a budget does.

The first optimizer of a process has PyTorch import its compiler (323 modules, .6 to 1.8 s), and the first large product
starts the threads of OpenMP (up to .1 s); on a CUDA device come its context and its libraries. That is no cost of a
fit: of several that share a budget in equal parts, the first would have less time than the others, or none.
"""

from __future__ import annotations

import torch
from torch import nn

from rowcast.training.config import Config
from rowcast.training.device import same_bits
from rowcast.training.fit.optimizer import make_optimizer

_SIDE = 256
"""Of a matrix with elements enough that threads share its products."""


def pay_first_use(config: Config, device: torch.device) -> None:
    """Take a step with weights that nobody needs, where and as the fits will; after the first, it takes milliseconds.

    Nothing is drawn from a generator, so that a fit stays the same bits.

    Args:
        config: of the fits: its optimizer is built.
        device: that they train on.
    """
    with same_bits(device, asked=config.fit.deterministic):
        nothing = _Nothing().to(device)
        optimizer = make_optimizer(nothing, config.optimizer)
        loss = nothing(torch.ones(_SIDE, _SIDE, device=device)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)


class _Nothing(nn.Module):
    """A layer of zeros, named so that every group of an optimizer holds something."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ParameterDict({"weight": torch.zeros(_SIDE, _SIDE), "bias": torch.zeros(_SIDE)})

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = rows @ self.layers["weight"] + self.layers["bias"]
        return made
