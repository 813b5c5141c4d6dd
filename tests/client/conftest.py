"""A stub of a service: it says over a real connection whatever a test has it say."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rowcast.client import AsyncClient, Client

Said = tuple[int, dict[str, str], bytes]


class Stub:
    """What came, and what is said to it: the last of the answers again and again."""

    def __init__(self, *answers: Said) -> None:
        self.answers = list(answers)
        self.heard: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.url = ""

    def next(self) -> Said:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def stub(*answers: Said) -> Iterator[Stub]:
    """A stub that listens on the loopback."""
    state = Stub(*answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            state.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            state.heard.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, headers, content = state.next()
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=lambda: server.serve_forever(0.01))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class RawStub:
    """What came over each connection, and how many there were."""

    def __init__(self, listener: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.connections = 0
        self.heads: list[bytes] = []
        self.stopped = threading.Event()
        """Set when the test is over: a script that waits, waits on this."""


def _requests_of(connection: socket.socket) -> Iterator[bytes]:
    """The head of each request that comes; its body is read and forgotten."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return
            data += piece
        head, _, data = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        left = int(length[1]) if length else 0
        while len(data) < left:
            data += connection.recv(65536)
        data = data[left:]
        yield head


@contextmanager
def raw_stub(script: Callable[[RawStub, socket.socket, bytes], None]) -> Iterator[RawStub]:
    """A listener on the loopback that has a script answer every request, with whatever bytes and whenever it likes.

    A script that shuts the connection down ends it; otherwise the next request is waited for.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    state = RawStub(listener)
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        connection.settimeout(20)
        with connection, suppress(OSError):
            for head in _requests_of(connection):
                state.heads.append(head)
                script(state, connection, head)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            state.connections += 1
            thread = threading.Thread(target=one, args=(connection,), daemon=True)
            thread.start()
            threads.append(thread)

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield state
    finally:
        state.stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(5)
        for thread in threads:
            thread.join(5)


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """The bytes of a whole answer."""
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


GOOD_BODY = b'{"predictions":[{"prediction":1.5}]}'


def ask_blocking(url: str, table: Any = ({"x": 1},), **options: Any) -> Any:
    with Client(url, **options) as client:
        return client.predict(table)


def ask_awaiting(url: str, table: Any = ({"x": 1},), **options: Any) -> Any:
    async def main() -> Any:
        async with AsyncClient(url, **options) as client:
            return await client.predict(table)

    return asyncio.run(main())


both = pytest.mark.parametrize("ask", [ask_blocking, ask_awaiting])
"""A test of either client."""
