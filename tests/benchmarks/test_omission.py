from __future__ import annotations

from benchmarks.serving.omission import Seen, report, truth


def test_a_tenth_of_the_requests_waits_and_half_the_stall_on_average():
    true = truth()
    assert (true.requests, true.late, round(true.p99_ms), round(true.max_ms)) == (2000, 180, 900, 1000)


def test_the_table_says_how_much_of_p99_was_seen():
    last = report([("true", truth()), ("closed", Seen(1000, 8, 9.0, 990.0, 999.0))]).splitlines()[-1]
    assert last == "| closed | 1,000 | 8 | 0.80% | 9.0 | 990.0 | 999 | 1.0% |"
