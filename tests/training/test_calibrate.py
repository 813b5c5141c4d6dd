"""Calibration that finds what was done to the answers, never harms, and intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rowcast.training.fit.calibrate import (
    MIN_CONTEST_ROWS,
    MIN_ROWS,
    Fewer,
    calibrate_classes,
    calibrate_intervals,
    conformal_quantile,
    cross_fitted_losses,
    fit_affine,
    fit_temperature,
)
from rowcast.training.network.head import ClassHead, RegressionHead
from rowcast.training.network.transform import TargetTransform


def drawn(logits, rng):
    """Labels that come about as often as the softmax of some logits says, and the log-probabilities."""
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    labels = (np.exp(log_p).cumsum(axis=1) > rng.random((len(logits), 1))).argmax(axis=1)
    return log_p, labels


def log_loss(head, log_p, labels):
    answers = head(torch.from_numpy(log_p).unsqueeze(0)).numpy().astype(np.float64)
    return -np.log(answers[np.arange(len(labels)), labels])


# ─── probabilities ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("truth", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found_again(truth):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3)) * 2
    _, labels = drawn(logits / truth, rng)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    found = fit_temperature(log_p, labels)
    assert 1 / found.inverse == pytest.approx(truth, rel=0.05)
    assert found.bias.tolist() == [0, 0, 0]


def test_the_affine_map_that_made_the_labels_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40_000, 3)) * 2
    _, labels = drawn(logits * 0.5 + [1.0, 0.0, -1.0], rng)
    found = fit_affine(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), labels)
    assert found.inverse == pytest.approx(0.5, rel=0.05)
    assert found.bias == pytest.approx([1.0, 0.0, -1.0], abs=0.05)


def test_other_shares_of_the_classes_are_not_taken_for_overconfidence():
    rng = np.random.default_rng(0)
    logits = np.stack([rng.normal(size=40_000) * 1.5, np.zeros(40_000)], axis=1)
    log_p, labels = drawn(logits, rng)
    quiet = np.flatnonzero((labels == 1) | (rng.random(40_000) < 0.3))
    assert fit_temperature(log_p[quiet], labels[quiet]).inverse == pytest.approx(1.0, rel=0.06)


def test_a_bias_is_taken_from_a_random_split_and_not_from_a_season():
    rng = np.random.default_rng(0)
    logits = np.stack([rng.normal(size=10_000) * 3, np.zeros(10_000)], axis=1)
    _, labels = drawn(logits / 1.5 + [1.0, 0.0], rng)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    season, random = ClassHead(2), ClassHead(2)
    assert "temperature" in calibrate_classes(season, log_p, labels, by_time=True)
    assert season.bias.tolist() == [0, 0]
    assert "bias for each class" in calibrate_classes(random, log_p, labels)
    assert random.temperature.item() == pytest.approx(1.5, rel=0.1)
    assert (random.bias[0] - random.bias[1]).item() == pytest.approx(1.0, abs=0.1)


def test_after_a_split_by_time_a_calibration_has_to_help_at_all_times():
    rng = np.random.default_rng(0)
    logits = np.stack([rng.normal(size=8_000) * 3, np.zeros(8_000)], axis=1)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    always, drifting = logits / 1.5, logits / np.where(np.arange(8_000) < 6_000, 1.5, 0.9)[:, None]
    decisions = {}
    for name, truth in (("always", always), ("drifting", drifting)):
        _, labels = drawn(truth, rng)
        for by_time in (True, False):
            decisions[name, by_time] = calibrate_classes(
                ClassHead(2), log_p, labels, method="temperature", by_time=by_time
            )
    assert all("calibrated at temperature" in decisions[case] for case in decisions if case != ("drifting", True))
    assert decisions["drifting", True].endswith("clearly better log-loss, in each of 4 stretches of time")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "temperature", "affine"])
@pytest.mark.parametrize("rows", [MIN_ROWS, 60, 1000])
def test_probabilities_that_are_right_are_seldom_touched_and_never_made_much_worse(method, rows):
    rng = np.random.default_rng(1)
    before, after, touched = 0.0, 0.0, 0
    for _ in range(40):
        log_p, labels = drawn(rng.normal(size=(rows, 3)), rng)
        new_log_p, new_labels = drawn(rng.normal(size=(4000, 3)), rng)
        head = ClassHead(3)
        touched += "as they are" not in calibrate_classes(head, log_p, labels, method=method)
        before += log_loss(ClassHead(3), new_log_p, new_labels).mean() / 40
        after += log_loss(head, new_log_p, new_labels).mean() / 40
    assert touched <= 10
    assert after <= before + 0.5 / rows


@pytest.mark.parametrize("classes", [2, 5])
def test_what_class_weights_did_to_the_probabilities_is_taken_out_again(classes):
    rng = np.random.default_rng(2)
    log_p, labels = drawn(rng.normal(size=(6000, classes)) + np.log(np.arange(1, classes + 1)), rng)
    weights = 1.0 / np.arange(1, classes + 1)
    weighted = log_p + np.log(weights)
    weighted -= np.log(np.exp(weighted).sum(axis=1, keepdims=True))
    for by_time in (False, True):
        head = ClassHead(classes)
        decision = calibrate_classes(head, weighted, labels, weights=weights, by_time=by_time)
        assert decision.endswith("; what class_weights did to them is taken out again")
        assert log_loss(head, weighted, labels).mean() == pytest.approx(
            log_loss(ClassHead(classes), log_p, labels).mean(), abs=2e-3
        )
    head = ClassHead(classes)
    assert "as objective.calibration says" in calibrate_classes(head, weighted, labels, method="none", weights=weights)
    assert torch.equal(head.bias, torch.zeros(classes, dtype=torch.float64))


def test_the_temperature_of_some_networks_is_carried_on_to_all_of_them():
    rng = np.random.default_rng(0)
    said = 1.5 * rng.normal(size=(20_000, 1, 3)) + rng.normal(size=(20_000, 5, 3))
    truth = said.mean(axis=1) / 1.4  # what five know together, and are too sure of
    _, labels = drawn(truth, rng)

    def together(networks):
        each = np.exp(said[:, :networks])
        return np.log((each / each.sum(axis=2, keepdims=True)).mean(axis=1))

    def temperature(networks):
        return 1.0 / fit_temperature(together(networks), labels).inverse

    head, by_two = ClassHead(3), ClassHead(3)
    fewer = Fewer(together(1), step=(1 / 2 - 1 / 5) / (1 - 1 / 2))
    decision = calibrate_classes(head, together(2), labels, method="temperature", fewer=fewer)
    calibrate_classes(by_two, together(2), labels, method="temperature")
    assert "all together are less sure" in decision
    assert temperature(5) < temperature(2) < temperature(1)
    assert abs(head.temperature.item() - temperature(5)) < 0.25 * abs(by_two.temperature.item() - temperature(5))


@pytest.mark.parametrize(
    ("of_fewer", "of_some", "chosen", "carried"),
    [
        (1.3, 1.2, 1.2, 1.05),
        (1.3, 1.1, 1.1, 1.0),  # softened less, but not sharpened
        (1.0, 0.9, 0.9, 0.9),
        (1.1, 1.2, 1.2, 1.2),  # against what a mean does: luck
    ],
)
def test_a_temperature_is_not_carried_on_beyond_1(of_fewer, of_some, chosen, carried):
    fewer = Fewer(np.zeros((1, 2)), step=1.5)
    assert fewer.temperature_of_all(of_fewer, of_some, chosen) == pytest.approx(carried)


def test_too_few_rows_calibrate_nothing():
    head = ClassHead(2)
    log_p = np.log(np.full((MIN_ROWS - 1, 2), 0.5))
    assert "19 validation rows are too few" in calibrate_classes(head, log_p, np.ones(MIN_ROWS - 1, np.int64))
    assert (head.temperature.item(), head.bias.tolist()) == (1.0, [0.0, 0.0])


def test_a_class_that_a_half_of_the_rows_lacks_gives_a_finite_calibration():
    rng = np.random.default_rng(0)
    log_p, labels = drawn(rng.normal(size=(200, 4)) * [1, 1, 1, 0] - [0, 0, 0, 9], rng)
    labels[0] = 3
    found = fit_affine(log_p[1:], labels[1:])
    assert np.abs(found.bias).max() < 5
    assert np.isfinite(cross_fitted_losses(fit_affine, log_p, labels, np.array_split(np.arange(len(labels)), 2))).all()


# ─── intervals ───────────────────────────────────────────────────────────────────────────────────────────────────────


def fitted(intervals, answers, target, **options):
    head = RegressionHead(TargetTransform(np.array([-1.0, 1.0]), "none"), intervals)
    decision = calibrate_intervals(head, torch.from_numpy(answers), torch.from_numpy(target), **options)
    return head, decision


def covered(head, answers, target):
    bounds = head.answer(torch.from_numpy(answers)).numpy()
    return np.mean((bounds[:, 1] <= target) & (target <= bounds[:, 2])), np.mean(bounds[:, 2] - bounds[:, 1])


@pytest.mark.parametrize("intervals", ["constant", "quantiles"])
@pytest.mark.parametrize("two_sided", [False, True])
def test_intervals_hold_the_share_of_new_rows_that_they_promise(intervals, two_sided):
    rng = np.random.default_rng(0)
    target = rng.gamma(2.0, size=(60_000))
    # the outputs are all wrong: it is the conformal step that makes the intervals right
    answers = np.stack([np.full(60_000, 1.5), np.full(60_000, 1.4), np.full(60_000, 1.9)], axis=1)
    head, _ = fitted(intervals, answers[:10_000], target[:10_000], two_sided=two_sided)
    share, _ = covered(head, answers[10_000:], target[10_000:])
    assert share == pytest.approx(0.9, abs=0.01)
    if two_sided:
        bounds = head.answer(torch.from_numpy(answers)).numpy()
        assert np.mean(target < bounds[:, 1]) == pytest.approx(0.05, abs=0.01)


def test_intervals_of_few_residuals_are_as_wide_as_the_widest_of_them():
    assert conformal_quantile(torch.tensor([1.0, 3.0, 2.0]), 0.9) == 3.0
    # the smallest rank of 20 rows that a new row does not pass more than once in ten
    assert conformal_quantile(torch.arange(20.0), 0.9) == 18.0


def test_bounds_follow_the_row_where_that_makes_them_narrower_and_only_there():
    rng = np.random.default_rng(0)
    spread = np.repeat([0.1, 3.0], 2000)
    noise = rng.normal(size=4000)
    follow = np.stack([np.zeros(4000), -1.6 * spread, 1.6 * spread], axis=1)
    head, decision = fitted("quantiles", follow, noise * spread, contest=True)
    assert head.intervals == "quantiles"
    assert "intervals follow the row" in decision
    assert "constant ones would be" in decision
    head, decision = fitted("quantiles", follow, noise, contest=True)
    assert head.intervals == "constant"
    assert "equally wide for every row" in decision
    few = MIN_CONTEST_ROWS - 2
    head, _ = fitted("quantiles", follow[::50][:few], (noise * spread)[::50][:few], contest=True)
    assert head.intervals == "constant"


def test_the_prediction_is_inside_its_interval_whatever_the_outputs_say():
    answers = np.array([[5.0, -1.0, 1.0], [-5.0, -1.0, 1.0], [0.0, 3.0, -3.0]])
    head = RegressionHead(TargetTransform(np.array([-1.0, 1.0]), "none"), "quantiles")
    prediction, lower, upper = head.answer(torch.from_numpy(answers)).T
    assert (lower <= prediction).all()
    assert (prediction <= upper).all()
    assert prediction.tolist() == [5.0, -5.0, 0.0]
    assert lower.tolist() == [-1.0, -5.0, 0.0]
