from __future__ import annotations

from dataclasses import replace

import pytest

from rowcast import loadtest
from rowcast.loadtest.openloop import Result
from rowcast.loadtest.verdict import Verdict, judge

GOOD = Result(
    offered=1000,
    sent=1000,
    ok=1000,
    errors={},
    offered_rate=100.0,
    achieved_rate=100.0,
    p50_ms=1.0,
    p90_ms=2.0,
    p99_ms=5.0,
    p999_ms=8.0,
    max_ms=9.0,
    least_p99_ms=3.0,
    client_lag_p99_ms=0.2,
    client_cpu=0.1,
    wrong=None,
    void=None,
)
LATE = {"void": "the client was saturated", "saturated": True}


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, "kept"),
        ({"p99_ms": 10.0}, "kept"),
        ({"p99_ms": 10.01}, "broken"),
        ({"errors": {"timeout": 1}}, "broken"),
        ({"achieved_rate": 99.0}, "kept"),
        ({"achieved_rate": 98.9}, "broken"),
        ({"errors": {"timeout": 1}, "promised_errors": 0.001}, "kept"),
        ({"errors": {"timeout": 2}, "promised_errors": 0.001}, "broken"),
        ({"errors": {"status 500": 10}, "achieved_rate": 98.0, "promised_errors": 0.01}, "kept"),
        ({"wrong": "too short"}, "void"),
        ({"void": "nobody answers", "achieved_rate": 0.0}, "void"),
        ({"void": "nobody answers", "achieved_rate": 0.0, "errors": {"probe": 1}}, "void"),
        # Failed probes, which are none of the load.
        ({"errors": {"probe": 1}}, "broken"),
        ({"errors": {"probe": 1}, "promised_errors": 0.001}, "kept"),
        ({"errors": {"probe": 1, "timeout": 1}, "promised_errors": 0.001}, "kept"),
        ({"errors": {"probe": 2, "timeout": 1}, "promised_errors": 0.001}, "broken"),
        # What a saturated client decides, and what it does not.
        (LATE, "kept"),
        ({**LATE, "p99_ms": 11.0}, "void"),
        ({**LATE, "p99_ms": 11.0, "least_p99_ms": 10.5}, "broken"),
        ({**LATE, "errors": {"timeout": 3, "unsent": 2}}, "void"),
        ({**LATE, "errors": {"timeout": 3, "status 500": 1}}, "broken"),
    ],
)
def test_a_promise_of_10_ms_is_judged(change, outcome):
    change = dict(change)
    errors = change.pop("promised_errors", 0.0)
    assert judge(replace(GOOD, **change), p99_ms=10, errors=errors)[0] == outcome


def test_the_reason_names_everything_that_broke_the_promise():
    result = replace(GOOD, p99_ms=20.0, errors={"timeout": 2, "status 503": 1200}, achieved_rate=80.0)
    assert judge(result, p99_ms=10)[1] == (
        "p99 is 20.00 ms, promised were 10 ms; 1,202 of 1,000 requests failed (status 503: 1,200, timeout: 2); "
        "80.0 good answers/s came of 100.0 requests/s"
    )


def test_probes_that_failed_are_told_apart_from_requests():
    both = replace(GOOD, offered=20, errors={"probe": 12, "status 503": 20})
    assert judge(both, p99_ms=10)[1] == "20 of 20 requests failed (status 503: 20) and 12 probes failed"
    assert judge(replace(GOOD, errors={"probe": 1}), p99_ms=10)[1] == "1 probe failed"
    assert judge(replace(both, errors={"probe": 3, "timeout": 1}), p99_ms=10, errors=0.1)[1] == (
        "3 probes failed, promised were 10% at most"
    )


@pytest.mark.parametrize(("outcome", "code"), [("kept", 0), ("broken", 1), ("void", 3)])
def test_each_outcome_has_its_exit_code(outcome, code):
    assert Verdict(outcome, "", "http://127.0.0.1:3000", 1, 1, 1, 0, 1).exit_code == code


def test_a_verdict_without_a_model_names_the_address():
    verdict = Verdict("void", "nobody answers", "http://127.0.0.1:3000", 1, 1, 1, 0, 1)
    assert verdict.line() == "VOID http://127.0.0.1:3000: nobody answers"


def test_the_public_names_are_these():
    assert loadtest.__all__ == [
        "NotServed",
        "Payloads",
        "Result",
        "Search",
        "ServedModel",
        "Verdict",
        "check",
        "schedule",
        "search",
    ]
    assert all(hasattr(loadtest, name) for name in loadtest.__all__)
