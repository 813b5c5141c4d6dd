"""Which networks answer is chosen by validation rows: what half of them chooses is judged by the others."""

from __future__ import annotations

import pytest
import torch

from rowcast.training.budget.choice import WORTH, Panel


class SquaredError:
    """The score of numbers: of the mean of all members."""

    own = None

    def score(self, outputs, target, weight=None):
        return ((outputs.mean(dim=0)[:, 0] - target) ** 2).mean()


def panel(*said, target=(0.0, 0.0, 0.0, 0.0), objective=None):
    outputs = [torch.tensor([[[value] for value in one]]) for one in said]
    return Panel(outputs, torch.tensor(target), None, objective or SquaredError())


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
    lucky = panel([1.0] * 4, [0.0, 1.35, 0.0, 1.35], [1.4, 0.0, 1.4, 0.0])
    assert lucky.greedy(1) == [1]
    assert lucky.chosen([0], 1) == [0]


def test_a_network_answers_if_it_takes_off_enough_of_the_loss():
    alone = [1.0] * 4
    for gain, chosen in ((0.5 * WORTH, [0]), (2 * WORTH, [0, 1])):
        together = (1.0 - gain) ** 0.5  # the mean, whose square is the loss
        assert panel(alone, [-2 * together - 1.0] * 4).chosen([0, 1], 2) == chosen


def test_what_makes_the_usual_ones_worse_is_left_out():
    assert panel([0.1] * 4, [9.0] * 4).chosen([0, 1], 2) == [0]
    assert panel([0.1] * 4, [-0.1] * 4, [9.0] * 4).chosen([0, 1, 2], 3) == [0, 1]


def test_a_loss_of_ones_own_may_be_shifted_by_any_constant():
    class Shifted(SquaredError):
        own = score = staticmethod(lambda outputs, target, weight=None: SquaredError().score(outputs, target) - 1e4)

    rows = panel([1.0] * 4, [-1.0] * 4, [9.0] * 4, objective=Shifted())
    assert rows.chosen([0, 1, 2], 3) == [0, 1]


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_network_that_has_no_loss_does_not_answer(broken):
    assert panel([broken] * 4, [0.1] * 4, [0.2] * 4).chosen([0, 1], 2) == [1]


@pytest.mark.parametrize("said", [([1.0], [0.0]), ([float("nan")] * 4, [float("nan")] * 4)])
def test_where_nothing_can_be_judged_the_usual_ones_answer(said):
    assert panel(*said, target=[0.0] * len(said[0])).chosen([0, 1], 2) == [0, 1]
