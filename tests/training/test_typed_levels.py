"""Typed values in a column of levels: the level that they certainly are, or a refusal, never a silent unknown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from rowcast.models.errors import TableError
from rowcast.models.reading import NumberForm, Reading
from rowcast.training.columns.declared import Declared
from rowcast.training.columns.infer import infer_columns
from rowcast.training.columns.reading import ColumnRule, read_column
from rowcast.training.data.table import read_table


def rule_of(values, category=("x",)) -> ColumnRule:
    rules, _ = infer_columns(read_table({"x": values}), category=category)
    return rules[0]


def read(values, rule: ColumnRule) -> list:
    frame = values if isinstance(values, pd.DataFrame) else {"x": values}
    return read_column(read_table(frame), rule).tolist()


def refusal(values, rule: ColumnRule) -> str:
    with pytest.raises(TableError) as caught:
        read(values, rule)
    return str(caught.value)


ZIP = rule_of(["02139", "10001", "02139"], category=())
GRADE = rule_of(["1.50", "2.0", "2.5", None])
LINE = rule_of(["7", "12", "7"])
FLAG = rule_of(["TRUE", "FALSE", "TRUE"])
DAY = rule_of(["2013-07-01", "2013-07-02", "2013-07-01"])


def test_a_number_in_a_column_of_texts_is_refused_with_the_way_out():
    assert ZIP.kind == "category"
    assert refusal([2139, 10001], ZIP) == (
        "data frame: column 'x' must be text, got the number 2139 in row 1: read the column as text, for example with "
        "dtype={'x': str}"
    )
    for typed in (pd.DataFrame({"x": [2139.0, np.nan]}), [True, False], pl.Series([0]).cast(pl.Date)):
        assert "column 'x' must be text, got the" in refusal(typed, ZIP)
    assert read(["2139", "02139"], ZIP) == ["2139", "02139"]


def test_nulls_of_any_type_are_no_values():
    assert read(pd.DataFrame({"x": [np.nan, np.nan]}), ZIP) == ["", ""]
    assert read([None, None], ZIP) == ["", ""]


def test_a_number_is_one_level_however_it_is_written_or_typed():
    assert (GRADE.level_type, GRADE.whole_levels) == ("number", False)
    assert read(["1.50", "1.5", "2", "2.0", "2.00"], GRADE) == ["1.5", "1.5", "2", "2", "2"]
    assert read([1.5, 2.0, 2.5], GRADE) == ["1.5", "2", "2.5"]
    assert read(np.array([1.6, 1.5], np.float32), GRADE) == ["1.6", "1.5"]
    assert read([2, 3], GRADE) == ["2", "3"]
    assert "must be text or a number" in refusal([True, False], GRADE)


def test_whole_levels_take_whole_numbers_that_a_null_made_floats():
    assert LINE.whole_levels
    assert read(pd.DataFrame({"x": [7.0, np.nan]}), LINE) == ["7", ""]
    assert read(["7", "7.0"], LINE) == ["7", "7"]
    assert "holds 7.5 in row 2 (row 2)" not in refusal([7.0, 7.5], LINE)
    assert "holds 7.5 in row 2, which is not text or a whole number" in refusal([7.0, 7.5], LINE)


def test_a_boolean_is_one_level_however_it_is_written_or_typed():
    assert FLAG.level_type == "boolean"
    assert read([True, False, None], FLAG) == ["true", "false", ""]
    assert read(["True", "TRUE", "no"], FLAG) == ["true", "true", "no"]
    assert "must be text or a boolean" in refusal([1, 0], FLAG)


def test_a_date_is_one_level_however_it_is_written_or_typed():
    assert DAY.level_type == "date"
    typed = pd.DataFrame({"x": pd.to_datetime(["2013-07-01", None])})
    assert read(typed, DAY) == ["2013-07-01", ""]
    assert read(["2013-07-01T00:00:00Z"], DAY) == ["2013-07-01"]


def test_texts_that_become_one_level_are_told():
    _, decisions = infer_columns(read_table({"x": ["1.50", "1.5", "2.5", "1.5"]}), category=["x"])
    assert decisions == ["'x': its levels are numbers: texts that say the same, such as 1.5 and 1.50, are one level"]


def test_a_null_marker_counts_in_every_form():
    rules, _ = infer_columns(read_table({"x": ["1.50", "-999.0", "2.5"]}), category=["x"], null=["-999"])
    assert read(["-999", "-999.00", "1.5"], rules[0]) == ["", "", "1.5"]
    assert read([-999.0, 1.5], rules[0]) == ["", "1.5"]


def as_served(kind: str) -> ColumnRule:
    return ColumnRule("x", kind, nullable=False, nulls=frozenset(), as_served=True)


@pytest.mark.parametrize("values", [[3.0, 3.5], ["3", "3.5"], pl.Series(["3", "3.5"]).cast(pl.Decimal(5, 1))])
def test_a_stored_models_whole_numbers_are_whole(values):
    assert "in row 2, which is not a whole number: correct it, round it" in refusal(values, as_served("integer"))
    assert "leave it empty, or train with --number x" in refusal(values, as_served("integer"))


def test_whole_numbers_may_be_floats_and_fractions_may_come_in_training():
    assert read([3.0, None], as_served("integer"))[0] == 3.0
    training = ColumnRule("x", "integer", nullable=False, nulls=frozenset())
    assert read([3.5], training) == [3.5]


@pytest.mark.parametrize("kind", ["number", "integer"])
def test_a_boolean_is_no_number_and_the_message_says_so(kind):
    expected = "a number" if kind == "number" else "a whole number"
    assert f"holds True in row 1, which is not {expected}: correct it" in refusal([True, False], as_served(kind))


@pytest.mark.parametrize("kind", ["number", "integer"])
@pytest.mark.parametrize("values", [[2**53 + 1], [str(2**53 + 1)]])
def test_a_whole_number_that_a_double_rounds_is_refused_as_the_service_does(kind, values):
    assert "that a double can hold" in refusal(values, as_served(kind))
    assert read([2**53, -(2**53)], as_served(kind)) == [2.0**53, -(2.0**53)]
    assert read([1e20], as_served(kind)) == [1e20]


def test_texts_are_read_in_the_form_of_their_column():
    reading = Reading(number=NumberForm(thousands=",", affixes=("$",)))
    price = ColumnRule("x", "number", nullable=True, nulls=frozenset({"?"}), reading=reading)
    assert read(["$1,234.50", "2", "?", "$7"], price)[:2] == [1234.5, 2.0]
    assert "holds 'far' in row 2, which is not a number" in refusal(["$1", "far"], price)
    comma = ColumnRule("x", "number", nullable=True, nulls=frozenset(), reading=Reading(number=NumberForm(decimal=",")))
    assert read(["3,14", "2"], comma) == [3.14, 2.0]
    assert read(["3,14", "3.14"], comma) == [3.14, 3.14]
    assert "holds '3.142'" in refusal(["3,14", "3.142"], comma)
    clock = ColumnRule("x", "number", nullable=True, nulls=frozenset(), reading=Reading(duration=True))
    assert read(["08:30", "90"], clock) == [30600.0, 90.0]
    day = ColumnRule("x", "timestamp", nullable=True, nulls=frozenset(), reading=Reading(date_order="dmy"))
    assert read(["01/07/2013", "2013-07-01", None], day)[:2] == [1_372_636_800_000_000] * 2


def test_a_null_in_the_form_of_its_column_is_its_number():
    reading = Reading(number=NumberForm(affixes=("$",)))
    price = ColumnRule("x", "number", nullable=True, nulls=frozenset({"$-999"}), reading=reading)
    assert price.missing_numbers == {-999.0}


def test_levels_of_a_declared_category_that_are_no_texts_are_typed_values():
    typed = pd.DataFrame({"x": pd.Series([2139, 10001, None]).astype("Int64").astype("category")})
    assert "column 'x' must be text, got the number 2139 in row 1" in refusal(typed, ZIP)
    assert read(pd.DataFrame({"x": pd.Series(["2139", "02139"], dtype="category")}), ZIP) == ["2139", "02139"]
    assert read(pd.DataFrame({"x": pd.Series([1.5, 2.0], dtype="category")}), GRADE) == ["1.5", "2"]
    assert read(pd.DataFrame({"x": pd.Series([True, False], dtype="category")}), FLAG) == ["true", "false"]
    assert "must be text or a boolean" in refusal(pd.DataFrame({"x": pd.Series([1, 0], dtype="category")}), FLAG)


def test_a_column_of_text_keeps_its_texts_apart():
    versions = ["1.1", "1.10", "1.1", "1.10"]
    rules, decisions = infer_columns(read_table({"x": versions}), declared=Declared(kinds={"x": "text"}))
    assert (rules[0].levels_of, read(versions, rules[0]), decisions) == (None, versions, [])
    declared = pd.DataFrame({"x": pd.Series(versions, dtype="category")})
    rules, _ = infer_columns(read_table(declared))
    assert (rules[0].levels_of, read(versions, rules[0])) == (None, versions)
    assert "must be text, got the number 1.1 in row 1" in refusal([1.1], rules[0])
