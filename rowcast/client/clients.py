"""The two clients: one that blocks and one that is awaited. They differ in that word only."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeAlias

import httpcore

from rowcast.client.answers import Parts, Response, columns_of, described, names_unknown_column, understood
from rowcast.client.arrivals import Arrival, Trouble
from rowcast.client.base import TROUBLES, Base
from rowcast.client.errors import Refused, SeveralVersions
from rowcast.client.exchange import RetryPolicy, Sent
from rowcast.client.tables import Given, given
from rowcast.client.wire import ATTEMPT, Attempt

_Pools: TypeAlias = "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpcore.AsyncConnectionPool]"
logger = logging.getLogger("rowcast.client")
_lock = threading.Lock()
"""Held while connections are made anew."""


def _renew_lock() -> None:
    """Another thread may have held it when the process was forked, and is not there to let it go."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Client(Base):
    """Predicts tables through a service. It keeps its connections: close it, or use it in a ``with``.

    >>> row = {"size": 101.5, "count": 3, "member": True, "city": "Oslo", "when": "2021-05-05T12:00:00Z"}
    >>> with Client("http://127.0.0.1:3000", "amount") as client:
    ...     client.describe()["signature"]["target"], list(client.predict([row])[0])
    ('amount', ['prediction', 'lower', 'upper'])
    >>> with Client("http://127.0.0.1:3000", "class:1") as client:
    ...     list(client.predict({name: [value, value] for name, value in row.items()}))
    ['label', 'probability_large', 'probability_small']

    Several threads may use one. A process that was forked makes connections of its own.
    """

    def __init__(self, url: str, model: str | None = None, **options: Any) -> None:
        super().__init__(url, model, **options)
        self._pool = self._route.pool()

    def predict(self, table: Any, progress: Callable[[int], None] | None = None) -> Any:
        """Predict every row of a table, in order.

        Args:
            table: a polars or pandas data frame, a pyarrow table, a dict of columns, or a list of rows, each a dict.
                Columns that the model does not know, such as its target, are left out.
            progress: told how many more rows are done, request by request; a negative number where another version
                went live meanwhile and the whole table is sent again.

        Returns:
            a table of the same family: ``label`` and a ``probability_CLASS`` for each class, or ``prediction`` with
            ``lower`` and ``upper``. For a list of rows, a list of predictions as JSON has them.

        Raises:
            ClientError: see :mod:`rowcast.client`.
        """
        self._check_open()
        whole = given(table)
        kept = whole.only(self._known)
        try:
            return self._predict(kept, progress)
        except Refused as error:
            if kept is whole and not names_unknown_column(error):
                raise
            refused = error
        self._known = columns_of(self.describe())
        again = whole.only(self._known)
        if again.names == kept.names:
            raise refused
        return self._predict(again, progress)

    def _predict(self, table: Given, progress: Callable[[int], None] | None) -> Any:
        """Predict a table of which every column is sent; twice where another version goes live meanwhile."""
        try:
            return self._predict_once(table, progress)
        except SeveralVersions as error:
            logger.warning("the whole table is sent again, once: %s", error)
        return self._predict_once(table, progress)

    def _predict_once(self, table: Given, progress: Callable[[int], None] | None) -> Any:
        parts = Parts(progress)
        for sent in self._speaker.requests(table):
            parts.add(sent.asked.rows, understood(sent.asked, self._ask(sent)))
        return table.answered(parts.joined())

    def describe(self) -> dict[str, Any]:
        """What the service says of the model: its signature, metrics, versions and an example.

        Raises:
            ClientError: see :mod:`rowcast.client`.
        """
        sent = self._speaker.description()
        return described(sent.asked, self._ask(sent))

    def _ask(self, sent: Sent) -> Response:
        """The service's last word on a request."""
        policy = RetryPolicy(self._timeout, self._retries)
        while True:
            outcome = self._attempt(self._connections(), sent, policy)
            if outcome.is_repeated(policy):
                self._check_open()
                with self._route.pool() as fresh:  # its connection cannot have gone stale
                    outcome = self._attempt(fresh, sent, policy)
            wait = outcome.wait(policy)
            if wait is None:
                return outcome.settled(policy)
            time.sleep(wait)

    def _attempt(self, pool: httpcore.ConnectionPool, sent: Sent, policy: RetryPolicy) -> Arrival | Trouble:
        """Send a request once. What goes wrong is returned: the trace of an error would hold the key."""
        attempt = Attempt(policy)
        token = ATTEMPT.set(attempt)
        try:
            with pool.stream(**self._options(sent, policy)) as response:
                arrival = self._arrival(sent, response)
                for piece in response.iter_stream() if arrival.is_wanted else ():
                    if not arrival.add(piece):
                        break
                return arrival
        except TROUBLES as error:
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


class AsyncClient(Base):
    """The same, awaited: ``async with AsyncClient(url) as client: await client.predict(table)``.

    >>> async def ask(row):
    ...     async with AsyncClient("http://127.0.0.1:3000", "amount") as client:
    ...         return await client.predict([row])
    >>> len(asyncio.run(ask(row)))
    1

    It may be used from several event loops: each has connections of its own.
    """

    def __init__(self, url: str, model: str | None = None, **options: Any) -> None:
        super().__init__(url, model, **options)
        self._pools: _Pools = weakref.WeakKeyDictionary()

    async def predict(self, table: Any, progress: Callable[[int], None] | None = None) -> Any:
        """Predict every row of a table, in order: see :meth:`Client.predict`."""
        self._check_open()
        whole = given(table)
        kept = whole.only(self._known)
        try:
            return await self._predict(kept, progress)
        except Refused as error:
            if kept is whole and not names_unknown_column(error):
                raise
            refused = error
        self._known = columns_of(await self.describe())
        again = whole.only(self._known)
        if again.names == kept.names:
            raise refused
        return await self._predict(again, progress)

    async def _predict(self, table: Given, progress: Callable[[int], None] | None) -> Any:
        """Predict a table of which every column is sent; twice where another version goes live meanwhile."""
        try:
            return await self._predict_once(table, progress)
        except SeveralVersions as error:
            logger.warning("the whole table is sent again, once: %s", error)
        return await self._predict_once(table, progress)

    async def _predict_once(self, table: Given, progress: Callable[[int], None] | None) -> Any:
        parts = Parts(progress)
        for sent in self._speaker.requests(table):
            parts.add(sent.asked.rows, understood(sent.asked, await self._ask(sent)))
        return table.answered(parts.joined())

    async def describe(self) -> dict[str, Any]:
        """What the service says of the model: its signature, metrics, versions and an example.

        Raises:
            ClientError: see :mod:`rowcast.client`.
        """
        sent = self._speaker.description()
        return described(sent.asked, await self._ask(sent))

    async def _ask(self, sent: Sent) -> Response:
        """The service's last word on a request."""
        policy = RetryPolicy(self._timeout, self._retries)
        while True:
            outcome = await self._attempt(self._connections(), sent, policy)
            if outcome.is_repeated(policy):
                self._check_open()
                async with self._route.async_pool() as fresh:
                    outcome = await self._attempt(fresh, sent, policy)
            wait = outcome.wait(policy)
            if wait is None:
                return outcome.settled(policy)
            await asyncio.sleep(wait)

    async def _attempt(self, pool: httpcore.AsyncConnectionPool, sent: Sent, policy: RetryPolicy) -> Arrival | Trouble:
        """Send a request once: see :meth:`Client._attempt`."""
        attempt = Attempt(policy)
        token = ATTEMPT.set(attempt)
        try:
            async with (
                asyncio.timeout(max(policy.left, 0.0)),
                pool.stream(**self._options(sent, policy)) as response,
            ):
                arrival = self._arrival(sent, response)
                if arrival.is_wanted:
                    async for piece in response.aiter_stream():
                        if not arrival.add(piece):
                            break
                return arrival
        except TROUBLES as error:
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
