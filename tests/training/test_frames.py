"""What comes from memory: every Python, NumPy, pandas and Arrow value is read as what it is, or refused by name."""

from __future__ import annotations

import datetime as dt
import enum
import re
import uuid
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from rowcast.models.errors import TableError
from rowcast.training.columns.infer import infer_columns
from rowcast.training.data.table import read_table

DAY = dt.date(2024, 2, 29)
NOON = dt.datetime(2024, 2, 29, 12)  # noqa: DTZ001
ID = uuid.UUID(int=7)


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


MISSING = [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, Decimal("NaN"), Decimal("sNaN"), np.datetime64("NaT")]


@pytest.mark.parametrize("missing", [*MISSING, np.timedelta64("NaT")], ids=lambda value: f"{type(value).__name__}")
@pytest.mark.parametrize("value", ["x", 7, 2.5, True, DAY, NOON, Decimal("1.5"), dt.timedelta(1)])
def test_whatever_stands_for_missing_is_null_beside_any_value(missing, value):
    expected = 1.5 if isinstance(value, Decimal) else value
    assert read_table({"c": [missing, value]}).frame["c"].to_list() == [None, expected]
    assert read_table({"c": np.array([missing, value], dtype=object)}).frame["c"].to_list() == [None, expected]
    assert read_table([{"c": missing}, {"c": value}]).frame["c"].to_list() == [None, expected]
    if value != 2.5 or missing is not pd.NaT:  # pandas makes a column of dates of it
        series = pd.Series([missing, value], dtype=object)
        assert read_table(pd.DataFrame({"c": series})).frame["c"].to_list() == [None, expected]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (np.str_("x"), "x"),
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float16(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.bool_(True), True),
        (np.array(4), 4),
        (Fraction(1, 4), 0.25),
        (ID, str(ID)),
        (IPv4Address("10.0.0.1"), "10.0.0.1"),
        (Size.LARGE, "large"),
        (pd.Period("2024-02", "M"), "2024-02"),
        (pd.Timestamp("2024-02-29 12:00", tz="Europe/Berlin"), NOON.replace(hour=11)),
        (pd.Timedelta(hours=1), dt.timedelta(hours=1)),
        (np.datetime64("2024-02-29T12:00:00.000000001"), NOON),
        (np.datetime64("2024-02-29"), DAY),
        (np.timedelta64(90, "m"), dt.timedelta(minutes=90)),
        (dt.time(8, 30, tzinfo=dt.UTC), dt.time(8, 30)),
        (pa.scalar("x"), "x"),
        (pa.scalar(None, pa.int64()), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scalars_of_every_library_are_what_they_mean(value, read):
    assert read_table({"c": [value, None]}).frame["c"].to_list() == [read, None]


def test_whole_numbers_of_any_size_are_kept_digit_by_digit():
    huge = [2**130, -(2**64), 5]
    assert read_table({"c": [*huge, None]}).frame["c"].to_list() == [*map(str, huge), None]
    assert read_table({"c": np.array(huge, dtype=object)}).frame["c"].to_list() == list(map(str, huge))
    assert read_table({"c": [2**63, 1]}).frame["c"].to_list() == [2**63, 1]
    assert read_table({"c": [2**130, 0.5]}).frame["c"].to_list() == [2.0**130, 0.5]
    rules, decisions = infer_columns(read_table({"c": [2**130, 7, 7, 2**130]}))
    assert [rule.kind for rule in rules] == ["category"]
    assert decisions[0].startswith("'c' is kept as text: whole numbers beyond 2**53 do not fit a double")


@pytest.mark.parametrize(
    ("values", "fragments"),
    [
        ([b"x"], ("got bytes in row 1 of column 'c'", "--drop c")),
        ([None, 1 + 2j], ("got complex in row 2",)),
        ([[1, 2]], ("got list in row 1",)),
        ([{"a": 1}], ("got dict in row 1",)),
        ([object], ("got type in row 1",)),
        ([pd.Series([1])], ("got pandas.Series in row 1",)),
        (["ok", "cut \ud83d"], ("row 2", "half of a character", "ud83d")),
        ([dt.timedelta.max], ("'c' holds a duration that cannot be read",)),
        ([dt.datetime.max.replace(tzinfo=dt.timezone(-dt.timedelta(hours=5)))], ("a date that cannot be read",)),
        ([10**5000], ("a number that cannot be read",)),
        (np.array([1 + 2j]), ("got complex in row 1",)),
        (pd.Series([b"x"]), ("got bytes in row 1",)),
    ],
)
def test_a_column_that_no_model_can_take_is_refused_when_it_is_asked_for_and_only_then(values, fragments):
    table = read_table({"c": values, "x": [1.5] * len(values)})
    for ask in (lambda: table.require("c", "the model takes"), lambda: infer_columns(table)):
        with pytest.raises(TableError) as refusal:
            ask()
        for fragment in fragments:
            assert fragment in str(refusal.value)
    assert table.drop(["c"]).unusable == {}
    with pytest.raises(TableError):
        table.rename({"c": "other"}).require("other", "the model takes")


@pytest.mark.parametrize(
    ("values", "fragments"),
    [
        (["x", 1], ("'c' mixes types", "text in row 1", "a number in row 2", "--drop c")),
        ([None, True, 1], ("a boolean in row 2", "a number in row 3")),
        ([dt.timedelta(1), DAY], ("a duration in row 1", "a date in row 2")),
    ],
)
def test_several_types_in_a_category_are_refused_with_their_rows(values, fragments):
    with pytest.raises(TableError) as refusal:
        infer_columns(read_table({"c": values}))
    for fragment in fragments:
        assert fragment in str(refusal.value)


def test_several_types_are_kept_apart_through_every_step_of_a_table():
    table = read_table({"c": [20, "x", None, NOON, True, 0.5]}).take([5, 4, 3, 1]).rename({"c": "d"})
    assert table.mixed["d"].tolist() == ["number", "boolean", "date", "text"]
    assert table.frame["d"].to_list() == ["0.5", "true", "2024-02-29T12:00:00Z", "x"]
    assert table.drop(["d"]).mixed == {}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array(["2024-01-01", "30000-01-01"], "datetime64[D]"), "a date outside of the years 0001 to 9999"),
        (np.array(["2024", "900000"], "datetime64[Y]"), "a date outside of the years 0001 to 9999"),
        (np.ma.array(np.array([0, 2**60], "datetime64[s]"), mask=[True, False]), "a date outside of the years"),
        (np.array([1, 2**62], "timedelta64[s]"), "or too long for microseconds in 64 bits"),
        (np.array(["NaT", 3], "timedelta64[M]"), "a duration of no certain length (months, years)"),
        (np.ma.array(np.array([1, 2], "timedelta64[Y]"), mask=[True, False]), "a duration of no certain length"),
        ([np.timedelta64(1, "s"), np.timedelta64(3, "M")], "a duration of no certain length"),
        ([dt.date(2024, 1, 1), np.datetime64("30000-01-01")], "a date outside of the years 0001 to 9999"),
    ],
)
def test_what_64_bits_of_microseconds_do_not_hold_is_refused_with_its_row_and_never_wraps(values, said):
    table = read_table({"x": values, "y": [1, 2]})
    with pytest.raises(TableError, match=re.escape(said)) as refused:
        table.require("x", "--target names")
    assert "row 2" in str(refused.value)
    assert "--drop x" in str(refused.value)


@pytest.mark.parametrize(
    ("source", "fragments"),
    [
        (np.zeros((4, 2, 2)), ("an array is a table of rows and columns, got one of shape (4, 2, 2)",)),
        (np.array(4.0), ("got one of shape ()",)),
        (np.zeros((4, 0)), ("array is empty: a table needs at least one column",)),
        (pd.Series([1]), ("Series: one column alone", "to_frame()")),
        (pl.Series([1]), ("Series: one column alone", "to_frame()")),
        ([1, 2, 3], ("got builtins.list: pass a list of dicts",)),
        ([[1, 2], [3]], ("rows must be of one length; row 1 holds 2 values and row 2 holds 1",)),
        (7, ("got builtins.int",)),
        ({"a": "text", "b": [1, 2]}, ("'a' must be a list of values, got 'text'",)),
        ({"a": {0: 1, 1: 2}}, ("'a' must be a list of values, got a dict", "orient='list'")),
        ({"a": {1, 2}}, ("got a set, which has no order",)),
        ({"a": np.zeros((2, 2))}, ("an array of shape (2, 2)",)),
        ({"\ud83d": [1]}, ("a column name must be text", "half of a character")),
        (pl.DataFrame({"a": [1]}).select(pl.struct("a").alias("")), ("needs a name",)),
    ],
)
def test_what_is_no_table_is_refused_with_what_to_pass_instead(source, fragments):
    with pytest.raises(TableError) as refusal:
        read_table(source)
    for fragment in fragments:
        assert fragment in str(refusal.value)


def test_an_array_or_a_list_of_lists_is_a_table_whose_columns_are_called_by_their_places():
    expected = [{"x0": 1.5, "x1": 2.0}, {"x0": None, "x1": 4.0}]
    array = np.array([[1.5, 2.0], [np.nan, 4.0]])
    for source in (array, np.asfortranarray(array), np.ma.masked_invalid(array), array.tolist(), tuple(array)):
        table = read_table(source)
        assert (table.frame.to_dicts(), table.array_columns) == (expected, 2)
    assert read_table(np.array([["a", 1], ["b", None]], object)).frame.rows() == [("a", 1), ("b", None)]
    assert read_table(np.arange(3)).frame.to_dict(as_series=False) == {"x0": [0, 1, 2]}
    assert read_table(np.array([{"a": 1}, {"a": 2}], object)).frame.to_dict(as_series=False) == {"a": [1, 2]}
    assert read_table({"a": [1]}).array_columns is None


def test_a_sparse_matrix_is_told_to_be_an_array():
    from scipy.sparse import csr_matrix

    with pytest.raises(TableError, match=r"passed as an array, see toarray\(\)"):
        read_table(csr_matrix(np.eye(3)))


def test_a_bunch_of_scikit_learn_is_told_to_pass_its_frame():
    from sklearn.utils import Bunch

    with pytest.raises(TableError, match=r"a Bunch of scikit-learn is no table: .* pass its frame"):
        read_table(Bunch(data=np.zeros((150, 4)), target=np.zeros(150), feature_names=["a"] * 4))


def test_a_dict_of_scalars_is_one_row_and_a_list_of_dicts_is_rows():
    assert read_table({"a": 1, "b": "x", "c": None, "d": np.float32(0.5), "e": DAY}).frame.rows() == [
        (1, "x", None, 0.5, DAY)
    ]
    assert read_table([{"a": 1, "b": "x"}, {"b": "y", 7: True}]).frame.to_dicts() == [
        {"a": 1, "b": "x", "7": None},
        {"a": None, "b": "y", "7": True},
    ]


def test_arrow_tables_batches_and_readers_are_tables():
    table = pa.table(
        {
            "n": [1, None],
            "z": pa.array([NOON, None], pa.timestamp("ns", "Europe/Berlin")),
            "d": pa.array([90_000_000, None], pa.duration("us")),
            "t": pa.array([dt.time(8, 30), None]),
            "c": pa.array(["u", None]).dictionary_encode(),
        }
    )
    rows = [(1, NOON, dt.timedelta(seconds=90), dt.time(8, 30), "u"), (None,) * 5]
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
    for source in (table, table.to_batches()[0], reader):
        read = read_table(source)
        assert read.frame.rows() == rows
        assert read.declared == {"c"}


def test_a_pandas_column_made_by_arrow_is_read_as_its_values_mean():
    def column(values, arrow):
        return pd.Series(pd.array(values, dtype=pd.ArrowDtype(arrow)))

    frame = pd.DataFrame(
        {
            "zoned": column([NOON, None], pa.timestamp("us", "UTC")),
            "naive": column([NOON, None], pa.timestamp("s")),
            "day": column([DAY, None], pa.date32()),
            "time": column([dt.time(8, 30), None], pa.time64("us")),
            "text": column(["x", None], pa.string()),
            "whole": column([2**60, None], pa.int64()),
            "flag": column([True, None], pa.bool_()),
            "money": column([Decimal("1.50"), None], pa.decimal128(5, 2)),
            "level": column([1, None], pa.dictionary(pa.int8(), pa.int64())),
        }
    )
    table = read_table(frame)
    assert table.frame.rows() == [
        (NOON, NOON, DAY, dt.time(8, 30), "x", 2**60, True, Decimal("1.50"), "1"),
        (None,) * 9,
    ]
    assert table.declared == {"level"}


def test_pandas_types_of_every_kind_are_read_as_their_values_mean():
    frame = pd.DataFrame(
        {
            "took": pd.to_timedelta(["1h", None]),
            "month": pd.Series(pd.PeriodIndex(["2024-02", None], freq="M")),
            "sparse": pd.arrays.SparseArray([0.5, np.nan]),
            "bin": pd.cut([1, 5], [0, 3, 9]),
            "yes": pd.Categorical([True, None]),
            "grade": pd.Categorical([1.5, 2.0]),
            "when": pd.Categorical(pd.to_datetime(["2024-02-29 12:00", None])),
        }
    )
    table = read_table(frame)
    assert table.frame.rows() == [
        (dt.timedelta(hours=1), "2024-02", 0.5, "(0, 3]", "true", "1.5", "2024-02-29T12:00:00Z"),
        (None, None, None, "(3, 9]", None, "2", None),
    ]
    assert table.declared == {"bin", "yes", "grade", "when"}


def test_arrays_of_numpy_are_read_whatever_their_byte_order_and_mask():
    table = read_table(
        {
            "big": np.array([1.5, 2.5], ">f8"),
            "half": np.array([0.5, 1.5], np.float16),
            "masked": np.ma.array([1, 2], mask=[False, True]),
            "days": np.array(["2024-02-29", "NaT"], "datetime64[D]"),
            "took": np.array([90, "NaT"], "timedelta64[s]"),
            "arrow": pa.chunked_array([["x"], [None]]),
            "index": pd.Index(["a", "b"]),
        }
    )
    midnight = NOON.replace(hour=0)
    assert table.frame.rows() == [
        (1.5, 0.5, 1, midnight, dt.timedelta(seconds=90), "x", "a"),
        (2.5, 1.5, None, None, None, None, "b"),
    ]
    records = np.array([(1, "x"), (2, "y")], dtype=[("a", "i4"), ("b", "U1")])
    assert read_table(records).frame.to_dicts() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_columns_of_a_frame_may_have_names_of_any_type():
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", 7)]))
    assert read_table(frame).names == ("('a', 'x')", "('a', 7)")
    with pytest.raises(TableError, match="'1' comes twice"):
        read_table(pd.DataFrame([[1, 2]], columns=[1, "1"]))
