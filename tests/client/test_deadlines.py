"""``timeout`` bounds a request from the first look at its connection to the last byte of its answer."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from rowcast.client import AsyncClient, Busy, Client, ClientError, Unreachable
from tests.client.conftest import GOOD_BODY, RawStub, answer, ask_blocking, both, raw_stub
from tests.service.servers import free_port

SECONDS = 0.3
LATE = SECONDS + 1.0
"""On a machine that has other things to do."""


def dripped(head: bytes, drop: bytes) -> Callable[[RawStub, socket.socket, bytes], None]:
    """Says something again and again, each time well within the timeout."""

    def script(state: RawStub, connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        while not state.stopped.wait(SECONDS / 6):
            connection.sendall(drop)

    return script


LENGTH = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
DRIPS = {
    "nothing": (b"", b""),
    "a byte of the status line": (b"", b"H"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x-more: y\r\n"),
    "announcements": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "continues": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the body": (LENGTH, b" "),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "a chunk's head": (CHUNKED, b"0"),
    "the body of an error": (LENGTH.replace(b"200 OK", b"500 No").replace(b"100000", b"1000"), b" "),
    "the body of a busy answer": (LENGTH.replace(b"200 OK", b"503 No").replace(b"100000", b"1000"), b" "),
    "a body without a length": (LENGTH.replace(b"content-length: 100000\r\n", b""), b" "),
}


@both
@pytest.mark.parametrize(("head", "drop"), DRIPS.values(), ids=DRIPS)
def test_a_service_that_drips_is_not_waited_for(ask: Any, head: bytes, drop: bytes) -> None:
    with raw_stub(dripped(head, drop)) as service:
        started = time.monotonic()
        with pytest.raises(Unreachable, match=r"did not answer within 0\.3 seconds; see timeout="):
            ask(service.url, timeout=SECONDS)
        assert SECONDS <= time.monotonic() - started < LATE


@both
def test_a_service_that_takes_a_body_by_drips_is_not_waited_for(ask: Any) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stopped = threading.Event()

    def read_slowly() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            while not stopped.wait(0.05) and connection.recv(4096):
                pass

    thread = threading.Thread(target=read_slowly, daemon=True)
    thread.start()
    table = {"x": ["long text " * 1000] * 256}
    try:
        started = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer within"):
            ask(f"http://127.0.0.1:{listener.getsockname()[1]}", table, timeout=SECONDS, protocol="json")
        assert time.monotonic() - started < LATE
    finally:
        stopped.set()
        thread.join(5)
        listener.close()


@both
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_who_answers_at_all_is_waited_for(ask: Any, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel connects, and nobody shakes hands
        started = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer within"):
            ask(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}", timeout=SECONDS)
        assert time.monotonic() - started < LATE


@both
def test_retries_and_waits_take_of_the_same_time(ask: Any) -> None:
    def script(state: RawStub, connection: socket.socket, _: bytes) -> None:
        state.stopped.wait(SECONDS / 4)
        connection.sendall(answer(b'{"error":"busy"}', "503 No", "retry-after: 0"))

    with raw_stub(script) as service:
        started = time.monotonic()
        with pytest.raises((Busy, Unreachable)):
            ask(service.url, timeout=SECONDS, retries=1000)
        assert time.monotonic() - started < LATE
        assert 2 <= len(service.heads) <= 5


@both
def test_trying_to_connect_ends_with_the_time(ask: Any) -> None:
    started = time.monotonic()
    with pytest.raises(ClientError, match=r"Connection refused|did not answer|All connection attempts failed"):
        ask(f"http://127.0.0.1:{free_port()}", timeout=SECONDS, retries=1000)
    assert time.monotonic() - started < LATE


@both
def test_a_connection_is_good_again_after_a_request_that_was_late(ask: Any) -> None:
    def script(state: RawStub, connection: socket.socket, head: bytes) -> None:
        if b"/slow/" in head:
            state.stopped.wait(SECONDS)
        connection.sendall(answer(GOOD_BODY))

    async def awaited(url: str) -> list[Any]:
        async with AsyncClient(url, "slow", timeout=SECONDS / 3) as client:
            with pytest.raises(Unreachable):
                await client.predict([{"x": 1}])
            client._speaker = AsyncClient(url, "quick")._speaker
            return list(await asyncio.gather(*(client.predict([{"x": 1}]) for _ in range(5))))

    def blocked(url: str) -> list[Any]:
        with Client(url, "slow", timeout=SECONDS / 3) as client:
            with pytest.raises(Unreachable):
                client.predict([{"x": 1}])
            client._speaker = Client(url, "quick")._speaker
            return [client.predict([{"x": 1}]) for _ in range(5)]

    with raw_stub(script) as service:
        got = blocked(service.url) if ask is ask_blocking else asyncio.run(awaited(service.url))
    assert got == [[{"prediction": 1.5}]] * 5


def test_what_is_cancelled_leaves_the_others_alone() -> None:
    def script(state: RawStub, connection: socket.socket, _: bytes) -> None:
        state.stopped.wait(0.05)
        connection.sendall(answer(GOOD_BODY))

    async def main(url: str) -> list[Any]:
        async with AsyncClient(url, timeout=10) as client:
            tasks = [asyncio.create_task(client.predict([{"x": 1}])) for _ in range(20)]
            await asyncio.sleep(0.02)
            for task in tasks[::2]:
                task.cancel()
            return [*await asyncio.gather(*tasks, return_exceptions=True), await client.predict([{"x": 1}])]

    with raw_stub(script) as service:
        outcomes = asyncio.run(main(service.url))
    assert [type(outcome) for outcome in outcomes[:20:2]] == [asyncio.CancelledError] * 10
    assert outcomes[1:20:2] == [[{"prediction": 1.5}]] * 10
    assert outcomes[20] == [{"prediction": 1.5}]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e9, None, "3", True])
def test_a_timeout_is_a_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(ClientError, match="a timeout is above 0 seconds"):
        Client("http://127.0.0.1:3000", timeout=timeout)
    with pytest.raises(ValueError, match="a timeout is above 0 seconds"):
        AsyncClient("http://127.0.0.1:3000", timeout=timeout)
