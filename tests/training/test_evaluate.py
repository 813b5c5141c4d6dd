"""Metrics against answers worked out by hand, and calibration that never harms."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluate import (
    class_metrics,
    expected_calibration_error,
    fit_temperature,
    interval_half_width,
    regression_metrics,
)


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


def test_rows_of_one_class_have_no_roc_auc():
    metrics = class_metrics(["a", "a"], np.array([[0.5, 0.5], [0.9, 0.1]], np.float32), ("a", "b"))
    assert "roc_auc" not in metrics
    assert metrics["balanced_accuracy"] == 1.0


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    assert expected_calibration_error(np.full(10, 0.9), np.arange(10) < 9) == pytest.approx(0.0)
    assert expected_calibration_error(np.full(10, 0.9), np.arange(10) < 5) == pytest.approx(0.4)


@pytest.mark.parametrize("truth", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found_again(truth):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3)) * 2
    p = np.exp(logits / truth)
    p /= p.sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert fit_temperature(log_p, labels) == pytest.approx(truth, rel=0.05)


def test_other_shares_of_the_classes_are_not_taken_for_overconfidence():
    rng = np.random.default_rng(0)
    logits = np.stack([rng.normal(size=40_000) * 1.5, np.zeros(40_000)], axis=1)
    p = 1 / (1 + np.exp(-logits[:, 0]))
    labels = (rng.random(40_000) > p).astype(np.int64)
    quiet = np.flatnonzero((labels == 1) | (rng.random(40_000) < 0.3))
    log_p = np.log(np.stack([p, 1 - p], axis=1))[quiet]
    assert fit_temperature(log_p, labels[quiet]) == pytest.approx(1.0, rel=0.06)


def test_a_temperature_never_worsens_the_log_loss_of_the_rows_it_was_chosen_on():
    rng = np.random.default_rng(1)
    for _ in range(20):
        log_p = np.log(rng.dirichlet(np.full(3, 0.5), size=60) + 1e-12)
        labels = rng.integers(0, 3, 60)
        scaled = log_p / fit_temperature(log_p, labels)
        after = np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(60), labels]
        before = np.log(np.exp(log_p).sum(axis=1)) - log_p[np.arange(60), labels]
        assert after.mean() <= before.mean() + 1e-12


def test_an_interval_covers_the_share_it_promises():
    rng = np.random.default_rng(0)
    width = interval_half_width(rng.normal(size=5000), 0.9)
    assert np.mean(np.abs(rng.normal(size=50_000)) <= width) == pytest.approx(0.9, abs=0.01)


def test_an_interval_of_few_residuals_is_the_widest_of_them():
    assert interval_half_width(np.array([1.0, -3.0, 2.0]), 0.9) == 3.0
