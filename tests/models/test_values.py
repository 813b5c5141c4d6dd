"""Timestamps: exact to the microsecond, and nothing but ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.models.values import format_timestamp, parse_timestamp

HOUR = 3_600_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00", 0),
        ("1970-01-01 01:00:00Z", HOUR),
        ("1970-01-01t01:00:00z", HOUR),
        ("1970-01-01T00:00:00+02:00", -2 * HOUR),
        ("1970-01-01T00:00:00-0330", 3 * HOUR + HOUR // 2),
        ("1970-01-01T00:00:00+01", -HOUR),
        ("1970-01-01T00:00:00.000001", 1),
        ("1970-01-01T00:00:00,5", 500_000),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01T00:00:00.123456789Z", 123_456),
        ("1900-01-01", -2_208_988_800_000_000),
        ("2262-01-01T00:00:00Z", 9_214_646_400_000_000),
    ],
)
def test_iso_8601_is_read_to_the_microsecond(text, micros):
    assert parse_timestamp(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        "today",
        "2013",
        "2013-7-1",
        "20130701",
        "2013-02-29",
        "2013-13-01",
        "0000-01-01",
        "2013-01-01T24:00",
        "2013-01-01T10",
        "2013-01-01T10:00:60",
        "2013-01-01T10:00:00+25:00",
        "2013-01-01T10:00:00+01:60",
        "2013-01-01Z",
        " 2013-01-01",
        "2013-01-01\n",
        "01/07/2013",
        "２０１３-01-01",
        "2013-W01-1",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"is not|has a zone"):
        parse_timestamp(text)


@given(st.datetimes())
def test_what_is_written_is_read_back(moment):
    micros = (moment.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    assert parse_timestamp(format_timestamp(micros)) == micros


def outcome(text: str) -> int | str:
    try:
        return parse_timestamp(text)
    except ValueError as error:
        return str(error)


@given(
    st.datetimes(),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 26), st.sampled_from("0123456789TtZzW:.,+- 2\u0662")), max_size=2),
)
def test_the_quick_way_reads_what_the_pattern_reads_and_no_more(
    moment: datetime, micros: bool, changes: list[tuple[int, str]]
) -> None:
    text = moment.isoformat(timespec="microseconds" if micros else "seconds") + "Z"
    for place, put in changes:
        text = text[:place] + put + text[place + 1 :]
    quick = outcome(text)
    with mock.patch("rowcast.models.values._is_usual", return_value=False):
        assert quick == outcome(text)


@pytest.mark.parametrize(
    "text",
    [
        "2013-W27-1T08:30:00Z",
        "2013-07-01T24:00:00Z",
        "2013-07-01T08:30:00+010000Z",
        "2013-07-01T08:30:00.00000ZZ",
        "2013-07-01T08:30:00.123+01Z",
    ],
)
def test_what_python_reads_besides_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"ISO 8601|exist"):
        parse_timestamp(text)
