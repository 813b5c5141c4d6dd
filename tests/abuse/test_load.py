"""More than one worker can do at once: neighbours, callers who leave, a full queue."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import polars as pl
import psutil
import pytest

from rowcast.models.arrow import MEDIA_TYPE
from rowcast.service.http.page_cache import PER_SECOND
from tests.abuse.exchange import Answer, check_refusal, connect, in_chunks, read_answer, request, say
from tests.abuse.slow_model import publish_slow, slow_row
from tests.service import open_inference
from tests.service.hostile_payloads import GOOD, PAYLOADS, ROW, rows
from tests.service.servers import Server, serving

HOLD_SECONDS = 1.0
MAX_QUEUE = 16
GOOD_ROWS = [
    {**ROW, "distance": 80.0 + 7 * n, "stops": n % 4, "carrier": ("UA", "AA", "9E", "other")[n % 4]} for n in range(12)
]


class Held:
    """One worker that is computing a long run for a caller, so that whatever is sent now has to wait."""

    def __init__(self, server: Server, long_row: dict[str, Any], callers: ExitStack) -> None:
        self._server = server
        self._callers = callers
        say(server, request(rows({**long_row, "stops": long_row["stops"] // 10})))  # from now on runs leave the loop
        self._long = self.send(request(rows(long_row)))

    def send(self, *requests: bytes) -> list[socket.socket]:
        """Send each on a connection of its own; when this returns they have all been read."""
        connections = [self._callers.enter_context(connect(self._server)) for _ in requests]
        for connection, sent in zip(connections, requests, strict=True):
            connection.sendall(sent)
        self.settle()
        return connections

    def settle(self) -> None:
        """Let the service see whatever was done before."""
        for _ in range(3):
            assert say(self._server, request(b"", "/livez", method="GET")).status == 200

    @property
    def still(self) -> bool:
        """Whether the long run is still on."""
        self._long[0].setblocking(False)
        try:
            return not self._long[0].recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        finally:
            self._long[0].settimeout(30)

    def end(self) -> None:
        """Wait until the long run is over."""
        assert read_answer(self._long[0]).status == 200


class Slow:
    """A service of the slow model."""

    def __init__(self, server: Server, long_row: dict[str, Any]) -> None:
        self.server = server
        self.long_row = long_row

    @contextmanager
    def held(self) -> Iterator[Held]:
        """The service with its worker held up."""
        with ExitStack() as callers:
            yield Held(self.server, self.long_row, callers)

    def metric(self, name: str) -> float:
        time.sleep(1.1 / PER_SECOND)  # or a page that was made before may be shown
        lines = self.server.get("/metrics").text.splitlines()
        series = f'rowcast_{name}{{model="flights"}} '
        return sum(float(line.removeprefix(series)) for line in lines if line.startswith(series))


@pytest.fixture(scope="module", params=["on", "off"], ids=lambda front: f"front-{front}")
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slow]:
    home = tmp_path_factory.mktemp("slow")
    publish_slow(home / "repository")
    with serving(home / "repository", home, max_queue=str(MAX_QUEUE), front=request.param) as server:
        yield Slow(server, slow_row(HOLD_SECONDS))


@pytest.fixture
def slow(running: Slow) -> Iterator[Slow]:
    """The slow service; when the test is over, it must be live and give the same good answer, byte for byte."""
    before = say(running.server, request(GOOD))
    assert before.status == 200
    yield running
    assert say(running.server, request(b"", "/livez", method="GET")).status == 200
    assert say(running.server, request(GOOD)).body == before.body


def predictions(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer
    return list(json.loads(answer.body)["predictions"])


def test_a_bad_value_among_good_neighbours_fails_alone(slow: Slow) -> None:
    alone = [predictions(say(slow.server, request(rows(row)))) for row in GOOD_ROWS]
    runs = slow.metric("batch_rows_count")
    wrong = [
        payload for payload in PAYLOADS if payload.name in {"5 NaN", "9 duplicate column", "12 lone low surrogate"}
    ]
    with slow.held() as held:
        good = held.send(*(request(rows(row)) for row in GOOD_ROWS[:6]))
        fatal = held.send(request(rows(ROW, {**ROW, "distance": -1.0})))
        more = held.send(*(request(rows(row)) for row in GOOD_ROWS[6:]))
        refused = held.send(*(request(payload.body) for payload in wrong))
        assert held.still
        for connection in refused:  # they need not wait for anybody's run
            check_refusal(read_answer(connection), 400)
        assert held.still
        held.end()
        words = check_refusal(read_answer(fatal[0]), 500)
        assert words == "the model could not answer these rows"
        assert [predictions(read_answer(connection)) for connection in good + more] == alone
    assert slow.metric("batch_rows_count") - runs == 3  # the first, the long, and one that all of them shared


@pytest.mark.parametrize("running", ["on"], ids=["front-on"], indirect=True)  # BentoML's API tells nobody who hung up
def test_a_caller_who_is_gone_while_queued_is_not_computed(slow: Slow) -> None:
    computed = slow.metric("batch_rows_sum")
    with slow.held() as held:
        leaving = held.send(*(request(rows(ROW, ROW)), in_chunks(rows(ROW, ROW, ROW))) * 2)
        staying = held.send(request(GOOD))
        for connection in leaving:
            connection.close()
        held.settle()
        assert held.still
        held.end()
        assert read_answer(staying[0]).status == 200
    assert slow.metric("batch_rows_sum") - computed == 3  # the first, the long, and the one who stayed


def test_a_deadline_that_passes_in_the_queue_is_told_then_and_the_rows_are_never_run(slow: Slow) -> None:
    (worker,) = psutil.Process(slow.server.process.pid).children()
    computed, told = slow.metric("batch_rows_sum"), slow.metric("late_requests_total")
    with slow.held() as held:
        threads = worker.num_threads()
        late = held.send(*[request(GOOD, "/predict", "grpc-timeout: 250m")] * 6)
        patient = held.send(request(GOOD, "/predict", "grpc-timeout: 1M"))
        for connection in late:
            assert check_refusal(read_answer(connection), 504).startswith(
                "the rows cannot be answered by the request's"
            )
        assert held.still
        assert worker.num_threads() == threads
        held.end()
        assert read_answer(patient[0]).status == 200
    assert slow.metric("batch_rows_sum") - computed == 3  # the first, the long, and the one who had time
    assert slow.metric("late_requests_total") - told == 6
    assert worker.num_threads() == threads


def ways(*headers: str) -> dict[str, bytes]:
    """A row in JSON, as Open Inference has it, in JSON and in bytes, and as an Arrow stream."""
    content, json_bytes = open_inference.binary(ROW)
    length = f"inference-header-content-length: {json_bytes}"
    stream = io.BytesIO()
    pl.DataFrame([ROW]).with_columns(pl.col("departs").str.to_datetime(time_zone="UTC")).write_ipc_stream(stream)
    path = "/models/flights/versions/1/predict"
    tensors = open_inference.body(open_inference.request(ROW))
    return {
        "rows": request(GOOD, "/predict", *headers),
        "V2 JSON": request(tensors, open_inference.PATH, *headers),
        "V2 binary": request(content, open_inference.PATH, length, *headers, content_type="application/octet-stream"),
        "Arrow": request(stream.getvalue(), path, *headers, content_type=MEDIA_TYPE),
    }


@pytest.mark.parametrize("way", ways())
def test_a_deadline_that_cannot_be_kept_is_refused_at_once_and_one_that_is_none_is_a_bad_request(
    slow: Slow, way: str
) -> None:
    computed = slow.metric("batch_rows_sum")
    for _ in range(20):
        check_refusal(say(slow.server, ways("grpc-timeout: 1n")[way]), 504)
    words = check_refusal(say(slow.server, ways("grpc-timeout: soon")[way]), 400)
    assert words.startswith("grpc-timeout must be at most eight digits and one of H, M, S, m, u, n")
    assert slow.metric("batch_rows_sum") == computed


@pytest.mark.parametrize("way", ways())
def test_who_asks_is_told_how_long_the_rows_were_queued_and_run(slow: Slow, way: str) -> None:
    with slow.held() as held:
        asking = held.send(ways("want-server-timing: ?1")[way])
        held.end()
        times = read_answer(asking[0]).headers["server-timing"]
    queued, computed = (float(part.partition("dur=")[2]) for part in times.split(", "))
    assert times.startswith("queue;dur=")
    assert queued > 10
    assert 0 < computed < queued
    assert "server-timing" not in say(slow.server, ways()[way]).headers


def test_overload_is_refused_at_once_with_retry_after_and_the_accepted_are_answered(slow: Slow) -> None:
    alone = [predictions(say(slow.server, request(rows(row)))) for row in GOOD_ROWS]
    before = slow.metric("refused_requests_total")
    with slow.held() as held:
        accepted = held.send(*(request(rows(row)) for row in GOOD_ROWS), request(rows(*[ROW] * (MAX_QUEUE - 12))))
        asked = [
            request(GOOD),
            in_chunks(GOOD),
            request(rows(ROW, ROW)),
            request(b"not even JSON"),
            *list(ways().values())[1:],
        ]
        refused = held.send(*asked * 2)
        for connection in refused:
            answer = read_answer(connection)
            assert check_refusal(answer, 429).startswith("too many rows are waiting: send this request again later")
            assert int(answer.headers["retry-after"]) >= 1
        assert held.still
        held.end()
        assert [predictions(read_answer(connection)) for connection in accepted[:-1]] == alone
        assert len(predictions(read_answer(accepted[-1]))) == MAX_QUEUE - 12
    assert slow.metric("refused_requests_total") - before == len(refused)
