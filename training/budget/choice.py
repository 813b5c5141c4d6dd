"""Which of several fitted networks answer together, by what they say of the validation rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rowcast.training.fit.objective import Objective


class Panel:
    """What networks say of the same rows.

    Args:
        said: of each network ``[members, rows, n_outputs]``.
        target: from :meth:`Objective.encode`, ``[rows]``.
        weight: of the rows ``[rows]``, or None.
        objective: whose score is lowered.
    """

    def __init__(self, said: Sequence[Tensor], target: Tensor, weight: Tensor | None, objective: Objective) -> None:
        self.said, self.target, self.weight, self.objective = list(said), target, weight, objective

    def loss(self, networks: Sequence[int], rows: Tensor | slice = slice(None)) -> float:
        """Of the mean of some networks, on some of the rows."""
        outputs = torch.cat([self.said[i][:, rows] for i in networks])
        weight = None if self.weight is None else self.weight[rows]
        return float(self.objective.score(outputs, self.target[rows], weight))

    def greedy(self, most: int, rows: Tensor | slice = slice(None)) -> list[int]:
        """Networks added one at a time, each time the one that lowers the loss most, until none does (Caruana et al.
        2004, "Ensemble selection from libraries of models", section 2)."""
        chosen: list[int] = []
        best = float("inf")
        while len(chosen) < most:
            losses = {i: self.loss([*chosen, i], rows) for i in range(len(self.said)) if i not in chosen}
            if not losses:
                break
            i = min(losses, key=losses.__getitem__)
            if chosen and losses[i] >= best:
                break
            chosen.append(i)
            best = losses[i]
        return chosen

    def chosen(self, usual: Sequence[int], most: int) -> list[int]:
        """Which answer: those chosen greedily, if a choice on half of the rows does better on the other half than the
        usual ones, for both halves together; else the usual ones.

        Args:
            usual: networks that answer where nothing is chosen.
            most: how many may.
        """
        places = torch.arange(len(self.target))
        halves = [places[0::2], places[1::2]]
        gains = [
            (self.loss(usual, other) - self.loss(self.greedy(most, half), other)) * len(other)
            for half, other in (halves, halves[::-1])
        ]
        return self.greedy(most) if sum(gains) > 0.0 else list(usual)
