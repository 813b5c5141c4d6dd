"""Rows of JSON over HTTP: from the body of a request to its reply, for one model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from service.engine.model import Model
from service.engine.queue import QueuedRequest
from service.engine.runner import Request
from service.http.body import BYTE_ORDER_MARK, Receive
from service.http.endpoint import Endpoint
from service.http.options import NO_OPTIONS, RequestOptions
from service.http.reply import Reply
from service.protocols.rows.codec import RowsCodec
from service.protocols.rows.encode import Encoder
from service.protocols.rows.pieces import LONG_BODY


class RowsEndpoint(Endpoint):
    """Answers requests of rows for one model.

    Args:
        model: the model.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._encoder = Encoder(model.name, model.version, model.signature)
        self.codec = RowsCodec(model.signature, self._encoder, model.columns.max_rows)

    def handle(
        self, body: bytes, done: Callable[[Reply], None], since: float = 0.0, *, options: RequestOptions = NO_OPTIONS
    ) -> QueuedRequest | None:
        """Answer a request: decode, validate, gather with whatever other requests wait, run, encode.

        Args:
            body: the request's.
            done: told the reply, once; during this call when the request is refused, and later from the event loop.
            since: when it came, on the clock of ``time.perf_counter``; a timeout counts from then.
            options: what its headers ask for.

        Returns:
            The queued request, to be cancelled when its caller is gone; None when the reply has been told.
        """
        body = body.removeprefix(BYTE_ORDER_MARK)
        try:
            self.model.batcher.admit()  # when there is no room for even a row, the body need not be understood
            rows = self.codec.begin(body)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            done(self.refusal(error))
            return None
        if options is NO_OPTIONS:  # as nearly always
            return self.submit(rows, self._written, done, size=len(body))
        return self._submit_rows(rows, len(body), done, options, since)

    async def answer(
        self, body: bytes, receive: Receive | None = None, options: RequestOptions = NO_OPTIONS, since: float = 0.0
    ) -> Reply:
        """Answer a request, as :meth:`handle` does, for a caller who awaits.

        A long body is read piece by piece, and others are answered in between.

        Args:
            body: the request's.
            receive: the request's, to notice that its caller hangs up while the rows are queued.
            options: what its headers ask for.
            since: when it came, on the clock of ``time.perf_counter``; a timeout counts from then.

        Raises:
            ClientGone: the caller hung up; rows that still waited are not computed.
        """
        if len(body) <= LONG_BODY:
            return await self.wait(partial(self.handle, body, since=since, options=options), receive)
        body = body.removeprefix(BYTE_ORDER_MARK)
        try:
            self.model.batcher.admit(size=len(body))
            async with self.model.budget.decoding(len(body)):
                columns = await self.codec.read_long(body)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            return self.refusal(error)
        return await self.answer_rows(columns, len(body) + columns.bytes, receive, options, since)

    async def answer_rows(
        self,
        rows: Request,
        size: int,
        receive: Receive | None = None,
        options: RequestOptions = NO_OPTIONS,
        since: float = 0.0,
    ) -> Reply:
        """Answer a request whose rows :attr:`codec` has read, as :meth:`answer` does.

        Args:
            rows: the request's.
            size: bytes that it came in.
            receive: the request's, to notice that its caller hangs up while the rows are queued.
            options: what its headers ask for.
            since: when it came, on the clock of ``time.perf_counter``; a timeout counts from then.

        Raises:
            ClientGone: the caller hung up; rows that still waited are not computed.
        """

        def handle(done: Callable[[Reply], None]) -> QueuedRequest | None:
            return self._submit_rows(rows, size, done, options, since)

        return await self.wait(handle, receive)

    def _submit_rows(
        self, rows: Request, size: int, done: Callable[[Reply], None], options: RequestOptions, since: float
    ) -> QueuedRequest | None:
        return self.submit(
            rows, self._written, done, deadline=options.deadline(since), size=size, with_times=options.timed
        )

    def _written(self, answers: list[bytes]) -> Reply:
        return Reply(200, self._encoder.answer(answers))
