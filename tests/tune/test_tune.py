"""``rowcast tune``: trials, a best config, a model fitted with it."""

from __future__ import annotations

import json
import os
import signal

import pytest

import rowcast
from rowcast.models import Repository
from rowcast.training.config import make_config
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
