"""Texts as people write them become one value each, or none."""

from __future__ import annotations

import datetime as dt

import pytest

from rowcast.models.reading import NumberForm, Reading
from rowcast.models.reading import NumberForm as F
from rowcast.models.texts import is_marker, parse_date, parse_duration, parse_number
from rowcast.models.texts.columns import TextReader
from rowcast.models.texts.durations import format_duration

U = F(thousands=",", affixes=("$",), parentheses=True)


def e(*parts: int) -> int:
    """Epoch microseconds."""
    return (dt.datetime(*parts, tzinfo=dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "form", "value"),
    [
        ("-$1,234.50", U, -1234.5),
        ("($1,234.50)", U, -1234.5),
        ("$(1,234)", U, -1234.0),
        ("$-5", U, -5),
        ("5-", U, -5),
        ("−5", U, -5),
        ("1,23", U, None),
        ("12,34,567", U, 1234567),
        ("1,234,56", U, None),
        ("$", U, None),
        ("", U, None),
        ("()", U, None),
        ("-(5)", U, None),
        ("5", U, 5),
        ("1e5", U, 1e5),
        ("€5", U, None),
        ("26%", F(affixes=("%",)), 26),
        ("26 %", F(affixes=("%",)), 26),
        ("%26", F(affixes=("%",)), 26),
        ("1.234,5", F(decimal=",", thousands="."), 1234.5),
        ("1.234", F(decimal=",", thousands="."), 1234),
        ("12.5", F(decimal=",", thousands="."), 12.5),
        ("12.5", F(decimal=","), 12.5),
        ("1.234", F(decimal=","), None),
        ("0.125", F(decimal=","), 0.125),
        ("1234.567", F(decimal=",", thousands="."), 1234.567),
        ("-7.88 kg", F(decimal=",", affixes=("kg",)), -7.88),
        ("1.5e3", F(decimal=","), 1500),
        ("1.234e3", F(decimal=","), None),
        ("7.", F(decimal=","), None),
        ("(366.60)", F(), -366.6),
        ("(7", F(), None),
        ("-(7)", F(), None),
        (",5", F(decimal=","), 0.5),
        ("5.625.000", F(decimal=",", thousands="."), 5625000),
        ("5.625", F(decimal=",", thousands="."), 5625),
        ("5.6", F(decimal=",", thousands="."), 5.6),
        ("5 625 000,5", F(decimal=",", thousands=" "), 5625000.5),
        ("5\u202f625", F(thousands=" "), 5625),
        ("1'234.5", F(thousands="'"), 1234.5),
        ("1’234", F(thousands="'"), 1234),
        ("5 m²", F(affixes=("m²",)), 5),
        ("1e999", F(), None),
        ("inf", F(), None),
        ("1,5", F(), None),
        ("US$ 5", F(affixes=("US$", "$")), 5),
        ("5 625", F(), None),
    ],
)
def test_a_number_is_read_in_the_form_of_its_column(text, form, value):
    assert parse_number(text, form) == value


@pytest.mark.parametrize("text", ["$5", "1,234", "26%", "\u22125", "5-", "(5)", "1 000"])
def test_without_a_form_only_plain_numbers_are_numbers(text):
    assert parse_number(text) is None
    assert parse_number(" -1234.5e1 ") == -12345.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("08:30", 30600),
        ("08:30:15", 30615),
        ("1:02:03.5", 3723.5),
        ("P1DT2H", 93600),
        ("2 days 03:00:00", 183600),
        ("-1 days +23:00:00", -3600),
        ("-1 day, 23:00:00", -3600),
        ("8:30 PM", 73800),
        ("12:00 am", 0),
        ("1h 30m", 5400),
        ("1h30m5s", 5405),
        ("90 min", 5400),
        ("5 kg", None),
        ("", None),
        ("-", None),
        ("24:60", None),
        ("25:10", 90600),
        ("PT", None),
        ("P", None),
        ("PT1.5S", 1.5),
        ("-PT1M", -60),
        ("P-1DT23H0M0S", -3600),
        ("PT-1.5S", -1.5),
        ("-P-1D", 86400),
        ("PT+1H-1M", 3540),
        ("P-D", None),
        ("PT-", None),
        ("P--1D", None),
        ("1.02:03:04", 93784),
        ("0 days 00:00:00.000001", 1e-6),
        ("13:00 PM", None),
        ("2 days", 172800),
        ("1 day 2 hours", 93600),
        ("1m 1h", None),
        ("3 PM", 54000),
        ("P1Y", None),
        ("08:30:15,5", 30615.5),
        ("-1.02:00:00", -93600),
        ("5", None),
    ],
)
def test_a_duration_is_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "order", "micros"),
    [
        ("31/12/2024", "dmy", e(2024, 12, 31)),
        ("12/31/2024", "mdy", e(2024, 12, 31)),
        ("31.12.2024", "dmy", e(2024, 12, 31)),
        ("2024/12/31", "ymd", e(2024, 12, 31)),
        ("31-Dec-2024", "ymd", e(2024, 12, 31)),
        ("Dec 31, 2024", "ymd", e(2024, 12, 31)),
        ("December 31 2024", "ymd", e(2024, 12, 31)),
        ("2024-01-02 03:04:05 UTC", "ymd", e(2024, 1, 2, 3, 4, 5)),
        ("2024-01-02 03:04:05.123456 UTC", "ymd", e(2024, 1, 2, 3, 4, 5, 123456)),
        ("20241231", "ymd", e(2024, 12, 31)),
        ("20241231", "dmy", e(2024, 12, 31)),
        ("01/02/2024 3:04 PM", "mdy", e(2024, 1, 2, 15, 4)),
        ("01/02/2024 3:04:05 PM", "dmy", e(2024, 2, 1, 15, 4, 5)),
        ("1/2/24", "mdy", e(2024, 1, 2)),
        ("Tue, 31 Dec 2024 23:59:00 GMT", "ymd", e(2024, 12, 31, 23, 59)),
        ("Tue, 31 Dec 2024 23:59:00 +0100", "ymd", e(2024, 12, 31, 22, 59)),
        ("Tue Dec 31 23:59:00 2024", "ymd", e(2024, 12, 31, 23, 59)),
        ("Tue Dec 31 23:59:00 UTC 2024", "ymd", e(2024, 12, 31, 23, 59)),
        ("31 December 2024", "ymd", e(2024, 12, 31)),
        ("31.12.2024 08:30", "dmy", e(2024, 12, 31, 8, 30)),
        ("2024-12-31T08:30:00Z", None, e(2024, 12, 31, 8, 30)),
        ("31/12/2024", None, None),
        ("31/12/2024", "ymd", None),
        ("12/31/2024", "dmy", None),
        ("30/02/2024", "dmy", None),
        ("2024/12/31 5", "ymd", None),
        ("31/12/2024 24:00", "dmy", None),
        ("31st December 2024", "ymd", e(2024, 12, 31)),
        ("20241231T083000Z", "ymd", e(2024, 12, 31, 8, 30)),
        ("20241231083000", "ymd", e(2024, 12, 31, 8, 30)),
        ("31Dec2024", "ymd", e(2024, 12, 31)),
        ("31DEC2024:08:30", "ymd", None),
        ("2024-Dec-31", "ymd", e(2024, 12, 31)),
        ("Dec/31/2024", "ymd", e(2024, 12, 31)),
        ("31/12/2024, 08:30", "dmy", e(2024, 12, 31, 8, 30)),
        ("12-31-2024", "mdy", e(2024, 12, 31)),
        ("2024.12.31", "ymd", e(2024, 12, 31)),
        ("2024-1-2", "ymd", e(2024, 1, 2)),
        ("2024-01-02 03:04:05 +00:00", "ymd", e(2024, 1, 2, 3, 4, 5)),
        ("2024-01-02 3:04:05 PM", "ymd", e(2024, 1, 2, 15, 4, 5)),
        ("31-Dec-24", "ymd", e(2024, 12, 31)),
        ("hello world", "dmy", None),
    ],
)
def test_a_date_is_a_moment_in_the_order_of_its_column(text, order, micros):
    assert parse_date(text, order) == micros


@pytest.mark.parametrize(
    "text",
    [
        "N/A",
        "n/a",
        "NA",
        "?",
        "-",
        "--",
        ".",
        "None",
        "none",
        "NULL",
        "null",
        "NaN",
        "nan",
        "NaT",
        "#N/A",
        "#VALUE!",
        "0000-00-00",
        "unknown",
    ],
)
def test_common_markers_say_that_there_is_no_value(text):
    assert is_marker(f" {text}\t")


@pytest.mark.parametrize("text", ["", "0", "no", "off", "x", "-1", "never", "other"])
def test_values_are_no_markers(text):
    assert not is_marker(text)


@pytest.mark.parametrize("text", ["1" * 400 + "s", "P" + "9" * 400 + "D", "-P" + "9" * 400 + "D", "9" * 400 + " days"])
def test_a_duration_that_no_double_holds_is_none(text):
    assert parse_duration(text) is None


def test_a_long_row_of_digits_that_is_no_number_is_seen_in_time_that_grows_with_its_length():
    # Where digits may go to either half of a pattern, 100,000 of them take minutes.
    assert parse_number("1" * 100_000 + "x") is None
    assert parse_number("1" * 300 + "." + "1" * 100_000 + "x") is None


def test_a_text_longer_than_any_number_or_date_is_refused_unread():
    for kind, reading in (
        ("number", Reading(duration=True)),
        ("number", Reading(number=NumberForm(thousands=","))),
        ("timestamp", Reading(date_order="dmy")),
        ("boolean", Reading(nulls=("n/a",))),
    ):
        reader = TextReader(kind, reading)
        for text in ("P" + "1" * 2**21, "1" + ",111" * 2**19, "Mon," + " " * 2**21 + "Decx", "\u0130" * 2**20):
            with pytest.raises(ValueError, match=r"^must be "):
                reader(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "PT0S"),
        (5400, "PT1H30M"),
        (86400, "P1D"),
        (-93784.5, "-P1DT2H3M4.5S"),
        (0.1, "PT0.1S"),
        (1e-6, "PT0.000001S"),
        (2.0**60, "P13343998895912DT13H56M16S"),
    ],
)
def test_a_duration_is_shown_in_iso_8601(seconds, text):
    assert format_duration(seconds) == text
    assert parse_duration(text) == seconds
