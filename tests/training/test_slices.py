"""Metrics of labels against scikit-learn, and metrics of the parts of a table."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import sklearn.metrics

from rowcast.models import Repository
from rowcast.models.errors import TableError
from rowcast.training.config import make_config
from rowcast.training.fit.confusion import average_precision, confusion, confusion_metrics
from rowcast.training.fit.evaluate import regression_metrics
from rowcast.training.predict import evaluate_table, judge_table, predict_table
from rowcast.training.slices import as_text, slices_of
from rowcast.training.train import train
from tests.support import tables
from tests.support.command import run

# ─── labels ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [2, 4])
def test_metrics_of_labels_are_those_of_scikit_learn(n, weighted):
    rng = np.random.default_rng(n)
    classes = tuple("abcd"[:n])
    p = rng.dirichlet(np.ones(n), 300).round(2).astype(np.float32)
    labels, answers = rng.choice(classes, 300), rng.choice(classes, 300)
    weight = rng.gamma(1.0, size=300) if weighted else None
    found = confusion_metrics(labels, answers, p, classes, weight)
    scored = {"pos_label": "b"} if n == 2 else {"average": "macro"}
    for name in ("precision", "recall", "f1"):
        measure = getattr(sklearn.metrics, f"{name}_score")
        assert found[name] == pytest.approx(measure(labels, answers, sample_weight=weight, **scored))
    ranked = [
        sklearn.metrics.average_precision_score(labels == c, p[:, i], sample_weight=weight)
        for i, c in enumerate(classes)
    ]
    assert found["average_precision"] == pytest.approx(ranked[1] if n == 2 else np.mean(ranked))
    matrix = sklearn.metrics.confusion_matrix(labels, answers, labels=list(classes), sample_weight=weight)
    assert confusion(labels, answers, classes, weight) == pytest.approx(matrix)


def test_a_class_that_is_never_answered_has_a_precision_of_0():
    p = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    found = confusion_metrics(["a", "b"], ["a", "a"], p, ("a", "b"))
    assert found == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "average_precision": 1.0}
    assert "average_precision" not in confusion_metrics(["a", "a"], ["a", "a"], p, ("a", "b"))


def test_rows_of_one_score_stand_together_in_the_average_precision():
    assert average_precision(np.array([True, False, False, True]), np.array([0.5, 0.5, 0.1, 0.1])) == 0.5


# ─── slices ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A table, and a model of its amount and one of its class."""
    table = tables.every_kind(200)
    repository = Repository(tmp_path_factory.mktemp("repository"))
    config = {**tables.QUICK, "fit": {"epochs": 1}}
    made = {
        name: train(
            table, make_config(overrides={**config, "data": {"target": name}}), name=name, repository=repository
        ).model
        for name in ("amount", "class")
    }
    return table, made


def by(models, target, *names):
    table, made = models
    return slices_of(made[target], judge_table(made[target], table), names)


def test_each_value_has_its_row_in_order_with_null_last_and_few_rows_marked(models):
    table, made = models
    slices = by(models, "amount", "city")
    assert slices.columns == ["city", "rows", "few", "rmse", "mae", "r2", "coverage"]
    assert slices["city"].to_list() == ["New York, NY", "Oslo", "Rome", "Zürich", None]
    counts = [table.filter(pl.col("city").eq_missing(city)).height for city in slices["city"]]
    assert slices["rows"].to_list() == counts
    assert slices["few"].to_list() == [count < 30 for count in counts]
    oslo = table.filter(pl.col("city") == "Oslo")
    answers = predict_table(made["amount"], oslo)["prediction"].to_numpy()
    expected = regression_metrics(oslo["amount"].to_numpy(), answers)
    assert slices.filter(pl.col("city") == "Oslo").select("rmse", "mae", "r2").row(0, named=True) == pytest.approx(
        expected
    )


def test_slices_weigh_up_to_the_whole(models):
    table, made = models
    slices = by(models, "class", "member", "city")
    whole = evaluate_table(made["class"], table)
    assert slices["rows"].sum() == whole["rows"] == 200
    assert (slices["rows"] @ slices["accuracy"]) / 200 == pytest.approx(whole["metrics"]["accuracy"])
    assert slices.select("member", "city").is_unique().all()


@pytest.mark.parametrize("name", ["size", "when"])
def test_many_numbers_and_times_are_cut_into_ten_bins_of_as_many_rows(models, name):
    table, made = models
    column = table[name].str.to_datetime(time_zone="UTC") if name == "when" else table[name]
    slices = slices_of(made["amount"], judge_table(made["amount"], table.with_columns(column)), [name])
    sizes = slices["rows"].to_list()
    assert len(sizes) == 11
    assert max(sizes[:10]) - min(sizes[:10]) <= 1
    assert slices[name].to_list()[-1] is None
    assert sizes[-1] == table[name].null_count()
    assert slices[name][0].startswith(
        f"{column.min():.4g} to " if name == "size" else column.dt.replace_time_zone(None).min().isoformat(" ")
    )


def test_numbers_in_text_are_numbers(models):
    table, made = models
    text = table.with_columns(pl.col("count").cast(pl.String))
    slices = slices_of(made["amount"], judge_table(made["amount"], text), ["count"])
    assert (len(slices), slices["rows"].sum()) == (10, 200)


def test_slices_that_cannot_be_are_refused(models):
    with pytest.raises(TableError, match="has no column 'town', which --by names"):
        by(models, "amount", "town")
    table, made = models
    table = pl.concat([table] * 6).with_columns(pl.Series("who", [f"w{i}" for i in range(1200)]), rows=1)
    judged = judge_table(made["amount"], table)
    with pytest.raises(TableError, match="--by must give at most 1,000 slices, got 1,200 of who: name a column"):
        slices_of(made["amount"], judged, ["who"])
    with pytest.raises(TableError, match="--by names 'rows', which the metrics also hold: rename it in the table"):
        slices_of(made["amount"], judged, ["rows"])


def test_a_confusion_matrix_counts_the_labels(models):
    table, made = models
    found = evaluate_table(made["class"], table)
    labels = predict_table(made["class"], table)["label"]
    counted = [[((table["class"] == a) & (labels == b)).sum() for b in ("large", "small")] for a in ("large", "small")]
    assert found["confusion"] == {"classes": ["large", "small"], "counts": counted}
    assert all(isinstance(value, float) for value in found["metrics"].values())


def test_the_command_prints_slices_on_stdout(models, tmp_path, capfd):
    table, made = models
    table.write_csv(tmp_path / "t.csv")
    given = ("evaluate", "class", tmp_path / "t.csv", "--by", "city", "--repository", made["class"].path.parents[1])
    _, out, _ = run(capfd, *given)
    assert out.splitlines()[1:] == as_text(by(models, "class", "city")).splitlines()
    _, out, _ = run(capfd, *given, "--json")
    (line,) = out.splitlines()
    assert [row["city"] for row in json.loads(line)["by"]] == ["New York, NY", "Oslo", "Rome", "Zürich", None]
