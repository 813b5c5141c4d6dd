"""A student is kept only if it does better on the validation rows than a fit on targets alone."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from rowcast.models import ConfigError, Repository, TableError
from rowcast.models.errors import TrainingError
from rowcast.training.config import make_config
from rowcast.training.distil.refusals import check_teacher
from rowcast.training.distil.teacher import TooLate
from rowcast.training.own import NOTHING_OWN, Own
from rowcast.training.ranks.ranks import ALONE
from rowcast.training.train import train
from tests.support import tables
from tests.support.command import run
from tests.support.lessons import Says, numbered

ROWS = 240
DISTIL = {"weight": 1.0, "made_up": 0.0}


def noisy():
    """A number that a teacher knows, and a target that is that number and much noise."""
    random = np.random.default_rng(1)
    x = random.normal(size=(ROWS, 2)).round(4)
    truth = 3 * x[:, 0]
    noise = random.normal(0, 6, ROWS)
    return pl.DataFrame({"x": x[:, 0], "z": x[:, 1], "y": truth + noise})


def fitted(folder, table, teacher=None, callbacks=(), **sections):
    config = make_config(overrides={**tables.QUICK, "data": {"target": "y"}, **sections})
    return train(table, config, name="m", repository=Repository(folder), teacher=teacher, callbacks=callbacks)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A fit on targets alone."""
    return fitted(tmp_path_factory.mktemp("alone"), noisy(), objective={"coverage": [0.9, 0.5]})


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A fit with a teacher that knows the truth, and intervals of two levels."""
    teacher = Says(lambda rows: 3 * rows["x"].to_numpy())
    distil = {"weight": [0.5, 1.0], "made_up": 1.0}
    folder = tmp_path_factory.mktemp("taught")
    return fitted(folder, noisy(), teacher, distil=distil, objective={"coverage": [0.9, 0.5]}), teacher


def facts_of(trained):
    return trained.model.manifest.data["teacher"]


def test_a_teacher_that_knows_more_is_learned_from_and_both_figures_are_told(alone, taught):
    model, _ = taught
    facts = facts_of(model)
    assert facts["kept"]
    assert facts["targets_alone"] == pytest.approx(alone.summary()["metrics"]["validation"]["rmse"], rel=1e-5)
    assert facts["student"] == pytest.approx(model.summary()["metrics"]["validation"]["rmse"], rel=1e-5)
    assert facts["student"] < facts["targets_alone"]
    decision = next(said for said in model.summary()["decisions"] if said.startswith("a student of oracle (weight "))
    assert (
        f"has a rmse of {facts['student']:.4g} on validation rows: the student is kept, and not the fit on targets "
        f"alone ({facts['targets_alone']:.4g}); oracle itself: {facts['teacher']:.4g}; tried too: " in decision
    )


def test_test_rows_are_not_asked_about_and_made_up_rows_are_as_many_as_training_rows(taught):
    model, teacher = taught
    rows = model.rows
    assert teacher.seen == 2 * rows["train"] + rows["validation"]


def test_the_seconds_are_those_of_all_fits_and_the_history_is_that_of_the_one_that_is_kept(taught):
    model, _ = taught
    assert model.fit.seconds > model.fit.history[-1].seconds
    assert [look.epoch for look in model.fit.history] == list(range(1, model.fit.epochs + 1))


def test_a_teacher_that_knows_nothing_changes_no_bit_of_the_model(tmp_path, alone):
    teacher = Says(lambda rows: -3 * rows["x"].to_numpy())
    model = fitted(tmp_path, noisy(), teacher, distil=DISTIL, objective={"coverage": [0.9, 0.5]})
    assert not facts_of(model)["kept"]
    assert "the fit on targets alone is kept (" in " ".join(model.summary()["decisions"])
    files = [one.model.manifest.files["weights.safetensors"] for one in (model, alone)]
    assert files[0] == files[1]


def test_a_teacher_that_takes_too_long_leaves_the_fit_on_targets_alone(tmp_path, alone):
    def late(_):
        raise TooLate("catboost on 5 folds takes about 900 s")

    model = fitted(tmp_path, noisy(), Says(late, "catboost"), objective={"coverage": [0.9, 0.5]})
    assert (
        "no student of catboost was fitted: catboost on 5 folds takes about 900 s, more than half of the budget; the "
        "model is that of targets alone" in model.summary()["decisions"]
    )
    assert model.model.manifest.files["weights.safetensors"] == alone.model.manifest.files["weights.safetensors"]


def test_a_budget_that_is_too_small_for_the_fit_on_targets_alone_publishes_nothing(tmp_path):
    fit = {"budget_s": 1e-3, "epochs": 50, "batch_size": 8}
    says = r"^a budget must be enough for an epoch of each of 4 fits, got less than 0.01 s, once .* leave out --teacher"
    with pytest.raises(TrainingError, match=says):
        fitted(tmp_path, noisy(), Says(lambda rows: 3 * rows["x"].to_numpy()), fit=fit)
    assert list(tmp_path.iterdir()) == []


def test_made_up_rows_that_a_teacher_would_answer_too_slowly_are_left_out(tmp_path):
    slow = SimpleNamespace(called="slow", check=lambda: None)
    slow.teach = lambda lesson: replace(Says(lambda rows: 3 * rows["x"].to_numpy()).teach(lesson), row_s=100.0)
    model = fitted(tmp_path, noisy(), slow, fit={"budget_s": 20_000, "epochs": 1})
    seconds = 100 * model.rows["train"]
    why = f"no student of made-up rows was fitted: slow would take about {seconds} s to answer them, more than half of"
    assert any(said.startswith(why) for said in model.summary()["decisions"])


def test_a_callback_ends_the_fit_that_is_going_on_and_all_after_it(tmp_path, alone):
    looks = []
    second = [lambda progress: looks.append(progress) or len(looks) == 4]  # the first look of the first student
    model = fitted(tmp_path, noisy(), Says(lambda rows: 3 * rows["x"].to_numpy()), second)
    assert (len(looks), model.fit.stopped, model.fit.epochs) == (4, "interrupted", 3)
    assert [round(progress.done, 2) for progress in looks] == [0.08, 0.17, 0.25, 0.33]
    why = "no student of oracle was fitted: the fit was ended before; the model is that of targets alone"
    assert why in model.summary()["decisions"]


def test_nothing_of_a_test_row_reaches_trees_that_are_fitted_here(tmp_path, capfd):
    table = numbered(ROWS, "class").with_columns(part=pl.Series(["train", "test", "validation"] * (ROWS // 3)))
    flipped = pl.when(pl.col("class") == "large").then(pl.lit("small")).otherwise(pl.lit("large"))
    test = pl.col("part") == "test"
    changed = table.with_columns(
        size=pl.when(test).then(pl.col("size") * 0 + 1).otherwise(pl.col("size")),
        **{"class": pl.when(test).then(flipped).otherwise(pl.col("class"))},
    )
    found = []
    for name, one in (("a", table), ("b", changed)):
        one.write_csv(tmp_path / f"{name}.csv")
        how = ["--target", "class", "--split", "part", "--teacher", "lightgbm", "--set", "distil.weight=0.5"]
        how += ["--set", "distil.made_up=0.5", "--set", "network.layers=[16]", "--epochs", 1]
        code, out, err = run(capfd, "train", tmp_path / f"{name}.csv", *how, "--repository", tmp_path, "--json")
        assert code == 0, err
        found.append(json.loads(out.splitlines()[-1]))
    models = [Repository(tmp_path).open(name).manifest for name in ("a", "b")]
    assert models[0].files["weights.safetensors"] == models[1].files["weights.safetensors"]
    assert models[0].data["teacher"] == models[1].data["teacher"]
    assert found[0]["metrics"]["test"] != found[1]["metrics"]["test"]
    assert models[0].data["teacher"]["folds"] == 5


@pytest.mark.parametrize(
    ("sections", "how", "says"),
    [
        (
            {"fit": {"refit": True}},
            {},
            r"'fit.refit' must be false for a fit with a teacher, .* --refit, or --teacher$",
        ),
        (
            {"objective": {"loss": "mae"}},
            {},
            r"must not be mae, huber or pinball for a fit with a teacher.* got 'mae'",
        ),
        (
            {},
            {"checkpoint": True},
            r"of one fit, and --teacher makes several: leave out --checkpoint, or --teacher",
        ),
        ({}, {"ranks": SimpleNamespace(size=2)}, r"by one process: under torchrun leave out --teacher"),
        ({}, {"own": Own(loss=lambda outputs, target: outputs)}, r"a loss of one's own takes targets, .* or --teacher"),
    ],
)
def test_what_does_not_go_with_a_teacher_is_refused(sections, how, says):
    config = make_config(overrides={"data": {"target": "y"}, **sections})
    with pytest.raises(ConfigError, match=says):
        check_teacher(Says(None), noisy(), config, **{"own": NOTHING_OWN, "checkpoint": False, "ranks": ALONE, **how})


def test_a_table_in_shards_has_no_teacher(tmp_path):
    noisy().write_parquet(tmp_path / "t.parquet")
    config = make_config(overrides={"data": {"target": "y", "in_memory": False}})
    with pytest.raises(TableError, match=r"^--teacher needs the table in memory, but it is to be read in shards"):
        check_teacher(Says(None), tmp_path / "t.parquet", config, NOTHING_OWN, checkpoint=False, ranks=ALONE)


def test_what_is_asked_of_a_teacher_without_one_is_refused():
    config = make_config(overrides={"data": {"target": "y"}, "distil": {"weight": 0.3}})
    with pytest.raises(ConfigError, match=r"'distil.weight' is for a fit with a teacher, got 0.3 without one"):
        check_teacher(None, noisy(), config, NOTHING_OWN, checkpoint=False, ranks=ALONE)


@pytest.mark.parametrize("weight", [0.0, 1.5, [0.5, 0.5], [], "much"])
def test_a_weight_is_a_share(weight):
    with pytest.raises(ConfigError, match=r"'distil.weight'"):
        make_config(overrides={"distil": {"weight": weight}})
    assert make_config(settings=["distil.weight=0.25,1"]).distil.weights == (0.25, 1.0)
