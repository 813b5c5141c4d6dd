"""Rows of JSON: from the body of a request to columns, and from predictions to the JSON of each row.

A body of several rows is read as soon as it has come, and what is wrong with it is told at once. A body of one row
waits unread: read together with those it shares a run with, as the columns of one table, it takes a quarter of the
time. What is wrong with it is told out of the run, in which it takes no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from rowcast.models.errors import RequestError
from rowcast.models.session import Predictions
from rowcast.models.signature import Signature
from rowcast.service.columns.many_json_rows import MANY_ROWS, Unusual
from rowcast.service.columns.named import Columns
from rowcast.service.columns.rows import Row
from rowcast.service.engine.runner import Unread
from rowcast.service.json_text.long_text import LONG_TEXT
from rowcast.service.limits.byte_rule import MAX_TEXT_BYTES
from rowcast.service.limits.steps import Steps
from rowcast.service.protocols.rows.decode import Decoder
from rowcast.service.protocols.rows.encode import Encoder
from rowcast.service.protocols.rows.pieces import PIECE_BYTES, pieces

_SHORT = 2**12
"""Bytes of a body that may wait unread: if it is nonsense, it is short nonsense."""


class TooLong(Exception):
    """A row that no parser should read in one call."""


class RowsCodec:
    """Reads and writes rows of JSON for one model.

    Args:
        signature: the model's.
        encoder: writes the answers.
        max_rows: rows a request may hold.
    """

    def __init__(self, signature: Signature, encoder: Encoder, max_rows: int) -> None:
        self.decoder = Decoder(signature, max_rows)
        self.encoder = encoder

    def begin(self, body: bytes) -> Columns | Unread:
        """What waits for a run, of a request that has come.

        Raises:
            RequestError: the body breaks a rule.
        """
        if len(body) <= _SHORT and body.count(b"{") == 2:
            return Unread(body, self)
        return self._own(self.decoder.read(body))

    def read(self, bodies: list[bytes]) -> tuple[Columns | None, list[RequestError | None]]:
        """The rows of several requests of one row each, in a run: as one table, or else one by one."""
        if len(bodies) >= MANY_ROWS:
            try:
                return self.decoder.together(bodies), [None] * len(bodies)
            except Unusual:
                pass  # one of them is not in the standard form
        rows: list[Row] = []
        refusals: list[RequestError | None] = []
        for body in bodies:
            try:
                rows += self.decoder.rows(body)
                refusals.append(None)
            except RequestError as refusal:
                refusals.append(refusal)
        return self.decoder.columns_of(rows) if rows else None, refusals

    def write(self, predictions: Predictions) -> list[bytes]:
        """The JSON of each row's answer."""
        return self.encoder.rows(predictions)

    def long_steps(self, body: bytes) -> Steps[Columns]:
        """The rows of a long body, read piece by piece.

        Raises:
            RequestError: it breaks a rule.
        """
        body = body.rstrip(b" \t\r\n")
        yield from self.decoder.weigh(body)
        parts: list[Sequence[NDArray[Any]]] = []
        count, most = 0, self.decoder.max_rows
        try:
            for piece in pieces(body):
                if len(piece) > PIECE_BYTES + MAX_TEXT_BYTES:
                    raise TooLong
                part = yield from self.decoder.weighed(piece)
                count += len(part)
                if count > most:
                    break
                parts.append(part.blocks)
                yield
        except TooLong:
            words = f"a row in JSON holds at most {MAX_TEXT_BYTES:,} bytes, got a longer one"
            raise RequestError(words, status=413) from None
        except RequestError:
            count = 0
        if not 0 < count <= most:
            parts.clear()
            if len(body) > LONG_TEXT:
                columns = self.decoder.columns_of((yield from self.decoder.long_steps(body)))
            else:
                columns = yield from self.decoder.weighed(body)  # as one, which knows what to say
            return self._own(columns)
        return self.joined(parts)

    def blocks(self, body: bytes) -> Sequence[NDArray[Any]]:
        """The rows of a body that holds a part of a request's, as blocks for :meth:`joined`.

        Raises:
            RequestError: it breaks a rule.
        """
        return self.decoder.read(body).blocks

    def joined(self, parts: Sequence[Sequence[NDArray[Any]]]) -> Columns:
        """The rows of a request, of its parts in their order."""
        return Columns.joined(parts, self)

    def _own(self, columns: Columns) -> Columns:
        columns.codec = self
        return columns
