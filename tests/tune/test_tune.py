"""``rowcast tune``: trials, a best config, a model fitted with it."""

from __future__ import annotations

import json
import os
import signal

import polars as pl
import pytest
import torch

import rowcast
from rowcast.models import Repository
from rowcast.models.errors import ConfigError, TrainingError
from rowcast.training.config import make_config
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.own import NOTHING_OWN
from rowcast.training.tune.objective import Trials
from rowcast.training.tune.rows import rows_of
from rowcast.training.tune.run import tune
from tests.support import tables
from tests.support.command import run

SPACE = {"network.layers": [[8], [16]], "optimizer.lr": {"low": 1e-3, "high": 1e-1, "log": True}}
CONFIG = """
[network]
members = 2
layers = [16]
[fit]
epochs = 3
[tune.space]
"network.layers" = [[8], [16]]
"optimizer.lr" = {low = 1e-3, high = 1e-1, log = true}
"""


def config_of(**overrides):
    return make_config(overrides={**tables.QUICK, "data": {"target": "amount"}, "tune": {"space": SPACE}, **overrides})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A table and a config."""
    home = tmp_path_factory.mktemp("tune")
    tables.every_kind(200).drop("class").write_csv(home / "shop.csv")
    (home / "tune.toml").write_text(CONFIG)
    return home


def command(capfd, home, *further):
    common = ("--target", "amount", "--config", home / "tune.toml", "--repository", home / "repository", "--json")
    code, out, err = run(capfd, "tune", home / "shop.csv", *common, *further)
    return code, json.loads(out.splitlines()[-1]) if code == 0 else out, err


def test_a_study_ends_with_a_published_model_and_is_gone_on_with(capfd, home):
    code, summary, err = command(
        capfd, home, "--trials", 3, "--out", home / "best.toml", "--table-out", home / "all.csv"
    )
    assert code == 0, err
    assert list(summary) == ["study", "trials", "best", "model"]
    assert (summary["study"], summary["trials"], list(summary["best"])) == ("shop", 3, ["value", "config"])
    assert summary["model"]["version"] == 1
    assert "3/3: trial 2" in err
    model = rowcast.load("shop", repository=home / "repository")
    assert model.decisions[0].startswith("tuned on validation rows: trial ")
    best = make_config(file=home / "best.toml")
    kept = model.stored.manifest.config
    assert best.model_dump(mode="json") == kept
    assert {name: kept["optimizer"][name] for name in ("lr",)} == summary["best"]["config"]["optimizer"]
    assert (home / "all.csv").read_text().count("\n") == 4
    assert model.metrics["validation"]["rmse"] == pytest.approx(summary["best"]["value"], rel=1e-5)

    code, more, err = command(capfd, home, "--trials", 4, "--no-publish")
    assert (code, more["trials"], more["model"]) == (0, 4, None)
    assert "the study 'shop' goes on: 3 trials finished before" in err
    assert rowcast.load("shop", repository=home / "repository").version == 1

    code, out, err = command(capfd, home, "--trials", 5, "--drop", "city")
    assert (code, out) == (1, "")
    assert "data.drop is" in err.splitlines()[-1]
    assert Repository(home / "repository").versions("shop") == [1]


def test_the_same_command_after_the_end_publishes_nothing_again(capfd, home):
    def again(*further):
        code, summary, err = command(capfd, home, "--name", "twice", "--trials", 2, *further)
        assert code == 0, err
        return summary["model"], err

    first, _ = again()
    second, err = again()
    assert (first["version"], second) == (1, first)
    assert "the study 'twice' is complete: 2 trials finished of 2" in err
    assert "twice:1 came of it before: nothing new is published" in err
    assert again("--set", "fit.seeds=2")[0]["version"] == 2  # another last fit
    assert again("--set", "fit.seeds=2")[0]["version"] == 2
    Repository(home / "repository").remove("twice", 2)
    assert again("--set", "fit.seeds=2")[0]["version"] >= 2
    shop = rowcast.tune(home / "shop.csv", target="amount", trials=1, verbose=False, space=SPACE, **tables.QUICK)
    assert shop.model is not None


def test_a_study_that_began_nothing_binds_nobody(capfd, home):
    code, _, err = command(capfd, home, "--name", "unbound", "--budget", "0.01s")
    assert (code, "nothing was tried" in err) == (1, True)
    code, summary, err = command(capfd, home, "--name", "unbound", "--trials", 1, "--epochs", 2, "--no-publish")
    assert (code, summary["trials"]) == (0, 1)
    assert "of the study 'unbound' nothing was finished, and it was of something else: it begins anew" in err


def test_a_space_with_an_end_ends_the_study_and_says_so(tmp_path):
    said = []
    tuned = tune(
        tables.every_kind(120).drop("class"),
        config_of(tune={"space": {"network.layers": [[8], [16]]}}),
        name="m",
        repository=Repository(tmp_path),
        trials=20,
        say=said.append,
    )
    assert len(tuned.trials) == 2
    assert "all 2 configs of the space were tried: there is no other one" in said


@pytest.mark.parametrize(("flag", "file"), [("--out", "nowhere/best.toml"), ("--table-out", "nowhere/all.csv")])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_tried(capfd, home, flag, file):
    (home / "nowhere").touch()
    code, _, err = command(capfd, home, "--name", "unwritten", flag, home / file)
    said = f"must name a file in a folder, got {home / file}, and {home / 'nowhere'} is a file"
    assert (code, err) == (2, f"rowcast: {flag} {said}\n")


def test_a_budget_that_is_too_small_for_a_trial_is_told_in_a_line(capfd, home):
    code, out, err = command(capfd, home, "--budget", "0.5s", "--name", "hasty")
    assert (code, out) == (1, "")
    assert "the budget must be enough for one trial and the last fit, got 0.5 s" in err.splitlines()[-1]
    assert not (home / "repository" / "hasty").exists()


def test_ctrl_c_ends_the_trials_and_publishes_the_best_so_far(tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        tuned = tune(
            tables.every_kind(120).drop("class"),
            config_of(),
            name="m",
            repository=Repository(tmp_path),
            trials=5,
            report=lambda standing: os.kill(os.getpid(), signal.SIGINT),
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert (len(tuned.trials), tuned.ended_by) == (1, "Ctrl-C")
    assert tuned.trained is not None
    assert tuned.trained.model.manifest.version == 1


def test_folds_measure_a_config_by_their_mean_and_processes_share_the_trials(tmp_path):
    table = tables.every_kind(120).drop("amount")
    one, two = (
        tune(
            table,
            config_of(data={"target": "class"}),
            name=f"jobs-{jobs}",
            repository=Repository(tmp_path),
            trials=4,
            jobs=jobs,
            folds=2,
            publish=False,
        )
        for jobs in (1, 2)
    )
    assert (one.measure, len(one.trials), len(two.trials)) == ("log_loss", 4, 4)
    assert one.trials[0].values == two.trials[0].values == {"network.layers": [16], "optimizer.lr": 2e-3}
    assert one.trials[0].value == pytest.approx(two.trials[0].value, rel=1e-4)


def test_values_with_which_a_table_cannot_be_read_cost_their_trial_and_not_the_study(tmp_path):
    table = tables.every_kind(120).select("when", "amount").drop_nulls()
    space = {"features.calendar": [["trend", "season"], []], "network.dropout": [0.0, 0.1]}
    tuned = tune(table, config_of(tune={"space": space}), name="m", repository=Repository(tmp_path), trials=6)
    without = [trial for trial in tuned.trials if not trial.values["features.calendar"]]
    assert without
    assert all(trial.pruned and "no column of data frame is left to learn from" in trial.why for trial in without)
    assert tuned.best.values["features.calendar"]


def test_where_no_trial_ran_through_the_reason_is_told(tmp_path):
    wild = {"name": "sgd", "lr": 10.0, "schedule": "constant", "warmup": 0.0}
    config = config_of(optimizer=wild, fit={"epochs": 50, "clip": "none"})
    said = r"^no trial ran through, the last one for: the loss is no longer a finite number in epoch .*; nothing was"
    with pytest.raises(TrainingError, match=said):
        tune(
            tables.every_kind(120).drop("class"),
            config,
            name="m",
            repository=Repository(tmp_path),
            trials=1,
            budget_s=60.0,
        )


class Read:
    """A table that does something when it is read for the second time, which the last fit does.

    Args:
        frame: what it holds.
        again: gives what it holds then.
    """

    columns = ()

    def __init__(self, frame, again):
        self.frame, self.again, self.times = frame, again, 0

    def __arrow_c_stream__(self, requested_schema=None):
        self.times += 1
        frame = self.frame if self.times == 1 else self.again(self.frame)
        return frame.__arrow_c_stream__(requested_schema)


def tune_folds(source, folder):
    """A study whose last fit is another one than those of its trials."""
    return tune(source, config_of(), name="m", repository=Repository(folder), trials=1, folds=2)


def test_ctrl_c_before_the_last_fit_has_begun_ends_all_and_the_study_is_kept(tmp_path):
    def interrupted(frame):
        os.kill(os.getpid(), signal.SIGINT)
        return frame

    table = tables.every_kind(120).drop("class")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            tune_folds(Read(table, interrupted), tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert Repository(tmp_path).versions("m") == []
    assert len(tune_folds(table, tmp_path).trials) == 1


def test_a_table_that_changes_while_it_is_tuned_is_refused_whichever_fit_is_the_last(tmp_path):
    table = tables.every_kind(120).drop("class")
    source = Read(table, lambda frame: frame.with_columns(pl.col("amount") + 1.0))
    with pytest.raises(TrainingError, match=r"^data frame must stay as it is while it is tuned"):
        tune_folds(source, tmp_path)
    assert Repository(tmp_path).versions("m") == []


@pytest.mark.parametrize(
    ("fit", "data", "sentence"),
    [
        ({"freeze": "layers"}, {}, "'fit.freeze' is for a fit that starts from a model"),
        ({"folds": 3}, {"split": "part"}, "so it does not go with --split part"),
    ],
)
def test_what_the_last_fit_would_refuse_is_told_before_the_table_is_read(tmp_path, fit, data, sentence):
    config = config_of(fit=fit, data={"target": "amount", **data})
    with pytest.raises(ConfigError, match=sentence):
        tune(tmp_path / "no.csv", config, name="m", repository=Repository(tmp_path), trials=1)


@pytest.mark.parametrize("folds", [1, 101, 2.5])
def test_folds_are_two_to_a_hundred(tmp_path, folds):
    with pytest.raises(ConfigError, match=f"^--folds must be a whole number from 2 to 100, got {folds}$"):
        tune(tmp_path / "no.csv", config_of(), name="m", repository=Repository(tmp_path), folds=folds)


@pytest.mark.parametrize(
    ("folds", "sentence"),
    [
        (None, "its 1e-09 s were over before its fit began: raise --budget"),
        (3, "its 1e-09 s were over after 0 of 3 folds: raise --budget, or use fewer folds than --folds 3"),
    ],
)
def test_a_fit_that_has_no_time_left_is_none(folds, sentence):
    rows = rows_of(tables.every_kind(120).drop("class"), config_of(), folds)
    trials = Trials(rows, torch.device("cpu"), NOTHING_OWN, Interrupt())
    with pytest.raises(TrainingError) as refused:
        trials.run(config_of(), budget_s=1e-9, rung=lambda *_: None, look=lambda: False)
    assert str(refused.value) == sentence
