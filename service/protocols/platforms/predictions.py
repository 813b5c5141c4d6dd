"""The way of a platform's request for predictions: the same as that of rows, with other words at both ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from http import HTTPStatus
from typing import NamedTuple, TypeAlias

from rowcast.service.columns.named import Columns
from rowcast.service.engine.model import Model
from rowcast.service.http.body import ClientGone, Header, Receive, negotiate_content_type
from rowcast.service.http.endpoint import Refuser
from rowcast.service.http.handlers import AsyncHandler
from rowcast.service.http.options import RequestOptions, options_of
from rowcast.service.http.reply import Reply
from rowcast.service.limits.byte_rule import SMALL_BODY
from rowcast.service.limits.steps import holds, in_turns
from rowcast.service.protocols.platforms.json_forms import JsonForm
from rowcast.service.protocols.platforms.rows import ErrorPaths, RowSink, faults_of
from rowcast.service.protocols.rows.endpoint import RowsEndpoint

_PREDICTIONS = b'"predictions":'

Write: TypeAlias = Callable[[Reply], Awaitable[Reply]]
"""Turns the reply to rows into what the platform expects; it is given good replies only."""


class Exchange(NamedTuple):
    """How one request is read, and its reply written."""

    read: Callable[[bytes, RowSink], Awaitable[None]]
    places: ErrorPaths
    write: Write
    form: JsonForm | None = None
    """The form of a body of JSON."""


Understand: TypeAlias = Callable[[Iterable[Header], Model], Exchange]
"""Tells from headers how a request is exchanged; refuses those that are not as they should be."""


class PlatformEndpoint(Refuser):
    """Answers requests for one model that come in a platform's form.

    Args:
        rows: answers rows for the model.
        handler: what the platform's headers mean.
    """

    sent_with_post = "rows are sent with POST"

    def __init__(self, rows: RowsEndpoint, handler: Understand) -> None:
        super().__init__(rows.model)
        self._rows = rows
        self._understand = handler

    def async_handler(self, headers: list[Header]) -> AsyncHandler:
        """What answers requests with these headers.

        Raises:
            RequestError: they are not as they should be.
        """
        exchange, options = self._understand(headers, self.model), options_of(headers)

        async def answer(body: bytes, receive: Receive, since: float) -> Reply:
            return await self._answer(exchange, body, receive, options, since)

        return answer

    async def _answer(
        self, exchange: Exchange, body: bytes, receive: Receive, options: RequestOptions, started: float
    ) -> Reply:
        lenient = exchange.form is not None and exchange.form.nan_is_null
        sink = RowSink(self.model.signature, self._rows.codec, exchange.places, nat_is_null=lenient)
        try:
            self.model.batcher.admit(size=len(body))  # when there is no room, the body need not be understood
            reply = await self._as_rows(exchange, body, sink, receive, options, started)
            if reply is None:
                rows = await self._read(exchange, body, sink)
                if isinstance(rows, bytes):
                    reply = sink.with_platform_faults(await self._rows.answer(rows, receive, started, options=options))
                else:
                    size = len(body) + rows.bytes
                    reply = await self._rows.answer_rows(rows, size, receive, options, started)
            if reply.status != HTTPStatus.OK or sink.places.base == "rows":  # which are answered as they are elsewhere
                return reply
            return await exchange.write(reply)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            return self.refusal(error)

    async def _read(self, exchange: Exchange, body: bytes, sink: RowSink) -> bytes | Columns:
        """The rows of a body. While a long one is read it counts toward the worker's bytes, and no other is."""
        if len(body) <= SMALL_BODY:
            await exchange.read(body, sink)
            return sink.finish()
        admit = partial(self.model.batcher.admit, size=len(body))
        async with self.model.budget.decoding(len(body), admit):
            await exchange.read(body, sink)
            return sink.finish()

    async def _as_rows(
        self, exchange: Exchange, body: bytes, sink: RowSink, receive: Receive, options: RequestOptions, started: float
    ) -> Reply | None:
        """The reply to a body that holds ``{"rows": [...]}`` but for the name; None where it has to be read anew."""
        renamed = None if exchange.form is None else await exchange.form.renamed(body)
        if renamed is None:
            return None
        sink.places.base, rows = renamed
        reply = await self._rows.answer(rows, receive, started, options=options)
        if reply.status != HTTPStatus.BAD_REQUEST:
            return reply
        faults = faults_of(reply)
        if not all(fault.path.startswith("rows[") for fault in faults) or not faults:
            return None
        if await in_turns(holds(body, b'"features"')):
            return None
        return sink.with_platform_faults(reply)


def json_exchange(form: JsonForm) -> Understand:
    """How requests in JSON are exchanged, when JSON is all that a route takes."""

    def handler(headers: Iterable[Header], served: Model) -> Exchange:
        negotiate_content_type(headers, served.max_body)
        return Exchange(form.read, ErrorPaths(form.lists[0]), as_predictions, form)

    return handler


def predictions_in(reply: Reply) -> bytes:
    """The JSON list of predictions in a reply to rows. No model's name holds a quote."""
    start = reply.body.index(_PREDICTIONS) + len(_PREDICTIONS)
    return reply.body[start:-1]


async def as_predictions(reply: Reply) -> Reply:
    """A reply to rows as ``{"predictions": [...]}``."""
    return reply._replace(body=b'{"predictions":%b}' % predictions_in(reply))
