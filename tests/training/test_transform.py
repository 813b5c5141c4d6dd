"""Targets to the network's units and back: in the target's own units, means are means and quantiles quantiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rowcast.models.errors import ConfigError
from rowcast.training.network.spread import mean_and_deviation, spread_of
from rowcast.training.network.transform import TargetTransform


@pytest.mark.parametrize("name", ["none", "standardise", "log"])
@pytest.mark.parametrize("unit", [1e-100, 1.0, 1e100])
def test_values_come_back(name, unit):
    values = np.array([0.5, 1.0, 7.0, 900.0]) * unit
    transform = TargetTransform(values, name)
    if name == "none" and unit != 1.0:
        return  # what a float32 cannot hold is not for a network
    assert transform(torch.from_numpy(transform.encode(values))).numpy() == pytest.approx(values, rel=1e-4)
    assert transform.unit == pytest.approx(np.std(values / unit) * unit)


def test_none_changes_nothing_standardise_and_log_give_mean_0_and_deviation_1():
    values = np.random.default_rng(0).lognormal(3, 1, 1000)
    assert np.array_equal(TargetTransform(values, "none").encode(values), values.astype(np.float32))
    for name in ("standardise", "log"):
        encoded = TargetTransform(values, name).encode(values)
        assert (encoded.mean(), encoded.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, rel=1e-5))


def test_a_log_takes_0_and_refuses_less():
    counts = np.array([0.0, 3.0, 10.0])
    transform = TargetTransform(counts, "log")
    assert transform(torch.from_numpy(transform.encode(counts))).numpy() == pytest.approx(counts, abs=1e-5)
    with pytest.raises(ConfigError, match=r"'objective.target_transform' may be \"log\" .* a training row holds -0.5"):
        TargetTransform(np.array([-0.5, 1.0]), "log")


def test_a_held_out_value_that_a_log_does_not_take_counts_as_the_lowest():
    transform = TargetTransform(np.array([1.0, 10.0]), "log")
    assert transform.encode(np.array([-3.0, 0.0]))[0] == transform.encode(np.array([1e-30]))[0]
    assert np.isfinite(transform.encode(np.array([-3.0, 0.0]))).all()


def test_what_the_network_says_beyond_the_training_rows_is_not_blown_up_and_no_row_is_told_by_where_it_ends():
    values = np.random.default_rng(0).lognormal(0, 1, 1000)
    transform = TargetTransform(values, "log")
    low, high = transform(torch.tensor([-1000.0, 1000.0])).tolist()
    deviation = np.log(values).std()
    ordered = np.sort(values)
    assert low == pytest.approx(ordered[10] / np.exp(deviation))
    assert high == pytest.approx(ordered[-11] * np.exp(deviation))


def test_smearing_makes_a_mean_of_an_exponential():
    rng = np.random.default_rng(0)
    middle = rng.normal(size=100_000)
    values = np.exp(middle + rng.normal(size=100_000))
    transform = TargetTransform(values, "log")
    answers = (torch.from_numpy(middle) - transform.mean) / transform.scale
    factor = transform.fit_smearing(answers, torch.from_numpy(values))
    assert factor == pytest.approx(np.exp(0.5), rel=0.03)  # the mean of a log-normal over its median
    assert transform.smeared(transform(answers)).mean().item() == pytest.approx(values.mean(), rel=1e-9)


def test_a_smearing_factor_that_makes_no_sense_is_1():
    transform = TargetTransform(np.array([1.0, 10.0]), "log")
    assert transform.fit_smearing(torch.zeros(2), torch.tensor([-5.0, -5.0])) == 1.0


@given(
    values=st.lists(st.floats(1e-300, 1e300), min_size=2, max_size=20).filter(lambda v: min(v) < max(v)),
    name=st.sampled_from(["standardise", "log"]),
    answers=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5),
)
def test_whatever_the_target_answers_are_finite_and_rise(values, name, answers):
    transform = TargetTransform(np.array(values), name)
    told = transform(torch.tensor(sorted(answers), dtype=torch.float64))
    assert (told.diff() >= 0).all()
    assert torch.isfinite(told).all()
    assert np.isfinite(transform.encode(np.array(values))).all()


def test_a_constant_has_deviation_1():
    assert mean_and_deviation(np.full(5, 7.0)) == (7.0, 1.0)


ORDINARY = np.random.default_rng(1).uniform(25, 161, 384)


@pytest.mark.parametrize("wild", [[1e9], [1e6, 1e9, 1e12], [-1e300], [5000.0]])
@pytest.mark.parametrize("dominated", [3.0, 10.0])
def test_a_few_wild_rows_do_not_set_the_unit(wild, dominated):
    values = np.append(ORDINARY, wild)
    transform = TargetTransform(values, "standardise", dominated)
    assert transform.unit == pytest.approx(ORDINARY.std(), rel=0.7)
    encoded = transform.encode(values)
    assert transform(torch.from_numpy(encoded[:384])).numpy() == pytest.approx(ORDINARY, abs=1e-4)
    assert np.abs(encoded[384:]).max() < 25


@pytest.mark.parametrize(
    "values",
    [
        ORDINARY,
        np.random.default_rng(2).lognormal(0, 2, 2000),
        np.random.default_rng(3).standard_t(3, 2000),
        np.append(np.zeros(1900), np.random.default_rng(4).lognormal(7, 1, 100)),
        np.append(np.zeros(95), [1.0, 1.0, 1.0, 1.0, 1.0]),
        np.append(np.zeros(999), 7.0),
        np.array([1.0, 2.0, 1000.0]),
    ],
)
def test_ordinary_and_heavy_tailed_and_zero_inflated_targets_keep_mean_and_deviation(values):
    plain = mean_and_deviation(values)
    spread = spread_of(values, 10.0)
    assert (spread.centre, spread.deviation) == plain
    assert np.array_equal(TargetTransform(values, "standardise", 10.0).encode(values), _plainly(values))


def _plainly(values):
    mean, deviation = mean_and_deviation(values)
    return ((values - mean) / deviation).astype(np.float32)


def test_a_wild_row_among_rows_that_are_mostly_0_does_not_set_the_unit():
    claims = np.append(np.zeros(1900), np.random.default_rng(4).lognormal(7, 1, 99))
    spread = spread_of(np.append(claims, 1e12), 10.0)
    assert spread.deviation == pytest.approx(claims.std(), rel=0.5)


def test_a_held_out_row_beyond_all_training_rows_is_cut_off():
    transform = TargetTransform(ORDINARY, "standardise", 10.0)
    assert np.abs(transform.encode(np.array([1e9, -1e300]))).max() < 25
    as_it_is = TargetTransform(ORDINARY, "standardise")
    assert as_it_is.encode(np.array([1e9]))[0] > 1e7


@pytest.mark.parametrize("unit", [1e-290, 1e-46, 1e-38, 1e37, 1e280])
def test_no_number_of_the_graph_is_one_that_float32_reads_as_0_or_as_infinite(unit):
    transform = TargetTransform(ORDINARY * unit, "standardise")
    for name, buffer in transform.named_buffers():
        assert np.isfinite(buffer.numpy().astype(np.float32)).all(), name
        assert (buffer.numpy().astype(np.float32) != 0).all(), name
    assert transform(torch.from_numpy(_plainly(ORDINARY))).numpy() == pytest.approx(ORDINARY * unit, rel=1e-5)
