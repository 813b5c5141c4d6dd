"""What a student learns: mixtures of targets and a teacher's answers, and made-up rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rowcast.training.columns.target import Target
from rowcast.training.distil.made_up import make_up
from rowcast.training.distil.student import Way, student_rows
from rowcast.training.fit.objective import Objective, ObjectiveConfig
from tests.support.lessons import lesson, numbered

AMOUNTS = Target("y", "regression", np.array([1.0, 2.0, 4.0, 9.0]))
CLASSES = Target("y", "multiclass", np.array(["1", "2", "2", "3"], dtype=object), ("1", "2", "3"))
SHARES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.0, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("target", "loss"),
    [
        *((AMOUNTS, loss) for loss in ("mse", "poisson", "gamma", "tweedie")),
        *((CLASSES, loss) for loss in ("cross_entropy", "focal", "ordinal")),
    ],
)
def test_the_gradient_of_a_mixture_is_the_mixture_of_the_gradients(target, loss):
    objective = Objective(target, ObjectiveConfig(loss=loss))
    hard = objective.encode(target.values)
    said = SHARES if target.classes else np.array([1.5, 3.0, 3.0, 8.0])
    own = np.eye(3)[[0, 1, 1, 2]] if target.classes else target.values
    outputs = torch.randn(2, 4, objective.n_outputs, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def slope(encoded):
        (found,) = torch.autograd.grad(objective.loss(outputs, encoded), outputs)
        return found

    mixed = slope(objective.encode_taught(0.25 * own + 0.75 * said, hard))
    torch.testing.assert_close(mixed, 0.25 * slope(hard) + 0.75 * slope(objective.encode_taught(said, hard)))
    torch.testing.assert_close(slope(objective.encode_taught(own, hard)), slope(hard))
    if not target.classes:  # bounds learn the rows' own targets whatever a teacher says
        torch.testing.assert_close(mixed[..., 1:], slope(hard)[..., 1:])


def test_targets_and_answers_are_mixed_by_weight():
    given = lesson(numbered(target="class"), "class").prepared
    said = np.tile([0.75, 0.25], (len(given.train), 1))
    rows = student_rows(given, Way(0.5), said, None).train
    large = given.train.target == "large"
    np.testing.assert_array_equal(rows.taught[large][0], [0.875, 0.125])
    np.testing.assert_array_equal(rows.taught[~large][0], [0.375, 0.625])
    assert rows.columns is given.train.columns


def test_made_up_rows_hold_values_of_training_rows_and_residuals_of_their_own():
    given = lesson(numbered(), distil={"made_up": 1.5, "swap": 0.3})
    made = make_up(given.prepared, given.train, given.config)
    train = given.prepared.train
    assert len(made.part) == round(1.5 * len(train))
    assert np.bincount(made.base).tolist().count(0) == 0
    size, of = made.part.columns["size"], train.columns["size"]
    assert set(size[~np.isnan(size)]) <= set(of[~np.isnan(of)])
    own = np.mean((size == of[made.base]) | (np.isnan(size) & np.isnan(of[made.base])))
    assert 0.6 < own < 0.8
    rows = student_rows(given.prepared, Way(1.0, 1.5), train.target + 1.0, (made, np.full(len(made.part), 7.0))).train
    assert len(rows) == len(rows.taught) == len(train) + len(made.part)
    np.testing.assert_array_equal(rows.taught[len(train) :], 7.0)
    np.testing.assert_allclose(rows.target[len(train) :], 6.0, rtol=1e-12)  # the teacher says 1 too much of each row
