from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from rowcast.loadtest import Verdict, check
from rowcast.models.errors import ConfigError
from tests.loadtest.stub import SHA256, Reply, Stub, serving
from tests.support.handmade import BINARY, REGRESSION

pytestmark = pytest.mark.alone  # how long answers take is what decides

GENEROUS_MS = 5000.0
"""A promise that only a broken service breaks."""


def hold(stub: Stub, p99_ms: float = GENEROUS_MS, **options) -> Verdict:
    return check(stub.url, **{"rate": 200, "p99_ms": p99_ms, "duration_s": 0.5, **options})


@pytest.mark.parametrize("signature", [BINARY, REGRESSION], ids=["classes", "regression"])
def test_a_service_that_answers_right_and_in_time_keeps_its_promise(signature):
    with serving(signature=signature) as stub:
        verdict = hold(stub)
    assert (verdict.outcome, verdict.exit_code) == ("kept", 0)
    assert (verdict.model, verdict.version, verdict.sha256) == ("flights", 3, SHA256)
    assert (verdict.result.offered, verdict.result.ok, verdict.result.errors) == (100, 100, {})
    assert verdict.line().startswith("KEPT flights:3 (sha256 5e5e5e5e5e5e): p99 is ")


def test_the_probe_is_asked_before_during_and_after_the_load():
    with serving() as stub:
        hold(stub)
    probes = [n for n, rows in enumerate(stub.asked) if rows == [BINARY.example_row()]]
    assert (probes[0], probes[-1]) == (0, len(stub.asked) - 1)
    assert any(100 < n < 200 for n in probes), "100 requests warm up and 100 are measured"


def test_the_same_seed_sends_the_same_rows():
    sent = []
    for _ in range(2):
        with serving() as stub:
            hold(stub, seed=4)
        sent.append(sorted(json.dumps(rows) for rows in stub.asked if rows != [BINARY.example_row()]))
    assert sent[0] == sent[1]


def test_a_service_that_stalls_beyond_the_promise_breaks_it():
    def stall(n: int, reply: Reply) -> None:
        reply.delay_s = 0.5 if n % 40 == 0 else 0

    with serving(stall) as stub:
        verdict = hold(stub, p99_ms=100)
    assert (verdict.outcome, verdict.exit_code) == ("broken", 1)
    assert verdict.result.p99_ms >= 499
    assert "promised were 100 ms" in verdict.reason


def test_a_stall_within_the_promise_keeps_it():
    def stall(n: int, reply: Reply) -> None:
        reply.delay_s = 0.05 if n % 50 == 0 else 0

    with serving(stall) as stub:
        verdict = hold(stub)
    assert verdict.outcome == "kept"
    assert verdict.result.max_ms >= 49


@pytest.mark.parametrize(
    ("change", "kind"), [({"status": 500}, "status 500"), ({"hang_up": True}, "disconnected")], ids=["500", "closed"]
)
def test_a_service_that_fails_a_request_now_and_then_breaks_its_promise(change, kind):
    def now_and_then(n: int, reply: Reply) -> None:
        if n > 1 and n % 7 == 0:
            for name, value in change.items():
                setattr(reply, name, value)

    with serving(now_and_then) as stub:
        verdict = hold(stub)
    assert (verdict.outcome, verdict.exit_code) == ("broken", 1)
    assert sum(verdict.result.errors.values()) in (14, 15, 16), "a seventh of 100 requests and some probes"
    assert f"{kind}: {verdict.result.errors[kind]}" in verdict.reason


def test_a_service_that_fails_only_the_probe_breaks_its_promise():
    def fail_first(n: int, reply: Reply) -> None:
        reply.status = 500 if n == 1 else 200

    with serving(fail_first) as stub:
        verdict = hold(stub)
    assert verdict.result.errors == {"probe": 1}
    assert verdict.exit_code == 1


def test_a_wrong_number_of_predictions_makes_the_verdict_void():
    def one_more(n: int, reply: Reply) -> None:
        if n == 150:
            reply.predictions = reply.predictions * 2

    with serving(one_more) as stub:
        verdict = hold(stub)
    assert (verdict.outcome, verdict.exit_code) == ("void", 3)
    assert verdict.reason == "wrong answers: 1 rows were sent and 2 predictions came back"


@pytest.mark.parametrize(("shift", "outcome"), [(1e-4, "void"), (1e-8, "kept")])
def test_an_answer_to_the_probe_that_changes_makes_the_verdict_void(shift, outcome):
    def drift(n: int, reply: Reply) -> None:
        if n > 150:
            for prediction in reply.predictions:
                prediction["probabilities"]["late"] = max(0.0, prediction["probabilities"]["late"] - shift)

    with serving(drift) as stub:
        verdict = hold(stub)
    assert verdict.outcome == outcome
    assert verdict.reason.startswith("wrong answers: the same row was answered with late = ") == (outcome == "void")


def test_a_version_that_goes_live_meanwhile_makes_the_verdict_void():
    def swap(n: int, reply: Reply) -> None:
        reply.version = 4 if n > 150 else 3

    with serving(swap) as stub:
        verdict = hold(stub)
    assert verdict.exit_code == 3
    assert verdict.reason == ("wrong answers: the answer comes from flights:4, while the check began with flights:3")


def test_a_port_where_nobody_listens_makes_the_verdict_void():
    with serving() as stub:
        pass
    verdict = hold(stub)
    assert (verdict.outcome, verdict.exit_code, verdict.result) == ("void", 3, None)
    assert verdict.reason.startswith(f"nobody answers at 127.0.0.1:{stub.port}")


def test_a_model_that_is_not_served_makes_the_verdict_void_and_says_what_the_service_said():
    with serving() as stub:
        verdict = hold(stub, model="trains")
    assert verdict.exit_code == 3
    assert verdict.reason == "GET /models/trains was answered with status 404: no model at /models/trains"


def test_with_several_models_one_has_to_be_named():
    with serving(names=("flights", "trains")) as stub:
        unnamed, named = hold(stub), hold(stub, model="trains")
    assert unnamed.reason == "the service serves flights, trains: choose one with --model"
    assert unnamed.exit_code == 3
    assert (named.outcome, named.model) == ("kept", "trains")


def test_a_service_that_goes_away_under_load_breaks_its_promise():
    with serving(leave_after=150) as stub:
        verdict = hold(stub)
    assert verdict.exit_code == 1
    assert verdict.result.errors["connect"] > 0


def test_a_service_that_goes_away_before_what_is_measured_makes_the_verdict_void():
    with serving(leave_after=50) as stub:
        verdict = hold(stub)
    assert (verdict.outcome, verdict.exit_code) == ("void", 3)
    assert verdict.reason.startswith(f"nobody answers at 127.0.0.1:{stub.port}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "--rate must be a number above 0, got 0"),
        ({"duration_s": -1}, "--duration must be a number above 0, got -1"),
        ({"p99_ms": float("nan")}, "--p99-ms must be a number above 0, got nan"),
        ({"connections": 0}, "--connections must be from 1 to 512, got 0"),
        ({"rate": 0.1}, "no request is due in 1 s at 0.1 a second: raise --rate or --duration"),
        (
            {"url": "localhost:3000"},
            "--url must be an address such as http://127.0.0.1:3000, got 'localhost:3000'",
        ),
        ({"url": "http://"}, "--url must be an address"),
        ({"url": "http://user:hunter2@127.0.0.1:9"}, "an address must hold no user or password, got one before 127"),
        ({"url": "http://127.0.0.1:port"}, "--url must be an address"),
    ],
)
def test_an_argument_out_of_range_is_refused_by_name(options, message):
    with pytest.raises(ConfigError) as caught:
        check(**{"url": "http://127.0.0.1:9", "rate": 10, "p99_ms": 5, "duration_s": 1, **options})
    assert str(caught.value).startswith(message)


def test_the_verdict_as_json_is_one_line_with_every_figure():
    with serving() as stub:
        verdict = hold(stub)
    answer = json.loads(verdict.to_json())
    assert "\n" not in verdict.to_json()
    assert (answer["exit_code"], answer["outcome"]) == (0, "kept")
    assert (answer["model"], answer["version"], answer["sha256"]) == ("flights", 3, SHA256)
    assert answer["result"]["ok"] == 100
    assert answer["result"]["p999_ms"] == verdict.result.p999_ms


def test_the_table_and_the_verdict_are_on_stdout_and_progress_is_on_stderr(capsys):
    with serving() as stub:
        verdict = hold(stub)
    out, err = capsys.readouterr()
    assert "p99.9 latency" in out
    assert out.splitlines()[-1] == verdict.line()
    assert err == "flights:3: 200 requests/s for 0.5 s, after 0.5 s of the same to warm up\n"


def test_the_verdict_may_be_printed_elsewhere(capsys):
    page = io.StringIO()
    with serving() as stub:
        verdict = hold(stub, console=Console(file=page, width=100))
    assert capsys.readouterr().out == ""
    assert page.getvalue().splitlines()[-1] == verdict.line()
