"""The smallest HTTP/1.1 client that measures well: one request at a time on a kept-alive connection.

A general client costs several times what the service's answer does, and its own work would be taken for latency.
"""

from __future__ import annotations

import asyncio
import selectors
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httptools

from rowcast.models.access import checked_address, shown
from rowcast.models.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service listens: what ``http://host:port/prefix`` says."""

    host: str
    port: int
    tls: bool
    prefix: str
    authority: str
    """What the Host header says."""
    key: str = field(default="", repr=False)
    """An API key, sent as a bearer token; empty for none."""

    @classmethod
    def of(cls, url: str, key: str = "") -> Endpoint:
        """Take a URL apart.

        Args:
            url: such as ``http://127.0.0.1:3000``.
            key: an API key.

        Raises:
            ConfigError: it is no http or https address, or holds a password.
        """
        try:
            address = checked_address(url)
        except ConfigError:
            if "@" in url:
                raise  # its words say what a password is exchanged for
            address = None
        if address is None or address.socket is not None:
            raise ConfigError(f"--url must be an address such as http://127.0.0.1:3000, got {shown(url)!r}")
        return cls(address.host, address.port, address.scheme == "https", address.prefix, address.authority, key)

    def get(self, path: str) -> bytes:
        """The bytes of a GET."""
        return f"GET {self.prefix}{path} HTTP/1.1\r\n{self._common}\r\n".encode()

    def post(self, path: str, body: bytes) -> bytes:
        """The bytes of a POST of JSON."""
        head = (
            f"POST {self.prefix}{path} HTTP/1.1\r\n{self._common}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    @property
    def _common(self) -> str:
        """The headers of every request."""
        return f"Host: {self.authority}\r\n" + (f"Authorization: Bearer {self.key}\r\n" if self.key else "")

    async def connect(self, protocol: Callable[[], Connection]) -> Connection:
        """Open a connection.

        Raises:
            OSError: nobody listens, or TLS fails.
        """
        context = ssl.create_default_context() if self.tls else None
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(protocol, self.host, self.port, ssl=context)
        return connection


class Connection(asyncio.Protocol):
    """One connection; after :meth:`send` exactly one of the two callbacks is called.

    Args:
        on_answer: called with this connection, the status and the body.
        on_failure: called with this connection and ``disconnected`` or ``malformed``.
        on_close: called with this connection once it is closed, whoever closed it.
    """

    def __init__(
        self,
        on_answer: Callable[[Connection, int, bytes], None],
        on_failure: Callable[[Connection, str], None],
        on_close: Callable[[Connection], None],
    ) -> None:
        self._on_answer, self._on_failure, self._on_close = on_answer, on_failure, on_close
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._complete = self._keep_alive = False
        self.busy = False

    @property
    def usable(self) -> bool:
        """Whether a request may be sent now."""
        return not self.busy and self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes) -> None:
        """Send one request; the connection must be usable."""
        assert self._transport is not None
        self.busy = True
        self._transport.write(request)

    def abort(self) -> None:
        """Close now, and call back nobody but ``on_close``."""
        self.busy = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.busy:  # given up, or an answer nobody asked for
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("malformed")
            return
        if self._complete:
            self._complete = self.busy = False
            body, self._body = b"".join(self._body), []
            if not self._keep_alive and self._transport is not None:
                self._transport.close()
            self._on_answer(self, self._parser.get_status_code(), body)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy:
            self._fail("disconnected")
        self._on_close(self)

    def _fail(self, kind: str) -> None:
        self.abort()
        self._on_failure(self, kind)

    # What the parser calls. It swallows exceptions raised here, so the answer is handed on from data_received.

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:  # 100 Continue and its like announce the answer
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()  # the parser knows only until the message is over


async def fetch(endpoint: Endpoint, request: bytes, *, timeout_s: float) -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own.

    Raises:
        OSError: nobody listens, the connection broke, or no answer came in time (:class:`TimeoutError`).
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[int, bytes]] = loop.create_future()
    closed: asyncio.Future[None] = loop.create_future()

    def failed(_: Connection, kind: str) -> None:
        if not answer.done():
            answer.set_exception(ConnectionError(f"the connection was {kind}" if kind == "disconnected" else kind))

    def answered(_: Connection, status: int, body: bytes) -> None:
        if not answer.done():
            answer.set_result((status, body))

    def ended(_: Connection) -> None:
        if not closed.done():  # cancelled, while this was waited for
            closed.set_result(None)

    async with asyncio.timeout(timeout_s):
        connection = await endpoint.connect(lambda: Connection(answered, failed, ended))
        try:
            connection.send(request)
            return await answer
        finally:
            connection.abort()
            await closed


class _CountingSelector(selectors.SelectSelector):
    turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        return super().select(timeout)


class PreciseLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers keep to microseconds, and whose turns are counted.

    epoll and uvloop round a timer up to the next whole millisecond, which is as long as a good answer takes;
    ``select`` does not.
    """

    def __init__(self) -> None:
        self._counting = _CountingSelector()
        super().__init__(self._counting)

    @property
    def turns(self) -> int:
        """How many there were."""
        return self._counting.turns


def run_precisely(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a :class:`PreciseLoop`."""
    with asyncio.Runner(loop_factory=PreciseLoop) as runner:
        return runner.run(main)
