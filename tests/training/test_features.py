"""The fitted feature encoder: exact calendars, bounded encodings, and no look at any row but a training row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.training.columns.infer import ColumnRule
from rowcast.training.features.calendar import calendar_part
from rowcast.training.features.encoder import UNKNOWN_CODE, FeaturesConfig, fit_encoder

NO_TARGET = np.zeros(0)
"""These encoders hold no pair of numbers that a target would be asked about."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DATETIMES = st.datetimes().map(lambda when: when.replace(tzinfo=UTC))


def micros(when: datetime) -> torch.Tensor:
    return torch.tensor([(when - EPOCH) // timedelta(microseconds=1)])


@given(DATETIMES)
def test_the_calendar_is_exact_for_every_microsecond_of_ten_thousand_years(when):
    time_of_day = when - when.replace(hour=0, minute=0, second=0, microsecond=0)
    assert calendar_part(micros(when), "time_of_day").item() == time_of_day // timedelta(microseconds=1)
    assert calendar_part(micros(when), "weekday").item() == when.weekday()
    assert calendar_part(micros(when), "day_of_month").item() == when.day
    assert calendar_part(micros(when), "trend").item() == micros(when).item()


@given(DATETIMES)
def test_the_season_is_within_two_days_of_the_day_of_the_year(when):
    days = calendar_part(micros(when), "season").item() / 400
    since_new_year = when.timetuple().tm_yday - 1
    apart = abs(days - since_new_year)
    assert min(apart, 365.2425 - apart) <= 2


def encoder_of(values, **config):
    columns = {"x": np.asarray(values, np.float64)}
    return fit_encoder(columns, [ColumnRule("x", "number", False, frozenset())], FeaturesConfig(**config), NO_TARGET)


def encode(encoder, *values):
    numbers, binary = encoder.encode(torch.tensor([[v] for v in values], dtype=torch.float64))
    return torch.cat([numbers.flatten(1), binary.flatten(1)], dim=1)


def test_a_number_is_written_as_how_far_it_has_come_through_its_bins():
    encoder = encoder_of([0.0, 1.0, 3.0, 7.0])
    through = encode(encoder, 0.0, 0.5, 3.0, 5.0, 7.0)[:, :3]
    assert through.tolist() == [[0, 0, 0], [0.5, 0, 0], [1, 1, 0], [1, 1, 0.5], [1, 1, 1]]


def test_beyond_the_training_range_a_number_answers_like_the_end_of_the_range():
    encoder = encoder_of(np.linspace(-3, 3, 1000))
    ends = encode(encoder, -3.0, 3.0)
    beyond = encode(encoder, -1e38, 1e38)
    assert torch.equal(beyond, ends)
    assert torch.equal(encode(encoder, float("-inf"), float("inf")), ends)


def test_a_minute_is_told_from_the_next_at_the_scale_of_an_epoch():
    minutes = 1_700_000_000 + 60 * np.arange(40)
    encoder = encoder_of(np.concatenate([minutes, np.repeat(minutes[[0, -1]], 10)]))
    encoded = encode(encoder, *minutes)
    assert len(torch.unique(encoded, dim=0)) == 40


def test_missing_is_a_value_of_its_own_where_training_saw_it_and_the_median_where_not():
    seen = encoder_of([1.0, 2.0, 3.0, np.nan])
    missing = encode(seen, float("nan"))[0]
    assert missing[-1] == 1
    assert missing[:-1].abs().max() == 0
    unseen = encoder_of([1.0, 2.0, 3.0])
    assert torch.equal(encode(unseen, float("nan")), encode(unseen, 2.0))


@example([0.0, 2.3e-311], 0.0)
@given(st.lists(st.floats(-1e308, 1e308), min_size=2, max_size=60), st.floats(allow_nan=True))
def test_an_encoding_is_always_finite_and_bounded(training, served):
    encoder = encoder_of(training)
    encoded = encode(encoder, served)
    assert torch.isfinite(encoded).all()
    through = encoded[:, :-2]
    assert ((through >= 0) & (through <= 1)).all()


def test_a_value_that_fills_most_rows_takes_one_bin_and_leaves_the_others_to_the_rest():
    rest = np.arange(1.0, 1001.0)
    edges = encoder_of(np.concatenate([np.zeros(50_000), rest]), bins=10).bins.edges[0]
    assert len(edges) == 10
    assert (edges[1:].diff() > 100).all()
    assert edges[0] == 0


def test_no_bin_reaches_farther_out_than_ten_rows():
    inside = np.linspace(0.0, 100.0, 981)
    out = np.concatenate([-1e6 - np.arange(9.0), inside, 1e6 + np.arange(10.0)])
    encoder = encoder_of(out)
    assert encoder.bins.lowest.tolist() == [inside[1]]  # nine rows and the first of the others lie beyond
    assert encoder.bins.highest.tolist() == [inside[-1]]
    assert not np.isin(encoder.bins.edges.numpy(), out[np.abs(out) > 100]).any()
    assert torch.equal(encode(encoder, 1e6), encode(encoder, 100.0))


@pytest.mark.parametrize("rare", [1, 9])
def test_a_second_value_of_few_rows_tells_of_none_of_them_but_0_and_1_stay(rare):
    encoder = encoder_of([5.0] * 500 + [987_654.25] * rare)
    assert torch.equal(encode(encoder, 5.0), encode(encoder, 987_654.25))
    assert not (encoder.binary.edges == 987_654.25).any()
    told = encode(encoder_of([0.0] * 500 + [1.0] * rare), 0.0, 1.0)
    assert not torch.equal(told[0], told[1])


@pytest.mark.parametrize("training", [[5.0] * 500 + [7.0] * 9, [5.0] * 20 + [np.nan] * 20, [np.nan] * 20])
def test_a_number_that_does_not_vary_says_the_same_whatever_is_served(training):
    encoded = encode(encoder_of(training), -1e308, 0.0, 4.9, 5.0, 5.1, 987_654.25, float("inf"))
    assert torch.equal(encoded, encoded[:1].expand_as(encoded))
    assert encoded.abs().max() <= 1.0


def test_a_small_table_is_cut_by_a_tenth_at_either_end_at_most():
    encoder = encoder_of(np.arange(30.0))
    assert (encoder.bins.lowest.item(), encoder.bins.highest.item()) == (3.0, 26.0)


def test_a_number_of_two_values_is_a_switch():
    encoder = encoder_of([3.0, 5.0, 5.0, np.nan])
    assert (encoder.n_features, encoder.n_binary) == (0, 1)
    low, high, missing = encode(encoder, 3.0, 5.0, float("nan")).tolist()
    assert low[0] < 0 < high[0]
    assert missing == [0.0, 1.0]


def category_encoder(levels, **config):
    columns = {"c": np.array(levels, dtype=object)}
    return fit_encoder(columns, [ColumnRule("c", "category", True, frozenset())], FeaturesConfig(**config), NO_TARGET)


def test_levels_are_coded_by_frequency_and_rare_ones_pooled():
    encoder = category_encoder(["b"] * 10 + ["a"] * 10 + ["rare"] * 9 + [""] * 4)
    assert encoder.vocabularies["c"] == {"a": 10, "b": 10}
    codes = encoder.raw({"c": np.array(["", "a", "b", "rare", "never"], dtype=object)})[2]
    assert codes[:, 0].tolist() == [0, 2, 3, UNKNOWN_CODE, UNKNOWN_CODE]


def test_a_huge_vocabulary_is_capped_at_the_commonest():
    encoder = category_encoder([f"l{i}" for i in range(50) for _ in range(i + 10)], max_levels=10)
    assert list(encoder.vocabularies["c"]) == [f"l{i}" for i in range(49, 39, -1)]


def test_a_table_of_thousands_of_numbers_gets_fewer_bins_for_each():
    rng = np.random.default_rng(0)
    columns = {f"x{i}": rng.normal(size=30) for i in range(1500)}
    rules = [ColumnRule(name, "number", False, frozenset()) for name in columns]
    assert fit_encoder(columns, rules, FeaturesConfig(), np.zeros(30)).d_encoded == 2 + 2


DAY = 86_400_000_000


def calendar_of(timestamps, **kwargs):
    columns = {"t": np.asarray(timestamps, np.int64)}
    rules = [ColumnRule("t", "timestamp", False, frozenset())]
    return fit_encoder(columns, rules, FeaturesConfig(), NO_TARGET, **kwargs).calendar["t"]


def test_a_cycle_is_read_only_where_training_went_through_it_twice():
    hours = np.arange(24 * 10) * DAY // 24
    assert calendar_of(hours) == ("time_of_day", "trend")
    assert calendar_of(np.arange(800) * DAY) == ("weekday", "season", "trend")
    assert calendar_of(np.arange(800) * DAY, trend=False) == ("weekday", "season")
    assert calendar_of([0, MISSING_TIMESTAMP]) == ("presence",)
    assert calendar_of([0, 0]) == ()


def test_a_missing_timestamp_is_missing_in_every_part():
    columns = {"t": np.append(np.arange(800) * DAY, MISSING_TIMESTAMP)}
    encoder = fit_encoder(columns, [ColumnRule("t", "timestamp", True, frozenset())], FeaturesConfig(), NO_TARGET)
    numbers, timestamps, _ = encoder.raw(columns)
    derived = encoder.derive(numbers, timestamps)
    assert torch.isnan(derived[-1]).all()
    assert not torch.isnan(derived[:-1]).any()


def test_the_fingerprint_tells_encoders_apart():
    one, same, other = encoder_of([1.0, 2.0, 4.0]), encoder_of([4.0, 1.0, 2.0]), encoder_of([1.0, 2.0, 5.0])
    assert one.fingerprint() == same.fingerprint()
    assert one.fingerprint() != other.fingerprint()


@pytest.mark.parametrize("field", ["bins", "min_level_rows", "max_levels"])
def test_a_config_field_below_its_range_is_refused(field):
    with pytest.raises(ValueError, match=field):
        FeaturesConfig(**{field: 0})
