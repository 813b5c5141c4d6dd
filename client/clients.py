"""The two clients: one that blocks and one that is awaited. They differ in that word only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx

from client.errors import Unreachable
from client.exchange import Patience, Protocol, Sent, Speaker, described, joined, understood
from client.tables import given

_CONNECT_SECONDS = 5.0
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout)
"""Nothing of the request has reached anybody: it may be sent again."""


class _Base:
    """What both have.

    Args:
        url: of the service, such as ``http://127.0.0.1:3000``.
        model: ``NAME`` or ``NAME:VERSION``; may be left out where one model is served.
        api_key: sent as a bearer token.
        protocol: ``json``, ``arrow``, or ``auto``: JSON for a few rows, Arrow for many.
        timeout: seconds that one request may take, its retries and waits included. A large table is several requests.
        retries: how often a request is sent again when the service could not be reached, or answered 429 or 503.
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
        if timeout <= 0:
            raise ValueError(f"a timeout is above 0 seconds, however: {timeout}")
        self._url = url.rstrip("/")
        self._speaker = Speaker(model, api_key, protocol)
        self._timeout = timeout
        self._retries = retries

    def _options(self, sent: Sent, patience: Patience) -> dict[str, Any]:
        left = patience.left
        timeout = httpx.Timeout(left, connect=min(left, _CONNECT_SECONDS))
        method = "POST" if sent.body else "GET"
        content = {"content": sent.body} if sent.body else {}
        return {"method": method, "url": self._url + sent.path, "headers": sent.headers, "timeout": timeout, **content}

    def _unreachable(self, error: httpx.TransportError, patience: Patience) -> Unreachable:
        if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
            return patience.out_of_time()
        return Unreachable(f"no answer from {self._url}: {error or type(error).__name__}")


class Client(_Base):
    """Predicts tables through a service. It keeps its connections: close it, or use it in a ``with``.

    >>> with Client("http://127.0.0.1:3000") as client:     # doctest: +SKIP
    ...     client.predict([{"distance": 733, "carrier": "UA"}])
    """

    def __init__(self, url: str, model: str | None = None, **options: Any) -> None:
        super().__init__(url, model, **options)
        self._http = httpx.Client()

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
        whole = given(table)
        answers = []
        for sent in self._speaker.requests(whole):
            answer = self._ask(sent)
            kind = answer.headers.get("content-type", "")
            answers.append(understood(sent, answer.status_code, kind, answer.content))
            if progress is not None:
                progress(sent.rows)
        return whole.answered(joined(answers))

    def describe(self) -> dict[str, Any]:
        """What the service says of the model: its signature, metrics, versions and an example.

        Raises:
            ClientError: see :mod:`client`.
        """
        answer = self._ask(self._speaker.description())
        return described(answer.status_code, answer.content)

    def _ask(self, sent: Sent) -> httpx.Response:
        """The service's last word on a request."""
        patience = Patience(self._timeout, self._retries)
        while True:
            try:
                answer = self._http.request(**self._options(sent, patience))
            except httpx.TransportError as error:
                wait = patience.wait_unconnected() if isinstance(error, _UNSENT) else None
                if wait is None:
                    raise self._unreachable(error, patience) from None
            else:
                wait = patience.wait_after(answer.status_code, answer.headers)
                if wait is None:
                    return answer
            time.sleep(wait)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Base):
    """The same, awaited: ``async with AsyncClient(url) as client: await client.predict(table)``."""

    def __init__(self, url: str, model: str | None = None, **options: Any) -> None:
        super().__init__(url, model, **options)
        self._http = httpx.AsyncClient()

    async def predict(self, table: Any, progress: Callable[[int], None] | None = None) -> Any:
        """Predict every row of a table, in order: see :meth:`Client.predict`."""
        whole = given(table)
        answers = []
        for sent in self._speaker.requests(whole):
            answer = await self._ask(sent)
            kind = answer.headers.get("content-type", "")
            answers.append(understood(sent, answer.status_code, kind, answer.content))
            if progress is not None:
                progress(sent.rows)
        return whole.answered(joined(answers))

    async def describe(self) -> dict[str, Any]:
        """What the service says of the model: its signature, metrics, versions and an example.

        Raises:
            ClientError: see :mod:`client`.
        """
        answer = await self._ask(self._speaker.description())
        return described(answer.status_code, answer.content)

    async def _ask(self, sent: Sent) -> httpx.Response:
        """The service's last word on a request."""
        patience = Patience(self._timeout, self._retries)
        while True:
            try:
                answer = await self._http.request(**self._options(sent, patience))
            except httpx.TransportError as error:
                wait = patience.wait_unconnected() if isinstance(error, _UNSENT) else None
                if wait is None:
                    raise self._unreachable(error, patience) from None
            else:
                wait = patience.wait_after(answer.status_code, answer.headers)
                if wait is None:
                    return answer
            await asyncio.sleep(wait)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
