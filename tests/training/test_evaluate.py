"""Metrics against answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_tweedie_deviance, roc_auc_score

from rowcast.training.fit.deviance import mean_deviance, power_of
from rowcast.training.fit.evaluate import class_metrics, expected_calibration_error, regression_metrics, roc_auc


def test_regression_metrics_are_in_the_units_of_the_target():
    metrics = regression_metrics(np.array([1.0, 2.0, 3.0, 6.0]), np.array([1.0, 2.0, 5.0, 6.0]))
    assert metrics == {"rmse": 1.0, "mae": 0.5, "r2": pytest.approx(1 - 4 / 14)}


def test_two_classes():
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]], np.float32)
    metrics = class_metrics(["no", "yes", "yes", "yes"], p, ("no", "yes"))
    assert metrics["accuracy"] == 0.75
    assert metrics["balanced_accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert metrics["roc_auc"] == 1.0
    assert metrics["log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.6, 0.3, 0.8])), abs=1e-6)
    assert metrics["brier"] == pytest.approx(np.mean([0.1**2, 0.4**2, 0.7**2, 0.2**2]), abs=1e-6)


def test_roc_auc_of_several_classes_is_one_against_the_rest():
    p = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]] * 0.8 + 0.2 / 3
    metrics = class_metrics(["a", "b", "c", "b"], p, ("a", "b", "c"))
    assert metrics["roc_auc"] == pytest.approx(np.mean([5 / 6, 3 / 4, 1.0]))
    right, wrong = 2 * (0.2 / 3) ** 2 + (0.4 / 3) ** 2, (0.8 + 0.2 / 3) ** 2 + (1 - 0.2 / 3) ** 2 + (0.2 / 3) ** 2
    assert metrics["brier"] == pytest.approx((3 * right + wrong) / 4, abs=1e-6)


@pytest.mark.parametrize("digits", [0, 1, 16])
def test_roc_auc_is_that_of_scikit_learn_with_ties_and_without(digits):
    rng = np.random.default_rng(digits)
    positive, score = rng.random(1000) < 0.2, rng.random(1000).round(digits)
    assert roc_auc(positive, score) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_rows_of_one_class_have_no_roc_auc():
    metrics = class_metrics(["a", "a"], np.array([[0.5, 0.5], [0.9, 0.1]], np.float32), ("a", "b"))
    assert "roc_auc" not in metrics
    assert metrics["balanced_accuracy"] == 1.0


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    assert expected_calibration_error(np.full(10, 0.9), np.arange(10) < 9) == pytest.approx(0.0)
    assert expected_calibration_error(np.full(10, 0.9), np.arange(10) < 5) == pytest.approx(0.4)


@pytest.mark.parametrize("power", [1.0, 1.3, 2.0])
def test_the_deviance_of_counts_and_amounts_is_the_one_of_scikit_learn_with_weights_too(power):
    actual, said, weight = np.array([0.5, 2.0, 7.0]), np.array([1.0, 2.0, 3.5]), np.array([1.0, 5.0, 2.0])
    for of_rows in (None, weight):
        expected = mean_tweedie_deviance(actual, said, sample_weight=of_rows, power=power)
        assert mean_deviance(actual, said, power, of_rows) == pytest.approx(expected)


def test_a_deviance_is_left_out_where_the_distribution_has_no_such_values():
    assert mean_deviance(np.array([-1.0, 2.0]), np.array([1.0, 2.0]), 1.0) is None
    assert mean_deviance(np.array([0.0, 2.0]), np.array([1.0, 2.0]), 2.0) is None
    assert mean_deviance(np.array([0.0, 2.0]), np.array([0.0, 2.0]), 1.0) == pytest.approx(0.0)
    assert mean_deviance(np.array([0.0, 2.0]), np.array([0.0, 2.0]), 1.5) == pytest.approx(0.0)
    assert power_of({"loss": "mse", "power": 1.5}) is None
    assert [power_of({"loss": loss, "power": 1.7}) for loss in ("poisson", "gamma", "tweedie")] == [1.0, 2.0, 1.7]
