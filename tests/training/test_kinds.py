"""The kind of a column of texts is what its training rows agree on, and whatever is not obvious is told."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast.models.errors import ConfigError, TableError
from rowcast.models.reading import NumberForm, Reading
from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.models.texts import parse_date, parse_duration, parse_number
from rowcast.training.columns.declared import Declared
from rowcast.training.columns.infer import infer_columns
from rowcast.training.columns.reading import ColumnRule, read_column
from rowcast.training.columns.target import Target
from rowcast.training.columns.written.clocks import durations_of
from rowcast.training.columns.written.dates import timestamps_in_order
from rowcast.training.columns.written.forms import numbers_in_form
from rowcast.training.data.config import DataConfig
from rowcast.training.data.table import Table, read_table

N = 40
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CATEGORIES = {
    "adult": {
        "workclass",
        "education",
        "marital_status",
        "occupation",
        "relationship",
        "race",
        "sex",
        "native_country",
    },
    "california": {"ocean_proximity"},
    "covertype": set(),
    "diamonds": {"cut", "color", "clarity"},
    "lending_club": {"term", "sub_grade", "addr_state", "verification_status", "emp_length"},
}
"""Of the six data sets: every other column is a number or a whole number."""


def texts(**columns: list[str | None]) -> Table:
    return read_table(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)))


def inferred(values: list[str | None], **data: object) -> tuple[ColumnRule, list[str], list]:
    """The rule of a column ``x``, what was decided, and its values, NaN and INT64_MIN as None."""
    table = texts(x=values)
    rules, decisions = infer_columns(table, keep=True, declared=Declared.of(DataConfig(**data), table))
    read = read_column(table, rules[0]).tolist()
    return rules[0], decisions, [None if v != v or v == MISSING_TIMESTAMP else v for v in read]


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "form", "read", "example"),
    [
        (["$1,234.50", "-$7", "$0.25"], {"thousands": ",", "affixes": ("$",)}, [1234.5, -7, 0.25], "$1,234.5"),
        (["1.234,50 €", "7,5 €"], {"decimal": ",", "thousands": ".", "affixes": ("€",)}, [1234.5, 7.5], "1.234,5 €"),
        (["EUR 12", "EUR 1,250"], {"thousands": ",", "affixes": ("EUR",)}, [12, 1250], "EUR 1,234.5"),
        (["US$ 5", "US$ 6.5"], {"affixes": ("US$",)}, [5, 6.5], "US$1234.5"),
        (["26%", "0", "3.5%"], {"affixes": ("%",)}, [26, 0, 3.5], "1234.5%"),
        (["Rs. 500", "Rs 1,200.5"], {"thousands": ",", "affixes": ("Rs.", "Rs")}, [500, 1200.5], "Rs. 1,234.5"),
        (["26%", "3.5 %"], {"affixes": ("%",)}, [26, 3.5], "1234.5%"),
        (["3,14", "-2,5", "7"], {"decimal": ","}, [3.14, -2.5, 7], "1234,5"),
        (["5.625.000", "1.250"], {"decimal": ",", "thousands": "."}, [5625000, 1250], "1.234,5"),
        (["999", "1.250", "12.500"], {"decimal": ",", "thousands": "."}, [999, 1250, 12500], "1.234,5"),
        (["1 234", "5 625 000,5"], {"decimal": ",", "thousands": " "}, [1234, 5625000.5], "1 234,5"),
        (["1\u202f234", "5\u00a0000"], {"thousands": " "}, [1234, 5000], "1 234.5"),
        (["1'234.5", "7"], {"thousands": "'"}, [1234.5, 7], "1'234.5"),
        (["12 kg", "7.5kg", "1e2 KG"], {"affixes": ("KG", "kg")}, [12, 7.5, 100], "1234.5 KG"),
        (["50 m²", "1,200 m²"], {"thousands": ",", "affixes": ("m²",)}, [50, 1200], "1,234.5 m²"),
        (["120 km/h", "90 km/h"], {"affixes": ("km/h",)}, [120, 90], "1234.5 km/h"),
        (["1 year", "2 years"], {"affixes": ("years", "year")}, [1, 2], "1234.5 years"),
        (["(12.5)", "7", "(1)"], {"parentheses": True}, [-12.5, 7, -1], "(1234.5)"),
        (["($1,200)", "$7"], {"thousands": ",", "affixes": ("$",), "parentheses": True}, [-1200, 7], "($1,234.5)"),
        (["\u22125.5", "7"], {}, [-5.5, 7], "\u22121234.5"),
        (["5.5-", "7"], {}, [-5.5, 7], "\u22121234.5"),
    ],
)
def test_numbers_are_read_in_the_form_that_all_of_them_share(values, form, read, example):
    rule, decisions, got = inferred(values)
    assert (rule.kind, rule.reading) == ("number", Reading(number=NumberForm(**form)))
    assert got == read
    assert f"'x' is read as numbers written like {example}" in decisions[0]


def test_percent_tells_what_its_numbers_are():
    assert inferred(["26%", "3%"])[1] == ["'x' is read as numbers written like 1234.5%, so that 26% is 26"]


def test_commas_that_nothing_decides_are_told():
    _, decisions, got = inferred(["1,234", "5,678"])
    assert got == [1234, 5678]
    assert decisions[0].endswith("; its commas are taken to stand between thousands; nothing in it says so")
    assert inferred(["0,123", "5,678"])[2] == [0.123, 5.678]


def test_a_decimal_mark_that_is_said_holds_for_every_column():
    assert inferred(["1,234", "5,678"], decimal=",")[2] == [1.234, 5.678]
    assert inferred(["1.234", "5.678"], decimal=",")[2] == [1234, 5678]
    assert inferred(["7 €", "8 €"], decimal=",")[0].reading.number == NumberForm(decimal=",", affixes=("€",))
    assert inferred(["999", "1.250"], decimal=".")[2] == [999, 1.25]
    assert inferred(["12.5", "7"], decimal=",")[2] == [12.5, 7]


def test_plain_decimals_stay_plain_whatever_their_digits():
    for values in (["1.234", "5.678"], ["999", "1.234"], ["0.125", "1.250", "7"]):
        rule, decisions, got = inferred(values)
        assert (rule.kind, rule.reading, decisions) == ("number", Reading(), [])
        assert got == [float(value) for value in values]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["12%"] * 20 + ["5 kg"] * 20, "its numbers are of several units or currencies, such as '%', 'kg'"),
        (["$5"] * 20 + ["€6"] * 20, "its numbers are of several units or currencies, such as '$', '€'"),
        (["5 k"] * 20 + ["6"] * 20, "some of its numbers have 'k' and some (50%) have none"),
        (["26%"] * 20 + ["0.26"] * 20, "some of its numbers have '%' and some (50%) have none"),
        (["1,5", "2.5"] * 20, "its numbers are written in several forms"),
    ],
)
def test_numbers_that_do_not_agree_stay_text_with_the_reason(values, reason):
    rule, decisions, _ = inferred(values)
    assert (rule.kind, decisions) == ("category", [f"'x' is kept as text: {reason}"])


@pytest.mark.parametrize(
    "values",
    [
        ["A1", "B2", "A1"],
        ["10.0.0.1", "10.0.0.2"],
        ["Q1", "Q2"],
        ["T12", "T13"],
        ["555 1234 12", "555 1234 13"],
        ["2024Q1", "2024Q2"],
        ["0x1F", "0x2A"],
        ["1.0.2"],
    ],
)
def test_names_with_digits_are_no_numbers(values):
    rule, decisions, _ = inferred(values)
    assert (rule.kind, decisions) == ("category", [])


# --- markers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("marker", ["N/A", "?", "-", "none", "#N/A", "unknown", "(blank)", "nan", "#VALUE!"])
@pytest.mark.parametrize(
    ("value", "kind"), [("1.5", "number"), ("true", "boolean"), ("2024-01-31", "timestamp"), ("$5", "number")]
)
@pytest.mark.parametrize("share", [0.05, 0.4])
def test_common_markers_are_null_whatever_their_share(marker, value, kind, share):
    values = [marker] * int(100 * share) + [value] * (100 - int(100 * share))
    rule, decisions, got = inferred(values)
    assert (rule.kind, rule.nullable) == (kind, True)
    assert got.count(None) == int(100 * share)
    assert rule.signature_reading is not None
    assert rule.signature_reading.nulls == (marker,)
    assert f"'x': {marker!r} is read as null, in {100 * share:.0f}% of the training rows" in decisions


def test_logical_columns_of_r_are_booleans():
    rule, decisions, got = inferred(["TRUE", "FALSE", "NA", "TRUE"] * 10)
    assert (rule.kind, got[:3]) == ("boolean", [1.0, 0.0, None])
    assert decisions == ["'x': 'NA' is read as null, in 25% of the training rows"]


def test_markers_are_levels_among_levels_and_alone():
    assert inferred(["red", "?", "blue"])[0].kind == "category"
    rule, decisions, _ = inferred(["unknown", None] * 10)
    assert (rule.kind, rule.nulls, decisions) == ("category", frozenset(), [])


def test_a_category_of_which_most_are_numbers_says_so():
    rule, decisions, _ = inferred(["1.5"] * 85 + ["far"] * 15)
    assert rule.kind == "category"
    told = "'x' is a category: 85% of its values are numbers, 15% are not"
    assert decisions == [f"{told}, such as 'far'; to read them as numbers, say --null far"]
    _, decisions, _ = inferred(["1.5"] * 85 + [f"person {i}" for i in range(15)])
    assert decisions == [f"{told}; to read them as numbers, correct them and say --number x"]


# --- dates ------------------------------------------------------------------------------------------------------------


def micros(*parts: int) -> int:
    return (dt.datetime(*parts, tzinfo=dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("values", "order", "told"),
    [
        (["31/01/2024", "02/01/2024"], "dmy", "with the day before the month: a number beyond 12 tells"),
        (["01/31/2024", "01/02/2024"], "mdy", "with the month before the day: a number beyond 12 tells"),
        (["31.01.2024", "02.01.2024"], "dmy", "with the day before the month"),
        (["2024/01/31", "2024/01/02"], "ymd", "which are not ISO 8601"),
        (["31-Jan-2024", "02-Jan-2024"], "ymd", "which are not ISO 8601"),
        (["Jan 31, 2024", "January 2, 2024"], "ymd", "which are not ISO 8601"),
        (["2024-01-31 00:00:00 UTC", "2024-01-02 00:00:00 UTC"], "ymd", "which are not ISO 8601"),
        (["1/31/2024 12:00 AM", "1/2/2024 12:00 AM"], "mdy", "with the month before the day"),
        (["31.01.24", "02.01.24", "03.01.24"], "dmy", "with the day before the month"),
        (["2024-01-31", "2/1/2024", "31/1/2024"], "dmy", "with the day before the month"),
    ],
)  # fmt: skip
def test_dates_are_read_in_the_order_that_the_data_tells(values, order, told):
    rule, decisions, got = inferred(values)
    assert (rule.kind, rule.reading) == ("timestamp", Reading(date_order=order))
    if values[1] != "2/1/2024":
        assert got[:2] == [micros(2024, 1, 31), micros(2024, 1, 2)]
    assert told in decisions[0]


@pytest.mark.parametrize("values", [["2024-01", "2024-02"], ["01/2024"], ["Jan 2024", "Feb 2024"], ["Jan-2024"]])
def test_a_month_is_its_first_day(values):
    rule, _, got = inferred(values)
    assert (rule.kind, got[0]) == ("timestamp", micros(2024, 1, 1))


def test_points_stand_in_dates_with_the_day_first():
    rule, decisions, _ = inferred(["01.02.2024", "03.04.2024"])
    assert rule.reading.date_order == "dmy"
    assert decisions == ["'x' is read as dates with the day before the month, as points stand between them"]


def test_an_order_that_nothing_tells_is_asked_for():
    with pytest.raises(
        TableError, match=r"'01/02/2024' in row 1, where no number beyond 12 .*--date 'x=dmy' or --date"
    ):
        inferred(["01/02/2024", "03/04/2024"])
    assert inferred(["01/02/2024", "03/04/2024"], date=["x=dmy"])[2][0] == micros(2024, 2, 1)
    assert inferred(["01/02/2024", "03/04/2024"], date=["x=mdy"])[2][0] == micros(2024, 1, 2)
    assert inferred(["01/02/2024", "03/04/2024"], category=["x"])[0].kind == "category"


def test_days_first_and_months_first_in_one_column_stay_text():
    rule, decisions, _ = inferred(["31/12/2024", "12/31/2024"])
    assert (rule.kind, decisions) == (
        "category",
        ["'x' is kept as text: some of its dates have the day first and some the month"],
    )


# --- times of day and durations ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["08:30", "23:59"], [30600, 86340]),
        (["08:30", "08:30:15"], [30600, 30615]),
        (["1:02:03", "0:00:01.5"], [3723, 1.5]),
        (["8:30 AM", "12:15 pm"], [30600, 44100]),
        (["P1DT2H", "PT15M"], [93600, 900]),
        (["2 days 03:00:00", "-1 days +23:00:00"], [183600, -3600]),
        (["2 h", "30 min"], [7200, 1800]),
    ],
)
def test_times_of_day_and_durations_are_seconds(values, seconds):
    rule, decisions, got = inferred(values)
    assert (rule.kind, rule.reading, got) == ("duration", Reading(duration=True), seconds)
    assert rule.signature_reading is None
    assert decisions == ["'x' is read as seconds, of times of day or durations"]


def test_minutes_and_hours_in_one_column_stay_text():
    rule, decisions, _ = inferred(["59:30", "1:02:03"] * 5)
    assert rule.kind == "category"
    assert "some of its clocks have seconds and some have none" in decisions[0]


def test_typed_times_and_durations_read_as_their_texts_do():
    typed = read_table({"t": [dt.time(8, 30), None], "d": [dt.timedelta(days=1, seconds=2), dt.timedelta(0)]})
    rules, _ = infer_columns(typed, keep=True)
    assert [(rule.kind, rule.reading) for rule in rules] == [("duration", Reading(duration=True))] * 2
    assert [read_column(typed, rule).tolist()[0] for rule in rules] == [30600.0, 86402.0]
    written = texts(t=["08:30"], d=["1 days 00:00:02"])
    assert [read_column(written, rule).tolist() for rule in rules] == [[30600.0], [86402.0]]


# --- what a person declares -------------------------------------------------------------------------------------------


def test_a_declared_kind_is_taken_at_face_value():
    assert inferred(["00123", "20500"], number=["x"])[2] == [123.0, 20500.0]
    assert inferred(["20241231", "20240101"], date=["x"])[2][0] == micros(2024, 12, 31)
    assert inferred(["true", "?"], boolean=["x"])[2] == [1.0, None]
    assert inferred(["1", "2"], text=["x"])[0].kind == "category"
    assert inferred(["1", "2"], category=["x"])[0].kind == "category"
    assert inferred(["08:30", "09:30"], number=["x"])[2] == [30600.0, 34200.0]


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("number", ["1", "far", "2"], r"'far' in row 2, which is not a number: .*--null, or leave out --number x"),
        ("number", ["$1", "call", "$2"], r"'call' in row 2, which is not a number"),
        ("date", ["2024-01-01", "soon"], r"'soon' in row 2, which is not a date"),
        ("boolean", ["true", "perhaps"], r"'perhaps' in row 2, which is not true or false"),
    ],
)
def test_what_is_not_of_the_declared_kind_is_refused(kind, values, message):
    with pytest.raises(TableError, match=message):
        inferred(values, **{kind: ["x"]})


def test_a_typed_column_of_another_kind_than_declared_is_refused():
    table = read_table({"x": [True, False], "day": [20240131, 20240201]})
    for kind in ("number", "date"):
        with pytest.raises(TableError, match=f"holds True in row 1.*--{kind} x"):
            infer_columns(table, declared=Declared({"x": kind}))
    rules, _ = infer_columns(table, exclude=["x"], declared=Declared({"day": "date"}))
    assert read_column(table, rules[0]).tolist() == [micros(2024, 1, 31), micros(2024, 2, 1)]


def test_typed_durations_and_times_are_no_levels_and_the_error_says_so():
    table = read_table({"took": [dt.timedelta(hours=1)] * 3, "at": [dt.time(8)] * 3})
    for name, what in (("took", "durations"), ("at", "times of day")):
        said = f"column {name!r} holds {what}: name it in no --category and no --group, and it is read as seconds"
        with pytest.raises(TableError, match=said):
            infer_columns(table, category=[name])


def test_columns_declared_twice_or_unknown_are_errors():
    table = texts(x=["1"], at=["2024-01-01"])
    with pytest.raises(ConfigError, match="got 'x' in --number and in --text: take it out of one"):
        Declared.of(DataConfig(number=["x"], text=["x"]), table)
    for flag in ("number", "date", "boolean", "text", "keep"):
        with pytest.raises(TableError, match=f"no column 'ax', which --{flag} names: did you mean 'x'|'at'"):
            Declared.of(DataConfig(**{flag: ["ax"]}), table)
    with pytest.raises(ConfigError, match="got 'at=us'"):
        Declared.of(DataConfig(date=["at=us"]), table)
    assert Declared.of(DataConfig(date=["at=mdy"]), table).orders == {"at": "mdy"}


def test_categories_that_their_source_declares_stay_categories():
    whole = [1, 2, 3] * 10
    table = read_table(pl.DataFrame({"x": pl.Series(whole).cast(pl.String).cast(pl.Categorical()), "y": whole}))
    rules, decisions = infer_columns(table)
    assert [(rule.name, rule.kind, rule.whole_levels) for rule in rules] == [
        ("x", "category", True),
        ("y", "integer", False),
    ]
    assert decisions == ["'x' is a category, as its source declares it"]
    assert infer_columns(table, declared=Declared({"x": "number"}))[0][0].kind == "integer"


# --- what is dropped --------------------------------------------------------------------------------------------------


def test_a_dropped_column_says_the_reason_that_exists():
    table = texts(card=[str(2**53 + 7 * i) for i in range(N)])
    dropped = "'card' is dropped: it looks like an identifier, with 40 distinct texts in 40 training rows"
    reason = "whole numbers beyond 2**53 do not fit a double"
    assert infer_columns(table)[1] == [f"{dropped} ({reason}); keep it with --keep card"]


def test_a_category_without_any_level_is_dropped_or_told():
    pairs = [f"code {i // 2}" for i in range(N)]
    table = texts(x=pairs, y=[None if i % 4 == 0 else v for i, v in enumerate(pairs)])
    rules, decisions = infer_columns(table)
    none = "none of its levels is held by 10 training rows, and a rarer one could point at a person"
    assert [rule.name for rule in rules] == ["y"]
    assert decisions == [
        f"'x' is dropped: {none}: group its values in the table, such as the first letters of a code",
        f"'y': {none}, so it tells only whether there is a value",
    ]


def counting(name: str, target: Target) -> tuple[list[str], list[str]]:
    table = texts(**{name: [str(i) for i in range(len(target.values))]})
    rules, decisions = infer_columns(table, target=target)
    return [rule.kind for rule in rules], decisions


def regression(values) -> Target:
    return Target("y", "regression", np.asarray(values, dtype=float))


def test_whole_numbers_that_count_up_are_kept_where_their_order_tells_the_target():
    rising = regression(np.arange(60) + np.random.default_rng(0).normal(0, 5, 60))
    kinds, decisions = counting("day", rising)
    assert kinds == ["integer"]
    assert decisions[0].startswith("'day' only counts up from row to row, and is kept as a number: its order tells ")
    assert counting("level", regression(1000 * 1.1 ** np.arange(38)))[0] == ["integer"]


def test_a_column_of_numbers_and_others_that_is_dropped_says_so():
    (told,) = inferred_decisions([f"<{i // 2}" if i % 5 == 0 else f"{i // 2}" for i in range(300)])
    assert told.endswith(
        "; it is a category: 80% of its values are numbers, 20% are not; to read them as numbers, correct them and say "
        "--number x"
    )


def inferred_decisions(values):
    return infer_columns(read_table({"x": values}))[1]


def test_a_number_of_a_row_is_dropped_though_it_counts_up():
    noise = regression(np.random.default_rng(1).normal(0, 5, 400))
    rising = regression(np.arange(60))
    assert counting("day", noise)[0] == []
    assert counting("customer_id", rising)[0] == []
    assert counting("Id", rising)[0] == []
    by_class = Target("y", "binary", np.array(["a"] * 30 + ["b"] * 30, dtype=object), ("a", "b"))
    assert counting("plant", by_class)[0] == []


def test_a_column_to_keep_is_kept_as_what_it_is():
    table = texts(row=[str(i) for i in range(N)], name=[f"n{i}" for i in range(N)], same=["x"] * N)
    rules, decisions = infer_columns(table, declared=Declared(keep=frozenset(table.names)))
    assert [(rule.name, rule.kind) for rule in rules] == [("row", "integer"), ("name", "category")]
    assert decisions[1] == "'same' is dropped: it is constant in the training rows"


def test_kinds_are_those_of_the_training_rows_alone():
    table = texts(x=["$1", "$2", "$3", "€4"])
    (rule,), _ = infer_columns(table.take([0, 1, 2]), keep=True)
    with pytest.raises(TableError, match=r"'€4' in row 4, which is not a number"):
        read_column(table, rule)


# --- arrays and single texts say the same -----------------------------------------------------------------------------

FORMS = st.builds(
    NumberForm,
    decimal=st.sampled_from([".", ","]),
    thousands=st.sampled_from(["", " ", "'"]),
    affixes=st.sampled_from([(), ("$",), ("kg", "KG"), ("%",)]),
    parentheses=st.booleans(),
) | st.sampled_from([NumberForm(thousands=","), NumberForm(decimal=",", thousands=".", affixes=("€",))])
AMOUNTS = st.from_regex(r"[-+(−]?[$€]?-?[0-9]{1,4}([., ']?[0-9]{1,3}){0,3}(e2)?( ?(kg|KG|%|€))?[)]?-?", fullmatch=True)


@settings(deadline=None, max_examples=150)
@given(st.lists(AMOUNTS | st.text(st.sampled_from("12.,'()-$ kg%")), min_size=1), FORMS)
def test_a_column_of_amounts_reads_as_one_amount_does(values, form):
    got, fits = numbers_in_form(pl.Series(values), form)
    expected = [parse_number(value, form) for value in values]
    assert fits.tolist() == [value is not None for value in expected]
    assert [value for value, fit in zip(got.tolist(), fits, strict=True) if fit] == [
        v for v in expected if v is not None
    ]


DATES = st.from_regex(
    r"([0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-3]?[0-9][-/.][0-1]?[0-9][-/.]((20)?[0-9]{2}))"
    r"((T| |, )[0-2]?[0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?( ?[AP]M| ?UTC|Z|\+01:00)?)?",
    fullmatch=True,
)


@settings(deadline=None, max_examples=150)
@given(st.lists(DATES, min_size=1), st.sampled_from(["ymd", "dmy", "mdy", None]))
def test_a_column_of_written_dates_reads_as_one_date_does(values, order):
    timestamps, ok = timestamps_in_order(pl.Series(values), order)
    expected = [parse_date(value, order) for value in values]
    assert ok.tolist() == [value is not None for value in expected]
    assert timestamps.tolist() == [MISSING_TIMESTAMP if value is None else value for value in expected]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.from_regex(r"([0-9] days? )?[0-9]{1,3}:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,9})?)?( PM)?", fullmatch=True),
        min_size=1,
    )
)
def test_a_column_of_clocks_reads_as_one_clock_does(values):
    seconds, ok = durations_of(pl.Series(values))
    expected = [parse_duration(value) for value in values]
    assert ok.tolist() == [value is not None for value in expected]
    assert [s for s, fit in zip(seconds.tolist(), ok, strict=True) if fit] == [v for v in expected if v is not None]


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"there is no folder {SHARED}")
@pytest.mark.parametrize(
    ("file", "target"),
    [
        ("adult/test.csv", "income"),
        ("california/housing_raw.csv", "median_house_value"),
        ("covertype/covertype_10k.csv", "Cover_Type"),
        ("diamonds/test.csv", "price"),
        ("lending_club/lending_club.csv", "Class"),
    ],
)
def test_columns_of_ordinary_tables_are_read_the_plain_way(file, target):
    rules, decisions = infer_columns(read_table(SHARED / file), exclude=[target])
    assert {rule.name: rule.reading for rule in rules if rule.signature_reading is not None} == {}
    assert [told for told in decisions if "it is constant in the training rows" not in told] == []
    texts_of = {rule.name for rule in rules if rule.kind == "category"}
    assert texts_of == CATEGORIES[file.partition("/")[0]]


def test_numbers_without_the_unit_of_the_others_are_told_with_their_share():
    rule, decisions, got = inferred(["5 kg", "7 kg", "6"] * 20)
    assert (rule.kind, got[:3]) == ("number", [5.0, 7.0, 6.0])
    assert decisions == [
        "'x' is read as numbers written like 1234.5 kg; 33.3% of them have no 'kg' and are read as of the same unit"
    ]


@pytest.mark.parametrize("values", [["5 kg", "7 kg", "6000"], ["$5", "$7", "450"], ["2 cm", "3 cm", "0", "250"]])
def test_numbers_without_a_unit_that_are_of_another_size_are_not_read_as_of_it(values):
    rule, decisions, _ = inferred(values * 20)
    assert rule.kind == "category"
    assert "and those with no unit differ in size, as those of two units do" in decisions[0]


def test_a_scale_on_some_numbers_alone_is_read_where_they_are_declared_and_of_one_size():
    table = read_table({"x": ["5%", "6", "7%"] * 20})
    rules, decisions = infer_columns(table, declared=Declared(kinds={"x": "number"}))
    assert read_column(table, rules[0]).tolist()[:3] == [5.0, 6.0, 7.0]
    assert "33.3% of them have no '%'" in decisions[0]
    with pytest.raises(
        TableError, match="cannot be read as numbers: its numbers with '%' and those with no unit differ"
    ):
        infer_columns(read_table({"x": ["5%", "0.06"] * 20}), declared=Declared(kinds={"x": "number"}))


@pytest.mark.parametrize(("unit", "times"), [("seconds", 1), ("milliseconds", 10**3), ("nanoseconds", 10**9)])
@pytest.mark.parametrize("typed", [True, False])
def test_declared_dates_may_be_counted_since_1970(unit, times, typed):
    numbers = [1_700_000_000 * times, 999_999_999 * times, None]
    table = read_table({"x": [number if typed or number is None else str(number) for number in numbers]})
    rules, decisions = infer_columns(table, declared=Declared(kinds={"x": "date"}))
    assert read_column(table, rules[0]).tolist()[:2] == [1_700_000_000 * 10**6, 999_999_999 * 10**6]
    assert decisions == [f"'x' is read as timestamps, {unit} since 1970 in UTC"]


def test_counts_of_several_units_are_no_dates():
    with pytest.raises(TableError, match="which is not a date"):
        infer_columns(read_table({"x": [1_700_000_000, 1_700_000_000_000]}), declared=Declared(kinds={"x": "date"}))


@pytest.mark.parametrize(
    "words", [("yes", "no"), ("Ja", "NEIN"), ("Y", "N"), ("T", "F"), ("1", "0"), (1, 0), ("on", "off"), (1.0, 0.0)]
)
def test_words_of_a_declared_boolean_are_true_and_false(words):
    table = read_table({"x": [*words, None, words[0]]})
    rules, _ = infer_columns(table, declared=Declared(kinds={"x": "boolean"}))
    assert str(read_column(table, rules[0]).tolist()) == "[1.0, 0.0, nan, 1.0]"
