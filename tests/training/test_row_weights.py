"""Weights of rows: how they are read, and that a row of weight 2 counts like two rows wherever rows are counted."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import sklearn.metrics
import torch

from rowcast.models.errors import TableError
from rowcast.models.session import Predictions
from rowcast.training.columns.row_weights import mean_of_one, with_weights
from rowcast.training.columns.target import Target
from rowcast.training.compare import compare
from rowcast.training.config import make_config
from rowcast.training.data.table import read_table
from rowcast.training.fit.augment import Augment, AugmentConfig
from rowcast.training.fit.calibrate import conformal_quantile, fit_affine
from rowcast.training.fit.evaluate import class_metrics, regression_metrics
from rowcast.training.fit.loop import Batch
from rowcast.training.fit.objective import Objective, ObjectiveConfig
from rowcast.training.fit.weighted import weighted_class_metrics, weighted_regression_metrics
from rowcast.training.importance import importance_of, loss_of
from rowcast.training.predict import evaluate_table, predict_table
from rowcast.training.report.answers import answers_of
from rowcast.training.report.stored import facts_of_table
from rowcast.training.train import train
from tests.support import tables

NUMBERS = Target("y", "regression", np.array([1.0, 2.0, 4.0, 9.0]))
CLASSES = Target("y", "multiclass", np.array(["a", "b", "b", "c"], dtype=object), ("a", "b", "c"))
TWICE = np.array([0, 1, 1, 2, 2, 2, 3])
"""Four rows, each as often as its weight says."""
COUNTS = np.array([1.0, 2.0, 3.0, 1.0])


# ─── the column ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("column", [[1.0, 0.0, 2.5], ["1", "0", "2.5"], [True, False, True]])
def test_a_row_of_weight_0_is_left_out_and_told(column):
    table, weights = with_weights(read_table(pl.DataFrame({"w": column})), "w")
    assert weights.tolist() == ([1.0, 1.0] if column[0] is True else [1.0, 2.5])
    assert table.rows.tolist() == [1, 3]
    assert table.notes[-1] == "1 of 3 rows has weight 0 in 'w' and is left out"


@pytest.mark.parametrize(
    ("column", "holds"),
    [
        ([1.0, -1.0, -2.0], "holds -1.0 in row 2 and 1 other row like it"),
        ([1.0, float("nan")], "holds no value in row 2"),
        ([1.0, float("inf")], "holds inf in row 2"),
        ([1, None], "holds no value in row 2"),
        (["1", "much"], "holds 'much' in row 2"),
        (["1", " "], "holds no value in row 2"),
        ([[1], [2]], "holds Int64 in row 1 and 1 other row like it"),
    ],
)
def test_what_is_no_weight_is_refused_with_its_column_and_row(column, holds):
    with pytest.raises(TableError, match=f"the weight of a row must be a finite number of at least 0, but 'w' {holds}"):
        with_weights(read_table(pl.DataFrame({"w": column})), "w")


def test_weights_that_sum_to_0_are_refused():
    with pytest.raises(TableError, match="must not all be 0, but 'w' is 0 in each of 2 rows"):
        with_weights(read_table(pl.DataFrame({"w": [0, 0]})), "w")


def test_weights_of_any_size_have_a_mean_of_1():
    assert mean_of_one(np.array([1.0, 3.0])).tolist() == [0.5, 1.5]
    assert mean_of_one(np.array([1e308, 1e308])).tolist() == [1.0, 1.0]
    assert mean_of_one(np.array([5e-324, 5e-324])).tolist() == [1.0, 1.0]


# ─── the loss ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("target", "config"),
    [
        *((NUMBERS, {"loss": loss}) for loss in ("mse", "mae", "huber", "pinball")),
        *((CLASSES, config) for config in ({}, {"class_weights": {"a": 3.0}}, {"loss": "focal"})),
    ],
)
def test_a_row_of_weight_2_counts_like_two_rows_in_loss_and_score(target, config):
    objective = Objective(target, ObjectiveConfig(**config))
    outputs = torch.randn(2, 4, objective.n_outputs, generator=torch.Generator().manual_seed(0))
    encoded, of_rows = objective.encode(target.values), torch.from_numpy(mean_of_one(COUNTS)).float()
    for told in (objective.loss, objective.score):
        repeated = told(outputs[:, TWICE], encoded[TWICE])
        assert told(outputs, encoded, of_rows).item() == pytest.approx(repeated.item(), rel=1e-6)


def test_balanced_classes_count_the_same_by_the_weight_of_their_rows():
    weighted = Target("y", "multiclass", CLASSES.values, CLASSES.classes, weight=COUNTS)
    objective = Objective(weighted, ObjectiveConfig(class_weights="balanced"))
    each = objective.class_weights * torch.tensor([1.0, 5.0, 1.0])
    assert each.tolist() == pytest.approx([7 / 3] * 3)


def test_rows_that_are_mixed_pull_as_hard_as_they_weigh():
    torch.manual_seed(0)
    batch = Batch(torch.zeros(4, 1), torch.zeros(4, 0, dtype=torch.int64), torch.arange(4.0), torch.tensor(COUNTS))
    mixed = Augment(AugmentConfig(mixup=0.2), batch, 0)(batch)
    torch.manual_seed(0)
    even = Augment(AugmentConfig(mixup=0.2), batch, 0)(Batch(batch.features, batch.codes, batch.target))
    pulled = (mixed.weight * mixed.target).sum().item()
    assert pulled == pytest.approx((batch.weight * batch.target).sum().item())
    assert (even.weight, mixed.weight.sum().item()) == (None, pytest.approx(7.0))


# ─── calibration ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_calibration_with_weights_is_that_of_repeated_rows():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(300, 3))
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    labels, counts = rng.integers(0, 3, 300), rng.integers(1, 4, 300)
    weighted = fit_affine(log_p, labels, mean_of_one(counts.astype(float)))
    twice = np.repeat(np.arange(300), counts)
    repeated = fit_affine(log_p[twice], labels[twice])
    assert weighted.inverse == pytest.approx(repeated.inverse, rel=0.05)  # the prior counts like one row of either
    assert weighted.bias == pytest.approx(repeated.bias, abs=0.01)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_a_conformal_quantile_of_even_weights_is_the_one_without(level):
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=37))
    assert conformal_quantile(scores, level, torch.ones(37)) == conformal_quantile(scores, level)


def test_a_conformal_quantile_holds_its_share_of_the_weight():
    scores, weights = torch.arange(20.0), torch.ones(20)
    weights[18] = 20.0
    assert conformal_quantile(scores, 0.9, weights) == 18.0
    weights[18], weights[0] = 1.0, 200.0
    assert conformal_quantile(scores, 0.9, weights) == 7.0


# ─── metrics ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_metrics_of_classes_are_weighted_as_scikit_learn_weights_them():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 200).astype(np.float32)
    labels, weight = rng.choice(["a", "b", "c"], 200), rng.gamma(1.0, size=200)
    found = weighted_class_metrics(labels, p, ("a", "b", "c"), weight)
    said = np.array(["a", "b", "c"])[p.argmax(axis=1)]
    exact = (p.astype(np.float64).T / p.sum(axis=1, dtype=np.float64)).T
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, said, sample_weight=weight))
    recall = sklearn.metrics.recall_score(labels, said, sample_weight=weight, average="macro")
    assert found["balanced_accuracy"] == pytest.approx(recall)
    assert found["log_loss"] == pytest.approx(sklearn.metrics.log_loss(labels, exact, sample_weight=weight), abs=1e-6)
    aucs = [sklearn.metrics.roc_auc_score(labels == c, p[:, i], sample_weight=weight) for i, c in enumerate("abc")]
    assert found["roc_auc"] == pytest.approx(np.mean(aucs), abs=1e-9)


def test_metrics_of_numbers_are_weighted_as_scikit_learn_weights_them():
    rng = np.random.default_rng(0)
    actual, predicted, weight = rng.normal(size=(3, 100)) ** 2
    found = weighted_regression_metrics(actual, predicted, weight)
    assert found["rmse"] == pytest.approx(
        sklearn.metrics.root_mean_squared_error(actual, predicted, sample_weight=weight)
    )
    assert found["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(actual, predicted, sample_weight=weight))
    assert found["r2"] == pytest.approx(sklearn.metrics.r2_score(actual, predicted, sample_weight=weight))


def test_even_weights_change_no_metric():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(2), 100).astype(np.float32)
    labels = rng.choice(["a", "b"], 100)
    found = weighted_class_metrics(labels, p, ("a", "b"), np.full(100, 1e-300))
    assert found == pytest.approx(class_metrics(labels, p, ("a", "b")), abs=1e-12)
    actual, predicted = rng.normal(size=(2, 100)) * 1e300
    found = weighted_regression_metrics(actual, predicted, np.full(100, 1e300))
    assert found == pytest.approx(regression_metrics(actual, predicted), rel=1e-12)


# ─── a model ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """A model of rows that say 0 and weigh 9, and rows that say 1 and weigh 1, with nothing to tell them apart."""
    from rowcast.models import Repository

    rng = np.random.default_rng(0)
    heavy = np.arange(400) % 2 == 0
    table = pl.DataFrame(
        {
            "x": rng.normal(size=400),
            "y": np.where(heavy, 0.0, 1.0) + rng.normal(0, 1e-3, 400),
            "w": np.where(heavy, 9.0, 1.0),
        }
    )
    config = make_config(
        overrides={
            **tables.QUICK,
            "optimizer": {"lr": 0.02},
            "fit": {"epochs": 12},
            "data": {"target": "y", "weight": "w"},
        }
    )
    return table, train(table, config, name="w", repository=Repository(tmp_path_factory.mktemp("w"))).model


def test_a_model_learns_the_mean_of_weighted_rows(weighted):
    table, model = weighted
    assert model.manifest.signature.names == ("x",)
    assert "rows count as 'w' says, in the loss, in calibration and in metrics; it is no input" in (
        model.manifest.decisions
    )
    measured = evaluate_table(model, table)
    assert measured["metrics"]["rmse"] == pytest.approx(0.3, abs=0.02)  # the deviation of 0 nine times and 1 once


def test_a_table_without_the_weights_of_training_is_measured_evenly_and_told(weighted):
    table, model = weighted
    measured = evaluate_table(model, table.drop("w"))
    assert measured["decisions"] == ["without a column 'w' its rows count the same"]
    assert measured["metrics"]["rmse"] == pytest.approx(np.sqrt(0.5 * 0.1**2 + 0.5 * 0.9**2), abs=0.03)


def test_importance_report_and_comparison_weight_rows_where_the_table_holds_the_weights(weighted, tmp_path):
    table, model = weighted
    even = table.drop("w")
    measured = evaluate_table(model, table)["metrics"]["rmse"]
    for source, weight, note in ((table, "w", True), (even, None, False)):
        found = compare(model, model, source, resamples=20)
        assert (found["weight"], found["rows"], found["interval"]) == (weight, 400, [0.0, 0.0])
        facts = facts_of_table(model, source)
        assert found["a"] == pytest.approx(measured, abs=1e-9) if note else found["a"] > measured + 0.1
        assert facts["metrics"]["the table"]["rmse"] == pytest.approx(found["a"], abs=1e-9)
        assert facts["slices"]["overall"] == pytest.approx(found["a"], rel=1e-3)
    actual = table["y"].to_numpy()
    answers = predict_table(model, table)["prediction"].to_numpy()
    loss = loss_of(Predictions(None, None, answers), actual, (), table["w"].to_numpy())
    assert loss == pytest.approx(measured)
    assert importance_of(model, table, repeats=1).table.rows() != importance_of(model, even, repeats=1).table.rows()


def test_models_of_other_weights_are_compared_with_rows_that_count_the_same(weighted, tmp_path):
    from rowcast.models import Repository

    table, model = weighted
    config = make_config(overrides={**tables.QUICK, "data": {"target": "y", "drop": ["w"]}})
    other = train(table, config, name="o", repository=Repository(tmp_path)).model
    zeros = table.with_columns(w=pl.when(pl.col("w") > 1).then(0.0).otherwise(1.0))
    found = compare(model, other, zeros, resamples=20)
    assert (found["weight"], found["rows"]) == (None, 400)


@pytest.mark.parametrize("numbers", [False, True])
def test_what_a_report_shows_of_a_row_of_weight_2_is_what_it_shows_of_two_rows(numbers):
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 4, 300)
    truth = np.where(rng.random(300) < 0.4, "b", "a").astype(object)
    p = np.clip(0.5 + 0.2 * (truth == "b") + rng.normal(0, 0.2, 300), 0.01, 0.99).round(2).astype(np.float32)
    value = rng.normal(size=300)

    def answered(rows, of_rows):
        if numbers:
            said = Predictions(None, None, value[rows] * 0.9, value[rows] - 0.1, value[rows] + 0.05)
            return answers_of(said, value[rows], (), of_rows)["numbers"]
        labels = np.where(p[rows] > 0.5, "b", "a").tolist()
        said = Predictions(labels, np.stack([1 - p[rows], p[rows]], axis=1))
        return answers_of(said, truth[rows], ("a", "b"), of_rows)["classes"]

    whole = np.arange(300)
    found, repeated = answered(whole, weight.astype(float)), answered(np.repeat(whole, weight), None)
    if numbers:
        assert found["held"] == repeated["held"]
        return
    for key in ("auc", "average_precision", "share"):
        assert found["curves"][0][key] == repeated["curves"][0][key]
    for one, other in zip(found["per_class"], repeated["per_class"], strict=True):
        assert {key: one[key] for key in ("precision", "recall", "f1")} == {
            key: other[key] for key in ("precision", "recall", "f1")
        }
    assert sum(map(sum, found["confusion"])) == 300  # rows, each once
