"""The fit of the best config: whether the network of its trial is published, and what is told of its time."""

from __future__ import annotations

import math
import time

import pytest
import torch

from rowcast.training.config import make_config
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.own import NOTHING_OWN
from rowcast.training.tune.clock import Clock
from rowcast.training.tune.last_fit import in_time, kept
from rowcast.training.tune.objective import Trials
from rowcast.training.tune.outcome import Tuned, sentence_of
from rowcast.training.tune.rows import rows_of
from rowcast.training.tune.study.study import Record
from tests.support import tables


def config_of(**fit):
    fields = {**tables.QUICK["fit"], **fit}
    return make_config(overrides={**tables.QUICK, "data": {"target": "amount"}, "fit": fields})


def record(number, value=1.0, seconds=4.0, **more):
    return Record(number, value, False, {}, seconds, more.pop("origin", ""), "", **more)


def trials_of(config, budget_s):
    """What came of one trial that might take so long."""
    rows = rows_of(tables.every_kind(120).drop("class"), config, None)
    fits = Trials(rows, torch.device("cpu"), NOTHING_OWN, Interrupt())
    fits.keep(0, fits.run(config, budget_s=budget_s, rung=lambda *_: None, look=lambda: False))
    return fits


@pytest.mark.parametrize(
    ("fit", "budget_s", "cut_short"),
    [({}, 600.0, False), ({"epochs": 10**6}, 0.4, True), ({"epochs": 10**6, "budget_s": 0.2}, 600.0, False)],
)
def test_a_trial_knows_whether_its_time_cut_it_short(fit, budget_s, cut_short):
    config = config_of(patience=10**6, **fit)
    _, measured = trials_of(config, budget_s).best
    assert measured.cut_short is cut_short


def test_a_network_that_was_cut_short_is_fitted_again_if_more_time_is_left_than_it_had():
    config = config_of(epochs=10**6, patience=10**6)
    fits = trials_of(config, 0.4)
    seconds = fits.best[1].seconds
    best = record(0, seconds=seconds)
    now = time.monotonic()
    assert kept(fits, best, config, Clock(now, 1.5 * seconds + 1.0), 0.0) is None
    assert kept(fits, best, config, Clock(now, 1.5 * seconds + 1.0), 1.0 + seconds) is fits.best[1].fitted
    assert kept(fits, best, config, Clock(now, 0.5 * seconds), 0.0) is fits.best[1].fitted
    assert in_time(config, best, Clock(now, 60.0), 5.0).fit.budget_s == pytest.approx(55.0, abs=0.5)
    whole = trials_of(config_of(), math.inf)
    assert kept(whole, best, config_of(), Clock(now, 60.0), 0.0) is whole.best[1].fitted


@pytest.mark.parametrize(
    ("trials", "sentence"),
    [
        ([record(0, origin="as given"), record(1)], "metrics of validation rows"),
        ([record(0, origin="as given"), record(1, cut_short=True)], "; the time cut short 1 of the 2 trials that ran"),
        (
            [record(0, origin="as given", cut_short=True, limit_s=4.7), record(1, cut_short=True, limit_s=4.7)],
            "that of the config as given among them: it takes longer than the 4.7 s of a trial, so that with this",
        ),
    ],
)
def test_the_model_says_how_many_trials_the_time_cut_short(trials, sentence):
    tuned = Tuned("s", "", "rmse", tuple(trials), trials[0], make_config(), {})
    assert sentence in sentence_of(tuned)
    assert ("cut short" in sentence_of(tuned)) == any(trial.cut_short for trial in trials)
