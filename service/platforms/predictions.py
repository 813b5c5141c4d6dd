"""The way of a platform's request for predictions: the same as that of rows, with other words at both ends."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import NamedTuple, TypeAlias

from models.errors import RequestError
from service.http import (
    ClientGone,
    Header,
    Receive,
    Refuse,
    Respond,
    Scope,
    Send,
    check_headers,
    error_body,
    refusal_body,
)
from service.pieces import LONG_BODY
from service.platforms.json_forms import JsonForm
from service.platforms.rows import Places, RowSink, faults_of
from service.reading import decoded_bytes
from service.row_columns import RowColumns
from service.served import Reply, ServedModel
from service.serving import LOADING, Serving
from service.terms import Terms, terms_of

_PREDICTIONS = b'"predictions":'
_ALLOW_POST: Header = (b"allow", b"POST")

Write: TypeAlias = Callable[[Reply], Awaitable[Reply]]
"""Turns the reply to rows into what the platform expects; it is given good replies only."""


class Exchange(NamedTuple):
    """How one request is read, and its reply written."""

    read: Callable[[bytes, RowSink], Awaitable[None]]
    places: Places
    write: Write
    form: JsonForm | None = None
    """The form of a body of JSON."""


Understand: TypeAlias = Callable[[Iterable[Header], ServedModel], Exchange]
"""Tells from headers how a request is exchanged; refuses those that are not as they should be."""


class PredictRoute:
    """ASGI app of a path that takes rows in a platform's form.

    Args:
        served: the model.
        serving: whether it is ready.
        understand: what the platform's headers mean.
        respond: sends an answer.
        refuse: sends one to a request whose body was perhaps not read.
    """

    def __init__(
        self, served: ServedModel, serving: Serving, understand: Understand, respond: Respond, refuse: Refuse
    ) -> None:
        self.served = served
        self._serving = serving
        self._understand = understand
        self._respond = respond
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        started = time.perf_counter()
        served = self.served
        if scope["method"] != "POST":
            served.meter.request(HTTPStatus.METHOD_NOT_ALLOWED, time.perf_counter() - started)
            status, words = HTTPStatus.METHOD_NOT_ALLOWED, "rows are sent with POST"
            await self._refuse(scope, receive, send, status, error_body(words), _ALLOW_POST)
            return
        try:
            if not self._serving.ready:
                raise RequestError(LOADING, status=HTTPStatus.SERVICE_UNAVAILABLE)
            exchange = self._understand(scope["headers"], served)
            terms = terms_of(scope["headers"])
            body = await served.bodies.read(receive, served.max_body, scope["headers"])
        except RequestError as error:
            headers = served.refusal(error).headers
            served.meter.request(error.status, time.perf_counter() - started)
            await self._refuse(scope, receive, send, error.status, refusal_body(error), *headers)
            return
        except ClientGone:
            return
        try:
            reply = await self._answer(exchange, body, receive, terms, started)
        except ClientGone:
            return
        await self._respond(send, reply.status, reply.body, *reply.headers, content_type=reply.content_type)
        served.meter.request(reply.status, time.perf_counter() - started)

    async def _answer(self, exchange: Exchange, body: bytes, receive: Receive, terms: Terms, started: float) -> Reply:
        served = self.served
        lenient = exchange.form is not None and exchange.form.nan_is_null
        sink = RowSink(served.signature, served.reader, exchange.places, nat_is_null=lenient)
        try:
            served.batcher.admit(size=len(body))  # when there is no room, the body need not be understood
            reply = await self._as_rows(exchange, body, sink, receive, terms, started)
            if reply is None:
                rows = await self._read(exchange, body, sink)
                if isinstance(rows, bytes):
                    reply = sink.told(await served.answer(rows, receive, terms, started))
                else:
                    size = len(body) + decoded_bytes(rows)
                    reply = await served.answer_rows(rows, size, receive, terms, started)
            if reply.status != HTTPStatus.OK or sink.places.base == "rows":  # which are answered as they are elsewhere
                return reply
            return await exchange.write(reply)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            return served.refusal(error)

    async def _read(self, exchange: Exchange, body: bytes, sink: RowSink) -> bytes | RowColumns:
        """The rows of a body. While a long one is read it counts toward the worker's bytes, and no other is."""
        if len(body) <= LONG_BODY:
            await exchange.read(body, sink)
            return sink.finish()
        async with self.served.budget.decoding(len(body)):
            await exchange.read(body, sink)
            return sink.finish()

    async def _as_rows(
        self, exchange: Exchange, body: bytes, sink: RowSink, receive: Receive, terms: Terms, started: float
    ) -> Reply | None:
        """The reply to a body that holds ``{"rows": [...]}`` but for the name; None where it has to be read anew."""
        renamed = None if exchange.form is None else exchange.form.renamed(body)
        if renamed is None:
            return None
        sink.places.base, rows = renamed
        reply = await self.served.answer(rows, receive, terms, started)
        if reply.status != HTTPStatus.BAD_REQUEST:
            return reply
        faults = faults_of(reply)
        if not all(fault.path.startswith("rows[") for fault in faults) or not faults:
            return None
        if b'"features"' in body:
            return None
        return sink.told(reply)


def json_exchange(form: JsonForm) -> Understand:
    """How requests in JSON are exchanged, when JSON is all that a route takes."""

    def understand(headers: Iterable[Header], served: ServedModel) -> Exchange:
        check_headers(headers, served.max_body)
        return Exchange(form.read, Places(form.lists[0]), as_predictions, form)

    return understand


def predictions_in(reply: Reply) -> bytes:
    """The JSON list of predictions in a reply to rows. No model's name holds a quote."""
    start = reply.body.index(_PREDICTIONS) + len(_PREDICTIONS)
    return reply.body[start:-1]


async def as_predictions(reply: Reply) -> Reply:
    """A reply to rows as ``{"predictions": [...]}``."""
    return reply._replace(body=b'{"predictions":%b}' % predictions_in(reply))
