"""Numbers that belong together are found on training rows, and read along directions between them."""

from __future__ import annotations

import numpy as np
import torch

from rowcast.training.columns.infer import ColumnRule
from rowcast.training.features.encoder import FeaturesConfig, fit_encoder
from rowcast.training.features.oblique import fit_oblique


def place(rows=500):
    """Two close numbers, one apart from them, and one of few values."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    return np.stack([x, x + 0.3 * rng.normal(size=rows), rng.normal(size=rows), np.round(x)], axis=1)


def told_by(numbers):
    """A target that only the distance between the first two numbers tells."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.abs(numbers[:, 0] - numbers[:, 1])


def fitted(numbers, target=None, angles=4, correlation=0.7, max_pairs=8):
    target = told_by(numbers) if target is None else target
    return fit_oblique(numbers, target, angles=angles, correlation=correlation, max_pairs=max_pairs)


def test_close_numbers_are_a_pair_and_others_are_not():
    oblique = fitted(place())
    assert [(i, j) for i, j, _ in oblique.pairs] == [(0, 1)]
    assert 0.9 < oblique.pairs[0][2] < 1.0


def test_close_numbers_that_tell_nothing_together_are_no_pair():
    numbers, noise = place(4000), np.random.default_rng(3).normal(size=4000)
    assert fitted(numbers, target=numbers[:, 2]) is None
    assert fitted(numbers, target=noise) is None


def test_classes_tell_of_a_pair_as_numbers_do():
    numbers = place()
    far = told_by(numbers) > 0.2
    assert [(i, j) for i, j, _ in fitted(numbers, target=np.where(far, "far", "near").astype(object)).pairs] == [(0, 1)]


def test_a_direction_is_the_sum_of_both_sides_at_its_angle():
    numbers = place()
    oblique = fitted(numbers)
    seen = oblique(torch.from_numpy(numbers)).numpy()
    assert seen.shape == (500, 4)
    ordered = np.sort(numbers[:, :2], axis=0)
    low, high = ordered[10], ordered[-11]  # ten rows lie beyond either
    inside = np.clip(numbers[:, :2], low, high)
    x, y = ((inside - inside.mean(0)) / inside.std(0)).T
    for k, angle in enumerate(np.pi * np.array([1, 3, 5, 7]) / 8):
        np.testing.assert_allclose(seen[:, k], x * np.cos(angle) + y * np.sin(angle), atol=1e-12)


def test_a_direction_is_missing_where_a_side_is():
    numbers = place()
    oblique = fitted(numbers)
    seen = oblique(torch.tensor([[np.nan, 1.0, 0.0, 0.0], [1.0, 1.0, np.nan, 0.0]], dtype=torch.float64))
    assert torch.isnan(seen[0]).all()
    assert torch.isfinite(seen[1]).all()


def test_the_closest_pairs_come_first_and_no_more_than_asked_for():
    rng = np.random.default_rng(1)
    x = rng.normal(size=4000)
    numbers = np.stack([x, x + 0.5 * rng.normal(size=4000), x + 0.2 * rng.normal(size=4000)], axis=1)
    target = np.abs(numbers[:, 0] - numbers[:, 1]) + 5 * np.abs(numbers[:, 0] - numbers[:, 2])
    assert [(i, j) for i, j, _ in fitted(numbers, target, max_pairs=2).pairs] == [(0, 2), (0, 1)]
    assert [(i, j) for i, j, _ in fitted(numbers, target, max_pairs=1).pairs] == [(0, 2)]


def test_there_may_be_none():
    assert fitted(place(), angles=0) is None
    assert fitted(place(), correlation=1.0) is None
    assert fitted(place()[:, 2:]) is None
    assert fitted(np.full((40, 2), np.nan)) is None


def test_numbers_of_any_size_have_finite_directions():
    base = place()
    for size in (1e300, 1e-300, 5e-324):
        oblique = fitted(base * size)
        if oblique is not None:
            assert torch.isfinite(oblique(torch.tensor([[np.inf, -np.inf, 0.0, 0.0]], dtype=torch.float64))).all()


def test_the_decision_names_the_columns():
    columns = dict(zip("abcd", place().T, strict=True))
    rules = [ColumnRule(name, "number", False, frozenset()) for name in columns]
    encoder = fit_encoder(columns, rules, FeaturesConfig(), told_by(place()))
    assert encoder.decisions == [
        "'a' and 'b' belong together (rank correlation 0.96): they are also read along directions between them"
    ]
    assert encoder.n_features == 4 + 6
