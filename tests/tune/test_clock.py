"""How a budget is shared among trials and the last fit."""

from __future__ import annotations

import math
import time

import pytest

from rowcast.training.config import make_config
from rowcast.training.tune.clock import LEAST_TRIAL_S, Clock, clock_of


def clock(budget_s, *, wanted=None, publish=True, **fit):
    return clock_of(
        make_config(overrides={"fit": fit}), budget_s, began=time.monotonic(), wanted=wanted, publish=publish
    )


def test_without_a_budget_a_trial_takes_as_long_as_it_takes():
    assert clock(None).for_trial([]) == math.inf


@pytest.mark.parametrize(
    ("how", "last", "trial"),
    [
        ({}, 25.0, 75.0 / 4),
        ({"wanted": 2}, 25.0, 75.0 / 2),
        ({"seeds": 4}, 50.0, 50.0 / 4),
        ({"publish": False}, 0.0, 100.0 / 4),
    ],
)
def test_a_part_is_kept_for_the_last_fit_and_no_trial_takes_all_of_the_rest(how, last, trial):
    shared = clock(100.0, **how)
    assert (shared.last_s, shared.trial_s) == (last, pytest.approx(trial, rel=1e-3))


def test_a_trial_that_is_begun_has_a_second_at_least_however_small_the_budget():
    assert clock(2.0).for_trial([]) == LEAST_TRIAL_S
    assert clock(1.2).for_trial([]) is None


def test_none_is_begun_that_would_get_less_than_half_of_what_trials_take():
    shared = clock(100.0)
    assert shared.for_trial([10.0]) == shared.trial_s
    late = clock_of(make_config(), 100.0, began=time.monotonic() - 70.5, wanted=1, publish=True)
    assert late.for_trial([2.0]) == pytest.approx(4.5, abs=0.1)
    assert late.for_trial([20.0]) == pytest.approx(4.5, abs=0.1)  # of which it may take this much


def test_once_the_time_cuts_trials_short_half_of_it_is_kept_for_the_last_fit():
    shared = clock(100.0)
    assert shared.left_s(cut_short=False) == pytest.approx(75.0, abs=0.1)
    assert shared.left_s(cut_short=True) == pytest.approx(50.0, abs=0.1)
    late = clock_of(make_config(), 100.0, began=time.monotonic() - 48.0, wanted=4, publish=True)
    assert late.for_trial([13.0], cut_short=False) == pytest.approx(late.trial_s)
    assert late.for_trial([13.0], cut_short=True) is None
    assert clock(100.0, publish=False).left_s(cut_short=True) == pytest.approx(100.0, abs=0.1)
    assert Clock(shared.began, 100.0, **shared.shares()) == shared
