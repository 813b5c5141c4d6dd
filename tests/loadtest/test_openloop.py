from __future__ import annotations

import time

import numpy as np
import pytest

from rowcast.loadtest import openloop
from rowcast.loadtest.connection import Endpoint, run_precisely
from rowcast.loadtest.openloop import Result, schedule
from rowcast.models.errors import ConfigError
from tests.loadtest.stub import Reply, Stub, serving
from tests.support.handmade import BINARY

pytestmark = pytest.mark.alone  # when requests leave and answers come is what is measured

RELAXED_MS = 10_000.0
"""A lag limit that a busy test machine does not reach."""


def load(stub: Stub, due: list[float], *, duration_s: float = 1.0, **options) -> Result:
    """Send one-row requests to a stub at the moments ``due``."""
    endpoint = Endpoint.of(stub.url)
    requests = [endpoint.post("/models/flights/predict", b'{"rows": [{"distance": %d}]}' % i) for i in range(100)]
    options = {"fault": lambda body: None, "lag_limit_ms": RELAXED_MS, **options}
    return run_precisely(openloop.run(endpoint, requests, np.array(due), duration_s, **options))


def evenly(n: int, duration_s: float = 1.0) -> list[float]:
    return [i * duration_s / n for i in range(n)]


def test_a_schedule_is_reproducible_from_its_seed():
    assert schedule(100, 10, seed=3).tolist() == schedule(100, 10, seed=3).tolist()
    assert schedule(100, 10, seed=3).tolist() != schedule(100, 10, seed=4).tolist()


def test_a_schedule_has_the_rate_it_was_asked_for_and_ends_with_the_run():
    due = schedule(250, 40, seed=0)
    assert len(due) == 10_000
    assert due[0] >= 0
    assert due[-1] < 40
    assert (np.diff(due) >= 0).all()


def test_the_gaps_of_a_schedule_are_those_of_a_poisson_process():
    gaps = np.diff(schedule(250, 400, seed=1)) * 250
    assert gaps.mean() == pytest.approx(1, rel=0.01)
    assert gaps.std() == pytest.approx(1, rel=0.02)
    assert (gaps > 1).mean() == pytest.approx(np.exp(-1), rel=0.02)


@pytest.mark.parametrize(("rate", "duration_s"), [(0, 1), (-1, 1), (float("nan"), 1), (1, 0), (1, float("inf"))])
def test_a_schedule_refuses_a_rate_or_duration_that_is_none(rate, duration_s):
    with pytest.raises(ConfigError, match="must be a number above 0, got"):
        schedule(rate, duration_s, seed=0)


def test_every_request_is_sent_once_in_turn_and_counted_as_good():
    with serving() as stub:
        result = load(stub, evenly(150))
    assert sorted(rows[0]["distance"] for rows in stub.asked) == sorted([*range(100), *range(50)])
    assert (result.offered, result.sent, result.ok, result.errors) == (150, 150, 150, {})
    assert result.client_turns >= 150, "each request is sent in a turn of its own"
    assert result.offered_rate == 150
    assert 75 < result.achieved_rate <= 150
    assert 0 < result.p50_ms <= result.p90_ms <= result.p99_ms <= result.p999_ms <= result.max_ms
    assert result.void is None


def test_connections_are_kept_alive_and_never_more_than_allowed():
    def slow(n: int, reply: Reply) -> None:
        reply.delay_s = 0.004

    with serving(slow) as stub:
        result = load(stub, evenly(200), connections=3)
    assert result.ok == 200
    assert stub.connections == stub.most_open == 3


def test_a_stall_counts_for_every_request_that_was_due_meanwhile():
    def stall_once(n: int, reply: Reply) -> None:
        if n == 100:
            reply.delay_s = 0.3

    with serving(stall_once) as stub:
        result = load(stub, evenly(300), connections=4)
    assert result.ok == 300
    assert result.max_ms >= 299
    # 90 of the 300 fell into the stall. A client that waits for answers would have measured 4 slow ones.
    assert result.p99_ms >= 270
    assert result.p90_ms >= 150


def test_latency_counts_from_when_a_request_was_due_and_not_from_when_it_left():
    def slow(n: int, reply: Reply) -> None:
        reply.delay_s = 0.02

    with serving(slow) as stub:
        result = load(stub, [0.0] * 10, connections=1)
    assert result.ok == 10
    assert result.max_ms >= 199


def test_failures_are_counted_by_kind():
    def now_and_then(n: int, reply: Reply) -> None:
        reply.status = {3: 500, 6: 503, 9: 503}.get(n, 200)
        reply.hang_up = n in (12, 15)

    with serving(now_and_then) as stub:
        result = load(stub, evenly(50))
    assert result.errors == {"status 500": 1, "status 503": 2, "disconnected": 2}
    assert (result.sent, result.ok) == (50, 45)


def test_a_connection_that_the_service_ends_properly_is_no_failure():
    def end_each(n: int, reply: Reply) -> None:
        reply.close_after = True

    with serving(end_each) as stub:
        result = load(stub, evenly(40), connections=2)
    assert (result.ok, result.errors) == (40, {})
    assert stub.connections >= 40


def test_an_answer_in_chunks_is_read_whole():
    def in_chunks(n: int, reply: Reply) -> None:
        reply.chunked = True

    bodies: list[bytes] = []
    with serving(in_chunks) as stub:
        result = load(stub, evenly(10), fault=bodies.append)
    assert result.ok == 10
    assert all(body.startswith(b'{"model": "flights"') and body.endswith(b"}") for body in bodies)


def test_a_wrong_answer_is_a_failure_and_the_first_is_kept():
    faults = iter([None, "too short", None, "too long", None])
    with serving() as stub:
        result = load(stub, evenly(5), connections=1, fault=lambda body: next(faults))
    assert (result.ok, result.errors, result.wrong) == (3, {"wrong answer": 2}, "too short")


def test_late_and_unsent_requests_are_failures_that_count_with_the_time_they_waited():
    def stuck(n: int, reply: Reply) -> None:
        reply.delay_s = 30.0

    with serving(stuck) as stub:
        result = load(stub, [0.0] * 5, connections=2, timeout_s=0.3)
    assert result.errors == {"timeout": 2, "unsent": 3}
    assert (result.offered, result.sent, result.ok) == (5, 2, 0)
    assert result.p50_ms >= 299


def test_a_service_that_falls_behind_achieves_less_than_was_offered():
    def slow(n: int, reply: Reply) -> None:
        reply.delay_s = 0.02

    with serving(slow) as stub:
        result = load(stub, evenly(100), connections=4)
    assert result.ok == 100
    assert result.achieved_rate < 60, "50 a second is all that 20 ms each allow"


def test_a_port_where_nobody_listens_makes_the_run_void():
    with serving() as stub:
        pass
    result = load(stub, evenly(10))
    assert result.void.startswith(f"nobody answers at 127.0.0.1:{stub.port}")
    assert (result.offered, result.sent, result.ok) == (10, 0, 0)


def test_a_client_that_is_too_busy_for_its_schedule_makes_the_run_void():
    def ponder(body: bytes) -> None:
        time.sleep(0.02)

    with serving() as stub:
        result = load(stub, evenly(100), fault=ponder, lag_limit_ms=2.0)
    assert result.ok == 100
    assert result.void.startswith("the client was saturated")
    assert result.client_lag_p99_ms >= 19


def test_a_service_that_keeps_every_connection_busy_is_no_fault_of_the_client():
    def slow(n: int, reply: Reply) -> None:
        reply.delay_s = 0.02

    with serving(slow) as stub:
        result = load(stub, evenly(60), connections=1, lag_limit_ms=500.0)
    assert result.p99_ms >= 150
    assert result.void is None


@pytest.mark.parametrize("connections", [0, -1, 513])
def test_a_number_of_connections_out_of_range_is_refused(connections):
    with pytest.raises(ConfigError, match=f"--connections must be from 1 to 512, got {connections}"):
        load(Stub(BINARY, (), lambda n, reply: None, port=9), [0.0], connections=connections)
