"""A small table that still gets better is trained for longer than planned, one that does not is not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from rowcast.models import Repository
from rowcast.training.config import make_config
from rowcast.training.fit import checkpoint as checkpoints
from rowcast.training.fit.again import Length
from rowcast.training.fit.history import Look
from rowcast.training.fit.loop import FitConfig, epochs_of, pace_of
from rowcast.training.fit.optimizer import OptimizerConfig
from rowcast.training.fit.pace import Pace
from rowcast.training.train import train
from tests.support import tables


def epochs_and_middle(losses, planned=10, most=100, patience=3):
    """How long a fit lasts whose looks have these losses, and in which epochs it was half over."""
    pace, history, middle = Pace(planned, most, patience), [], []
    for epoch, loss in enumerate(losses, 1):
        pace.began(epoch, history)
        history.append(Look(epoch, 1.0, loss, 0.1, float(epoch), True))
        if pace.done(epoch) == 0.5:
            middle.append(epoch)
        if pace.done(epoch) >= 1.0:
            return epoch, middle
    raise AssertionError("there are too few losses")


def test_epochs_are_added_in_the_middle_while_the_last_looks_paid():
    assert epochs_and_middle([1.0] * 20) == (10, [5])
    assert epochs_and_middle([0.9**n for n in range(200)]) == (100, list(range(5, 96)))
    better_until_30 = [0.9 ** min(n, 30) for n in range(200)]
    assert epochs_and_middle(better_until_30) == (39, list(range(5, 35)))
    a_little_better = [0.999**n for n in range(200)]
    assert epochs_and_middle(a_little_better) == (10, [5])
    below_zero = [-1.0 * 1.1**n for n in range(200)]
    assert epochs_and_middle(below_zero, most=20) == (20, list(range(5, 16)))


@pytest.mark.parametrize("planned", [3, 9, 10, 100])
def test_without_added_epochs_a_fit_is_over_as_it_was(planned):
    pace = Pace(planned, planned, 3)
    passed = np.linspace(0.0, planned, 301)
    assert [pace.done(x) for x in passed] == [x / planned for x in passed]


def test_the_rows_that_it_may_visit_bound_a_fit_and_what_was_asked_for_stays():
    auto, constant = OptimizerConfig(), OptimizerConfig(schedule="cosine")
    assert [pace_of(FitConfig(), auto, rows).most for rows in (500, 10_000, 40_000, 200_000)] == [1000, 400, 100, 20]
    assert [epochs_of(FitConfig(), rows) for rows in (500, 200_000, 10_000_000)] == [100, 20, 3]
    assert pace_of(FitConfig(epochs=30), auto, 500).most == 30
    assert pace_of(FitConfig(), constant, 500).most == 100


def test_a_second_fit_holds_its_rate_as_long_as_the_first():
    length = Length(40.0, 0.75, (), Pace(20, 60, 3, added=25))
    done = [length.done_after(step, 40) for step in range(41)]
    assert done[10] == pytest.approx(0.5)
    assert done[35] == pytest.approx(0.5)
    assert done[40] == 0.75


@pytest.fixture
def smooth():
    dice = np.random.default_rng(0)
    x = dice.random((300, 3))
    return pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": np.sin(3 * x[:, 0] * x[:, 1]) + x[:, 2] ** 2})


class Killed(Exception):
    """Stands for the end of the process."""


def fitted(table, folder, at=None, **more):
    """Train; ``at``: be killed in that look."""
    looks = []

    def kill(progress):
        looks.append(progress)
        if len(looks) == at:
            raise Killed

    fields = {**tables.QUICK, "fit": {"patience": 3, "row_visits": 5_000}, "data": {"target": "y"}}
    config = make_config(overrides=fields)
    return train(table, config, name="m", repository=Repository(folder), callbacks=[kill], **more)


def test_a_fit_with_added_epochs_tells_them_and_goes_on_to_the_same_bits(smooth, tmp_path, monkeypatch):
    monkeypatch.setattr("rowcast.training.fit.loop.PLANNED_EPOCHS", 8)
    monkeypatch.setattr(checkpoints, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", float("inf"))
    whole = fitted(smooth, tmp_path / "whole")
    assert 10 < whole.fit.epochs <= 26
    assert whole.fit.added >= whole.fit.epochs - 8
    told = f"{whole.fit.added} epochs were added to those planned, since validation rows still got better"
    assert told in whole.model.manifest.decisions
    rates = [look.learning_rate for look in whole.fit.history]
    assert rates[4] == rates[whole.fit.added]
    kept = {"checkpoint": tmp_path / "c", "resume": True}
    for at in (7, 3):
        with pytest.raises(Killed):
            fitted(smooth, tmp_path / "r", at=at, **kept)
    again = fitted(smooth, tmp_path / "r", **kept)
    assert again.fit.added == whole.fit.added
    assert again.model.manifest.files["weights.safetensors"] == whole.model.manifest.files["weights.safetensors"]
