"""Muon: matrices of the layers move along their momentum made orthogonal, everything else as with AdamW.

A step of Muon is as long in every direction that the gradients of the last steps span, where those of SGD and Adam are
governed by a few (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"). Over 17 tables it was
the best of 15 optimizers for networks like this one (Gorishniy et al. 2026, "Benchmarking optimizers for MLPs in
tabular deep learning"). What is no matrix, embeddings and the last layer are left to AdamW, as there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients whose iteration brings every singular value near 1 soonest, from Jordan et al."""
_ROUNDS = 5
_LIKE_ADAM = 0.2
"""Times the root of the longer side: the mean square of an entry is then that of a step of Adam, so that both take the
same learning rate (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2)."""


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for the matrices of the first group, AdamW for all other parameters.

    Args:
        groups: the weights of the layers, then everything else, each with its ``weight_decay``.
        lr: of both.
        momentum: of the matrices.
        nesterov: whether the gradient is added to the momentum once more.
        betas: of AdamW.
        eps: of AdamW.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        weights, others = groups
        matrices = [parameter for parameter in weights["params"] if parameter.dim() == 2]
        vectors = [parameter for parameter in weights["params"] if parameter.dim() != 2]
        defaults = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "betas": tuple(betas), "eps": eps}
        parts = [
            {"params": matrices, "weight_decay": weights["weight_decay"], "orthogonal": True},
            {"params": vectors, "weight_decay": weights["weight_decay"], "orthogonal": False},
            {"params": others["params"], "weight_decay": others["weight_decay"], "orthogonal": False},
        ]
        super().__init__([part for part in parts if part["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                step = self._orthogonal if group["orthogonal"] else self._adam
                parameter.add_(step(parameter, group), alpha=-group["lr"])

    def _orthogonal(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        gradient: Tensor = parameter.grad  # type: ignore[assignment]
        momentum: Tensor = state["momentum"].lerp_(gradient, 1.0 - group["momentum"])
        along = gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
        step: Tensor = orthogonalised(along) * (_LIKE_ADAM * math.sqrt(max(parameter.shape)))
        return step

    def _adam(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float64)
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        gradient: Tensor = parameter.grad  # type: ignore[assignment]
        state["step"] += 1
        steps, (first, second) = float(state["step"]), group["betas"]
        mean: Tensor = state["mean"].lerp_(gradient, 1.0 - first)
        square: Tensor = state["square"].mul_(second).addcmul_(gradient, gradient, value=1.0 - second)
        step: Tensor = mean / (1.0 - first**steps) / ((square / (1.0 - second**steps)).sqrt() + group["eps"])
        return step


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix with its singular values brought near 1 (.7 to 1.2), by the Newton-Schulz iteration, ``[a, b]``."""
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    made: Tensor = x.T if tall else x
    return made
