"""Inference by the Open Inference protocol over HTTP: from a body to its answer, for one model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from models.errors import RequestError
from models.session import Predictions
from service.columns.named import Columns
from service.engine.model import Model
from service.engine.queue import QueuedRequest
from service.http.body import BYTE_ORDER_MARK, Header, Receive, error_body, negotiate_content_type
from service.http.endpoint import Endpoint
from service.http.handlers import AsyncHandler, Handler
from service.http.options import NO_OPTIONS, RequestOptions, options_of
from service.http.reply import Reply, refused_with
from service.limits.byte_rule import SMALL_BODY
from service.limits.steps import in_turns
from service.protocols.v2.answer import AnswerWriter
from service.protocols.v2.reading import InferReader
from service.protocols.v2.request import InferRequest

_JSON_BYTES = b"inference-header-content-length"
_OCTETS = b"application/octet-stream"
_MAX_DIGITS = 10


class _Understood(NamedTuple):
    """What headers say of a body."""

    json_bytes: int | None
    """How much of it is JSON; None for all."""
    options: RequestOptions


class InferEndpoint(Endpoint):
    """Answers inference requests for one version of a model.

    Args:
        model: the version.
    """

    sent_with_post = "tensors are sent with POST"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._reader = InferReader(model.signature, model.columns.max_rows)
        self._writer = AnswerWriter(model.name, model.version, model.signature)

    def handler(self, headers: Iterable[Header]) -> Handler:
        """What answers requests with these headers.

        Raises:
            RequestError: they are not as they should be.
        """
        return partial(self.handle, **self._understood(headers)._asdict())

    def async_handler(self, headers: Iterable[Header]) -> AsyncHandler:
        """The same for bodies that may be long: it is awaited, and others have their turns in between."""
        return partial(self.answer, understood=self._understood(headers))

    def _understood(self, headers: Iterable[Header]) -> _Understood:
        json_bytes = _json_bytes(headers, self.model.max_body)
        return _Understood(json_bytes, options_of(headers))

    async def answer(self, body: bytes, receive: Receive, since: float, *, understood: _Understood) -> Reply:
        """Answer a request, as :meth:`handle` does, for a caller who awaits.

        Args:
            body: the request's.
            receive: the request's, to notice that its caller hangs up while the rows are queued.
            since: when it came, on the clock of ``time.perf_counter``; a timeout counts from then.
            understood: what its headers say.

        Raises:
            ClientGone: the caller hung up; rows that still waited are not computed.
        """
        handle = partial(self.handle, body, since=since, **understood._asdict())
        if len(body) > SMALL_BODY:
            try:
                self.model.batcher.admit(size=len(body))
                async with self.model.budget.decoding(len(body)):
                    request, columns = await in_turns(self._reader.steps(*_unmarked(body, understood.json_bytes)))
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
                return self.refusal(error)
            size = len(body) + columns.bytes
            handle = partial(self._submit_read, request, columns, options=understood.options, since=since, size=size)
        reply: Reply = await self.wait(handle, receive)
        return reply

    def handle(
        self,
        body: bytes,
        done: Callable[[Reply], None],
        since: float = 0.0,
        *,
        json_bytes: int | None = None,
        options: RequestOptions = NO_OPTIONS,
    ) -> QueuedRequest | None:
        """Answer a request: read, gather with whatever other requests wait, run, write.

        Args:
            body: the request's.
            done: told the reply, once; during this call when the request is refused, and later from the event loop.
            since: when it came, on the clock of ``time.perf_counter``; a timeout counts from then.
            json_bytes: how much of the body is JSON; None for all.
            options: what its headers ask for. The body may name a time, too; the earlier one holds.

        Returns:
            The queued request, to be cancelled when its caller is gone; None when the reply has been told.
        """
        try:
            self.model.batcher.admit()  # when there is no room for even a row, the body need not be understood
            if body.startswith(BYTE_ORDER_MARK):
                body, json_bytes = _unmarked(body, json_bytes)
            request, columns = self._reader.read(body, json_bytes)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            done(self.refusal(error))
            return None
        return self._submit_read(request, columns, done, options=options, since=since, size=len(body))

    def _submit_read(
        self,
        request: InferRequest,
        columns: Columns,
        done: Callable[[Reply], None],
        *,
        options: RequestOptions,
        since: float,
        size: int,
    ) -> QueuedRequest | None:
        limits = request.limits
        deadline = None
        if limits.timeout is not None or options.timeout is not None:
            deadline = since + min(timeout for timeout in (limits.timeout, options.timeout) if timeout is not None)
        return self.submit(
            columns,
            lambda predictions: self._written(request, predictions),
            done,
            deadline=deadline,
            priority=limits.priority,
            size=size,
            with_times=options.timed,
        )

    def refused(self, error: RequestError) -> Reply:
        """A refusal as the protocol has it: in one line."""
        return refused_with(error)._replace(body=error_body(str(error)))

    def _written(self, request: InferRequest, predictions: Predictions) -> Reply:
        answer = self._writer.write(predictions, request.id, request.outputs)
        if answer.json_bytes is None:
            return Reply(200, answer.body)
        return Reply(200, answer.body, ((_JSON_BYTES, b"%d" % answer.json_bytes),), _OCTETS)


def _unmarked(body: bytes, json_bytes: int | None) -> tuple[bytes, int | None]:
    """A body without its byte order mark, and how much of that is JSON."""
    if not body.startswith(BYTE_ORDER_MARK):
        return body, json_bytes
    return body[len(BYTE_ORDER_MARK) :], None if json_bytes is None else max(0, json_bytes - len(BYTE_ORDER_MARK))


def _json_bytes(headers: Iterable[Header], max_body: int) -> int | None:
    """How much of the body is JSON, None for all, of headers that are as they should be.

    Raises:
        RequestError: they are not.
    """
    negotiate_content_type(headers, max_body, "application/octet-stream")
    lengths = [value for name, value in headers if name == _JSON_BYTES]
    if not lengths:
        return None
    if len(lengths) > 1 or not (lengths[0].isdigit() and len(lengths[0]) <= _MAX_DIGITS):
        raise RequestError("Inference-Header-Content-Length must be one whole number: the bytes of the body's JSON")
    return int(lengths[0])
