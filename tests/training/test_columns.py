"""What a column is follows from its training rows, and every later value is read by that rule or refused."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rowcast.models.errors import TableError
from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.models.values import format_timestamp, parse_timestamp
from rowcast.training.columns.infer import ColumnRule, check_names, infer_columns, read_column
from rowcast.training.columns.kinds import Levels, Look, kind_of_texts
from rowcast.training.columns.plain import read_plain_numbers
from rowcast.training.columns.reading import NULL_SPELLINGS, PLAIN, parse_numbers
from rowcast.training.columns.timestamps import parse_timestamps
from rowcast.training.data.table import Table, read_table
from tests.training.hostile_tables import VALUES, Hostile


def texts(**columns: list[str | None]) -> Table:
    """A table as text files give it."""
    return read_table(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)))


def rule_of(table: Table, **options) -> ColumnRule:
    (rule,), _ = infer_columns(table, keep=True, **options)
    return rule


def kind_of(*values: str | None, **options) -> str:
    return rule_of(texts(x=list(values)), **options).kind


def read(table: Table, rule: ColumnRule) -> list:
    return [None if isinstance(v, float) and math.isnan(v) else v for v in read_column(table, rule).tolist()]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1.5", "2", "-3e5"], "number"),
        (["1.0", "2.0"], "number"),
        (["1", "2e0"], "number"),
        ([".5", "5.", "+0.5", "-.5e-3"], "number"),
        (["0", "1", "0"], "integer"),
        (["0", "-5", "+7", None], "integer"),
        ([" 5", "6 ", "\t7"], "integer"),
        (["9007199254740992", "-9007199254740992"], "integer"),
        (["9007199254740993", "1"], "category"),
        (["00123", "20500"], "category"),
        (["-007", "3"], "category"),
        (["00", "1"], "category"),
        (["0.5", "-0.5", "0", "-0"], "number"),
        (["01.5", "2.5"], "number"),
        (["true", "False", "TRUE", None], "boolean"),
        (["yes", "no", "yes"], "category"),
        (["t", "f", "t"], "category"),
        (["2013-07-01", "2013-07-01T08:30:00.5+02:00", None], "timestamp"),
        (["2013-07-01 08:30", "2013-07-01t08:30z"], "timestamp"),
        (["20130701", "20130702"], "integer"),
        (["13/01/2013", "07/02/2013"], "timestamp"),
        (["08:30", "09:30"], "duration"),
        (["1", "2", "NA"], "integer"),
        (["1.5", "NaN", "null", "NA", None], "number"),
        (["2013-07-01", "NA"], "timestamp"),
        (["red", "NA", "blue"], "category"),
        (["00123", "NA"], "category"),
        (["1", "2", "x"], "category"),
        (["1,5", "x", "y"], "category"),
        (["a,b", "c"], "category"),
    ],
)
def test_the_kind_of_a_column_is_what_all_its_values_are(values, kind):
    assert kind_of(*values) == kind


def test_the_three_spellings_of_null_are_levels_among_text():
    table = texts(x=["NA", "red", None, "null", "NaN"])
    rule = rule_of(table)
    assert (rule.kind, rule.nullable, rule.nulls) == ("category", True, frozenset())
    assert read(table, rule) == ["NA", "red", "", "null", "NaN"]


def test_the_three_spellings_of_null_are_null_among_numbers_and_dates():
    table = texts(x=["NA", "1", " null ", "NaN", "2"])
    assert rule_of(table) == ColumnRule("x", "integer", nullable=True, nulls=frozenset({"NA", "NaN", "null"}))
    assert read(table, rule_of(table)) == [None, 1.0, None, None, 2.0]
    dates = texts(x=["1970-01-01", "NA"])
    assert read_column(dates, rule_of(dates)).tolist() == [0, MISSING_TIMESTAMP]


def test_other_spellings_are_null_only_where_listed():
    table = texts(x=["?", "1", "2"], y=["?", "red", "-"])
    rules, _ = infer_columns(table, null=["?", "-"], keep=True)
    assert [(rule.kind, rule.nullable) for rule in rules] == [("integer", True), ("category", True)]
    assert read(table, rules[0]) == [None, 1.0, 2.0]
    assert read(table, rules[1]) == ["", "red", ""]


def test_a_listed_null_holds_for_typed_numbers_too():
    table = read_table({"x": [-999, 5, None], "y": [-999.0, 0.5, None]})
    rules, _ = infer_columns(table, null=["-999"], keep=True)
    assert [read(table, rule) for rule in rules] == [[None, 5.0, None], [None, 0.5, None]]
    assert all(rule.nullable for rule in rules)


def test_nullable_says_whether_a_training_row_lacked_it():
    assert not rule_of(texts(x=["1", "2"])).nullable
    assert rule_of(texts(x=["1", None])).nullable
    assert rule_of(texts(x=["1", " ", "2"])).nullable
    assert rule_of(texts(x=["a", None])).nullable


@pytest.mark.parametrize("hostile", VALUES, ids=lambda hostile: hostile.name)
def test_a_value_unlike_nearly_all_others_is_refused_with_the_way_out(hostile: Hostile, tmp_path):
    file = tmp_path / "my.csv"
    file.write_bytes(hostile.content)
    with pytest.raises(TableError) as refusal:
        infer_columns(read_table(file))
    for fragment in ("my.csv", "'x'", "--category x", *hostile.fragments):
        assert fragment in str(refusal.value)


@pytest.mark.parametrize(("n_numbers", "is_refused"), [(9, True), (8, False)])
def test_a_column_is_taken_for_numbers_with_mistakes_from_nine_in_ten(n_numbers, is_refused):
    values = [f"{i}.5" for i in range(n_numbers)] + ["x"] * (10 - n_numbers)
    if is_refused:
        with pytest.raises(TableError, match="'x' in row 10, which is not a number"):
            infer_columns(texts(c=values))
    else:
        assert kind_of(*values) == "category"


def test_the_ways_out_that_a_refusal_names_are_ways_out():
    table = texts(x=[*(f"{i}.5" for i in range(20)), "abc"])
    assert rule_of(table, category=["x"]).kind == "category"
    assert rule_of(table, null=["abc"]).kind == "number"


def test_a_typed_column_is_what_its_type_says():
    table = read_table(
        pl.DataFrame(
            {
                "i": [1, 2, None],
                "f": [1.0, 2.0, None],
                "b": [True, None, False],
                "s": ["x", None, "y"],
                "d": [dt.date(1969, 12, 31), None, dt.date(1970, 1, 2)],
                "n": pl.Series([-1, None, 1500]).cast(pl.Datetime("ns")),
                "m": pl.Series([-1, None, 1]).cast(pl.Datetime("ms")),
                "c": pl.Series(["1.25", None, "2.00"]).cast(pl.Decimal(10, 2)),
                "u": pl.Series([3, None, 4], dtype=pl.UInt8),
            }
        )
    )
    rules, decisions = infer_columns(table, keep=True)
    assert [rule.kind for rule in rules] == [
        *("integer", "number", "boolean", "category", "timestamp", "timestamp", "timestamp", "number", "integer")
    ]
    assert decisions == []
    never = MISSING_TIMESTAMP
    assert {rule.name: read(table, rule) for rule in rules} == {
        "i": [1.0, 2.0, None],
        "f": [1.0, 2.0, None],
        "b": [1.0, None, 0.0],
        "s": ["x", "", "y"],
        "d": [-86_400_000_000, never, 86_400_000_000],
        "n": [-1, never, 1],
        "m": [-1000, never, 1000],
        "c": [1.25, None, 2.0],
        "u": [3.0, None, 4.0],
    }


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([[1], [2]]),
        pl.Series([{"a": 1}, {"a": 2}]),
        pl.Series([b"x", b"y"]),
    ],
    ids=lambda column: str(column.dtype),
)
def test_a_column_of_a_type_no_model_takes_is_refused(column):
    table = read_table({"x": column, "y": [1.5, 2.5]})
    with pytest.raises(TableError, match=r"; 'x' holds .*--drop x"):
        infer_columns(table)
    with pytest.raises(TableError, match="--drop x"):
        infer_columns(table, category=["x"])
    assert [rule.name for rule in infer_columns(table, exclude=["x"])[0]] == ["y"]


def test_infinity_is_refused_in_typed_numbers_too():
    with pytest.raises(TableError, match=r"'x' holds -inf in row 2, which is not a number that is finite"):
        infer_columns(read_table({"x": [1.5, -math.inf]}))


def test_columns_of_no_use_are_dropped_and_the_decision_names_them_but_no_value():
    n = 200
    table = texts(
        constant=["same"] * n,
        constant_number=["7", "7.0"] * (n // 2),
        empty=[None] * n,
        only_na=["NA", None] * (n // 2),
        person=[f"person {i}" for i in range(n)],
        nearly=[f"person {max(i, 2)}" for i in range(n)],
        row=[str(3 * i) for i in range(n)],
        holed=[None if i % 5 else str(i) for i in range(n)],
        clock=[format_timestamp(i * 1_000_000) for i in range(n)],
        decimal=[f"{i}.5" for i in range(n)],
        sometimes=["same", None] * (n // 2),
        shuffled=[str(i * 7 % n) for i in range(n)],
        often=[f"person {i}" if i < 190 else "person 0" for i in range(200)],
        rare=[f"person {i % 100}" for i in range(200)],
    )
    rules, decisions = infer_columns(table)
    assert [rule.name for rule in rules] == ["clock", "decimal", "sometimes", "shuffled", "often"]
    identifier = "is dropped: it looks like an identifier,"
    counts_up = "whole numbers that only count up from row to row;"
    no_level = "none of its levels is held by 10 training rows, and a rarer one could point at a person"
    assert decisions == [
        "'constant' is dropped: it is constant in the training rows",
        "'constant_number' is dropped: it is constant in the training rows",
        "'empty' is dropped: no training row holds a value in it",
        "'only_na' is dropped: no training row holds a value in it",
        f"'person' {identifier} with 200 distinct texts in 200 training rows; keep it with --keep person",
        f"'nearly' {identifier} with 198 distinct texts in 200 training rows; keep it with --keep nearly",
        f"'row' {identifier} {counts_up} keep it with --keep row",
        f"'holed' {identifier} {counts_up} keep it with --keep holed",
        f"'rare' is dropped: {no_level}: group its values in the table, such as the first letters of a code",
    ]


def test_a_column_named_as_category_is_kept_though_it_looks_like_an_identifier():
    table = texts(person=["a", "b", "c"], row=["1", "2", "3"], same=["x", "x", "x"])
    rules, decisions = infer_columns(table, category=["person", "row", "same"])
    assert [(rule.name, rule.kind, rule.whole_levels) for rule in rules] == [
        ("person", "category", False),
        ("row", "category", True),
    ]
    assert decisions == ["'same' is dropped: it is constant in the training rows"]


def test_numbers_kept_as_text_say_why():
    table = texts(zip=["00123", "20500", "00123"], card=["9007199254740993", "1", "1"], day=["07/01/2013", "x", "x"])
    rules, decisions = infer_columns(table)
    assert [rule.kind for rule in rules] == ["category"] * 3
    day = "'day' is a category: 33.3% of its values are dates, 66.7% are not"
    assert decisions == [
        "'zip' is kept as text: a number would lose its leading zeros",
        "'card' is kept as text: whole numbers beyond 2**53 do not fit a double",
        f"{day}; to read them as dates, correct them and say --date day",
    ]
    assert read(table, rules[0]) == ["00123", "20500", "00123"]


def test_typed_whole_numbers_that_no_double_holds_become_text():
    table = read_table({"x": [2**53 + 1, 2**53 + 1, 5]})
    (rule,), decisions = infer_columns(table)
    assert read(table, rule) == ["9007199254740993", "9007199254740993", "5"]
    assert decisions == ["'x' is kept as text: whole numbers beyond 2**53 do not fit a double"]


def test_times_with_and_without_a_zone_are_read_with_a_remark():
    table = texts(x=["2013-07-01T08:30:00+02:00", "2013-07-01T08:30:00"])
    _, decisions = infer_columns(table)
    assert decisions == ["'x': some of its values name no zone and are read as UTC"]
    for alike in (["2013-07-01", "2013-07-01T08:30Z"], ["2013-07-01T08:30", "2013-07-02T08:30:00"]):
        assert infer_columns(texts(x=alike))[1] == []


@pytest.mark.parametrize(
    ("values", "whole"),
    [
        (["0", "12", "-3"], True),
        (["1", "-0"], False),
        (["1", "00123"], False),
        (["1", "+2"], False),
        (["1", "x"], False),
    ],
)
def test_levels_are_whole_when_each_is_how_a_whole_number_prints(values, whole):
    assert rule_of(texts(x=values), category=["x"]).whole_levels is whole


def test_levels_are_exactly_as_in_the_file():
    table = texts(x=[" a", "a", "A", "a ", "1.0", "TRUE"])
    assert read(table, rule_of(table)) == [" a", "a", "A", "a ", "1.0", "TRUE"]


def test_typed_values_as_category_are_texts_a_person_would_write():
    table = read_table(
        {
            "i": [1, -2, None],
            "f": [1.0, 2.5, 1e300],
            "b": [True, False, None],
            "d": [dt.date(2013, 7, 1), None, dt.date(2013, 7, 2)],
            "t": pl.Series([0, None, 500_000]).cast(pl.Datetime("us")),
        }
    )
    rules, _ = infer_columns(table, category=table.names)
    assert [read(table, rule) for rule in rules] == [
        ["1", "-2", ""],
        ["1", "2.5", str(int(1e300))],
        ["true", "false", ""],
        ["2013-07-01", "", "2013-07-02"],
        ["1970-01-01T00:00:00Z", "", "1970-01-01T00:00:00.500000Z"],
    ]


def test_a_category_that_is_no_column_is_refused():
    with pytest.raises(TableError, match="no column 'carier', which --category names: did you mean 'carrier'"):
        infer_columns(texts(carrier=["a", "b"]), category=["carier"])


@pytest.mark.parametrize("name", ["label", "probabilities", "prediction", "lower", "upper"])
def test_an_input_named_like_an_output_is_refused_unless_it_is_the_target_or_dropped(name):
    table = texts(**{name: ["a"], "y": ["b"]})
    with pytest.raises(TableError, match=f"--drop {name}, .*--rename {name}={name}_in"):
        check_names(table, "y")
    check_names(table, name)
    check_names(table, "y", drop=[name])


RULE = {
    kind: ColumnRule("x", kind, nullable=False, nulls=frozenset())
    for kind in ("number", "integer", "boolean", "category", "timestamp")
}


def test_a_whole_number_column_takes_decimals_later():
    assert read(texts(x=["3.5", " 4 ", None]), RULE["integer"]) == [3.5, 4.0, None]
    assert read(read_table({"x": [3.5, 4.0, None]}), RULE["integer"]) == [3.5, 4.0, None]


@pytest.mark.parametrize(
    ("kind", "values", "index", "fragments"),
    [
        ("number", ["1", "abc"], 1, ("'abc'", "not a number", "--category x", "--null 'abc'")),
        ("number", ["1", "1e999"], 1, ("'1e999'", "that a double can hold")),
        ("integer", ["1", "9007199254740993000"], 1, ("'9007199254740993000'", "that a double can hold")),
        ("boolean", ["true", "1"], 1, ("'1'", "not true or false")),
        ("timestamp", ["2013-07-01", "2013-13-01"], 1, ("'2013-13-01'", "ISO 8601")),
        ("number", [True, False], 0, ("True", "not a number")),
        ("number", [dt.date(2013, 7, 1)], 0, ("2013-07-01", "not a number")),
        ("boolean", [0, 1], 0, ("holds 0 ", "not true or false")),
        ("timestamp", [None, 5], 1, ("holds 5 ", "ISO 8601")),
        ("number", ["1", "x" * 1000], 1, ("'" + "x" * 56 + "... in",)),
    ],
)
def test_a_later_value_that_does_not_fit_is_refused(kind, values, index, fragments):
    with pytest.raises(TableError) as refusal:
        read_column(read_table({"x": values}), RULE[kind])
    for fragment in ("'x' holds", f"in row {index + 1},", *fragments):
        assert fragment in str(refusal.value)


def test_a_table_that_lacks_the_column_is_refused():
    with pytest.raises(TableError, match="no column 'x', which the model takes: its columns are y"):
        read_column(texts(y=["1"]), RULE["number"])


@pytest.mark.parametrize("kind", list(RULE))
def test_a_column_without_values_is_missing_in_every_kind(kind):
    missing = {"category": "", "timestamp": MISSING_TIMESTAMP}.get(kind)
    assert read(texts(x=[None, None]), RULE[kind]) == [missing] * 2
    assert read(read_table({"x": pl.Series([None, None])}), RULE[kind]) == [missing] * 2


def test_text_and_types_read_alike():
    typed = read_table(
        {"n": [1.5, None], "i": [1, 2], "b": [True, None], "c": ["x", None], "t": [dt.date(2013, 7, 1), None]}
    )
    written = texts(n=["1.5", None], i=["1", "2"], b=["True", None], c=["x", None], t=["2013-07-01", None])
    for by_rules_of, other in ((typed, written), (written, typed)):
        rules, _ = infer_columns(by_rules_of, keep=True)
        assert [read(other, rule) for rule in rules] == [read(by_rules_of, rule) for rule in rules]


def test_the_row_in_a_refusal_is_the_row_of_the_source():
    table = texts(x=["1.5", "2.5", "bad", "3.5"]).take([3, 2])
    with pytest.raises(TableError, match="'bad' in row 3,"):
        read_column(table, RULE["number"])


# --- numbers and timestamps, one by one ------------------------------------------------------------------------------


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["", " ", "\t"]), st.sampled_from("eE"))
def test_a_number_reads_as_python_reads_it(value, blank, exponent):
    values, fits = parse_numbers(pl.Series([f"{blank}{str(value).replace('e', exponent)}{blank}"]))
    assert fits[0]
    assert values[0] == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=25))
def test_many_digits_round_to_the_nearest_double(value):
    written = format(value, "f")
    values, _ = parse_numbers(pl.Series([written]))
    assert values[0] == float(written)


def timestamp_or_none(text: str) -> int | None:
    try:
        return parse_timestamp(text)
    except ValueError:
        return None


ISO = st.builds(
    lambda date, glue, time, fraction, zone: date + (glue + time + fraction + zone if glue else ""),
    st.from_regex(r"(?:[0-9]{4}|0000|0001|9999)-(?:0[0-9]|1[0-3])-(?:[0-2][0-9]|3[0-2])", fullmatch=True),
    st.sampled_from(["", "T", "t", " ", "_"]),
    st.from_regex(r"(?:[01][0-9]|2[0-5]):[0-6][0-9](?::[0-6][0-9])?", fullmatch=True),
    st.sampled_from(["", ".5", ",25", ".123456789", ".0000009", ".", ".1234567890"]),
    st.sampled_from(["", "Z", "z", "+00:00", "-0530", "+14", "-23:59", "+24:00", "+12:60", "+1", "-00"]),
)


@settings(deadline=None, max_examples=500)
@given(
    st.lists(ISO | st.datetimes().map(str) | st.dates().map(str) | st.text(st.sampled_from("0129-:T.Z +")), min_size=1)
)
@example(["2000-02-29", "1900-02-29", "2100-02-29", "2400-02-29", "2013-02-29", "2012-02-30"])
@example(
    ["0001-01-01", "9999-12-31T23:59:59.999999999Z", "0000-01-01", "0001-01-01T00:00+00:01", "9999-12-31T23:59-01"]
)
@example(
    ["2013-07-01\n", "٢٠١٣-07-01", "2013-07-01T24:00", "2013-07-01T08:30:60", "2013-07-01T08", "2013-07-01T08:30z "]
)
def test_a_column_of_dates_reads_as_one_served_date_does(values):
    timestamps, ok = parse_timestamps(pl.Series(values))
    expected = [timestamp_or_none(value) for value in values]
    assert ok.tolist() == [timestamp is not None for timestamp in expected]
    assert timestamps.tolist() == [MISSING_TIMESTAMP if timestamp is None else timestamp for timestamp in expected]


def test_typed_dates_outside_the_years_that_iso_8601_writes_are_refused():
    far = pl.Series("x", [0, 2**62]).cast(pl.Datetime("ms"))
    with pytest.raises(
        TableError, match=r"holds '4611686018427387904 ms since 1970' in row 2, which is not an ISO 8601 date"
    ):
        infer_columns(read_table({"x": far}))


def test_a_full_column_of_dates_is_read_with_arrays():
    values = pl.Series(np.arange(10_000) * 3_600_000_000).cast(pl.Datetime("us"))
    written = values.dt.to_string("%Y-%m-%dT%H:%M:%SZ")
    timestamps, ok = parse_timestamps(written)
    assert ok.all()
    assert np.array_equal(timestamps, np.arange(10_000) * 3_600_000_000)


NUMBERS_AS_TEXT = [
    "1",
    "-20",
    "+3",
    "007",
    "0",
    "1.5",
    "2.0",
    "1.250",
    "1e3",
    ".5",
    "9007199254740993",
    "1e999",
    " 4 ",
    "12\t",
]
OTHER_TEXTS = ["", " ", "NA", "null", "nan", "N/A", "-", "?", "x", "true", "2013-07-01", "1,250", "$5", "inf", None]


@settings(deadline=None, max_examples=300)
@given(
    numbers=st.lists(st.sampled_from(NUMBERS_AS_TEXT), max_size=8),
    others=st.lists(st.sampled_from(OTHER_TEXTS), max_size=3),
    decimal=st.sampled_from(["", ".", ","]),
    seed=st.randoms(use_true_random=False),
)
def test_plain_numbers_are_read_once_as_they_are_where_the_kind_is_found_first(numbers, others, decimal, seed):
    values = [*numbers, *others]
    seed.shuffle(values)
    if not values:
        return
    table = texts(x=values)
    at_once = read_plain_numbers(table, "x", decimal)
    try:
        finding = kind_of_texts(Look(table, "x", Levels.of(table.frame["x"]), decimal=decimal), None)
    except TableError:
        assert at_once is None
        return
    if at_once is None:
        assert (
            finding.kind not in ("number", "integer")
            or finding.reading != PLAIN
            or decimal == ","
            or "007" in numbers
            or not numbers
        )
        return
    assert at_once.finding == finding
    rule = ColumnRule("x", finding.kind, True, NULL_SPELLINGS | finding.markers)
    assert np.array_equal(at_once.values, read_column(table, rule), equal_nan=True)
