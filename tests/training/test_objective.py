"""Losses against values worked out by hand, what each of them predicts, and configs that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - its usual name

from rowcast.models.errors import ConfigError, TableError
from rowcast.training.columns.target import Target
from rowcast.training.config import make_config
from rowcast.training.fit.losses import (
    class_loss,
    focal_loss,
    gamma_losses,
    pinball_loss,
    poisson_losses,
    tweedie_losses,
)
from rowcast.training.fit.objective import Objective, ObjectiveConfig
from rowcast.training.network.head import OrdinalHead

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


# ─── counts and amounts ──────────────────────────────────────────────────────────────────────────────────────────────


def deviances(log_mean, wanted, power):
    """Half the unit deviance, by its integral from the mean to the value (McCullagh and Nelder, section 9.2)."""
    between = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    mean = torch.exp(log_mean)
    t = mean + (wanted - mean) * between[:, None]
    return torch.trapezoid((wanted - t) / t**power * (wanted - mean), between, dim=0)


@pytest.mark.parametrize(
    ("losses", "power"), [(poisson_losses, 1.0), (gamma_losses, 2.0), (lambda z, y: tweedie_losses(z, y, 1.3), 1.3)]
)
def test_losses_of_counts_and_amounts_are_half_their_unit_deviance(losses, power):
    log_mean = torch.tensor([-1.0, 0.0, 0.5, 1.0], dtype=torch.float64)
    wanted = torch.tensor([0.5, 1.0, 3.0, 2.0], dtype=torch.float64)
    assert losses(log_mean, wanted).tolist() == pytest.approx(deviances(log_mean, wanted, power).tolist(), abs=1e-6)
    assert losses(torch.log(wanted), wanted).tolist() == pytest.approx([0, 0, 0, 0], abs=1e-12)


@pytest.mark.parametrize("loss", ["poisson", "gamma", "tweedie"])
def test_what_minimises_a_loss_of_counts_and_amounts_is_their_mean(loss):
    values = np.random.default_rng(0).gamma(1.0, size=201) * 1e5 + (0 if loss == "gamma" else -1e-9)
    values = np.maximum(values, 0.0)
    objective = Objective(Target("y", "regression", values), ObjectiveConfig(loss=loss, intervals="none"))
    target, outputs = objective.encode(values), torch.zeros(2, 201, 1)
    outputs = outputs[:, :1].requires_grad_()
    loss_at_best = objective.loss((outputs + float(target.mean().log())).expand(-1, 201, -1), target)
    loss_at_best.backward()
    assert outputs.grad.abs().max() < 1e-5
    assert objective.head((outputs + float(target.mean().log())).detach())[0, 0].item() == pytest.approx(values.mean())


@pytest.mark.parametrize(
    ("loss", "lowest", "message"),
    [
        ("poisson", -1.0, "objective.loss=poisson is for a target of at least 0, got a row in which 'y' is -1: "),
        ("tweedie", -0.5, "objective.loss=tweedie is for a target of at least 0, got a row in which 'y' is -0.5: "),
        (
            "gamma",
            0.0,
            "objective.loss=gamma is for a target of more than 0, got a row in which 'y' is 0: --set object",
        ),
    ],
)
def test_a_target_that_a_count_or_an_amount_cannot_be_is_refused_with_its_value(loss, lowest, message):
    fine = Target("y", "regression", np.array([1.0, 2.0, 5.0]))
    for values in (np.array([lowest, 2.0, 5.0]), fine.values):
        with pytest.raises(TableError) as refused:
            Objective(Target("y", "regression", values), ObjectiveConfig(loss=loss)).encode(np.array([lowest]))
        assert message in str(refused.value)


@pytest.mark.parametrize(("unit", "power"), [(1e-35, "1e35"), (1e40, "1e-40")])
def test_a_count_or_an_amount_that_float32_cannot_hold_is_refused(unit, power):
    with pytest.raises(TableError, match=f"must have a mean of 1e-30 to .*multiply it by {power} in the table"):
        Objective(Target("y", "regression", np.array([1.0, 3.0]) * unit), ObjectiveConfig(loss="gamma"))


def test_bounds_of_a_count_or_an_amount_lie_deviations_away_and_never_below_0():
    values = np.array([1.0, 2.0, 3.0, 10.0])
    objective = Objective(Target("y", "regression", values), ObjectiveConfig(loss="poisson", intervals="constant"))
    head = objective.head
    head.below.fill_(1.0)
    head.above.fill_(1.0)
    said = torch.log(torch.tensor([[[0.25], [2.0]]]))  # times the training mean, which is 4
    assert head(said)[:, 0].tolist() == pytest.approx([1.0, 8.0])
    assert head(said)[:, 1].tolist() == pytest.approx([0.0, 4 * (2 - 2**0.5)])
    assert head(said)[:, 2].tolist() == pytest.approx([4 * (0.25 + 0.5), 4 * (2 + 2**0.5)])
    under, over = head.misses(head.raw_output(said), torch.tensor([0.0, 3.0], dtype=torch.float64))
    assert under.tolist() == pytest.approx([0.25 / 0.5, -1 / 2**0.5])
    assert over.tolist() == pytest.approx([-0.25 / 0.5, 1 / 2**0.5])


def test_members_of_a_count_are_averaged_as_means_and_not_as_logarithms():
    objective = Objective(
        Target("y", "regression", np.array([1.0, 1.0, 2.0, 4.0])), ObjectiveConfig(loss="poisson", intervals="none")
    )
    answer = objective.head(torch.log(torch.tensor([[[0.5]], [[1.5]]])))
    assert answer.item() == pytest.approx(2.0)


def test_predictions_of_counts_are_made_right_on_average_where_they_clearly_are_not():
    link = Objective(Target("y", "regression", np.array([1.0, 3.0, 9.0])), ObjectiveConfig(loss="poisson")).head.link
    wanted = torch.tensor([1.0, 1.2, 0.9, 1.1] * 25, dtype=torch.float64)
    assert link.balance(torch.full((100,), np.log(1.04)), wanted) == 1.0
    assert link.balance(torch.full((100,), np.log(2.0)), wanted) == pytest.approx(1.05 / 2)


# ─── classes in an order ─────────────────────────────────────────────────────────────────────────────────────────────


def test_ordinal_outputs_are_log_odds_of_going_beyond_each_level():
    head = OrdinalHead([2, 0, 1])
    odds = torch.log(torch.tensor([[[3.0, 1.0]]]))  # 3 in 4 go beyond the lowest, half of these beyond the middle one
    assert head(odds)[0].tolist() == pytest.approx([0.375, 0.25, 0.375])
    far = head.log_probabilities(torch.tensor([[200.0, -300.0]]))
    assert far[0].tolist() == pytest.approx([-300, -200, 0])


def test_the_ordinal_loss_is_the_log_loss_of_these_probabilities():
    target = Target("y", "multiclass", np.array(["1", "2", "10", "10"], dtype=object), ("1", "2", "10"))
    objective = Objective(target, ObjectiveConfig(loss="ordinal"))
    assert (objective.n_outputs, objective.head.places.tolist()) == (2, [0, 1, 2])
    outputs = torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(0))
    encoded = objective.encode(target.values)
    probabilities = objective.head(outputs)
    wanted = -probabilities[torch.arange(4), encoded].log().mean().item()
    assert objective.loss(outputs, encoded).item() == pytest.approx(wanted, rel=1e-5)
    assert objective.score(outputs, encoded).item() == pytest.approx(wanted, rel=1e-5)


def test_an_order_of_ones_own_says_which_class_is_how_high():
    classes = ("high", "low", "middle")
    target = Target("y", "multiclass", np.array(["low", "high", "middle"], dtype=object), classes)
    config = ObjectiveConfig(loss="ordinal", order=("low", "middle", "high"))
    assert Objective(target, config).head.places.tolist() == [2, 0, 1]
    with pytest.raises(
        ConfigError, match=r"may be ordinal where the classes are numbers, or .* got classes 'high', 'low'"
    ):
        Objective(target, ObjectiveConfig(loss="ordinal"))
    with pytest.raises(ConfigError, match=r"'objective.order' must list each class of 'y' once, .* got 'low', 'high'"):
        Objective(target, ObjectiveConfig(loss="ordinal", order=("low", "high")))


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
            ["'objective.loss' must be auto or cross_entropy or focal", "'mse'", "--task regression reads the target"],
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
        (
            ["objective.loss=poisson", "objective.target_transform=log"],
            ["'objective.target_transform' must be 'auto' for the poisson loss", "got 'log'"],
        ),
        (["objective.power=1.2"], ["'objective.power' belongs to the tweedie loss"]),
        (["objective.loss=tweedie", "objective.power=2"], ["'objective.power' must be more than 1 and less than 2"]),
        (["objective.order=a,b"], ["'objective.order' belongs to the ordinal loss"]),
        (["objective.loss=poison"], ["got 'poison' (did you mean 'poisson'?)"]),
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
