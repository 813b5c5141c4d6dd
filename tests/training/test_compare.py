"""Models judged on a table: labels that follow a threshold, importance, and which of two is better."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

import rowcast
from rowcast.models.errors import ConfigError, ModelError, RowcastError
from rowcast.models.repository import Repository
from rowcast.models.session import Session
from rowcast.training.compare import compare
from rowcast.training.config import make_config
from rowcast.training.fit.evaluate import class_metrics, regression_metrics
from rowcast.training.importance import importance_of, permuted
from rowcast.training.predict import evaluate_table, predict_table
from rowcast.training.train import train
from tests.support import tables
from tests.support.command import run


@pytest.fixture(scope="module")
def table():
    frame = tables.every_kind(600)
    return frame.with_columns(
        rare=pl.when(pl.col("amount") > pl.col("amount").quantile(0.8)).then(pl.lit("yes")).otherwise(pl.lit("no"))
    )


@pytest.fixture(scope="module")
def home(table, tmp_path_factory):
    """``rare:1`` by f1, ``rare:2`` by costs and without three columns, ``city:1`` by weights, ``amount:1`` at 80%."""
    repository = Repository(tmp_path_factory.mktemp("judged"))
    for name, target, drop, objective in (
        ("rare", "rare", ["amount", "class"], {"threshold": "f1"}),
        ("rare", "rare", ["amount", "class", "size", "count", "when"], {"threshold": {"yes": {"no": 9.0}}}),
        ("city", "city", [], {"threshold": "balanced_accuracy"}),
        ("amount", "amount", ["class", "rare"], {"coverage": 0.8, "intervals": "constant"}),
    ):
        data = {"target": target, "drop": drop}
        config = make_config(overrides={**tables.QUICK, "data": data, "objective": objective, "fit": {"epochs": 8}})
        train(table.drop_nulls(target), config, name=name, repository=repository)
    return repository


# ─── thresholds ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", [1, 2])
def test_labels_of_tables_and_of_the_graph_follow_the_threshold_of_the_manifest(home, table, version):
    model = home.open("rare", version)
    told = model.manifest.threshold
    assert (told["by"], told["class"]) == (("f1", "yes"), ("costs", "yes"))[version - 1]
    answers = predict_table(model, table)
    reached = answers["probability_yes"] >= np.float32(told["value"])
    assert (answers["label"] == "yes").to_list() == reached.to_list()
    assert 0 < reached.sum() != (answers["probability_yes"] > 0.5).sum()
    metrics = evaluate_table(model, table)["metrics"]
    said = class_metrics(
        table["rare"].to_list(),
        answers.select("probability_no", "probability_yes").to_numpy(),
        ("no", "yes"),
        answers["label"].to_list(),
    )
    assert {name: metrics[name] for name in said} == pytest.approx(said, abs=1e-6)
    hits = ((answers["label"] == "yes") & (table["rare"] == "yes")).sum()
    assert metrics["f1"] == 2 * hits / ((answers["label"] == "yes").sum() + (table["rare"] == "yes").sum())
    assert set(model.manifest.metrics["test"]) < set(metrics)
    assert model.manifest.parity["labels_equal"] is True
    assert any("from a probability of" in decision for decision in model.manifest.decisions)


def test_costs_are_a_known_threshold(home):
    assert home.open("rare", 2).manifest.threshold["value"] == float(str(np.float32(1 / 10)))


def test_factors_of_several_classes_say_the_label(home, table):
    model = home.open("city")
    weights = model.manifest.threshold["weights"]
    assert list(weights) == list(model.manifest.signature.classes)
    answers = predict_table(model, table)
    p = answers.select(f"probability_{name}" for name in weights).to_numpy().astype(np.float64)
    said = np.array(list(weights))[(p * list(weights.values())).argmax(axis=1)]
    assert answers["label"].to_list() == said.tolist()
    assert (said != np.array(list(weights))[p.argmax(axis=1)]).any()


def test_intervals_are_asked_and_told_to_hold_their_level(home, table):
    manifest = home.open("amount").manifest
    coverage = manifest.metrics["interval_coverage"]
    assert coverage["level"] == 0.8
    assert 0.7 < coverage["validation"] < 0.9
    (told,) = [decision for decision in manifest.decisions if decision.startswith("intervals")]
    assert f"asked to hold 0.8 of all rows; they hold {coverage['validation']:.4f} of the 96 validation rows" in told


# ─── importance ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_importance_is_the_rise_of_the_loss_when_a_column_is_shuffled(home, table):
    model = home.open("amount")
    found = importance_of(model, table, repeats=2)
    assert found.table.columns == ["column", "importance", "deviation"]
    assert found.table["column"].to_list()[0] == "count"
    assert found.table["importance"].is_sorted(descending=True)
    assert (found.rows, found.of_rows, found.metric) == (600, 600, "rmse")
    assert importance_of(model, table, repeats=2).table.equals(found.table)
    shuffle = np.random.default_rng(0).permutation(600)
    rise = [
        regression_metrics(table["amount"].to_numpy(), predict_table(model, frame)["prediction"].to_numpy())["rmse"]
        for frame in (table.with_columns(count=table["count"].gather(shuffle)), table)
    ]
    once = importance_of(model, table, repeats=1).table.filter(pl.col("column") == "count")
    assert once["importance"].item() == pytest.approx(rise[0] - rise[1], rel=1e-6)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused_by_name(home, table, seed):
    model = rowcast.load(home.open("amount").path)
    for ask in (model.importance, lambda frame, seed: rowcast.compare(model, model, frame, seed=seed)):
        with pytest.raises(ConfigError) as caught:
            ask(table, seed=seed)
        assert str(caught.value) == f"seed= must be a whole number from 0 to 4,294,967,295, got {seed}"


def test_of_many_rows_random_ones_are_shuffled_and_that_is_told(home, table):
    session = Session.of(home.open("city"))
    columns = {
        column.name: np.repeat(np.array([column.missing], column.dtype), 500) for column in session.signature.columns
    }
    found = permuted(session, columns, np.repeat("Rome", 500), repeats=1, max_rows=200)
    assert found.note == "importance is the rise of the log-loss when a column is shuffled, on 200 random rows of 500"
    assert found.table["importance"].to_list() == [0.0] * len(columns)
    with pytest.raises(ConfigError, match="repeats must be at least 1, got 0"):
        importance_of(home.open("city"), table, repeats=0)


def test_the_command_prints_importance(home, table, tmp_path, capfd):
    table.write_csv(tmp_path / "t.csv")
    command = ("importance", "amount", tmp_path / "t.csv", "--repeats", "1", "--repository", home.root, "--json")
    code, out, err = run(capfd, *command)
    told = json.loads(out)
    assert (code, told["metric"], told["rows"], told["columns"][0]["column"]) == (0, "rmse", 600, "count"), err
    assert told["columns"][0]["deviation"] is None
    _, out, _ = run(capfd, *command[:-1])
    assert out.splitlines()[0].split() == ["COLUMN", "IMPORTANCE", "DEVIATION"]


# ─── two models ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_better_of_two_models_is_told_with_an_interval(home, table):
    found = compare(home.open("rare", 1), home.open("rare", 2), table, resamples=200)
    assert list(found) == [
        *(
            "models",
            "task",
            "target",
            "rows",
            "weight",
            "metric",
            "a",
            "b",
            "difference",
            "interval",
            "better",
            "level",
        ),
        *("metrics", "verdict"),
    ]
    assert (found["models"], found["metric"], found["rows"]) == (["rare:1", "rare:2"], "log_loss", 600)
    for side, version in (("a", 1), ("b", 2)):
        own = evaluate_table(home.open("rare", version), table)["metrics"]
        assert {name: one[side] for name, one in found["metrics"].items()} == pytest.approx(
            {name: own[name] for name in found["metrics"]}, abs=1e-9
        )
    assert found["difference"] == found["a"] - found["b"]
    low, high = found["interval"]
    assert low < found["difference"] < high < 0
    assert found["better"] == found["metrics"]["roc_auc"]["better"] == "a"
    assert found["verdict"].startswith("rare:1 is better than rare:2 on 600 rows: log_loss ")
    assert compare(home.open("rare", 1), home.open("rare", 2), table, resamples=200) == found


def test_a_model_beside_itself_cannot_be_told_apart(home, table):
    model = home.open("amount")
    found = compare(model, model, table, resamples=20)
    assert (found["metric"], found["difference"], found["interval"], found["better"]) == ("rmse", 0.0, [0.0, 0.0], None)
    assert found["verdict"].startswith("600 rows cannot tell which of a and b is better: rmse ")
    assert set(found["metrics"]) == {"rmse", "mae", "r2"}


def test_python_gives_importance_in_pandas_and_compares_by_name(home, table):
    frame = table.to_pandas()
    model = rowcast.load("rare:1", repository=home.root)
    found = model.importance(frame, repeats=1)
    assert (type(found).__module__.split(".")[0], list(found.columns)) == (
        "pandas",
        ["column", "importance", "deviation"],
    )
    assert found["column"].tolist() == model.importance(table, repeats=1)["column"].to_list()
    compared = rowcast.compare(model, "rare:2", frame, repository=home.root)
    assert (compared["models"], compared["better"], compared["level"]) == (["rare:1", "rare:2"], "a", 0.95)


def test_a_pair_is_a_table_too_and_models_without_a_name_are_called_by_their_place(home, table):
    model = rowcast.load("rare:1", repository=home.root)
    small = table.drop("amount", "class").head(60)
    own = rowcast.fit(small, target="rare", **tables.QUICK)
    found = rowcast.compare(own, model, (table.drop("rare"), table["rare"]))
    assert found["models"] == ["a", "rare:1"]
    assert found["metrics"] == rowcast.compare(own, model, table)["metrics"]
    assert rowcast.compare(model, own, table)["models"] == ["rare:1", "b"]
    with pytest.raises(RowcastError, match=r"lacks .*, which the model needs; its columns: amount"):
        own.predict(table.select("amount"))


def test_models_of_other_targets_are_not_compared(home, table):
    with pytest.raises(ModelError, match="have one task, got 'binary' in rare:1 and 'regression' in amount:1"):
        compare(home.open("rare", 1), home.open("amount"), table)


def test_the_command_says_who_is_better(home, table, tmp_path, capfd):
    table.write_csv(tmp_path / "t.csv")
    command = ("models", "compare", "rare:1", "rare:2", tmp_path / "t.csv", "--repository", home.root, "--json")
    code, out, err = run(capfd, *command)
    told = json.loads(out)
    assert (code, told["better"]) == (0, "a"), err
    assert told["verdict"] in err.splitlines()


# ─── what there is ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_list_of_models_is_a_table_on_stdout(home, capfd):
    code, out, _ = run(capfd, "models", "list", "--repository", home.root)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["NAME", "VERSION", "TASK", "METRIC", "ROWS", "CREATED", "SIZE"]
    assert [line.split()[:3] for line in lines[1:]] == [
        *(["amount", "1", "regression"], ["city", "1", "multiclass"]),
        *(["rare", "1", "binary"], ["rare", "2", "binary"]),
    ]
    _, out, err = run(capfd, "models", "list", "--repository", home.root, "--json")
    told = json.loads(out)
    assert err.splitlines() == lines
    assert [(one["name"], one["versions"]) for one in told["models"]] == [
        ("amount", [1]),
        ("city", [1]),
        ("rare", [1, 2]),
    ]
    first = told["models"][0]["details"][0]
    manifest = home.open("amount").manifest
    assert first == {
        "version": 1,
        "task": "regression",
        "target": "amount",
        "metric": "rmse",
        "value": manifest.metrics["test"]["rmse"],
        "part": "test",
        "rows": 600,
        "created": manifest.created,
        "bytes": sum(file.stat().st_size for file in (home.root / "amount/1").iterdir()),
    }


def test_what_is_shown_of_a_model_is_on_stdout(home, capfd):
    code, out, err = run(capfd, "models", "show", "rare:2", "--repository", home.root)
    assert (code, err) == (0, "")
    assert '  threshold  {"by": "costs", "class": "yes", "value": 0.1, "costs": ' in out
    assert "  validation accuracy " in out
