"""Which of several fitted networks answer together, by what they say of the validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite

import torch
from torch import Tensor

from rowcast.training.fit.objective import Objective

WORTH = 0.002
"""Share of the loss that networks take off to be worth what they cost: their megabytes, and their time for each row.
Nothing of a loss of one's own, which may be shifted by any constant."""


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
        self.worth = WORTH if objective.own is None else 0.0

    def loss(self, networks: Sequence[int], rows: Tensor | slice = slice(None)) -> float:
        """Of the mean of some networks, on some of the rows."""
        outputs = torch.cat([self.said[i][:, rows] for i in networks])
        weight = None if self.weight is None else self.weight[rows]
        return float(self.objective.score(outputs, self.target[rows], weight))

    def greedy(self, n: int, rows: Tensor | slice = slice(None)) -> list[int]:
        """``n`` networks, added one at a time, each time the one with which the loss is least (Caruana et al. 2004,
        "Ensemble selection from libraries of models", section 2)."""
        chosen: list[int] = []
        while len(chosen) < min(n, len(self.said)):
            losses = {i: self.loss([*chosen, i], rows) for i in range(len(self.said)) if i not in chosen}
            chosen.append(min(losses, key=lambda i: losses[i] if isfinite(losses[i]) else inf))
        return chosen

    def chosen(self, usual: Sequence[int], most: int) -> list[int]:
        """Which answer: the fewest whose loss is within the share :attr:`worth` of the least.

        Compared are the usual ones and, for each number of networks, those that are chosen greedily. What is chosen by
        half of the rows is judged by the other half, for both halves together; what is found to be best is then chosen
        by all rows.

        Args:
            usual: networks that answer where nothing is chosen, or nothing can be judged.
            most: how many may.
        """
        places = torch.arange(len(self.target))
        halves = [places[0::2], places[1::2]]
        orders = [self.greedy(most, half) for half in halves]

        def judged(first: Sequence[int], second: Sequence[int]) -> float:
            losses = [
                self.loss(networks, rows) * len(rows) for networks, rows in ((first, halves[1]), (second, halves[0]))
            ]
            return sum(losses) / len(places)

        order = self.greedy(most)
        choices = [(list(usual), judged(usual, usual))]
        choices += [(sorted(order[:n]), judged(orders[0][:n], orders[1][:n])) for n in range(1, len(order) + 1)]
        choices = [(networks, loss) for networks, loss in choices if isfinite(loss)]
        least = min((loss for _, loss in choices), default=0.0)
        as_good = [(networks, loss) for networks, loss in choices if loss <= least + self.worth * abs(least)]
        return min(as_good, key=lambda choice: (len(choice[0]), choice[1]), default=(list(usual), least))[0]
