from __future__ import annotations

import functools
import json
import os

import pytest

from rowcast.loadtest import check
from rowcast.loadtest.highest_rate import search
from rowcast.loadtest.machine import processor
from rowcast.loadtest.promise_file import KEPT_FILE, Promise, kept
from rowcast.loadtest.report.write import report
from rowcast.models.errors import ConfigError
from rowcast.models.plain_files import append_plain
from rowcast.models.version import VERSION
from tests.loadtest.stub import SHA256, Reply, serving

PROMISE = 'rate = 100\np99_ms = 5000\nduration = "0.2s"\nerrors = "0.1%"\n'


@pytest.fixture
def promise(tmp_path):
    path = tmp_path / "flights" / "promise.toml"
    path.parent.mkdir()
    path.write_text(PROMISE)
    return path


def test_a_promise_is_read_from_its_file(promise):
    assert Promise.read(promise) == Promise(rate=100.0, p99_ms=5000.0, duration_s=0.2, errors=0.001)


@pytest.mark.alone  # a busy machine may break the promise
def test_a_check_reads_the_promise_of_the_model_that_is_served_and_records_that_it_was_kept(promise):
    with serving() as stub:
        verdict = check(stub.url, repository=promise.parents[1])
    assert (verdict.outcome, verdict.rate, verdict.p99_ms, verdict.duration_s) == ("kept", 100, 5000, 0.2)
    assert verdict.errors == 0.001
    (entry,) = kept(promise)
    assert (entry["model"], entry["version"], entry["sha256"]) == ("flights", 3, SHA256)
    assert entry["promise"] == {"rate": 100.0, "p99_ms": 5000.0, "duration_s": 0.2, "errors": 0.001}
    assert (entry["rowcast"], entry["client"]) == (None, VERSION)  # this service does not tell
    assert (entry["local"], entry["machine"]["processor"]) == (True, processor())
    assert entry["measured"]["p99_ms"] == verdict.result.p99_ms


@pytest.mark.alone
def test_the_version_of_the_service_is_recorded_and_not_that_of_the_client(promise):
    with serving() as stub:
        stub.rowcast = "7.8.9"
        assert check(stub.url, repository=promise.parents[1]).outcome == "kept"
    (entry,) = kept(promise)
    assert (entry["rowcast"], entry["client"]) == ("7.8.9", VERSION)


def test_more_requests_than_a_client_can_hold_are_refused_before_any_is_made(promise):
    promise.write_text(PROMISE.replace("rate = 100", "rate = 1e12"))
    with serving() as stub, pytest.raises(ConfigError) as caught:
        check(stub.url, repository=promise.parents[1])
    assert str(caught.value) == (
        "a run has at most 20,000,000 requests, got 1e+12 a second for 0.2 s: lower --rate or --duration"
    )
    assert stub.asked == []


@pytest.mark.alone
def test_another_promise_than_that_of_the_file_is_checked_and_not_recorded(promise):
    with serving() as stub:
        verdict = check(stub.url, repository=promise.parents[1], rate=50)
    assert (verdict.outcome, verdict.rate) == ("kept", 50)
    assert kept(promise) == []


@pytest.mark.parametrize(("given", "outcome"), [(None, "kept"), (0.0, "broken")])
@pytest.mark.alone
def test_the_share_of_errors_is_read_from_the_file_though_flags_say_all_else(promise, given, outcome):
    promise.write_text(PROMISE.replace("0.1%", "50%"))

    def failing(n: int, reply: Reply) -> None:
        reply.status = 500 if n % 4 == 0 else 200

    with serving(failing) as stub:
        options = {"rate": 200, "p99_ms": 5000, "duration_s": 0.2, "errors": given}
        verdict = check(stub.url, repository=promise.parents[1], **options)
    assert (verdict.outcome, verdict.errors) == (outcome, 0.5 if given is None else given)


@pytest.mark.alone
def test_where_flags_say_all_else_there_need_be_no_file(tmp_path):
    with serving() as stub:
        verdict = check(stub.url, repository=tmp_path, rate=100, p99_ms=5000, duration_s=0.2)
    assert (verdict.outcome, verdict.errors) == ("kept", 0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_promise_is_not_recorded(promise):
    def failing(n: int, reply: Reply) -> None:
        reply.status = 500

    with serving(failing) as stub:
        verdict = check(stub.url, promise=promise)
    assert verdict.outcome == "broken"
    assert not promise.with_name(KEPT_FILE).exists()


def test_a_record_with_half_a_line_is_read_all_the_same(promise):
    promise.with_name(KEPT_FILE).write_text('{"model": "a"}\n{"model": "b\n[1]\n{"model": "c"}\n')
    assert [entry["model"] for entry in kept(promise)] == ["a", "c"]


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(promise):
    record = promise.with_name(KEPT_FILE)
    os.mkfifo(record)
    assert kept(promise) == []
    with pytest.raises(OSError, match="No such device or address"):
        append_plain(record, b"{}\n")
    promise.unlink()
    os.mkfifo(promise)
    for read in (Promise.read, Promise.read_if_there):
        with pytest.raises(ConfigError, match=r"promise\.toml cannot be read \(it is not a plain file\): give --rate"):
            read(promise)


def test_a_record_is_read_whatever_else_stands_in_it(promise):
    deep, long = "[" * 5000, json.dumps({"model": "x" * 100_000})
    promise.with_name(KEPT_FILE).write_text(f'{{"model": "a"}}\n{deep}\n{long}\n{{"model": "c"}}\n')
    assert [entry["model"] for entry in kept(promise)] == ["a", "c"]


@pytest.mark.parametrize(
    "odd",
    [
        '{"a": ' + "[" * 700 + "]" * 700 + "}",
        '{"model": ' + "[" * 700 + "]" * 700 + "}",
        '{"promise": {"rate": ' + '{"a": ' * 500 + "1" + "}" * 500 + "}}",
        '{"model": "b", "promise": 5}',
        '{"model": "b", "machine": [1]}',
        '{"unknown": 1}',
    ],
)
def test_a_line_of_another_shape_is_passed_over(promise, odd):
    whole = {"model": "a", "local": True, "promise": {"rate": 1.5}, "rowcast": None}
    later = json.dumps({**whole, "of a later version": [1]})
    promise.with_name(KEPT_FILE).write_text(f"{json.dumps(whole)}\n{odd}\n{later}\n")
    assert kept(promise) == [whole, whole]


@pytest.mark.parametrize("model", ["flights@old", "flights:3"])
def test_a_version_or_an_alias_is_checked_by_its_own_path_with_the_promise_of_its_model(promise, model):
    with serving() as stub:
        verdict = check(stub.url, model=model, repository=promise.parents[1])
    assert (verdict.model, verdict.version, verdict.result.errors) == ("flights", 3, {})
    assert stub.paths == {
        {"flights@old": "/models/flights@old/predict"}.get(model, "/models/flights/versions/3/predict")
    }


@pytest.mark.parametrize("model", ["flights:x", "flights:0", "flights@live", "Flights", "../a"])
def test_what_names_no_model_of_a_service_is_wrong_usage(tmp_path, model):
    for ask in (check, search, functools.partial(report, out=tmp_path / "load.html")):
        with pytest.raises(ConfigError, match="NAME"):
            ask("http://127.0.0.1:9", model=model, p99_ms=5)


def test_without_a_file_the_three_flags_are_asked_for(tmp_path):
    with serving() as stub, pytest.raises(ConfigError) as caught:
        check(stub.url, rate=10, p99_ms=5, repository=tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/flights/promise.toml cannot be read (No such file or directory): give --rate, --p99-ms and "
        "--duration, or write a promise.toml with rate, p99_ms and duration"
    )


def test_where_nobody_answers_the_verdict_is_void_before_a_file_is_looked_for(tmp_path):
    with serving() as stub:
        pass
    verdict = check(stub.url, repository=tmp_path)
    assert (verdict.outcome, verdict.exit_code) == ("void", 3)
    assert json.loads(verdict.to_json())["reason"].startswith("nobody answers at ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("rate = 0", "rate must be a number above 0, got 0"),
        ("rate = true", "rate must be a number above 0, got True"),
        ("rate = " + "1" * 400, f"rate must be a number above 0, got {'1' * 200}..."),
        ("p99_ms = " + "1" * 400, f"p99_ms must be a number above 0, got {'1' * 200}..."),
        (
            f'duration = "{"9" * 400}"',
            f"duration must be a positive number and s, m or h, such as 60s or 30m, got '{'9' * 199}...",
        ),
        (
            "errors = " + "1" * 400,
            f"errors must be a share from 0 to less than 1, such as 0.1% or 0.001, got {'1' * 200}...",
        ),
        ("p99_ms = nan", "p99_ms must be a number above 0, got nan"),
        ('p99_ms = "fast"', "p99_ms must be a number above 0, got 'fast'"),
        ('duration = "soon"', "duration must be a positive number and s, m or h, such as 60s or 30m, got 'soon'"),
        ("errors = 1.0", "errors must be a share from 0 to less than 1, such as 0.1% or 0.001, got 1.0"),
        ('errors = "-1%"', "errors must be a share from 0 to less than 1, such as 0.1% or 0.001, got '-1%'"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named_with_its_file(promise, change, message):
    key = change.split()[0]
    promise.write_text("".join(line for line in PROMISE.splitlines(True) if not line.startswith(key)) + change)
    with pytest.raises(ConfigError) as caught:
        Promise.read(promise)
    assert str(caught.value) == f"{promise}: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PROMISE + "p50_ms = 1", "must hold rate, p99_ms, duration, errors and nothing else, got 'p50_ms'"),
        ("rate = 1\np99_ms = 2", "must hold rate, p99_ms and duration: duration is missing"),
        ("rate =", "must be TOML: Invalid value (at end of document)"),
        ("#" * 70_000, "must be TOML: it is longer than 64 KiB"),
        ("rate = " + "[" * 3000 + "]" * 3000, "must be TOML: it is nested too deeply"),
        (
            PROMISE + "x" * 60_000 + " = 1",
            f"must hold rate, p99_ms, duration, errors and nothing else, got '{'x' * 199}...",
        ),
    ],
)
def test_a_file_that_is_no_promise_is_refused(promise, text, message):
    promise.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Promise.read(promise)
    assert str(caught.value) == f"{promise} {message}"


def test_a_processor_without_a_name_is_told_by_its_kind(tmp_path):
    assert processor(tmp_path / "none")
