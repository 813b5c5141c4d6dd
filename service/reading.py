"""From the body of a request to what a run takes, and when.

A body of several rows is read as soon as it has come, and what is wrong with it is told at once. A body of one row
waits unread: read together with those it shares a run with, as the columns of one table, it takes a quarter of the
time. What is wrong with it is told out of the run, in which it takes no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import getsizeof
from typing import Any

from numpy.typing import NDArray

from models.errors import RequestError
from models.signature import Signature
from service.byte_rule import MAX_TEXT_BYTES
from service.columns import ColumnReader
from service.decode import Decoder
from service.metrics import Meter
from service.pieces import PIECE_BYTES, pieces
from service.row_columns import MANY_ROWS, JsonRows, RowColumns, Unusual
from service.rows import GraphInputs, Row
from service.steps import Steps, in_turns

_SHORT = 2**12
"""Bytes of a body that may wait unread: if it is nonsense, it is short nonsense."""


class TooLong(Exception):
    """A row that no parser should read in one call."""


class OneRow:
    """A body that has yet to be read, and holds one row if it holds any."""

    __slots__ = ("body",)

    def __init__(self, body: bytes) -> None:
        self.body = body

    def __len__(self) -> int:
        return 1

    def __getitem__(self, rows: slice) -> OneRow:
        return self


def decoded_bytes(rows: JsonRows) -> int:
    """About what the rows of a long body take."""
    if isinstance(rows, list):
        return sum(sum(map(getsizeof, row.values())) for row in rows)
    return rows.bytes


class RowsReader:
    """Reads bodies of rows for one model, and counts levels that training never saw.

    Args:
        signature: the model's.
        max_rows: rows a request may hold.
        meter: the model's.
    """

    def __init__(self, signature: Signature, max_rows: int, meter: Meter) -> None:
        self.decoder = Decoder(signature, max_rows)
        self._inputs = GraphInputs(signature)
        self._columns = ColumnReader(signature, max_rows)
        self._meter = meter

    def begin(self, body: bytes) -> JsonRows | OneRow:
        """What waits for a run, of a request that has come.

        Raises:
            RequestError: the body breaks a rule.
        """
        if len(body) <= _SHORT and body.count(b"{") == 2:
            return OneRow(body)
        return self.read(body)

    def read(self, body: bytes) -> JsonRows:
        """The rows of a body.

        Raises:
            RequestError: it breaks a rule.
        """
        return self.decoder.read(body)

    def read_one(self, body: bytes) -> list[Row]:
        """The same for the body of a :class:`OneRow`."""
        rows = self.decoder.rows(body)
        unseen = self.decoder.unseen(rows)
        if unseen:
            self._meter.unseen(unseen)
        return rows

    def together(self, bodies: list[bytes]) -> RowColumns | None:
        """The rows of several bodies as one table; None if one of them is not as usual, or there are few."""
        if len(bodies) < MANY_ROWS:
            return None
        try:
            rows = self.decoder.together(bodies)
        except Unusual:
            return None
        self.count(rows)
        return rows

    async def read_long(self, body: bytes) -> JsonRows:
        """The same as :meth:`read` piece by piece, with others' turns in between."""
        return await in_turns(self.long_steps(body))

    def long_steps(self, body: bytes) -> Steps[JsonRows]:
        """The same in steps."""
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
                parts.append(self._inputs.blocks(part) if isinstance(part, list) else part.blocks)
                yield
        except TooLong:
            words = f"a row in JSON holds at most {MAX_TEXT_BYTES:,} bytes, got a longer one"
            raise RequestError(words, status=413) from None
        except RequestError:
            count = 0
        if not 0 < count <= most:
            parts.clear()
            rows = yield from self.decoder.weighed(body)  # as one, which knows what to say
            return rows
        return RowColumns.joined(parts)

    def blocks(self, body: bytes) -> Sequence[NDArray[Any]]:
        """The rows of a body that holds a part of a request's, as blocks for :meth:`joined`.

        Raises:
            RequestError: it breaks a rule.
        """
        part = self.decoder.read(body)
        return self._inputs.blocks(part) if isinstance(part, list) else part.blocks

    def joined(self, parts: Sequence[Sequence[NDArray[Any]]]) -> RowColumns:
        """The rows of a request, of its parts in their order."""
        return RowColumns.joined(parts)

    def count(self, rows: JsonRows) -> None:
        """Count the levels that training never saw, of rows that are queued: of a refused request none is."""
        unseen = self.decoder.unseen(rows) if isinstance(rows, list) else self._columns.unseen(rows)
        if unseen:
            self._meter.unseen(unseen)
