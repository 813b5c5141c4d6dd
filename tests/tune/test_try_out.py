"""The loop of a study: what a trial is worth that ended for a reason of its own, and for one that is not its own."""

from __future__ import annotations

import time

import pytest
import torch
from optuna.trial import TrialState

from rowcast.models.errors import TrainingError
from rowcast.training.config import make_config
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.own import NOTHING_OWN
from rowcast.training.tune.clock import Clock
from rowcast.training.tune.objective import Trials
from rowcast.training.tune.rows import rows_of
from rowcast.training.tune.space_reading import space_of
from rowcast.training.tune.study.opening import open_study
from rowcast.training.tune.study.storage import StorageLost, open_storage
from rowcast.training.tune.try_out import try_out
from tests.support import tables

SPACE = {"optimizer.lr": {"low": 1e-3, "high": 1e-1, "log": True}}
CONFIG = make_config(overrides={**tables.QUICK, "data": {"target": "amount"}, "tune": {"space": SPACE}})


class Quiet:
    """Tells nobody; ``taken``: what trials took that ran through before."""

    def __init__(self, taken=()):
        self.taken, self.cut_short = list(taken), False

    def __call__(self):
        pass

    def waits(self):
        pass


@pytest.fixture(scope="module")
def rows():
    return rows_of(tables.every_kind(120).drop("class"), CONFIG, 2)


def opened(where):
    space = space_of(CONFIG)
    return open_study(open_storage(where), "s", {}, space, space.starts(CONFIG)[:1], 0)


def tried(study, fits, wanted, clock, tell=None):
    return try_out(study, fits, CONFIG, wanted, clock, tell=tell or Quiet())


def fits_of(rows):
    return Trials(rows, torch.device("cpu"), NOTHING_OWN, Interrupt())


def hasty():
    """A clock that has time, but none for a fit."""
    return Clock(time.monotonic(), 600.0, trial_s=1e-6)


def test_a_trial_that_lacks_time_is_given_back_and_tried_by_whoever_goes_on(tmp_path, rows):
    study = opened(tmp_path / "s.journal")
    over = tried(study, fits_of(rows), 3, hasty())
    assert over == "its 1e-06 s were over after 0 of 2 folds: raise --budget, or use fewer folds than --folds 2"
    assert (study.finished(), study.under_way()) == ([], 0)
    again = opened(tmp_path / "s.journal")
    assert tried(again, fits_of(rows), 1, Clock(time.monotonic())) == ""
    (record,) = again.finished()
    assert (record.origin, record.pruned, record.values["optimizer.lr"]) == ("as given", False, 2e-3)


def test_one_that_is_slower_than_those_that_ran_through_is_not_given_back_for_ever(tmp_path, rows):
    for _ in range(4):
        assert tried(opened(tmp_path / "s.journal"), fits_of(rows), 3, hasty(), Quiet([1.0]))
    study = opened(tmp_path / "s.journal")
    tried(study, fits_of(rows), 1, Clock(time.monotonic()))
    assert [record.origin for record in study.finished()] == [""]


def test_a_storage_that_goes_away_says_nothing_of_the_trial_under_way(tmp_path, rows):
    home = tmp_path / "here"
    study = opened(home / "s.journal")

    class Removing(Trials):
        def run(self, config, *, budget_s, rung, look):
            home.rename(tmp_path / "elsewhere")
            try:
                rung(12, 1.0)
            finally:
                (tmp_path / "elsewhere").rename(home)
            raise AssertionError("a rung that cannot be written is told")

    with pytest.raises(StorageLost, match="can no longer be used"):
        tried(study, Removing(rows, torch.device("cpu"), NOTHING_OWN, Interrupt()), 2, Clock(time.monotonic()))
    assert (opened(home / "s.journal").finished(), study.under_way()) == ([], 1)


def test_what_the_values_of_a_trial_are_to_blame_for_is_finished(tmp_path, rows):
    class Refusing(Trials):
        def run(self, config, *, budget_s, rung, look):
            raise TrainingError("the loss is no longer a finite number")

    study = opened(tmp_path / "s.journal")
    refusing = Refusing(rows, torch.device("cpu"), NOTHING_OWN, Interrupt())
    assert tried(study, refusing, 2, Clock(time.monotonic())) == ""
    assert [record.why for record in study.finished()] == ["the loss is no longer a finite number"] * 2


def test_a_trial_that_another_machine_has_taken_over_ends_nothing(tmp_path, rows):
    study = opened(tmp_path / "s.journal")

    class Losing(Trials):
        def run(self, config, *, budget_s, rung, look):
            (number,) = [trial.number for trial in study._trials() if trial.state == TrialState.RUNNING]
            if number == 0:
                study._fail(study._trials()[0], counts=True)
            return super().run(config, budget_s=budget_s, rung=rung, look=look)

    losing = Losing(rows, torch.device("cpu"), NOTHING_OWN, Interrupt())
    assert tried(study, losing, 1, Clock(time.monotonic())) == ""
    assert [(record.number, record.origin) for record in study.finished()] == [(1, "as given")]
