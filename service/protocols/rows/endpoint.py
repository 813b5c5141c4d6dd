"""Rows of JSON over HTTP: from the body of a request to its reply, for one model."""

from __future__ import annotations

from functools import partial
from typing import Any

from rowcast.service.columns.named import Columns
from rowcast.service.engine.model import Model
from rowcast.service.http.body import BYTE_ORDER_MARK, Receive
from rowcast.service.http.endpoint import Claims, Decoded, SteppedEndpoint
from rowcast.service.http.options import RequestOptions
from rowcast.service.http.reply import Reply
from rowcast.service.limits.steps import Steps
from rowcast.service.protocols.rows.codec import RowsCodec
from rowcast.service.protocols.rows.encode import Encoder


class RowsEndpoint(SteppedEndpoint):
    """Answers requests of rows for one model.

    Args:
        model: the model.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._encoder = Encoder(model.name, model.version, model.signature)
        self.codec = RowsCodec(model.signature, self._encoder, model.columns.max_rows)

    def decode(self, body: bytes, form: Any) -> Decoded:
        """Read a short body; one of a single row waits unread for its run."""
        return Decoded(self.codec.begin(body.removeprefix(BYTE_ORDER_MARK)), self._written)

    def decode_steps(self, body: bytes, form: Any) -> Steps[Decoded]:
        """Read a long body piece by piece."""
        columns = yield from self.codec.long_steps(body.removeprefix(BYTE_ORDER_MARK))
        return Decoded(columns, self._written)

    def claims(self, body: bytes, form: None) -> Claims:
        """As many rows as there are ends of objects in it, but for its own."""
        return Claims(body.count(b"}") - 1)

    async def answer_rows(
        self, rows: Columns, size: int, receive: Receive, options: RequestOptions, since: float
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
        decoded = Decoded(rows, self._written)
        return await self.wait(partial(self.submit, decoded, size, since=since, options=options), receive)

    def _written(self, answers: list[bytes]) -> Reply:
        return Reply(200, self._encoder.answer(answers))
