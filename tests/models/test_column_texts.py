"""The texts of a column as its values, by what training found out."""

from __future__ import annotations

import pytest

from rowcast.models.reading import NumberForm, Reading
from rowcast.models.signature import Column
from rowcast.models.texts.columns import TextReader, text_reader

CURRENCY = Reading(nulls=("?",), number=NumberForm(thousands=",", affixes=("$",)))
JULY = 1_372_636_800_000_000


@pytest.mark.parametrize(
    ("kind", "reading", "text", "value"),
    [
        ("number", CURRENCY, "$1,234.50", 1234.5),
        ("number", CURRENCY, " 7 ", 7.0),
        ("number", CURRENCY, "?", None),
        ("number", CURRENCY, "NA", None),
        ("number", CURRENCY, "", None),
        ("integer", CURRENCY, "$1,234", 1234.0),
        ("integer", CURRENCY, "3.0", 3.0),
        ("number", Reading(duration=True), "08:30", 30600.0),
        ("number", Reading(duration=True), "90.5", 90.5),
        ("boolean", Reading(nulls=("NA",)), "TRUE", 1.0),
        ("boolean", Reading(nulls=("NA",)), "NA", None),
        ("timestamp", Reading(date_order="dmy"), "01/07/2013", JULY),
        ("timestamp", Reading(date_order="dmy"), "2013-07-01", JULY),
        ("timestamp", Reading(nulls=("never",)), "never", None),
        ("number", Reading(nulls=("x",), missing_numbers=(1e16,)), "9999999999999999", 1e16),
        ("number", CURRENCY, str(2**53), 2.0**53),
    ],
)
def test_a_text_is_read_by_the_columns_reading(kind, reading, text, value):
    assert TextReader(kind, reading)(text) == value


@pytest.mark.parametrize(
    ("kind", "reading", "text", "words"),
    [
        ("number", CURRENCY, "far", "must be a number, or a text of one such as 1,234.5 with '$' around it or null"),
        ("integer", CURRENCY, "$1.5", "must be a whole number or null"),
        ("number", CURRENCY, str(2**53 + 1), "must be at most 2**53, or a decimal such as 1e20"),
        ("boolean", Reading(nulls=("?",)), "no", "must be true or false, or a text of one or null"),
        ("timestamp", Reading(nulls=("?",)), "01/07/2013", "must be an ISO 8601 date or date-time or null"),
        (
            "timestamp",
            Reading(date_order="dmy"),
            "07/13/2013",
            "must be an ISO 8601 date or date-time, or one with the day first (31/12/2024) or null",
        ),
        (
            "number",
            Reading(duration=True),
            "soon",
            "must be a number of seconds, or a text such as 08:30, 1:02:03.5 or 2 days 01:00:00 or null",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_form(kind, reading, text, words):
    with pytest.raises(ValueError, match="must be") as caught:
        TextReader(kind, reading)(text)
    assert str(caught.value) == words


def test_columns_that_are_written_the_plain_way_have_no_reader():
    plain = Column(name="x", kind="number", nullable=False)
    sentinel = Column(name="x", kind="number", nullable=False, reading=Reading(missing_numbers=(-999.0,)))
    text = Column(name="x", kind="category", nullable=False, levels={"a": 10}, reading=Reading(nulls=("?",)))
    assert [text_reader(column) for column in (plain, sentinel, text)] == [None, None, None]
    assert text_reader(Column(name="x", kind="number", nullable=False, reading=CURRENCY)) is not None
