"""Connections that know their deadline, and count what comes.

``httpx`` bounds each read and each write, so that a peer who sends a byte now and then is waited for without an end.
Here every operation on a connection of the blocking client asks how much of the request's time is left. The awaited
client is cancelled when the time is up. Both count the bytes that came: a connection that was closed before the first
may be one that had been idle for too long.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

import httpcore

from rowcast.client.exchange import RetryPolicy

CONNECT_SECONDS = 5.0
"""At most, to connect to one address: then the next is tried."""
_WRITE_BYTES = 2**16
_LONGEST_SECONDS = 10_000_000.0


class Attempt:
    """One request that is under way, and how much of its answer has come.

    Args:
        policy: whose time it takes.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self.received = 0
        """Bytes of the answer so far."""
        self.reused = True
        """Whether its connection had been used before, and may have been idle for too long."""

    @property
    def in_time(self) -> bool:
        """Whether there is time left."""
        return self._policy.left > 0

    def left(self, late: type[httpcore.TimeoutException], at_most: float = _LONGEST_SECONDS) -> float:
        """Seconds that the next operation may take.

        Raises:
            httpcore.TimeoutException: there are none; of the given kind.
        """
        left = self._policy.left
        if left <= 0:
            raise late("the time is up")
        return min(left, at_most)


ATTEMPT: ContextVar[Attempt] = ContextVar("rowcast.client.attempt")
"""The request that this thread or task is about: a connection serves one after the other."""


class Stream(httpcore.NetworkStream):
    """A connection whose operations end with the time of the request that it is used for.

    Args:
        inner: how the bytes travel.
    """

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        attempt = ATTEMPT.get()
        data = self._inner.read(max_bytes, attempt.left(httpcore.ReadTimeout))
        attempt.received += len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_BYTES):
            piece = buffer[start : start + _WRITE_BYTES]
            self._inner.write(piece, ATTEMPT.get().left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = ATTEMPT.get().left(httpcore.ConnectTimeout)
        return Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Unix(httpcore.NetworkStream):
    """A connection to a Unix socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._connection.settimeout(timeout)
            return self._connection.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from None
        except OSError as error:
            raise httpcore.ReadError(str(error)) from None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            self._connection.settimeout(timeout)
            self._connection.sendall(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from None
        except OSError as error:
            raise httpcore.WriteError(str(error)) from None

    def close(self) -> None:
        self._connection.close()

    def get_extra_info(self, info: str) -> Any:
        readable = info == "is_readable"
        return bool(select.select([self._connection], [], [], 0)[0]) if readable else None


class Backend(httpcore.NetworkBackend):
    """Opens connections of that kind."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Try the host's addresses one after the other. A look-up of a name is the one thing that cannot be cut off."""
        attempt = ATTEMPT.get()
        attempt.reused = False
        attempt.left(httpcore.ConnectTimeout)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from None
        failure: Exception = httpcore.ConnectError("the name has no address")
        for *_, address in found:
            left = attempt.left(httpcore.ConnectTimeout, CONNECT_SECONDS)
            try:
                return Stream(self._inner.connect_tcp(str(address[0]), port, left, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        attempt = ATTEMPT.get()
        attempt.reused = False
        left = attempt.left(httpcore.ConnectTimeout, CONNECT_SECONDS)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(left)
            connection.connect(path)
        except OSError as error:  # httpcore would leave it open
            connection.close()
            raise httpcore.ConnectError(str(error)) from None
        return Stream(_Unix(connection))


class AsyncStream(httpcore.AsyncNetworkStream):
    """An awaited connection that counts what comes.

    Args:
        inner: how the bytes travel.
    """

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's own
        data = await self._inner.read(max_bytes, timeout)
        ATTEMPT.get().received += len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        try:
            return AsyncStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:  # cancelled as well: httpcore would leave the connection open then
            await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class AsyncBackend(httpcore.AsyncNetworkBackend):
    """Opens connections of that kind."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        ATTEMPT.get().reused = False
        try:
            return AsyncStream(await self._inner.connect_tcp(host, port, timeout, local_address, socket_options))
        except UnicodeError as error:
            raise httpcore.ConnectError(str(error)) from None

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        ATTEMPT.get().reused = False
        return AsyncStream(await self._inner.connect_unix_socket(path, timeout, socket_options))
