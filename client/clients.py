"""The two clients: one that blocks and one that is awaited. They differ in that word only."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeAlias

import httpcore

from client.answers import Response, described, joined, understood
from client.arrivals import Arrival, Trouble, trouble_of
from client.errors import Unusable
from client.exchange import Patience, Protocol, Sent, Speaker
from client.route import Route
from client.tables import given
from client.wire import ATTEMPT, Attempt
from models.access import checked_address, checked_key
from models.errors import ConfigError

_TROUBLES = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    OSError,  # of TLS as well
    RuntimeError,  # a pool or an event loop that was closed meanwhile
    ValueError,  # of an encoding
)
_Pools: TypeAlias = "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpcore.AsyncConnectionPool]"
_MOST_SECONDS = 1_000_000.0
_lock = threading.Lock()


def _renew_lock() -> None:
    """Another thread may have held it when the process was forked, and is not there to let it go."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class _Base:
    """What both have.

    Args:
        url: of the service, such as ``http://127.0.0.1:3000``, or ``unix:/PATH`` of its socket.
        model: ``NAME`` or ``NAME:VERSION``; may be left out where one model is served.
        api_key: sent as a bearer token.
        protocol: ``json``, ``arrow``, or ``auto``: JSON for a few rows, Arrow for many.
        timeout: seconds that one request may take, from connecting to the last byte of the answer, its retries and
            waits included. A large table is several requests.
        retries: how often a request is sent again when the service could not be reached, or answered 429 or 503.

    Raises:
        Unusable: one of these is not as it must be. No key and no password is repeated.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        protocol: Protocol = "auto",
        timeout: float = 60.0,
        retries: int = 5,
    ) -> None:
        if not (_is_number(timeout) and 0 < timeout <= _MOST_SECONDS):
            raise Unusable(f"a timeout is above 0 seconds and at most {_MOST_SECONDS:,.0f}, however: {timeout!r}")
        if not (_is_number(retries) and retries >= 0):
            raise Unusable(f"retries are 0 or more, got {retries!r}")
        reason = ""
        try:
            address = checked_address(url)
            key = "" if api_key is None else checked_key(api_key)
        except ConfigError as error:
            reason = str(error)
        if reason:
            raise Unusable(reason)
        self._speaker = Speaker(model, protocol)
        self._route = Route(address)
        self._key = _Secret(key)
        self._timeout = float(timeout)
        self._retries = int(retries)
        self._closed = False
        self._pid = os.getpid()
        self._inherited: list[object] = []
        """Connections of the process that this one was forked from: neither used here nor closed."""

    def _headers(self, sent: Sent) -> list[tuple[str, str]]:
        headers = [("host", self._route.address.authority), ("accept", "*/*"), ("user-agent", "rowcast")]
        headers.append(("accept-encoding", "identity"))
        if sent.media_type:
            headers.append(("content-type", sent.media_type))
        if self._key.text:
            headers.append(("authorization", f"Bearer {self._key.text}"))
        return headers

    def _options(self, sent: Sent, patience: Patience) -> dict[str, Any]:
        left = max(patience.left, 0.001)
        return {
            "method": "POST" if sent.body else "GET",
            "url": self._route.url(sent.asked.path),
            "headers": self._headers(sent),
            "content": sent.body or None,
            "extensions": {"timeout": {"connect": left, "read": left, "write": left, "pool": left}},
        }

    def _arrival(self, sent: Sent, response: httpcore.Response) -> Arrival:
        url = self._route.address.shown + sent.asked.path
        return Arrival(response.status, response.headers, sent, url, self._key.text)

    def _trouble(self, error: Exception, attempt: Attempt) -> Trouble:
        return trouble_of(error, attempt.received, self._route.shown, self._key.text, in_time=attempt.in_time)

    def _check_open(self) -> None:
        if self._closed:
            raise Unusable("the client is closed: make another")


class Client(_Base):
    """Predicts tables through a service. It keeps its connections: close it, or use it in a ``with``.

    >>> with Client("http://127.0.0.1:3000") as client:     # doctest: +SKIP
    ...     client.predict([{"distance": 733, "carrier": "UA"}])

    Several threads may use one. A process that was forked makes connections of its own.
    """

    def __init__(self, url: str, model: str | None = None, **options: Any) -> None:
        super().__init__(url, model, **options)
        self._pool = self._route.pool()

    def predict(self, table: Any, progress: Callable[[int], None] | None = None) -> Any:
        """Predict every row of a table, in order.

        Args:
            table: a polars or pandas data frame, a pyarrow table, a dict of columns, or a list of rows, each a dict.
            progress: told how many more rows are done, request by request.

        Returns:
            a table of the same family: ``label`` and a ``probability_CLASS`` for each class, or ``prediction`` with
            ``lower`` and ``upper``. For a list of rows, a list of predictions as JSON has them.

        Raises:
            ClientError: see :mod:`client`.
        """
        self._check_open()
        whole = given(table)
        answers = []
        for sent in self._speaker.requests(whole):
            answers.append(understood(sent.asked, self._ask(sent)))
            if progress is not None:
                progress(sent.asked.rows)
        return whole.answered(joined(answers))

    def describe(self) -> dict[str, Any]:
        """What the service says of the model: its signature, metrics, versions and an example.

        Raises:
            ClientError: see :mod:`client`.
        """
        sent = self._speaker.description()
        return described(sent.asked, self._ask(sent))

    def _ask(self, sent: Sent) -> Response:
        """The service's last word on a request."""
        patience = Patience(self._timeout, self._retries)
        while True:
            outcome = self._attempt(self._connections(), sent, patience)
            if isinstance(outcome, Trouble) and outcome.kind == "dropped" and patience.may_repeat():
                self._check_open()
                with self._route.pool() as fresh:  # its connection cannot have gone stale
                    outcome = self._attempt(fresh, sent, patience)
            wait = outcome.wait(patience)
            if wait is None:
                return outcome.settled(patience)
            time.sleep(wait)

    def _attempt(self, pool: httpcore.ConnectionPool, sent: Sent, patience: Patience) -> Arrival | Trouble:
        """Send a request once. What goes wrong is returned: the trace of an error would hold the key."""
        attempt = Attempt(patience)
        token = ATTEMPT.set(attempt)
        try:
            with pool.stream(**self._options(sent, patience)) as response:
                arrival = self._arrival(sent, response)
                for piece in response.iter_stream() if arrival.is_wanted else ():
                    if not arrival.add(piece):
                        break
                return arrival
        except _TROUBLES as error:
            return self._trouble(error, attempt)
        finally:
            ATTEMPT.reset(token)

    def _connections(self) -> httpcore.ConnectionPool:
        """This process's own."""
        self._check_open()
        if self._pid != os.getpid():
            with _lock:
                if self._pid != os.getpid():
                    self._inherited.append(self._pool)
                    self._pool = self._route.pool()
                    self._pid = os.getpid()
        return self._pool

    def close(self) -> None:
        """Close its connections; those of a process that this one was forked from stay as they are."""
        self._closed = True
        if self._pid == os.getpid():
            self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Base):
    """The same, awaited: ``async with AsyncClient(url) as client: await client.predict(table)``.

    It may be used from several event loops: each has connections of its own.
    """

    def __init__(self, url: str, model: str | None = None, **options: Any) -> None:
        super().__init__(url, model, **options)
        self._pools: _Pools = weakref.WeakKeyDictionary()

    async def predict(self, table: Any, progress: Callable[[int], None] | None = None) -> Any:
        """Predict every row of a table, in order: see :meth:`Client.predict`."""
        self._check_open()
        whole = given(table)
        answers = []
        for sent in self._speaker.requests(whole):
            answers.append(understood(sent.asked, await self._ask(sent)))
            if progress is not None:
                progress(sent.asked.rows)
        return whole.answered(joined(answers))

    async def describe(self) -> dict[str, Any]:
        """What the service says of the model: its signature, metrics, versions and an example.

        Raises:
            ClientError: see :mod:`client`.
        """
        sent = self._speaker.description()
        return described(sent.asked, await self._ask(sent))

    async def _ask(self, sent: Sent) -> Response:
        """The service's last word on a request."""
        patience = Patience(self._timeout, self._retries)
        while True:
            outcome = await self._attempt(self._connections(), sent, patience)
            if isinstance(outcome, Trouble) and outcome.kind == "dropped" and patience.may_repeat():
                self._check_open()
                async with self._route.async_pool() as fresh:
                    outcome = await self._attempt(fresh, sent, patience)
            wait = outcome.wait(patience)
            if wait is None:
                return outcome.settled(patience)
            await asyncio.sleep(wait)

    async def _attempt(self, pool: httpcore.AsyncConnectionPool, sent: Sent, patience: Patience) -> Arrival | Trouble:
        """Send a request once: see :meth:`Client._attempt`."""
        attempt = Attempt(patience)
        token = ATTEMPT.set(attempt)
        try:
            async with (
                asyncio.timeout(max(patience.left, 0.0)),
                pool.stream(**self._options(sent, patience)) as response,
            ):
                arrival = self._arrival(sent, response)
                if arrival.is_wanted:
                    async for piece in response.aiter_stream():
                        if not arrival.add(piece):
                            break
                return arrival
        except _TROUBLES as error:
            return self._trouble(error, attempt)
        finally:
            ATTEMPT.reset(token)

    def _connections(self) -> httpcore.AsyncConnectionPool:
        """This process's and this event loop's own."""
        self._check_open()
        loop = asyncio.get_running_loop()
        with _lock:
            if self._pid != os.getpid():
                self._inherited.append(self._pools)
                self._pools, self._pid = weakref.WeakKeyDictionary(), os.getpid()
            pool = self._pools.get(loop)
            if pool is None:
                pool = self._pools[loop] = self._route.async_pool()
        return pool

    async def close(self) -> None:
        """Close its connections in this event loop."""
        self._closed = True
        pool = self._pools.pop(asyncio.get_running_loop(), None) if self._pid == os.getpid() else None
        if pool is not None:
            await pool.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Secret:
    """A text that no repr shows."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "***"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
