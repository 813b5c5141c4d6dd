"""Which networks answer is chosen by validation rows, and only if a choice by half of them holds on the others."""

from __future__ import annotations

import pytest
import torch

from rowcast.training.budget.choice import WORTH, Panel


class SquaredError:
    """The score of numbers: of the mean of all members."""

    def score(self, outputs, target, weight=None):
        return ((outputs.mean(dim=0)[:, 0] - target) ** 2).mean()


def panel(*said, target=(0.0, 0.0, 0.0, 0.0)):
    outputs = [torch.tensor([[[value] for value in one]]) for one in said]
    return Panel(outputs, torch.tensor(target), None, SquaredError())


def test_networks_are_added_that_make_the_mean_best():
    rows = panel([1.0] * 4, [-1.5] * 4, [9.0] * 4, [0.5] * 4)
    assert rows.greedy(2) == [3, 1]  # with [0, 1] the loss is less, but they are added one at a time
    rows = panel([1.0] * 4, [-1.0] * 4, [9.0] * 4)
    assert rows.greedy(2) == [0, 1]
    assert rows.greedy(1) == [0]
    assert rows.greedy(9) == [0, 1, 2]
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


def test_a_network_answers_if_it_takes_off_enough_of_the_loss():
    alone = [1.0] * 4
    for gain, chosen in ((0.5 * WORTH, [0]), (2 * WORTH, [0, 1])):
        together = (1.0 - gain) ** 0.5  # the mean, whose square is the loss
        assert panel(alone, [-2 * together - 1.0] * 4).chosen([0, 1], 2) == chosen


def test_what_makes_the_usual_ones_worse_is_left_out():
    assert panel([0.1] * 4, [9.0] * 4).chosen([0, 1], 2) == [0]
    assert panel([0.1] * 4, [-0.1] * 4, [9.0] * 4).chosen([0, 1, 2], 3) == [0, 1]


def test_a_loss_below_zero_is_lowered_too():
    class Likelihood(SquaredError):
        def score(self, outputs, target, weight=None):
            return super().score(outputs, target, weight) - 100.0

    rows = panel([1.0] * 4, [-1.0] * 4)
    rows.objective = Likelihood()
    assert rows.chosen([0, 1], 2) == [0, 1]


@pytest.mark.parametrize("said", [([1.0], [0.0]), ([float("nan")] * 4, [float("nan")] * 4)])
def test_where_nothing_can_be_judged_the_usual_ones_answer(said):
    assert panel(*said, target=[0.0] * len(said[0])).chosen([0, 1], 2) == [0, 1]
