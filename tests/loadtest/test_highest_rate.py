from __future__ import annotations

import asyncio
import json
import re

import pytest

from rowcast.loadtest import search
from rowcast.loadtest.highest_rate import PRECISION, WIDEST, Search, Unsteady, bisect, settled
from rowcast.loadtest.openloop import check_length, longest
from rowcast.models.errors import ConfigError
from tests.loadtest.stub import Reply, serving


def looked_for(capacity: float, first: float = 100.0, unlucky: int | None = None) -> tuple[float | None, list[float]]:
    """What a bisection finds of a service that takes ``capacity``, and which rates it tries."""
    tried: list[float] = []

    async def holds(rate: float, length: float) -> float | None:
        tried.append(rate)
        return rate if rate <= capacity and len(tried) != unlucky else None

    return asyncio.run(bisect(holds, first)), tried


@pytest.mark.parametrize("capacity", [1.5, 40, 99, 100, 101, 3217, 90_000])
def test_the_highest_rate_is_found_within_the_precision(capacity):
    found, tried = looked_for(capacity)
    assert capacity / (1 + PRECISION) <= found <= capacity
    assert len(tried) <= 20


def test_where_a_rate_broke_by_bad_luck_the_search_goes_on_from_there():
    found, tried = looked_for(1000, unlucky=2)
    assert tried[1] == 200
    assert max(tried) > 1000
    assert 1000 / (1 + PRECISION) <= found <= 1000


def test_where_even_one_request_a_second_is_too_much_nothing_is_found():
    assert looked_for(0.5)[0] is None


def test_what_does_not_hold_in_the_longer_run_is_lowered():
    found, tried = looked_for(100, unlucky=8)  # the eighth run is the one that confirms
    assert tried[7] == 100
    assert 97 <= found <= 100
    assert found in tried[8:]


def test_where_runs_contradict_each_other_there_is_no_highest_rate():
    async def look() -> float | None:
        steps = 0

        async def holds(rate: float, length: float) -> float | None:
            nonlocal steps
            steps += 1
            assert steps < 200
            return rate if length < 2 and rate < 1000 else None

        return await bisect(holds, 100)

    with pytest.raises(Unsteady):
        asyncio.run(look())


@pytest.mark.parametrize(
    ("held", "broken", "rate", "wavers"),
    [
        ((100, 200, 300), (400, 310), 300, None),
        ((100, 200, 300, 320), (400, 310), 320, (310, 320)),  # as many against either
        ((100, 200, 300), (400, 310, 200), 300, (200, 300)),  # one without
        ((100, 200, 300, 330), (400, 310, 310, 305), 300, (305, 330)),
        ((100, 200, 210), (190, 205, 205, 220), 200, (190, 210)),
        ((100, 300), (120, 130), None, (120, 300)),  # too far apart to say anything
        ((), (100, 50), None, None),
    ],
)
def test_what_is_found_has_the_fewest_runs_against_it(held, broken, rate, wavers):
    runs = [(float(one), True) for one in held] + [(float(one), False) for one in broken]
    assert settled(runs, WIDEST) == (rate, wavers)


def test_a_search_tells_where_runs_contradicted_each_other():
    found = Search(200.0, 10.0, (), None, False, (190.0, 210.0))
    assert json.loads(found.to_json())["wavers"] == [190.0, 210.0]


@pytest.mark.alone  # how long answers take is what decides
def test_a_service_of_four_milliseconds_a_request_takes_a_bit_less_than_250_a_second():
    def slow(n: int, reply: Reply) -> None:
        reply.delay_s = 0.004

    with serving(slow) as stub:
        found = search(stub.url, p99_ms=100, step_s=0.1, first_rate=200, precision=0.99)
    assert found.exit_code == 0
    assert 50 <= found.rate < 260
    assert "broken" in {step.outcome for step in found.steps}
    assert len({step.seed for step in found.steps}) == len(found.steps)
    assert found.confirmed.rate == found.rate
    answer = json.loads(found.to_json())
    assert (answer["rate"], answer["p99_ms"], answer["ends_at"]) == (found.rate, 100, "service")
    assert len(answer["steps"]) == len(found.steps)
    assert answer["measured_p99_ms"] == found.confirmed.result.p99_ms <= 100


@pytest.mark.alone
def test_a_service_that_is_always_too_slow_holds_no_rate():
    def slow(n: int, reply: Reply) -> None:
        reply.delay_s = 0.02

    with serving(slow) as stub:
        found = search(stub.url, p99_ms=5, step_s=0.1, first_rate=50)
    assert (found.rate, found.exit_code) == (None, 1)
    assert re.match(r"NONE: even at 50 requests/s p99 is \d+\.\d\d ms, promised were 5 ms(; |$)", found.line())


@pytest.mark.alone
def test_a_service_that_fails_every_request_is_said_to_fail_them():
    def down(n: int, reply: Reply) -> None:
        reply.status = 503

    with serving(down) as stub:
        found = search(stub.url, p99_ms=5000, step_s=0.1, first_rate=50)
    assert (found.rate, found.exit_code) == (None, 1)
    assert found.line().startswith("NONE: even at 50 requests/s 20 of 20 requests failed (status 503: 20) and ")
    assert json.loads(found.to_json())["reason"] == found.line().removeprefix("NONE: ")


@pytest.mark.alone
def test_a_search_whose_every_step_was_too_much_for_the_client_is_void(monkeypatch):
    monkeypatch.setattr("rowcast.loadtest.openloop.SATURATED_CPU", 0.0)

    def slow(n: int, reply: Reply) -> None:
        reply.delay_s = 0.04  # on one connection, where 50 a second are due, they wait for it ever longer

    with serving(slow) as stub:
        found = search(stub.url, p99_ms=150, step_s=0.1, first_rate=50, connections=1)
    assert {step.outcome for step in found.steps} == {"void"}
    assert (found.rate, found.exit_code) == (None, 3)
    assert found.line().startswith("VOID the client was saturated: it used ")
    assert json.loads(found.to_json())["reason"] == found.void


@pytest.mark.alone
def test_a_step_is_as_long_as_a_client_can_hold_its_requests(monkeypatch, capsys):
    monkeypatch.setattr("rowcast.loadtest.openloop.MOST_REQUESTS", 41)

    def slow(n: int, reply: Reply) -> None:
        reply.delay_s = 0.004

    with serving(slow) as stub:
        found = search(stub.url, p99_ms=1000, step_s=0.4, first_rate=100, precision=0.99)
    assert max(step.rate * step.duration_s for step in found.steps) == pytest.approx(40)
    assert "s: a run has at most 41 requests\n" in capsys.readouterr().err


@pytest.mark.parametrize("rate", [1e-3, 3.0, 7.77, 12_345.6, 1e9])
def test_the_longest_run_is_one_that_is_not_refused(rate):
    check_length(rate, longest(rate, 1e12))
    assert longest(rate, 1e-3) == pytest.approx(min(1e-3, 2e7 / rate))


def test_a_port_where_nobody_listens_makes_the_search_void():
    with serving() as stub:
        pass
    found = search(stub.url, p99_ms=5)
    assert (found.exit_code, found.rate, found.steps) == (3, None, ())
    assert found.line().startswith(f"VOID nobody answers at 127.0.0.1:{stub.port}")
    assert json.loads(found.to_json())["reason"] == found.void


def test_a_wrong_answer_ends_the_search_at_once():
    def wrong(n: int, reply: Reply) -> None:
        reply.predictions = []

    with serving(wrong) as stub:
        found = search(stub.url, p99_ms=5000, step_s=0.2)
    assert (found.exit_code, len(found.steps)) == (3, 1)
    assert found.void.startswith("wrong answers: 1 rows were sent and 0 predictions came back")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p99_ms": 0}, "--p99-ms must be a number above 0, got 0"),
        ({"step_s": -1}, "--duration must be a number above 0, got -1"),
        ({"first_rate": float("nan")}, "--from must be a number above 0, got nan"),
        ({"errors": 1.5}, "--errors must be a share from 0 to less than 1, such as 0.1% or 0.001, got 1.5"),
        (
            {"step_s": 3600.0, "first_rate": 1e4},
            "a run has at most 20,000,000 requests, got 10000 a second for 3600 s: lower --from or --duration",
        ),
        ({"precision": 0}, "--precision must be a share from 0.1% to 100%, got 0%"),
        ({"connections": 513}, "--connections must be from 1 to 512, got 513"),
    ],
)
def test_an_argument_out_of_range_is_refused_by_name(options, message):
    with pytest.raises(ConfigError) as caught:
        search(**{"url": "http://127.0.0.1:9", "p99_ms": 5, **options})
    assert str(caught.value) == message


def test_a_rate_that_ends_at_the_client_says_so():
    found = Search(100.0, 5.0, (), None, True)
    assert json.loads(found.to_json())["ends_at"] == "client"
