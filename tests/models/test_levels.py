"""What is one value is one level, whichever way it is written or typed."""

from __future__ import annotations

import numpy as np
import pytest

from rowcast.models.levels import canonical_level, canonical_levels, number_level, timestamp_level, type_of_levels


@pytest.mark.parametrize(
    ("text", "of", "level"),
    [
        ("1.50", "number", "1.5"),
        ("1.5", "number", "1.5"),
        ("3.0", "whole", "3"),
        ("3.", "number", "3"),
        ("-0.0", "number", "0"),
        (".5", "number", "0.5"),
        ("1e-07", "number", "1e-07"),
        ("1.600000023841858", "number", "1.6"),
        ("02139", "whole", "02139"),
        ("+3", "whole", "+3"),
        ("1e5", "number", "1e5"),
        ("9" * 30, "whole", "9" * 30),
        ("9" * 500 + ".5", "number", "9" * 500 + ".5"),
        ("unknown", "number", "unknown"),
        ("TRUE", "boolean", "true"),
        ("yes", "boolean", "yes"),
        ("2013-07-01T00:00:00Z", "date", "2013-07-01"),
        ("2013-07-01 08:30", "date", "2013-07-01T08:30:00Z"),
        ("2013-07-01", "timestamp", "2013-07-01T00:00:00Z"),
        ("2013-02-30", "date", "2013-02-30"),
    ],
)
def test_a_text_is_the_level_of_its_value(text, of, level):
    assert canonical_level(text, of) == level
    assert canonical_level(level, of) == level


def test_numbers_are_levels_of_as_few_digits_as_tell_them_apart():
    assert [number_level(v) for v in (1.5, 3.0, -0.0, 1e20, 0.1)] == ["1.5", "3", "0", "1" + "0" * 20, "0.1"]
    assert number_level(float(np.float32(1.6))) == "1.6"
    assert number_level(1048576.0625) == "1048576.0625"
    assert number_level(1.7976931348623157e308) == str(int(1.7976931348623157e308))


def test_a_midnight_is_a_date_among_dates_alone():
    assert timestamp_level(0, "date") == "1970-01-01"
    assert timestamp_level(0, "timestamp") == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("texts", "of"),
    [
        ([], None),
        (["1", "2", "3.0"], "whole"),
        (["1.50", "2"], "number"),
        (["02139", "10001"], None),
        (["1", "2", "unknown"], None),
        (["TRUE", "False"], "boolean"),
        (["2013-07-01", "2013-07-02"], "date"),
        (["2013-07-01", "2013-07-02 08:30"], "timestamp"),
        (["1e400", "1.5"], None),
        (["", "1"], None),
    ],
)
def test_levels_are_of_a_type_when_all_of_them_are(texts, of):
    assert type_of_levels(texts) == of


def test_only_texts_that_change_are_told():
    assert canonical_levels(["1.50", "1.5", "x", "1.50"], "number") == {"1.50": "1.5"}
    assert canonical_levels(["1.50", "1.5"], "number", known={"1.50"}) == {}
