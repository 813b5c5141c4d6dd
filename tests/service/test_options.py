"""What a request's headers may ask for."""

from __future__ import annotations

import pytest

from rowcast.models.errors import RequestError
from rowcast.service.http.options import NO_OPTIONS, RequestOptions, options_of, server_timing


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"2H", 7200.0), (b"1M", 60.0), (b"3S", 3.0), (b"250m", 0.25), (b"1500u", 0.0015), (b"99999999n", 0.099999999)],
)
def test_a_timeout_is_digits_and_a_unit(value: bytes, seconds: float) -> None:
    assert options_of([(b"host", b"x"), (b"grpc-timeout", value)]) == RequestOptions(pytest.approx(seconds), False)


@pytest.mark.parametrize("value", [b"", b"5", b"5s", b"-5S", b"5.5S", b"123456789m", b"5 S", b"S", b"1m\x00", b"\xff"])
def test_any_other_timeout_is_refused(value: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        options_of([(b"grpc-timeout", value)])
    assert refused.value.status == 400
    assert "such as 250m for 250 milliseconds, got " in str(refused.value)


def test_without_a_wish_there_are_the_usual_terms() -> None:
    assert options_of([(b"host", b"x"), (b"want-server-timing", b"?0")]) is NO_OPTIONS
    assert options_of([(b"want-server-timing", b"?1")]) == RequestOptions(None, True)


def test_times_are_told_in_milliseconds() -> None:
    assert server_timing(0.0012345, 0.25) == (b"server-timing", b"queue;dur=1.234, compute;dur=250.000")
