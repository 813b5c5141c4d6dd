"""Rows of a batch changed: by as much as was asked, along ranks, within what training saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rowcast.training.fit.augment import Augment, AugmentConfig, _quantiles, _ranks, _values
from rowcast.training.fit.loop import Batch

ROWS = 4000


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    skewed, flag, constant = rng.lognormal(0, 3, ROWS), rng.random(ROWS) < 0.4, np.full(ROWS, 3.0)
    skewed[:40] = np.nan
    features = np.stack([skewed, flag, constant, np.full(ROWS, np.nan)], axis=1)
    codes = rng.integers(0, 10, (ROWS, 2))
    return Batch(*map(torch.from_numpy, (features, codes, rng.integers(0, 3, ROWS))))


def changed(before, after):
    """Share of the cells of each column that are not what they were."""
    same = (before == after) | (before != before) & (after != after)
    return (~same).double().mean(dim=0).tolist()


def test_nothing_is_done_unless_it_is_asked_for(batch):
    assert Augment(AugmentConfig(), batch, 3)(batch) is batch


def test_a_rank_leads_back_to_its_value(batch):
    grid = _quantiles(batch.features)
    back = _values(_ranks(batch.features, grid), grid, batch.features)
    assert torch.allclose(back, batch.features, rtol=1e-9, equal_nan=True)


def test_noise_passes_as_many_rows_as_it_says_whatever_the_units(batch):
    out = Augment(AugmentConfig(noise=0.02), batch, 3)(batch)
    ordered = batch.features[:, 0].nan_to_num(-1).sort().values
    passed = (
        torch.searchsorted(ordered, out.features[40:, 0].contiguous())
        - torch.searchsorted(ordered, batch.features[40:, 0].contiguous())
    ) / ROWS
    assert passed.std().item() == pytest.approx(0.02, rel=0.1)
    assert changed(batch.features, out.features)[1:] == [
        0,
        0,
        0,
    ]  # a flag that 40% of the rows bear is far from the others
    assert out.codes is batch.codes
    assert out.target is batch.target


def test_noise_stays_within_what_training_saw(batch):
    out = Augment(AugmentConfig(noise=1.0), batch, 3)(batch)
    for column in (0, 1):
        before = batch.features[40:, column]
        assert before.min() <= out.features[40:, column].min()
        assert out.features[40:, column].max() <= before.max()


def test_swapped_values_come_from_the_same_column_of_other_rows(batch):
    out = Augment(AugmentConfig(swap=0.3), batch, 3)(batch)
    assert changed(batch.features, out.features)[0] == pytest.approx(0.3, abs=0.03)
    assert changed(batch.codes, out.codes) == pytest.approx([0.27, 0.27], abs=0.03)
    assert set(out.features[:, 0].nan_to_num(-1).tolist()) <= set(batch.features[:, 0].nan_to_num(-1).tolist())
    assert torch.equal(out.target, batch.target)


def test_hidden_values_are_missing_ones(batch):
    out = Augment(AugmentConfig(missing=0.3), batch, 3)(batch)
    assert torch.isnan(out.features)[:, 1:3].double().mean().item() == pytest.approx(0.3, abs=0.02)
    assert (out.codes == 0).double().mean().item() == pytest.approx(0.3 + 0.7 / 10, abs=0.02)


def test_mixed_rows_lie_between_two_and_so_do_their_targets(batch):
    out = Augment(AugmentConfig(mixup=5.0), batch, 3)(batch)
    assert out.target.shape == (ROWS, 3)
    assert torch.allclose(out.target.sum(dim=1), torch.ones(ROWS))
    own = out.target.gather(1, batch.target.unsqueeze(1))
    assert own.min() >= 0.5
    numbers = Batch(batch.features, batch.codes, torch.linspace(-1, 1, ROWS))
    mixed = Augment(AugmentConfig(mixup=5.0), numbers, 0)(numbers)
    assert mixed.target.shape == (ROWS,)
    assert mixed.target.std() < numbers.target.std()
    assert set(mixed.codes.flatten().tolist()) <= set(range(10))


def test_a_column_that_no_row_holds_stays_missing(batch):
    out = Augment(AugmentConfig(noise=0.5, swap=0.5, mixup=1.0), batch, 3)(batch)
    assert torch.isnan(out.features[:, 3]).all()


def test_the_same_seed_changes_rows_the_same_way(batch):
    outs = []
    for _ in range(2):
        torch.manual_seed(1)
        outs.append(Augment(AugmentConfig(noise=0.1, swap=0.1, missing=0.1, mixup=0.2), batch, 3)(batch))
    assert torch.equal(outs[0].features.nan_to_num(-1), outs[1].features.nan_to_num(-1))
    assert torch.equal(outs[0].target, outs[1].target)
