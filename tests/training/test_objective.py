"""Losses against values worked out by hand, what each of them predicts, and configs that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - its usual name

from rowcast.models.errors import ConfigError, TableError
from rowcast.training.columns.target import Target
from rowcast.training.config import make_config
from rowcast.training.fit.losses import class_loss, focal_loss, pinball_loss
from rowcast.training.fit.objective import Objective, ObjectiveConfig

NUMBERS = Target("y", "regression", np.array([1.0, 2.0, 4.0, 9.0]))
CLASSES = Target("y", "multiclass", np.array(["a", "b", "b", "c", "c", "c"], dtype=object), ("a", "b", "c"))


@torch.no_grad()
def liked_best(objective, values):
    """The outputs that a loss likes best for all the values at once, ``[members, 1, n_outputs]``."""
    target = objective.encode(values)
    outputs = torch.zeros(2, 1, objective.n_outputs)
    for i in range(objective.n_outputs):
        tried = torch.linspace(float(target.min()), float(target.max()), 1000)
        losses = []
        for answer in tried:
            outputs[..., i] = answer
            losses.append(objective.loss(outputs.expand(-1, len(values), -1), target))
        outputs[..., i] = tried[torch.stack(losses).argmin()]
    return outputs


# ─── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "best"),
    [
        ({"loss": "mse"}, np.mean),
        ({"loss": "mae"}, np.median),
        ({"loss": "pinball"}, np.median),
        ({"loss": "pinball", "quantile": 0.9}, lambda v: np.quantile(v, 0.9)),
        ({"loss": "huber", "huber_delta": 100.0}, np.mean),
        ({"loss": "huber", "huber_delta": 0.01}, np.median),
        ({"loss": "mae", "target_transform": "log"}, np.median),
        ({"loss": "pinball", "quantile": 0.2, "target_transform": "log"}, lambda v: np.quantile(v, 0.2)),
    ],
)
def test_each_loss_predicts_what_it_stands_for(config, best):
    values = np.random.default_rng(0).gamma(1.0, size=201)
    objective = Objective(Target("y", "regression", values), ObjectiveConfig(**config))
    told = objective.head(liked_best(objective, values))[0, 0].item()
    assert told == pytest.approx(best(values), abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "ordinary"),
    [
        ({}, np.mean),
        ({"loss": "mae"}, np.median),
        ({"loss": "huber"}, np.mean),
        ({"loss": "pinball", "quantile": 0.9}, lambda v: np.quantile(v, 0.9)),
    ],
)
@pytest.mark.parametrize("wild", [[1e9], [-1e300], [4e4, 1e12]])
def test_a_few_wild_rows_hardly_move_what_a_loss_predicts_for_the_others_and_are_told(config, ordinary, wild):
    values = np.random.default_rng(0).uniform(25, 161, 384)
    objective = Objective(Target("y", "regression", np.append(values, wild)), ObjectiveConfig(**config))
    told = objective.head(liked_best(objective, np.append(values, wild)))[0, 0].item()
    assert told == pytest.approx(ordinary(values), abs=5)
    (decision,) = objective.decisions
    rows = "1 of 385 training rows holds a" if len(wild) == 1 else "2 of 386 training rows hold a"
    assert decision.startswith(f"{rows} 'y' beyond -53")
    assert ("objective.loss=mae or huber" in decision) == (config == {})


def test_a_quantile_that_lies_among_the_wild_rows_is_theirs():
    values = np.append(np.random.default_rng(0).uniform(25, 161, 950), np.full(50, 1e9))
    objective = Objective(Target("y", "regression", values), ObjectiveConfig(loss="pinball", quantile=0.97))
    assert objective.decisions == []
    assert objective.head.transform(objective.encode(np.array([1e9]))).item() == pytest.approx(1e9)


def test_a_transform_that_is_asked_for_by_name_takes_all_rows_as_they_are():
    values = np.append(np.random.default_rng(0).uniform(25, 161, 384), 1e9)
    objective = Objective(Target("y", "regression", values), ObjectiveConfig(target_transform="standardise"))
    assert (objective.decisions, objective.transform.unit) == ([], pytest.approx(values.std()))


@pytest.mark.parametrize(("unit", "power"), [(1e-300, 300), (1e-310, 310), (1e300, -300)])
def test_a_target_that_a_double_cannot_hold_is_refused_with_what_to_multiply_it_by(unit, power):
    with pytest.raises(TableError, match=rf"'y' must have a deviation of 1e-290 to 1e\+290 .* by 1e{power} in"):
        Objective(Target("y", "regression", np.array([-1.0, 1.0]) * unit), ObjectiveConfig())


def test_a_target_that_is_not_of_order_1_may_not_go_without_a_transform():
    with pytest.raises(ConfigError, match=r'"none" where no target is beyond 1e\+15, got 1e\+20: leave it at "auto"'):
        Objective(Target("y", "regression", np.array([-1.0, 1e20])), ObjectiveConfig(target_transform="none"))


def test_two_further_outputs_of_a_regression_learn_the_tails():
    values = np.random.default_rng(0).gamma(1.0, size=201)
    objective = Objective(Target("y", "regression", values), ObjectiveConfig())
    _, lower, upper = objective.head(liked_best(objective, values))[0].tolist()
    assert (lower, upper) == (
        pytest.approx(np.quantile(values, 0.05), abs=0.05),
        pytest.approx(np.quantile(values, 0.95), abs=0.05),
    )


@pytest.mark.parametrize(("intervals", "outputs", "width"), [("none", 1, 1), ("constant", 1, 3), ("quantiles", 3, 3)])
def test_intervals_say_how_many_outputs_there_are(intervals, outputs, width):
    objective = Objective(NUMBERS, ObjectiveConfig(intervals=intervals))
    assert objective.n_outputs == outputs
    assert objective.head(torch.zeros(2, 5, outputs)).shape == (5, width)


def test_pinball_by_hand():
    predicted, wanted = torch.tensor([1.0, 1.0]), torch.tensor([3.0, 0.0])
    assert pinball_loss(predicted, wanted, 0.9).item() == pytest.approx((0.9 * 2 + 0.1 * 1) / 2)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "pinball"])
def test_early_stopping_watches_the_loss_of_the_mean_of_the_members(loss):
    objective = Objective(NUMBERS, ObjectiveConfig(loss=loss, intervals="none", target_transform="none"))
    outputs = torch.tensor([[[1.0], [5.0]], [[3.0], [5.0]]])
    target = torch.tensor([2.0, 4.0])
    mean = torch.tensor([[[2.0], [5.0]]])
    assert objective.score(outputs, target) == objective.loss(mean, target)
    assert objective.score(outputs, target) == pytest.approx(0.25 if loss in ("huber", "pinball") else 0.5)


# ─── classes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def logits():
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def test_cross_entropy_is_that_of_pytorch(logits):
    target = torch.tensor([0, 1, 1, 2, 2, 2])
    plain = {"weights": None, "smoothing": 0.0, "gamma": 0.0}
    assert class_loss(logits, target, **plain) == F.cross_entropy(logits, target)
    shares = F.one_hot(target, 3).float() * 0.7 + 0.1
    assert class_loss(logits, shares, **plain) == F.cross_entropy(logits, shares)
    smoothed = F.cross_entropy(logits, target, label_smoothing=0.2)
    assert class_loss(logits, target, **plain | {"smoothing": 0.2}) == smoothed
    log_p = torch.log_softmax(logits, dim=-1)
    assert focal_loss(log_p, target, **plain | {"smoothing": 0.2}).item() == pytest.approx(smoothed.item())


def test_focal_loss_by_hand():
    log_p = torch.log(torch.tensor([[0.9, 0.1], [0.4, 0.6]], dtype=torch.float64))
    loss = focal_loss(log_p, torch.tensor([0, 0]), weights=torch.tensor([2.0, 1.0]), smoothing=0.0, gamma=2.0)
    assert loss.item() == pytest.approx((2 * 0.1**2 * -np.log(0.9) + 2 * 0.6**2 * -np.log(0.4)) / 2)


@pytest.mark.parametrize("gamma", [0.1, 2.0])
def test_focal_loss_of_a_certain_row_has_a_finite_slope(gamma):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    class_loss(logits, torch.tensor([0, 0]), weights=None, smoothing=0.0, gamma=gamma).backward()
    assert torch.isfinite(logits.grad).all()


def test_balanced_weights_make_every_class_count_the_same():
    objective = Objective(CLASSES, ObjectiveConfig(class_weights="balanced"))
    assert objective.class_weights.tolist() == pytest.approx([2.0, 1.0, 2 / 3])


def test_weights_of_ones_own_are_scaled_to_a_mean_of_1_over_the_rows():
    objective = Objective(CLASSES, ObjectiveConfig(class_weights={"a": 4.0}))
    assert objective.class_weights.tolist() == pytest.approx([4 * 6 / 9, 6 / 9, 6 / 9])
    with pytest.raises(ConfigError, match=r"names classes of the target, 'a', 'b', 'c', got 'd'"):
        Objective(CLASSES, ObjectiveConfig(class_weights={"d": 1.0}))


@pytest.mark.parametrize(
    "config", [{}, {"class_weights": "balanced"}, {"loss": "focal"}, {"loss": "focal", "class_weights": {"a": 3.0}}]
)
def test_early_stopping_watches_the_loss_of_the_mean_probability(config, logits):
    objective = Objective(CLASSES, ObjectiveConfig(**config))
    target = objective.encode(CLASSES.values)
    assert objective.score(logits.unsqueeze(0), target).item() == pytest.approx(
        objective.loss(logits.unsqueeze(0), target).item()
    )


# ─── refused before the table is read ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "fragments"),
    [
        (
            ["data.task=binary", "objective.loss=mse"],
            ["'objective.loss' must be auto or cross_entropy or focal", "'mse'"],
        ),
        (
            ["data.task=regression", "objective.loss=focal"],
            ["must be auto or mse or mae or huber or pinball", "'focal'"],
        ),
        (["data.task=regression", "objective.label_smoothing=0.1"], ["'objective.label_smoothing' must be 0.0", "0.1"]),
        (["data.task=regression", "objective.class_weights=balanced"], ["'objective.class_weights' must be 'none'"]),
        (["data.task=regression", "objective.calibration=affine"], ["'objective.calibration' must be 'auto'"]),
        (["data.task=multiclass", "objective.target_transform=log"], ["'objective.target_transform' must be 'auto'"]),
        (
            ["data.task=binary", "objective.intervals=none"],
            ["'objective.intervals' must be 'auto' for a binary target"],
        ),
        (["objective.loss=mse", "objective.label_smoothing=0.1"], ["'objective.label_smoothing' must be 0.0"]),
        (["objective.intervals=none", "objective.label_smoothing=0.1"], ["'objective.label_smoothing' must be 0.0"]),
        (["objective.quantile=0.9"], ["'objective.quantile' belongs to the pinball loss", "objective.loss=pinball"]),
        (["objective.loss=mse", "objective.huber_delta=2"], ["belongs to the huber loss", "objective.loss is 'mse'"]),
        (["objective.focal_gamma=1"], ["belongs to the focal loss"]),
        (["objective.loss=pinball", "objective.quantile=1"], ["must be more than 0 and less than 1", "got 1"]),
        (["objective.loss=pinball", "objective.quantile=0"], ["must be more than 0 and less than 1", "got 0"]),
        (["objective.loss=focal", "objective.focal_gamma=-1"], ["must be more than 0 and at most 10", "-1"]),
        (["objective.loss=huber", "objective.huber_delta=0"], ["'objective.huber_delta' must be more than 0"]),
        (["objective.class_weights=heavy"], ['"none", "balanced"', "'heavy'"]),
        (["objective.class_weights={a=0}"], ['"balanced" or a table of numbers more than 0', "got 0"]),
        (["objective.target_transform=sqrt"], ['"standardise"', '"log"', "'sqrt'"]),
        (["augment.missing=1"], ["'augment.missing' must be at least 0 and less than 1", "got 1"]),
        (["augment.mixup=-0.1"], ["'augment.mixup' must be at least 0 and at most 10"]),
    ],
)
def test_an_impossible_config_is_refused_with_its_field_its_value_and_what_is_valid(settings, fragments):
    with pytest.raises(ConfigError) as refused:
        make_config(settings=settings)
    for fragment in fragments:
        assert fragment in str(refused.value)


@pytest.mark.parametrize(
    ("target", "config"),
    [
        (NUMBERS, ObjectiveConfig(label_smoothing=0.1)),
        (NUMBERS, ObjectiveConfig(loss="cross_entropy")),
        (CLASSES, ObjectiveConfig(intervals="none")),
        (CLASSES, ObjectiveConfig(loss="pinball", quantile=0.3)),
    ],
)
def test_what_has_no_meaning_for_the_task_that_was_found_is_refused(target, config):
    with pytest.raises(ConfigError, match=rf"for a {target.task} target, got"):
        Objective(target, config)
