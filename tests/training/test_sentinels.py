"""Numbers and dates that stand for no value are missing where they look it, told where they may be, and else values."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from rowcast.models.errors import TableError
from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.models.values import parse_timestamp
from rowcast.training.columns.infer import infer_columns, read_column
from rowcast.training.columns.sentinels import with_sentinels
from rowcast.training.config import make_config
from rowcast.training.data.split import Split
from rowcast.training.data.table import read_table
from rowcast.training.prepare import open_table, suspicions, understand

RNG = np.random.default_rng(0)
DEPTHS = RNG.uniform(0, 100, 200).round(2)
DEGREES = RNG.normal(5, 12, 200).round(1)
AGES = RNG.integers(18, 91, 200).astype(float)
YEARS = RNG.integers(1990, 2025, 200).astype(float)
AMOUNTS = RNG.lognormal(8, 1, 200).round(2)
FLOAT32_LOWEST = float(np.finfo(np.float32).min)


def missing_in(values, **options):
    """What is missing of a column of these values, and what is told of it."""
    table = read_table({"x": np.asarray(values)})
    rules, _ = infer_columns(table, keep=True)
    (rule,), told = with_sentinels(table, rules, **options)
    read = read_column(table, rule)
    assert rule.nullable == bool(np.isnan(read).any())
    return sorted(set(np.asarray(values)[np.isnan(read)].tolist())), told


@pytest.mark.parametrize(
    ("values", "sentinel", "rows"),
    [
        (DEPTHS, -999.0, 9),
        (DEPTHS, -9999, 2),
        (DEPTHS, 9999.0, 30),
        (DEPTHS, -99.9, 5),
        (DEGREES, -999.9, 5),
        (DEGREES, -99.0, 40),
        (DEGREES, 999.99, 5),
        (AGES, 999, 5),
        (AGES, -1, 12),
        (AGES, -9, 12),
        (YEARS, 9999, 4),
        (YEARS, -1, 4),
        (AMOUNTS, -999, 20),
        (AMOUNTS, 99999999, 3),
        (RNG.integers(1, 6, 200), 99, 20),
        (RNG.integers(0, 28, 50), 999, 5000),
        # in a single row: nothing measures it
        (DEPTHS, 1e30, 1),
        (DEPTHS, FLOAT32_LOWEST, 1),
        (DEPTHS, -3.4028e38, 1),
        (DEPTHS, 1.7976931348623157e308, 1),
        (DEPTHS, -1.797e308, 1),
        (DEPTHS, 9999999999999999.0, 1),
        (DEPTHS, 9.969209968386869e36, 1),
        (AMOUNTS, -(2.0**63), 1),
    ],
)
def test_a_well_known_sentinel_far_from_all_other_values_is_missing(values, sentinel, rows):
    assert missing_in([*values, *[sentinel] * rows])[0] == [sentinel]


def test_several_sentinels_of_one_column_are_missing():
    values = [*DEPTHS, *[-999.0] * 5, *[-99.0] * 5, *[9999.0] * 5, 1e30]
    assert missing_in(values)[0] == [-999.0, -99.0, 9999.0, 1e30]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([*AMOUNTS - AMOUNTS.mean(), -999.0, -999.0], 0),  # a balance among balances
        ([*AGES, 99, 99, 99], 0),  # an age
        ([*DEPTHS * 100, 999, 999], 0),
        ([-1, 0, 1] * 50, 0),  # a judgement
        ([*range(200), *[-1] * 60], 1),  # days since, or never?
        ([*DEPTHS, 1e9], 0),  # a round number, and no nines
        ([*DEPTHS, 9999], 1),  # one row may be a mistake
        ([49, 79, 99, 129, 999] * 60, 1),  # the dearest of a price list
        ([*DEPTHS, *[123.4] * 5], 0),
        ([0, 99] * 50, 0),  # a switch
        ([5.0] * 50 + [-999.0] * 50, 0),  # nothing tells how far a value may lie
        ([*DEPTHS, *[-1234.5] * 30], 1),  # nobody's habit
        ([*DEPTHS, -1234.5], 0),  # a person's
        ([0] * 90 + [*range(0, 40000, 400), 41310] + [99999] * 5, 1),  # a top code, as in Adult
    ],
)
def test_what_may_be_a_value_is_kept_and_told_where_it_is_suspicious(values, told):
    missing, sentences = missing_in(values)
    assert (missing, len(sentences)) == ([], told)


def test_a_decision_names_column_value_share_and_the_way_out():
    _, told = missing_in([*DEPTHS, *[-999.0] * 50])
    assert told[0] == (
        "'x' holds -999 in 20.0% of the training rows, far from all other values: it is taken for missing; to take it "
        "as it is: --set 'data.no_sentinels=[\"x\"]'"
    )
    _, told = missing_in([*DEPTHS, *[-1234.5] * 50])
    assert told[0] == (
        "'x' holds -1234.5 in 20.0% of the training rows, far from all other values: it is kept as it is, but may "
        "stand for a missing one; to take it for missing: --null -1234.5"
    )


def test_a_float32_and_the_number_people_write_are_one_sentinel():
    column = np.array([*DEPTHS, *[-999.9] * 5], np.float32)
    table = read_table(pl.DataFrame({"x": column}))
    (rule,), _ = with_sentinels(table, infer_columns(table, keep=True)[0])
    assert rule.signature_reading.missing_numbers == (float(np.float32(-999.9)), -999.9)


@pytest.mark.parametrize("day", ["1900-01-01", "9999-12-31", "9999-12-31T23:59:59", "0001-01-01", "1970-01-01"])
@pytest.mark.parametrize("typed", [True, False])
def test_a_date_that_stands_for_none_is_missing(day, typed):
    days = [dt.datetime(2015, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=float(i)) for i in RNG.integers(0, 3000, 100)]
    timestamps = [timestamp.isoformat()[:19] for timestamp in days] + [day] * 3
    column = pl.Series(timestamps).str.to_datetime() if typed else pl.Series(timestamps)
    table = read_table(pl.DataFrame({"x": column}))
    (rule,), told = with_sentinels(table, infer_columns(table, keep=True)[0])
    assert (read_column(table, rule) == MISSING_TIMESTAMP).sum() == 3
    assert rule.signature_reading.missing_numbers == (float(parse_timestamp(day)),)
    assert f"'x' holds {day} in 2.9% of" in told[0].replace("Z", "")


def test_a_birthday_in_1900_is_a_birthday():
    days = [
        dt.datetime(1900, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=float(i)) for i in RNG.integers(1000, 30000, 100)
    ]
    table = read_table({"x": [*days, dt.datetime(1900, 1, 1, tzinfo=dt.UTC), dt.datetime(1900, 1, 1, tzinfo=dt.UTC)]})
    (rule,), _ = with_sentinels(table, infer_columns(table, keep=True)[0])
    assert not (read_column(table, rule) == MISSING_TIMESTAMP).any()


def understood(columns, train=slice(None), **data):
    config = make_config(overrides={"data": {"target": "y", **data}})
    table, target = open_table(columns, config)
    nothing = np.zeros(0, np.int64)
    return understand(table, target, Split(np.arange(len(table))[train], nothing, nothing), config)


def test_a_target_that_may_be_a_sentinel_is_told_and_learned():
    target = [*DEPTHS[:90], *[-999.0] * 10]
    sentence = (
        "the target 'y' holds -999 in 10.0% of the training rows, far from all other values: it is learned as it is, "
        "but may stand for a missing one; to leave such rows out: --null -999"
    )
    table = {"x": DEPTHS[:100], "y": target}
    for options, told in (({}, [sentence]), ({"sentinels": False}, [])):
        config = make_config(overrides={"data": {"target": "y", **options}})
        assert [s for s in suspicions(understood(table, **options), config) if "-999" in s] == told
    config = make_config(overrides={"data": {"target": "y", "null": ["-999"]}})
    left_out = open_table({"x": DEPTHS[:100], "y": target}, config)
    assert (len(left_out[0]), left_out[0].notes) == (90, ("10 of 100 rows have no 'y' and are left out",))


COLUMNS = {"x": [*DEPTHS, *[-999.0] * 50], "z": [*DEPTHS, *[-999.0] * 50], "y": RNG.normal(size=250)}


def test_sentinels_are_found_unless_they_are_switched_off_for_all_columns_or_for_one():
    found = {rule.name: rule.missing_numbers for rule in understood(COLUMNS).rules}
    assert found == {"x": {-999.0}, "z": {-999.0}}
    off = understood(COLUMNS, sentinels=False)
    assert [rule.missing_numbers for rule in off.rules] == [frozenset()] * 2
    one = understood(COLUMNS, no_sentinels=["z"])
    assert [rule.missing_numbers for rule in one.rules] == [{-999.0}, frozenset()]
    with pytest.raises(TableError, match=r"no column 'w', which data\.no_sentinels names"):
        understood(COLUMNS, no_sentinels=["w"])


def test_sentinels_are_found_on_training_rows_alone():
    assert [rule.missing_numbers for rule in understood(COLUMNS, train=slice(200)).rules] == [frozenset()] * 2


def test_the_column_a_table_is_split_along_by_time_is_no_input_when_it_is_a_number():
    columns = {"year": np.arange(2000, 2060) // 2, "x": DEPTHS[:60], "y": DEPTHS[60:120]}
    split = understood(columns, split_by_time="year")
    assert [rule.name for rule in split.rules] == ["x"]
    assert split.decisions[0] == (
        "'year' is no input, as the table is split along it: the future lies outside all that training saw"
    )
    dated = columns | {"year": [dt.date(2000 + i // 12, 1 + i % 12, 1) for i in range(60)]}
    assert [rule.name for rule in understood(dated, split_by_time="year").rules] == ["year", "x"]
