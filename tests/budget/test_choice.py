"""Which networks answer is chosen by validation rows, and only if a choice by half of them holds on the others."""

from __future__ import annotations

import torch

from rowcast.training.budget.choice import Panel


class SquaredError:
    """The score of numbers: of the mean of all members."""

    def score(self, outputs, target, weight=None):
        return ((outputs.mean(dim=0)[:, 0] - target) ** 2).mean()


def panel(*said, target=(0.0, 0.0, 0.0, 0.0)):
    outputs = [torch.tensor([[[value] for value in one]]) for one in said]
    return Panel(outputs, torch.tensor(target), None, SquaredError())


def test_networks_are_added_while_they_make_the_mean_better():
    rows = panel([1.0] * 4, [-1.5] * 4, [9.0] * 4, [0.5] * 4)
    assert rows.greedy(4) == [3]  # with any other the mean is farther off
    rows = panel([1.0] * 4, [-1.0] * 4, [9.0] * 4)
    assert rows.greedy(4) == [0, 1]
    assert rows.greedy(1) == [0]
    assert rows.loss([0, 1]) == 0.0


def test_what_is_better_on_both_halves_answers():
    assert panel([1.0] * 4, [2.0] * 4, [0.1] * 4).chosen([0, 1], 2) == [2]


def test_what_is_better_on_the_half_that_chose_it_alone_does_not():
    rows = panel([1.0] * 4, [0.0, 3.0, 0.0, 3.0], [3.0, 0.0, 3.0, 0.0])
    assert rows.greedy(1) == [0]
    assert rows.chosen([0], 1) == [0]
    even = panel([1.0] * 4, [0.0, 3.0, 0.0, 0.0], [0.5, 0.5, 2.0, 0.5])
    assert even.greedy(1) == [0]
    assert even.chosen([0], 1) == [0]
