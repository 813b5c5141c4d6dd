# ruff: noqa: DTZ001 - dates without a zone are what is sent here
"""What is missing, and what is sent of every type of value that a caller may have."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from rowcast.client import Unsendable, Unusable
from rowcast.client.exchange import Speaker
from rowcast.client.tables import given
from rowcast.models.texts.durations import format_duration


def rows_of(table: Any) -> list[dict[str, Any]]:
    """The rows that are sent in JSON."""
    return [row for sent in Speaker(None, "json").requests(given(table)) for row in orjson.loads(sent.body)["rows"]]


def arrow_of(table: Any) -> pa.Table:
    """The columns that are sent in Arrow."""
    return pa.concat_tables(
        pa.ipc.open_stream(s.body).read_all() for s in Speaker(None, "arrow").requests(given(table))
    )


UNITS = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"]
MISSING: list[Any] = [
    None,
    float("nan"),
    np.nan,
    np.float16("nan"),
    np.float32("nan"),
    np.float64("nan"),
    np.longdouble("nan"),
    Decimal("NaN"),
    Decimal("-NaN123"),
    Decimal("sNaN"),
    pd.NaT,
    pd.NA,
    np.ma.masked,
    np.datetime64("NaT"),
    np.timedelta64("NaT"),
    *(np.datetime64("NaT", unit) for unit in UNITS),
    *(np.timedelta64("NaT", unit) for unit in UNITS),
    np.array(np.nan),
    np.array(None),
    pa.scalar(None),
    pa.scalar(None, pa.string()),
    pa.scalar(None, pa.timestamp("ns")),
    type("MyFloat", (float,), {})("nan"),
]

FORMS: dict[str, Callable[[list[Any]], Any]] = {
    "rows": lambda values: [{"x": value} for value in values],
    "a dict of columns": lambda values: {"x": values},
    "a tuple": lambda values: {"x": tuple(values)},
    "a generator": lambda values: {"x": (value for value in values)},
    "an object array": lambda values: {"x": objects(values)},
    "a masked object array": lambda values: {"x": np.ma.MaskedArray(objects(values), False)},
    "a pandas Series": lambda values: {"x": pd.Series(values, dtype=object)},
    "a pandas frame": lambda values: pd.DataFrame({"x": pd.Series(values, dtype=object)}),
}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def objects(values: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), object)
    for i, value in enumerate(values):
        array[i] = value
    return array


BESIDE: list[Any] = ["text", 3, 1.5, True, dt.date(2020, 1, 2), Decimal("1.5"), np.int8(3), np.datetime64("2020", "ns")]


@forms
@pytest.mark.parametrize("missing", MISSING, ids=lambda value: f"{type(value).__name__}:{value!r}")
def test_what_is_missing_is_null_beside_anything(form: Any, missing: Any) -> None:
    for beside in BESIDE:
        (alone,) = rows_of(FORMS["rows"]([beside]))
        assert rows_of(form([missing, beside, missing])) == [{"x": None}, alone, {"x": None}]
        assert arrow_of(form([missing, beside])).column("x").is_null(nan_is_null=True).to_pylist() == [True, False]


@forms
@pytest.mark.parametrize("missing", MISSING, ids=lambda value: f"{type(value).__name__}:{value!r}")
def test_a_column_of_nothing_is_null(form: Any, missing: Any) -> None:
    assert rows_of(form([missing, missing])) == [{"x": None}, {"x": None}]
    assert arrow_of(form([missing, missing])).column("x").is_null(nan_is_null=True).to_pylist() == [True, True]


DAY = 86_400 * 10**6
DURATION_UNITS = {"W": 7 * DAY, "D": DAY, "h": DAY // 24, "m": DAY // 1440, "s": 10**6, "ms": 1_000}
"""Their microseconds."""


class Colour(str, enum.Enum):  # noqa: UP042 - whose str() is "Colour.RED"
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Plain(enum.Enum):
    HALF = 0.5


class Named(str):  # noqa: SLOT000
    def __str__(self) -> str:
        return "another"


NOON = "2017-01-05T12:00:00Z"
VALUES: list[tuple[Any, Any]] = [
    (3, 3),
    (-(2**63), -(2**63)),
    (2**63 - 1, 2**63 - 1),
    (1.5, 1.5),
    (3.0, 3),
    (1e300, 1e300),
    (2.0**60, 2.0**60),
    (True, True),
    ("text", "text"),
    ("", ""),
    ("ä\0\U0001f600", "ä\0\U0001f600"),
    *((kind(3), 3) for kind in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)),
    *((kind(0.5), 0.5) for kind in (np.float16, np.float32, np.float64, np.longdouble)),
    (np.float32(70.35), 70.3499984741211),
    (np.bool_(True), True),
    (np.bool_(False), False),
    (np.str_("text"), "text"),
    (np.array(3), 3),
    (np.array("text"), "text"),
    (np.array(np.datetime64("2017-01-05T12", "ns")), NOON),
    (Decimal("70.35"), 70.35),
    (Decimal("3.0"), 3),
    (Fraction(1, 4), 0.25),
    (Colour.RED, "red"),
    (Size.BIG, 3),
    (Plain.HALF, 0.5),
    (Named("text"), "text"),
    (dt.date(2017, 1, 5), "2017-01-05T00:00:00Z"),
    (dt.datetime(2017, 1, 5, 12), NOON),
    (dt.datetime(2017, 1, 5, 12, tzinfo=dt.UTC), NOON),
    (dt.datetime(2017, 1, 5, 14, tzinfo=dt.timezone(dt.timedelta(hours=2))), NOON),
    (dt.datetime(2017, 1, 5, 13, tzinfo=ZoneInfo("Europe/Berlin")), NOON),
    (dt.datetime(2017, 1, 5, 12, 0, 0, 7), "2017-01-05T12:00:00.000007Z"),
    (dt.datetime(1, 1, 1), "0001-01-01T00:00:00Z"),
    (dt.datetime(9999, 12, 31, 23, 59, 59, 999999), "9999-12-31T23:59:59.999999Z"),
    (pd.Timestamp("2017-01-05 12:00"), NOON),
    (pd.Timestamp("2017-01-05 13:00", tz="Europe/Berlin"), NOON),
    (pd.Timestamp("2017-01-05 12:00:00.000000999"), NOON),
    (pd.Timestamp(-1), "1969-12-31T23:59:59.999999Z"),
    (np.datetime64("2017-01-05", "D"), "2017-01-05T00:00:00Z"),
    (np.datetime64("2017", "Y"), "2017-01-01T00:00:00Z"),
    (np.datetime64("2017-02", "M"), "2017-02-01T00:00:00Z"),
    (np.datetime64("2017-01-05", "W"), "2017-01-05T00:00:00Z"),
    *((np.datetime64("2017-01-05T12", unit), NOON) for unit in ("h", "m", "s", "ms", "us", "ns")),
    *((np.datetime64(1, unit), "1970-01-01T00:00:00Z") for unit in ("ps", "fs", "as")),
    (np.datetime64(-1, "ns"), "1969-12-31T23:59:59.999999Z"),
    (np.datetime64(5, "25s"), "1970-01-01T00:02:05Z"),
    (dt.timedelta(hours=1, minutes=30), "PT1H30M"),
    (dt.timedelta(microseconds=-1), "-PT0.000001S"),
    (pd.Timedelta("1 days 02:00:00"), "P1DT2H"),
    (pd.Timedelta(1, "ns"), "PT0S"),
    *((np.timedelta64(7 * DAY // each, unit), "P7D") for unit, each in DURATION_UNITS.items()),
    (np.timedelta64(90 * 10**9, "ns"), "PT1M30S"),
    (pa.scalar(90, pa.duration("s")), "PT1M30S"),
    (pa.scalar(90_000_000_001, pa.duration("ns")), "PT1M30S"),
    (pa.scalar(3), 3),
    (pa.scalar("text"), "text"),
    (pa.scalar(dt.datetime(2017, 1, 5, 12), pa.timestamp("ns")), NOON),
    (pa.scalar(1_483_617_600_000_000_001, pa.timestamp("ns")), NOON),
]


@forms
@pytest.mark.parametrize(("value", "sent"), VALUES, ids=lambda value: f"{type(value).__name__}:{value!r}")
def test_a_value_is_sent_as_what_it_is(form: Any, value: Any, sent: Any) -> None:
    got = rows_of(form([value]))[0]["x"]
    assert (type(got), got) == (type(sent), sent)
    (arrow,) = arrow_of(form([value])).column("x").to_pylist()
    if isinstance(arrow, dt.timedelta):
        arrow = format_duration(arrow.total_seconds())
    assert (arrow.isoformat().replace("+00:00", "Z") if isinstance(arrow, dt.datetime) else arrow) == sent


FOREIGN: list[tuple[Any, str]] = [
    (b"text", "got bytes: decode it to text"),
    (bytearray(b"x"), "got bytearray: decode it to text"),
    (np.bytes_(b"x"), "got bytes_: decode it to text"),
    (1j, "got complex"),
    (np.complex128(1j), "got complex128"),
    (np.timedelta64(1, "M"), "got timedelta64: make it days or less"),
    (dt.time(1), "got time: send its isoformat()"),
    (pd.Period("2017-01", "M"), "got Period: send its to_timestamp()"),
    (uuid.UUID(int=0), "got UUID: send it as str()"),
    ([1], "got list: send one value a cell"),
    ({"a": 1}, "got dict: send one value a cell"),
    (np.ones(2), "got ndarray: send one value a cell"),
    (object(), "got object: turn it into one of these"),
]


@forms
@pytest.mark.parametrize(("value", "words"), FOREIGN, ids=lambda value: type(value).__name__)
def test_what_is_not_sent_is_named_with_its_row_and_the_way_out(form: Any, value: Any, words: str) -> None:
    with pytest.raises(Unsendable) as caught:
        rows_of(form([None, value]))
    assert str(caught.value).startswith("rows[1].x must be text, a number, a boolean, a date, a duration, or None")
    assert words in str(caught.value)


@forms
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([2**63], r"column 'x' holds a number beyond 64 bits, in rows\[0\].x"),
        ([0, -(2**63) - 1], r"beyond 64 bits, in rows\[1\].x"),
        ([2**53 + 1, 0.5], r"rows\[0\].x must be a number that a double holds, got a whole number beyond 2\*\*53"),
        ([0.5, 10**400], r"rows\[1\].x must be a number"),
        ([Decimal(2**53 + 1)], r"rows\[0\].x must be a number that a double holds"),
        ([Decimal("1e400")], r"rows\[0\].x must be a number, or NaN where it is missing"),
        ([Decimal("Infinity")], r"rows\[0\].x must be a number, or NaN where it is missing"),
        ([Fraction(10**400, 3)], r"rows\[0\].x must be a number, or NaN where it is missing"),
        ([0.5, np.longdouble("1e4000")], r"rows\[1\].x must be a number, or NaN"),
        ([0.0, float("-inf")], r"rows\[1\].x must be a number, or NaN where it is missing, got inf"),
        ([dt.timedelta.max], r"rows\[0\].x must be a duration in days or less that 64 bits hold"),
        ([np.datetime64("10000-01-01", "s")], r"timestamp outside of the years 0001 to 9999, in rows\[0\].x"),
        ([None, np.datetime64(10**15, "Y")], r"timestamp outside of the years 0001 to 9999, in rows\[1\].x"),
        ([np.datetime64("-0001-01-01", "D")], r"timestamp outside of the years 0001 to 9999, in rows\[0\].x"),
        (
            [dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))],
            "timestamp outside of the years 0001 to 9999",
        ),
        (["a", "b\ud800"], r"rows\[1\].x must be text that can be written in UTF-8"),
    ],
)
def test_what_cannot_be_said_is_named(form: Any, values: list[Any], words: str) -> None:
    with pytest.raises(Unsendable, match=words):
        rows_of(form(values))
    with pytest.raises(Unsendable, match=words):
        arrow_of(form(values))


def test_values_of_several_types_are_sent_as_json_has_them_and_not_as_arrow() -> None:
    values = ["a", 3, 2.5, 4.0, True, None, dt.date(2017, 1, 1)]
    sent = ["a", 3, 2.5, 4, True, None, "2017-01-01T00:00:00Z"]
    assert [row["x"] for row in rows_of({"x": values})] == sent
    with pytest.raises(
        Unsendable, match=r"column 'x' must be of one type .* got text in rows\[0\] and a number in rows\[1\]"
    ):
        arrow_of({"x": values})
    with pytest.raises(Unsendable, match=r"rows\[1\].x must be a number, or NaN"):
        rows_of({"x": ["a", float("inf")]})
    speaker = Speaker(None, "auto")
    many = list(speaker.requests(given({"x": [1, "a"] * 3000})))
    assert {request.body[:1] for request in many} == {b"{"}


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "longdouble"])
def test_arrays_of_floats(kind: str) -> None:
    values = np.array([1.5, np.nan, 2.5], kind)
    assert rows_of({"x": values}) == [{"x": 1.5}, {"x": None}, {"x": 2.5}]
    masked = np.ma.MaskedArray(values, [True, False, False])
    assert rows_of({"x": masked}) == [{"x": None}, {"x": None}, {"x": 2.5}]
    with pytest.raises(Unsendable, match=r"rows\[1\].x must be a number"):
        rows_of({"x": np.array([1, np.inf], kind)})


@pytest.mark.parametrize("unit", UNITS)
def test_arrays_of_moments(unit: str) -> None:
    values = np.array(["1970-01-01", "NaT"], f"datetime64[{unit}]")
    assert rows_of({"x": values}) == [{"x": "1970-01-01T00:00:00Z"}, {"x": None}]
    assert rows_of({"x": values.astype(values.dtype.newbyteorder(">"))}) == rows_of({"x": values})
    masked = np.ma.MaskedArray(values, [True, False])
    assert rows_of({"x": masked}) == [{"x": None}, {"x": None}]


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        (np.array([1, 2], ">i4"), [1, 2]),
        (np.array([1, 2], "u1"), [1, 2]),
        (np.array([2**63 - 1], "u8"), [2**63 - 1]),
        (np.array([True, False]), [True, False]),
        (np.ma.MaskedArray([1, 2], [False, True]), [1, None]),
        (np.ma.MaskedArray([True, False], [False, True]), [True, None]),
        (np.ma.MaskedArray(["a", "b"], [False, True]), ["a", None]),
        (np.array(["a", "bc"]), ["a", "bc"]),
        (np.array(["a", "bc"], np.dtypes.StringDType()), ["a", "bc"]),
        (np.array(["a", None], np.dtypes.StringDType(na_object=None)), ["a", None]),
        (np.array(["a", np.nan], np.dtypes.StringDType(na_object=np.nan)), ["a", None]),
        (np.array([], float), []),
        (np.arange(10)[::3], [0, 3, 6, 9]),
        (range(2), [0, 1]),
        (pd.Index(["a", "b"]), ["a", "b"]),
        (pd.Categorical(["a", None]), ["a", None]),
        (pd.array([1, None], "Int64"), [1, None]),
        (pl.Series([1, None]), [1, None]),
        (pa.array([1, None]), [1, None]),
        (pa.chunked_array([[1], [None, 2]]), [1, None, 2]),
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_columns_of_other_kinds(values: Any, sent: list[Any]) -> None:
    if sent:
        assert rows_of({"x": values}) == [{"x": value} for value in sent]
        assert arrow_of({"x": values}).to_pydict() == {"x": sent}
    else:
        with pytest.raises(Unsendable, match="at least one row"):
            rows_of({"x": values})


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"x": np.ones((2, 1))}, r"column 'x' must be one-dimensional, got the shape \(2, 1\): use .ravel\(\)"),
        ({"x": np.array([2**63], "u8")}, "column 'x' holds a number beyond 64 bits"),
        ({"x": np.array([1j])}, "got complex128"),
        ({"x": np.array([(1, 2)], "i4,i4")}, "got void"),
        ({"x": 3}, "must be a list of values, got int; a single row is sent as a list of one dict"),
        ({"x": "abc"}, "must be a list of values, got str"),
        ({"x": {1, 2}}, "must be a list of values, got set"),
        ({"x": [1], 1: [2], "1": [3]}, "column names must differ, got '1' twice"),
        ([{1: 2, "1": 3}], "column names must differ, got '1' twice"),
        ({"x\ud800": [1]}, "a column's name must be text that can be written in UTF-8"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "column names must differ, got 'a' twice"),
        (pa.table([[1], [2]], names=["a", "a"]), "column names must differ, got 'a' twice"),
        (np.ones((2, 2)), "a table is .* got numpy.ndarray; rows are dicts by column name, in a list"),
        (pd.Series([1]), "a table is .* got pandas"),
        ([1, 2], "a table is "),
        (b"abc", "a table is "),
        (None, "a table is "),
        (3, "a table is "),
        ({}, "a table must hold at least one row"),
        (pd.DataFrame(index=range(3)), "a table must hold at least one column"),
    ],
    ids=repr,
)
def test_tables_that_are_none_are_told(table: Any, words: str) -> None:
    with pytest.raises(Unsendable, match=words):
        arrow_of(table)


def test_an_error_names_the_row_of_the_whole_table() -> None:
    values: list[Any] = ["a"] * 20_000
    values[19_000] = b"b"
    for table in (
        {"x": values},
        [{"x": value} for value in values],
        pd.DataFrame({"x": pd.Series(values, dtype=object)}),
    ):
        with pytest.raises(Unsendable, match=r"rows\[19000\].x must be text"):
            rows_of(table)
        with pytest.raises(Unsendable, match=r"rows\[19000\].x must be text"):
            arrow_of(table)


def test_rows_may_lack_columns_each_its_own() -> None:
    rows = [{"a": 1}, {"b": "x", "a": None}, {}, {"b": None}]
    assert rows_of(rows) == rows
    assert rows_of([{}, {}]) == [{}, {}]
    with pytest.raises(Unsendable, match=r"got others in rows\[1\]: choose protocol='json'"):
        arrow_of(rows)
    many = [{"a": i} if i % 2 else {"a": i, "b": i} for i in range(5000)]
    assert rows_of(many) == many
    assert rows_of([{"a": "x"}, {"a": 1, "b": 1}]) == [{"a": "x"}, {"a": 1, "b": 1}]


def test_names_are_text() -> None:
    assert rows_of([{1: 2, Colour.RED: 3, np.str_("n"): 4}]) == [{"1": 2, "red": 3, "n": 4}]
    assert rows_of(pd.DataFrame([[5, 6]])) == [{"0": 5, "1": 6}]


def test_rows_come_in_an_array_or_a_tuple_as_well() -> None:
    rows = [{"x": 1}, {"x": 2}]
    assert rows_of(tuple(rows)) == rows_of(np.array(rows, object)) == rows_of(rows) == rows


def test_a_frame_of_a_type_that_extends_one_is_one() -> None:
    class Mine(pd.DataFrame):
        pass

    assert rows_of(Mine({"x": [1]})) == [{"x": 1}]


@pytest.mark.parametrize("alias", ["live", "latest"])
def test_an_alias_of_the_repository_is_refused_with_the_way_to_what_is_live(alias: str) -> None:
    with pytest.raises(Unusable, match=f"NAME@{alias} is for a repository: a service answers for what is live as 'fl"):
        Speaker(f"flights@{alias}", "auto")
