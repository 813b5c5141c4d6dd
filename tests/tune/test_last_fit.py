"""The fit of the best config: whether the network of its trial is published, and what is told of its time."""

from __future__ import annotations

import math
import time

import polars as pl
import pytest
import torch

from rowcast.models import Repository
from rowcast.models.errors import ConfigError, TableError, TrainingError
from rowcast.training.config import make_config
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.own import NOTHING_OWN, Own
from rowcast.training.tune.clock import Clock
from rowcast.training.tune.config import OF_LAST_FIT
from rowcast.training.tune.last_fit import best_to_fit, in_time, kept, why_too_slow
from rowcast.training.tune.objective import Trials
from rowcast.training.tune.outcome import Tuned, sentence_of
from rowcast.training.tune.rows import about_study, rows_of
from rowcast.training.tune.run import tune
from rowcast.training.tune.space_reading import space_of
from rowcast.training.tune.study.record import Record
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


def classes(rows=120, rare=4, **columns):
    """A table of three classes, one of which is rare."""
    labels = ["rare"] * rare + ["often" if i % 2 else "also" for i in range(rows - rare)]
    return pl.DataFrame({"x": [float(i % 17) for i in range(rows)], **columns, "label": labels})


def shop():
    return tables.every_kind(120).drop("class")


@pytest.mark.parametrize(
    ("table", "data", "fit", "error", "sentence"),
    [
        (classes(), {"target": "label"}, {"folds": 6}, TableError, "every class needs 6 rows at least"),
        (
            shop().with_columns(g=pl.int_range(pl.len()) % 4),
            {"target": "amount", "group": "g"},
            {"folds": 6},
            TableError,
            "6 folds divide what the test rows leave",
        ),
        (shop(), {"target": "amount"}, {"folds": 3, "max_members": 2}, ConfigError, "'fit.max_members' must be at"),
        (shop(), {"target": "amount"}, {"folds": 3, "max_row_us": 1e-3}, ConfigError, "'fit.max_row_us' must be what"),
    ],
)
def test_what_the_last_fit_would_refuse_of_the_rows_is_told_before_anything_is_tried(
    tmp_path, table, data, fit, error, sentence
):
    config = make_config(overrides={**tables.QUICK, "data": data, "fit": {**tables.QUICK["fit"], **fit}})
    with pytest.raises(error, match=sentence):
        tune(table, config, name="m", repository=Repository(tmp_path), trials=1)
    assert not (tmp_path / ".studies").exists()
    tuned = tune(table, config, name="m", repository=Repository(tmp_path), trials=1, publish=False)
    assert len(tuned.trials) == 1


def test_test_rows_that_the_last_fit_cannot_read_or_answer_are_told_before_anything_is_tried(tmp_path):
    with pytest.raises(TableError, match="city"):
        tune(shop(), config_of(), name="m", repository=Repository(tmp_path), trials=1, test=shop().drop("city"))
    unseen = shop().with_columns(
        label=pl.Series(["late" if i >= 110 else "even" if i % 2 else "odd" for i in range(120)]),
        at=pl.int_range(120),
    )
    data = {"target": "label", "split_by_time": "at"}
    config = make_config(overrides={**tables.QUICK, "data": data})
    said = "class 'late' of 'label' occurs in .* drop those rows, or split at random"
    with pytest.raises(TableError, match=said):
        tune(unseen, config, name="m", repository=Repository(tmp_path), trials=1)
    assert not (tmp_path / ".studies").exists()


def test_a_model_may_be_measured_on_a_test_table_that_no_trial_sees(tmp_path):
    table = shop()
    tuned = tune(table.head(90), config_of(), name="m", repository=Repository(tmp_path), trials=2, test=table.tail(30))
    assert tuned.trained.rows == {"train": 72, "validation": 18, "test": 30}
    assert tuned.trained.model.manifest.metrics["validation"]["rmse"] == pytest.approx(tuned.best.value, rel=1e-5)


def test_the_last_fit_has_no_more_members_than_may_answer(tmp_path):
    config = make_config(
        overrides={
            **tables.QUICK,
            "data": {"target": "amount"},
            "network": {**tables.QUICK.get("network", {}), "members": 8},
            "fit": {**tables.QUICK["fit"], "folds": 3, "max_members": 12},
        }
    )
    tuned = tune(shop(), config, name="m", repository=Repository(tmp_path), trials=1)
    decisions = tuned.trained.model.manifest.decisions
    assert any(decision.startswith("of 8 members of each of 3 folds ") for decision in decisions)


def test_a_better_trial_whose_rows_take_too_long_is_passed_over_and_told():
    trials = [record(0, 3.0), record(1, 1.0), record(2, 2.0)]
    best, told = best_to_fit(trials, lambda one: "a row takes 9 us" if one.number == 1 else "")
    assert (best.number, told) == (2, "passed over for a row's time: trial 1, as a row takes 9 us")
    assert best_to_fit(trials, lambda one: "") == (trials[1], "")
    with pytest.raises(TrainingError, match="no trial has a config that may be fitted: trial 1, as slow; nothing was"):
        best_to_fit(trials, lambda one: "slow")
    rows = rows_of(shop(), config_of(), None)
    assert why_too_slow(rows, config_of(folds=3, max_row_us=1e6), NOTHING_OWN) == ""
    assert "'fit.max_row_us' must be" in why_too_slow(rows, config_of(folds=3, max_row_us=1e-3), NOTHING_OWN)


def test_a_network_of_ones_own_that_cannot_be_published_is_told_before_anything_is_tried(tmp_path):
    class Wavering(torch.nn.Module):
        def __init__(self, d_in, d_out):
            super().__init__()
            self.layer = torch.nn.Linear(d_in, d_out)

        def forward(self, x):
            return self.layer(x) + torch.randn(x.shape[0], 1)

    own = Own(Wavering)
    config = make_config(overrides={"data": {"target": "amount"}, "fit": {"epochs": 2}})
    with pytest.raises(ConfigError, match="must give the same answer each time once it is trained"):
        tune(shop(), config, name="m", repository=Repository(tmp_path), trials=1, own=own)
    assert not (tmp_path / ".studies").exists()


@pytest.mark.parametrize("name", OF_LAST_FIT)
def test_what_is_for_the_last_fit_alone_is_not_searched_and_may_change(name):
    with pytest.raises(ConfigError, match="which is for the last fit: trials fit once"):
        space_of(make_config(overrides={"tune": {"space": {f"fit.{name}": [1, 2]}}}))
    value = {"until_spent": True, "refit": True}.get(name, 3)
    fit = {"folds": 2, name: value} if name.startswith("max") else {name: value}
    rows = rows_of(shop(), config_of(), None)
    assert about_study(rows, config_of(**fit)) == about_study(rows, config_of())


def test_what_a_teacher_says_is_not_searched():
    with pytest.raises(ConfigError, match=r"got 'distil\.made_up', which says what is learned from a teacher"):
        space_of(make_config(overrides={"tune": {"space": {"distil.made_up": [0.5, 2.0]}}}))
