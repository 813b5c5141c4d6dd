"""One end of a connection in this process: bytes are handed to the service's protocol exactly as they are cut."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from uvicorn import Config
from uvicorn.server import ServerState

from rowcast.service.engine.registry import Registry
from rowcast.service.http.body import ASGIApp, Receive, Scope, Send
from rowcast.service.http.connection import Protocol
from rowcast.service.http.fast_path import FastPath, FastPathProtocol
from rowcast.service.http.root_path import WithoutRootPath, with_prefix
from rowcast.service.router import Router
from rowcast.service.settings import Settings

PATIENCE_SECONDS = 15.0
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")


class Answer(NamedTuple):
    """One answer."""

    status: int
    body: bytes
    closes: bool


async def _inner(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("nothing here is for BentoML")


class Service:
    """The models of a repository, ready, and the app and the short way in front of them."""

    def __init__(self, serving: Registry, app: ASGIApp, fast_path: FastPath) -> None:
        self.serving = serving
        self.state = ServerState()
        self._config = Config(app, lifespan="off", log_config=None, forwarded_allow_ips="*")
        self._config.load()

        class Bound(FastPathProtocol):
            """The protocol of this service alone."""

        Bound.fast_path = fast_path
        self._bound = Bound

    def protocol(self, *, short: bool) -> Protocol:
        """A new protocol, with the short way or without."""
        return (self._bound if short else Protocol)(self._config, self.state, {})

    async def say(self, *parts: bytes, short: bool = True, half_close: bool = False, rest: float = 0.0) -> list[Answer]:
        """Every answer to what is said on a connection of its own, until the service closes or has answered all.

        Args:
            parts: what is said; each part is received by itself.
            short: whether the connection has the short way.
            half_close: whether the caller closes his half afterwards.
            rest: seconds between two parts.
        """
        async with self.connect(short=short) as wire:
            await wire.feed(parts, rest)
            if half_close:
                wire.half_close()
            return await wire.answers()

    @asynccontextmanager
    async def connect(self, *, short: bool = True) -> AsyncIterator[Wire]:
        """A connection."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: self.protocol(short=short), sock=ours)
        try:
            yield Wire(protocol, theirs)
        finally:
            theirs.close()
            protocol.transport.abort()
            await asyncio.sleep(0)


class Wire:
    """A connection, from its caller's side."""

    def __init__(self, protocol: Protocol, caller: socket.socket) -> None:
        self.protocol = protocol
        self._caller = caller
        self._received = b""

    async def feed(self, parts: Iterable[bytes], rest: float = 0.0) -> None:
        """Have each part received by itself, while the service reads."""
        for part in parts:
            while not self.protocol.transport.is_closing() and not self.protocol.transport.is_reading():  # noqa: ASYNC110
                await asyncio.sleep(0)
            if self.protocol.transport.is_closing():
                return
            self.protocol.data_received(part)
            await asyncio.sleep(rest)

    def half_close(self) -> None:
        """Say that nothing more comes."""
        self._caller.shutdown(socket.SHUT_WR)

    async def answers(self) -> list[Answer]:
        """All answers, once the service has closed or all that it has begun is answered."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self._settled or self.protocol.transport.get_write_buffer_size():
                self._take()
                await asyncio.sleep(0.001)
        self._take()
        return parsed(self._received)

    def _take(self) -> None:
        try:
            while chunk := self._caller.recv(65_536):
                self._received += chunk
        except (BlockingIOError, ConnectionResetError):
            pass

    @property
    def _settled(self) -> bool:
        return self.protocol._idle and not getattr(self.protocol, "_whole_bytes", 0)

    async def until_closed(self) -> None:
        """Wait until the service has closed the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self.closed:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)

    @property
    def closed(self) -> bool:
        """Whether the service has closed the connection."""
        return self.protocol.transport.is_closing()


def parsed(received: bytes) -> list[Answer]:
    """The answers in some bytes, which must hold nothing else; interim ones are left out."""
    answers = []
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        assert end, received
        status = int(head.split(b" ", 2)[1])
        if status == 100:
            received = rest
            continue
        found = _LENGTH.search(head + b"\r\n")
        assert found, received
        length = int(found[1])
        assert len(rest) >= length, received
        answers.append(Answer(status, rest[:length], b"\r\nconnection: close" in head))
        received = rest[length:]
    return answers


@asynccontextmanager
async def in_process(repository: Path, **settings: object) -> AsyncIterator[Service]:
    """A service in this process, on this event loop."""
    serving = Registry(Settings(repository=repository, **settings))  # type: ignore[arg-type]
    await serving.start()
    front = Router(_inner, serving, {"/"})
    prefix = serving.settings.root_path
    app = WithoutRootPath(front, prefix) if prefix else front
    try:
        yield Service(serving, app, FastPath(serving, lambda: with_prefix(front.routes, prefix), lambda _: True))
    finally:
        serving.stop()
