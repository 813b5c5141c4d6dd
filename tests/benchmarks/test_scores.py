"""The benchmark's own arithmetic: metrics, differences, their intervals, and who is counted as better."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.training.accuracy.scores import Tally, difference, primary, row_losses, score, total, verdict
from rowcast.training.fit.evaluate import class_metrics, regression_metrics

CLASSES = ["a", "b", "c"]


@pytest.fixture
def classed():
    rng = np.random.default_rng(0)
    return np.array(rng.choice(CLASSES, 500), object), rng.dirichlet([1, 1, 1], 500)


def test_losses_of_rows_add_up_to_the_metric_that_decides(classed):
    labels, probabilities = classed
    losses = row_losses("multiclass", CLASSES, labels, probabilities)
    assert losses.shape == (500,)
    assert total("multiclass", losses) == class_metrics(labels, probabilities, CLASSES)[primary("multiclass")]
    rng = np.random.default_rng(1)
    actual, predicted = rng.normal(size=(2, 300))
    losses = row_losses("regression", [], actual, predicted)
    assert total("regression", losses) == pytest.approx(regression_metrics(actual, predicted)["rmse"], rel=1e-12)


def test_a_probability_of_0_costs_what_the_metric_says_it_costs():
    labels, sure = np.array(["a", "b"], object), np.array([[1.0, 0.0], [1.0, 0.0]])
    losses = row_losses("binary", ["a", "b"], labels, sure)
    assert losses.tolist() == [0.0, -np.log(1e-15)]
    assert total("binary", losses) == class_metrics(labels, sure, ["a", "b"])["log_loss"]


def test_an_interval_holds_its_share_of_rows_and_has_its_width():
    actual = np.arange(4.0)
    below, above = np.array([1, 1, -0.5, 0]), np.array([1, 1, 2, 0])
    answers = {"test": actual, "test_lower": actual - below, "test_upper": actual + above}
    found = score("regression", [], actual, answers, "test")
    assert found["rmse"] == 0.0
    assert found["coverage"] == 0.75
    assert found["width"] == 5.5 / 4
    assert "coverage" not in score("regression", [], actual, {"test": actual}, "test")


def test_an_answer_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="an answer is a finite number, got nan in test"):
        score("regression", [], np.zeros(2), {"test": np.array([0.0, np.nan])}, "test")


def test_equal_answers_differ_by_nothing_in_every_resample():
    losses = np.random.default_rng(0).exponential(size=(1, 200))
    assert difference("regression", losses, losses, resamples=50) == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_a_difference_that_is_the_same_in_every_row_has_an_interval_without_width():
    losses = np.random.default_rng(0).exponential(size=(1, 200))
    found = difference("binary", losses - 0.25, losses, resamples=50)
    assert list(found.values()) == pytest.approx([-0.25] * 3, abs=1e-12)


def test_the_interval_of_a_mean_is_as_wide_as_theory_has_it():
    rng = np.random.default_rng(0)
    theirs = rng.exponential(size=(1, 4000))
    ours = theirs + rng.normal(-0.02, 0.5, (1, 4000))
    found = difference("binary", ours, theirs)
    deviation = (ours - theirs).std() / np.sqrt(4000)
    assert found["difference"] == pytest.approx((ours - theirs).mean(), abs=1e-12)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * deviation, rel=0.06)
    assert found["low"] < found["difference"] < found["high"]
    assert difference("binary", ours, theirs) == found


def test_over_seeds_it_is_the_difference_of_the_mean_metrics_whatever_their_number():
    ours = np.array([[1.0, 1.0], [9.0, 9.0]])  # RMSE 1 and 3
    theirs = np.array([[16.0, 16.0]])
    assert difference("regression", ours, theirs, resamples=20) == {"difference": -2.0, "low": -2.0, "high": -2.0}


def test_other_rows_are_refused():
    with pytest.raises(ValueError, match="both must answer the same rows, got 2 and 3"):
        difference("binary", np.zeros((1, 2)), np.zeros((1, 3)))


def test_a_winner_is_told_from_luck():
    told = [
        verdict({"difference": d, "low": low, "high": high})
        for d, low, high in [(-2, -3, -1), (-1, -3, 1), (1, -1, 3), (2, 1, 3), (0, 0, 0)]
    ]
    assert told == ["better", "level, better", "level, worse", "worse", "level, worse"]
    assert Tally.of_verdicts(told) == Tally(better=2, clearly=1, level=2, of=5)
    assert Tally.of_verdicts([]) == Tally(0, 0, 0, 0)
