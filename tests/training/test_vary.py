"""A column that does not vary has no scale, and no bin is narrower than doubles are apart."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from rowcast.models import TableError
from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.training.columns.infer import ColumnRule
from rowcast.training.config import make_config
from rowcast.training.features.bins import FARTHEST, fit_bins
from rowcast.training.features.encoder import FeaturesConfig, fit_encoder
from rowcast.training.features.vary import keep_what_varies
from rowcast.training.prepare import prepare

DAY = 86_400_000_000
NOISE = 0.19 * (1 + np.arange(-4, 5) * 2.0**-52)
"""0.19, as nine ways to compute it give it."""
ODD = [-1e308, -5.0, 0.0, 0.07, 0.2, 4.9, 5.1, 1e14, 1e308, float("inf"), float("-inf")]


def encoder_of(kind, values, **kwargs):
    columns = {"x": values}
    rule = ColumnRule("x", kind, True, frozenset())
    return fit_encoder(columns, [rule], FeaturesConfig(), np.zeros(0), **kwargs)


def encoded(encoder, values):
    numbers, binary = encoder.encode(torch.as_tensor(values, dtype=torch.float64).reshape(-1, 1))
    return torch.cat([numbers.flatten(1), binary.flatten(1)], dim=1)


FEW = (
    "'x' is dropped: nearly all of its values are the same one, and the few rows that hold another could be pointed at "
    "by it; where that matters, write the column as 0 and 1"
)
NAN = float("nan")


@pytest.mark.parametrize(
    "training",
    [
        pytest.param([1.0] * 40 + [NAN] * 20, id="a box that is ticked or empty"),
        pytest.param([5.0] * 40 + [NAN] * 20, id="one value or null"),
        pytest.param(np.append(np.resize(NOISE, 90), [NAN] * 20), id="one value but for rounding, or null"),
        pytest.param([5.0] * 500 + [7.0] * 9 + [NAN] * 30, id="another value in few rows"),
        pytest.param([3.0] * 9 + [NAN] * 300, id="few rows with a value"),
        pytest.param([1e300] * 30 + [NAN] * 30, id="one huge value or null"),
        pytest.param([1e-310, 2e-310] * 20 + [NAN] * 30, id="values that no double can divide by"),
    ],
)
def test_of_a_number_that_does_not_vary_only_whether_it_is_missing_is_told(training):
    encoder = encoder_of("number", np.asarray(training, np.float64))
    assert (encoder.n_features, encoder.n_binary) == (0, 1)
    assert torch.equal(encoded(encoder, ODD), torch.tensor([[0.0, 0.0]]).expand(len(ODD), 2))
    assert encoded(encoder, [NAN]).tolist() == [[0.0, 1.0]]


def test_a_timestamp_that_does_not_vary_is_a_flag_and_without_a_null_nothing():
    timestamps = np.array([20 * DAY] * 30 + [MISSING_TIMESTAMP] * 10)
    encoder = encoder_of("timestamp", timestamps)
    numbers, served, _ = encoder.raw({"x": np.array([20 * DAY, 9 * DAY, -DAY, MISSING_TIMESTAMP])})
    assert encoder.encode(encoder.derive(numbers, served)).binary[:, 0].tolist() == [[0, 0], [0, 0], [0, 0], [0, 1]]
    assert encoder_of("timestamp", timestamps[:30]).calendar["x"] == ()


def parts(timestamps, **kwargs):
    columns, rules = {"x": np.asarray(timestamps, np.int64)}, [ColumnRule("x", "timestamp", True, frozenset())]
    every = FeaturesConfig(calendar=("time_of_day", "weekday", "day_of_month", "season", "trend"))
    return fit_encoder(columns, rules, every, np.zeros(0), **kwargs).calendar["x"]


@pytest.mark.parametrize("weekday", range(7))
def test_a_part_of_the_calendar_with_one_value_is_not_read(weekday):
    weekly = weekday * DAY + np.arange(120) * 7 * DAY
    assert parts(weekly) == ("day_of_month", "season", "trend")
    one_other = np.append(np.repeat(weekly, 10), weekly[3] + 2 * DAY)
    assert "weekday" not in parts(one_other), "one row in 1,200 does not teach a weekday"


def test_dates_that_are_all_the_15th_have_no_day_of_the_month():
    fifteenth = np.arange("2001-01", "2009-01", dtype="datetime64[M]").astype("datetime64[D]") + 14
    assert "day_of_month" not in parts(fifteenth.astype("datetime64[us]").astype(np.int64))
    yearly = np.arange("1990", "2020", dtype="datetime64[Y]").astype("datetime64[us]").astype(np.int64)
    assert parts(np.repeat(yearly, 12)) == ("weekday", "season", "trend")


# ─── what is decided ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("boolean", [1.0] * 30 + [NAN] * 10, "'x' is read only as missing or not: it holds one value"),
        ("number", [NAN] * 300 + [2.0, 3.0], "'x' is read only as missing or not: too few training rows hold a value"),
        ("number", np.resize(NOISE, 90), "'x' is dropped: its values differ by rounding alone"),
        ("number", [5.0] * 500 + [7.0] * 9, FEW),
        (
            "timestamp",
            [DAY] * 20 + [MISSING_TIMESTAMP] * 9,
            "'x' is read only as missing or not: it holds one timestamp",
        ),
    ],
)
def test_what_does_not_vary_is_told(kind, values, said):
    rule = ColumnRule("x", kind, True, frozenset())
    values = np.asarray(values, np.int64 if kind == "timestamp" else np.float64)
    kept, decisions = keep_what_varies({"x": values}, [rule], FeaturesConfig())
    assert decisions == [said]
    assert kept == (() if "dropped" in said else (rule,))


def test_what_varies_stays_and_nothing_is_told():
    rules = [ColumnRule("x", "number", True, frozenset()), ColumnRule("c", "category", True, frozenset())]
    columns = {"x": np.array([1e14, 1e14 + 1] * 20), "c": np.array(["a"] * 40, object)}
    assert keep_what_varies(columns, rules, FeaturesConfig()) == (tuple(rules), [])


def test_timestamps_of_one_day_are_no_input_after_a_split_by_time_and_alone_leave_nothing_to_learn_from():
    minutes = [f"2024-03-01T{m // 60:02}:{m % 60:02}" for m in range(5, 605, 5)]
    frame = pl.DataFrame({"at": minutes, "y": np.arange(120) / 7})
    config = make_config(overrides={"data": {"target": "y", "split_by_time": "at"}})
    with pytest.raises(TableError, match=r"left to learn from: 'at' is dropped: no part .* after a split by time"):
        prepare(frame, config)
    prepared = prepare(frame.with_columns(x=pl.Series(np.cos(np.arange(120)))), config)
    assert [rule.name for rule in prepared.rules] == ["x"]
    assert prepared.train.columns.keys() == prepared.test.columns.keys() == {"x"}


def test_one_date_or_none_is_read_as_a_flag_and_is_the_only_input():
    frame = pl.DataFrame({"cancelled": (["2024-03-01"] * 2 + [None]) * 40, "y": ([0.0, 0.1, 5.0]) * 40})
    prepared = prepare(frame, make_config(overrides={"data": {"target": "y"}}))
    assert prepared.encoder.n_binary == 1
    assert "'cancelled' is read only as missing or not: it holds one timestamp" in prepared.decisions


# ─── bins as fine as doubles ─────────────────────────────────────────────────────────────────────────────────────────

ORDINARY = np.linspace(0.0, 100.0, 585)


@pytest.mark.parametrize(
    "odd",
    [1e13, 1e30, 9_999_999_999_999_999.0, -3.4028234663852886e38, 1.7976931348623157e308, -1.7976931348623157e308],
)
@pytest.mark.parametrize("rows", [1, 15, 400])
def test_a_value_far_away_takes_nothing_from_ordinary_ones(odd, rows):
    encoder = encoder_of("number", np.append(ORDINARY, [odd] * rows))
    assert len(torch.unique(encoded(encoder, np.linspace(5.0, 95.0, 40)), dim=0)) == 40
    assert torch.isfinite(encoded(encoder, ODD)).all()


def test_both_ends_of_the_doubles_leave_what_lies_between_as_it_is():
    most = np.finfo(np.float64).max
    encoder = encoder_of("number", np.concatenate([[-most] * 12, ORDINARY, [most] * 12]))
    assert len(torch.unique(encoded(encoder, np.linspace(5.0, 95.0, 40)), dim=0)) == 40
    two = encoded(encoder_of("number", np.array([-most, most] * 20)), [-most, 0.0, most])
    assert torch.isfinite(two).all()
    assert two[0, 0] == -two[2, 0] < 0 == two[1, 0]


@pytest.mark.parametrize("start", [1e14, -1e14, 2.0**52])
def test_numbers_with_a_large_offset_keep_their_differences(start):
    values = start + np.resize(np.arange(1001.0), 4004)
    encoder = encoder_of("number", values)
    assert len(torch.unique(encoded(encoder, np.unique(values)[25:-25:20]), dim=0)) == 48
    counted = encoder_of("number", np.repeat(start + np.arange(3.0), 30))
    assert len(torch.unique(encoded(counted, start + np.arange(3.0)), dim=0)) == 3


def test_values_that_differ_by_rounding_share_a_bin():
    mixed = np.concatenate([np.resize(NOISE, 300), np.linspace(1.0, 2.0, 300)])
    bins = fit_bins([mixed], 48)
    assert bins.inverse_widths.max() < 1e6
    about_0 = np.concatenate([np.resize([0.0, 5.6e-17, -2.8e-17, 1.1e-16], 200), np.linspace(1.0, 2.0, 300)])
    assert fit_bins([about_0], 48).inverse_widths.max() < 1e6


def test_no_position_is_farther_out_than_the_rows_can_teach():
    rare = fit_bins([np.append(np.zeros(100_000), [1.0])], 48)
    at_one = rare(torch.ones(1, 1, dtype=torch.float64))[0, 0, -2]
    assert at_one.item() == pytest.approx(FARTHEST, rel=1e-6)
    common = fit_bins([np.resize([0.0, 1.0], 1000)], 48)
    assert common.position_scale.item() == 2.0
