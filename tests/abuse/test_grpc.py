"""gRPC that should not be: wrong requests, floods, callers who leave. Only they come off badly."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

from rowcast.service.protocols.grpc.messages import SERVICE
from tests.abuse.conftest import MAX_BODY
from tests.abuse.exchange import LEAKS, request, say, until_closed
from tests.abuse.slow_model import publish_slow, slow_row
from tests.abuse.test_load import HOLD_SECONDS, Held
from tests.abuse.test_load import Slow as SlowOverHttp
from tests.abuse.test_payloads import readable
from tests.service.hostile_messages import BAD, HOSTILE, MANY, Hostile
from tests.service.hostile_payloads import ROW
from tests.service.rpc import INFER, Caller, calling, good, message, outputs
from tests.service.servers import Server, free_port, serving

MAX_QUEUE = 16
PATIENCE = 8 + MAX_BODY / 1e6
"""Seconds that a message may take."""
HANDSHAKE = 7
LATE = 6
"""Seconds that a busy machine may take longer."""


class Abused:
    """A service by one worker, and a caller who does nothing wrong."""

    def __init__(self, server: Server, port: int, caller: Caller) -> None:
        self.server = server
        self.port = port
        self.caller = caller
        (self.worker,) = psutil.Process(server.process.pid).children()
        self.answer = caller.infer(good())


@pytest.fixture(scope="module")
def running(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Abused]:
    port = free_port()
    home = tmp_path_factory.mktemp("abused-grpc")
    with serving(repository, home, grpc_port=str(port), max_body=str(MAX_BODY)) as server, calling(port) as caller:
        yield Abused(server, port, caller)


@pytest.fixture
def abused(running: Abused) -> Iterator[Abused]:
    """The service; when the test is over, its worker must live and give the same good answer on both ports."""
    yield running
    assert running.caller.infer(good()) == running.answer
    assert say(running.server, request(b"", "/livez", method="GET")).status == 200
    assert running.worker.is_running()
    assert "Traceback" not in running.server.log.read_text()


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: readable(hostile.name))
def test_a_hostile_request_is_refused_where_it_is_wrong(abused: Abused, hostile: Hostile) -> None:
    code, words = abused.caller.refusal(hostile.sent)
    assert code == hostile.code
    assert words.startswith(hostile.error)
    assert 0 < len(words) < 500
    assert not LEAKS.search(words)


def test_a_message_beyond_the_limit_is_refused_and_takes_no_memory(abused: Abused) -> None:
    before = abused.worker.memory_info().rss
    for _ in range(20):
        assert abused.caller.refusal(bytes(MAX_BODY + 1))[0] == MANY
        assert abused.caller.refusal(bytes(20 * MAX_BODY))[0] == MANY
    assert abused.worker.memory_info().rss - before < 32 * MAX_BODY
    sent = message(*[ROW] * 4000)
    sent.id = "x" * (MAX_BODY - sent.ByteSize() - 10)
    assert sent.ByteSize() > MAX_BODY - 20
    assert abused.caller.infer(sent).id == sent.id


def test_a_compressed_message_is_refused(abused: Abused) -> None:
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        code, _ = abused.caller.refusal(b"\0" * 1_000_000, compression=compression)
        assert code == grpc.StatusCode.UNIMPLEMENTED


def test_metadata_beyond_the_limit_is_refused(abused: Abused) -> None:
    assert abused.caller.refusal(good(), metadata=[("x", "y" * 50_000)])[0] == MANY


def test_a_call_without_a_message_or_of_an_unknown_method_is_refused(abused: Abused) -> None:
    channel = abused.caller.channel
    for method in (INFER, "ServerLive"):
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(f"/{SERVICE}/{method}")(iter([]), timeout=30)
        assert caught.value.code() == BAD  # type: ignore[attr-defined]
        assert caught.value.details() == "a request must hold one message, got none"  # type: ignore[attr-defined]
    for path in (f"/{SERVICE}/ModelStreamInfer", f"/{SERVICE}/SystemSharedMemoryRegister", "/other/Method"):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(path)(b"", timeout=30)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 4096,
    ],
    ids=["HTTP-1", "TLS", "garbage-frames"],
)
def test_what_is_no_grpc_is_closed(abused: Abused, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", abused.port), timeout=HANDSHAKE + LATE) as connection:
        connection.sendall(sent)
        until_closed(connection)


def test_connections_that_say_nothing_are_closed_and_hold_nobody_up(abused: Abused) -> None:
    with ExitStack() as flood:
        silent = [
            flood.enter_context(socket.create_connection(("127.0.0.1", abused.port), timeout=HANDSHAKE + LATE))
            for _ in range(300)
        ]
        with calling(abused.port) as caller:
            assert caller.infer(good()) == abused.answer
        for connection in silent:
            until_closed(connection)


def test_calls_that_never_send_their_message_end_and_hold_nobody_up(abused: Abused) -> None:
    enough = threading.Event()

    def never() -> Iterator[bytes]:
        enough.wait(60)
        yield from ()

    started = time.monotonic()
    with calling(abused.port) as flooding, calling(abused.port) as caller:
        method = flooding.channel.stream_unary(f"/{SERVICE}/{INFER}")
        calls = [method.future(never(), timeout=60) for _ in range(100)]
        try:
            for _ in range(20):
                assert caller.infer(good()) == abused.answer
            codes = {call.code() for call in calls}  # waits for their end
            assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}
            assert calls[0].details() == f"the message did not come within {PATIENCE:.0f} seconds"
            assert PATIENCE - 1 < time.monotonic() - started < PATIENCE + LATE
        finally:
            enough.set()


def test_a_url_as_a_value_makes_the_service_connect_nowhere(abused: Abused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/tensor"
        assert len(abused.caller.infer(message({**ROW, "carrier": url})).outputs) == 2
        with pytest.raises(BlockingIOError):
            listener.accept()


# ─── more than one worker can do at once ─────────────────────────────────────────────────────────────────────────────


class Slow(SlowOverHttp):
    """A service of the slow model, over both protocols."""

    def __init__(self, server: Server, long_row: dict[str, Any], caller: Caller, port: int) -> None:
        super().__init__(server, long_row)
        self.caller = caller
        self.port = port

    def send(self, held: Held, *sent: Any, **options: Any) -> list[Any]:
        """Calls that have been read when this returns."""
        calls = [self.caller.method(INFER).future(one, **{"timeout": 60, **options}) for one in sent]
        for _ in range(3):
            assert self.caller.ask("ServerLive").live
        held.settle()
        return calls


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slow]:
    home = tmp_path_factory.mktemp("slow-grpc")
    publish_slow(home / "repository")
    port = free_port()
    with (
        serving(home / "repository", home, max_queue=str(MAX_QUEUE), grpc_port=str(port)) as server,
        calling(port) as caller,
    ):
        yield Slow(server, slow_row(HOLD_SECONDS), caller, port)


def test_calls_that_are_cancelled_while_queued_are_not_computed(slow: Slow) -> None:
    computed = slow.metric("batch_rows_sum")
    with slow.held() as held:
        leaving = slow.send(held, message(ROW, ROW), message(ROW, ROW, ROW))
        (staying,) = slow.send(held, message(ROW))
        with calling(slow.port) as other:
            hanging_up = other.method(INFER).future(message(*[ROW] * 5), timeout=60)
            assert other.ask("ServerLive").live
        for call in leaving:
            call.cancel()
        slow.send(held)
        assert held.still
        held.end()
        assert len(staying.result().outputs) == 2
        assert hanging_up.code() == grpc.StatusCode.CANCELLED
    assert slow.metric("batch_rows_sum") - computed == 3  # the first, the long, and the one who stayed


def test_a_call_whose_deadline_passes_while_queued_is_not_computed(slow: Slow) -> None:
    computed = slow.metric("batch_rows_sum")
    with slow.held() as held:
        (late,) = slow.send(held, message(ROW, ROW), timeout=HOLD_SECONDS / 5)
        assert late.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        slow.send(held)
        assert held.still
        held.end()
    assert slow.metric("batch_rows_sum") - computed == 2  # the first and the long


def test_overload_is_refused_at_once_and_says_when_to_come_again(slow: Slow) -> None:
    before = slow.metric("refused_requests_total")
    with slow.held() as held:
        accepted = slow.send(held, message(*[ROW] * (MAX_QUEUE - 1)), message(ROW))
        refused = slow.send(held, message(ROW), message(ROW, ROW), message(ROW, raw=False))
        for call in refused:
            assert call.code() == MANY
            assert call.details().startswith("too many rows are waiting: send this request again later")
            assert int(dict(call.trailing_metadata())["retry-after"]) >= 1
        assert held.still
        held.end()
        assert [len(outputs(call.result())["label"]) for call in accepted] == [MAX_QUEUE - 1, 1]
    assert slow.metric("refused_requests_total") - before == len(refused)


def test_a_row_that_fails_takes_no_neighbour_along(slow: Slow) -> None:
    rows = [{**ROW, "distance": 80.0 + 7 * n} for n in range(6)]
    alone = [outputs(slow.caller.infer(message(row))) for row in rows]
    with slow.held() as held:
        good_calls = slow.send(held, *map(message, rows[:3]))
        fatal, wrong = slow.send(held, message(ROW, {**ROW, "distance": -1.0}), message({**ROW, "distance": np.inf}))
        good_calls += slow.send(held, *(message(row, raw=False) for row in rows[3:]))
        assert wrong.code() == BAD
        assert held.still
        held.end()
        assert fatal.code() == grpc.StatusCode.INTERNAL
        assert fatal.details() == "the model could not answer these rows"
        assert [outputs(call.result()) for call in good_calls] == alone
