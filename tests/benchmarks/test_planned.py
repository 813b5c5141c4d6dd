"""When the benchmark of the load test says no."""

from __future__ import annotations

import pytest

from benchmarks.serving.planned import off_by, repeat, searches_table
from rowcast.loadtest.highest_rate import Search


@pytest.mark.parametrize(
    ("rates", "holds"),
    [
        ((100.0, 95.0, 105.0, 109.0, 91.0), True),
        ((100.0, 95.0, 105.0, 111.0, 90.0), False),
        ((100.0, None, 100.0), False),
        ((None,), False),
        ((), False),
    ],
)
def test_searches_repeat_where_each_finds_a_rate_within_a_tenth_of_the_median(rates, holds):
    found = [Search(rate, 10.0, (), None, False) for rate in rates]
    assert repeat(found) is holds


def test_the_table_tells_how_far_apart_they_are():
    found = [Search(rate, 10.0, (), None, False) for rate in (100.0, 120.0, 110.0)]
    assert off_by(found) == (110.0, pytest.approx(10 / 110))
    assert searches_table(found, [1.0, 1.0, 1.0])[-1].startswith(
        "The farthest is 9.1% from the median (110 requests/s)"
    )
