"""From the bytes of a request over gRPC to its columns: the fast path under a known head, or the long one."""

from __future__ import annotations

from typing import Any, NamedTuple

from rowcast.models.signature import Signature
from rowcast.service.columns.named import ColumnReader, Columns
from rowcast.service.columns.raw import RawColumnReader
from rowcast.service.limits.byte_rule import MAX_ROWS
from rowcast.service.limits.steps import Steps
from rowcast.service.protocols.grpc.heads import Heads
from rowcast.service.protocols.grpc.request import InferRequest, RequestReader, parse


class Readers:
    """What reads the requests for one model.

    Args:
        signature: the model's.
        max_rows: rows a request may hold.
    """

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self.request = RequestReader(signature, max_rows)
        self.columns = ColumnReader(signature, max_rows)
        self.raw_columns = RawColumnReader(signature)


class _Known(NamedTuple):
    """What a head says."""

    model: str
    version: str
    request: InferRequest
    """Without its tensors."""
    order: list[int]
    """Of the columns among its raw values."""
    rows: int


class IncomingRequest(NamedTuple):
    """A request whose values have yet to be read."""

    model: str
    version: str
    """Empty for the newest."""
    body: bytes
    found: tuple[_Known, list[bytes]] | None = None
    message: Any = None

    @property
    def claimed_rows(self) -> int:
        """Rows that it seems to hold, by the shape of its first tensor."""
        if self.found is not None:
            return self.found[0].rows
        return next((tensor.shape[0] for tensor in self.message.inputs if tensor.shape), 1)

    @property
    def claimed_priority(self) -> int:
        """Its priority, or the highest where it has yet to be read."""
        if self.found is not None:
            return self.found[0].request.limits.priority
        return int("priority" in self.message.parameters)


class MessageReader:
    """Reads the requests of one worker.

    Args:
        max_columns: the most columns a served model has.
        max_rows: rows a request may hold.
    """

    def __init__(self, max_columns: int, max_rows: int = MAX_ROWS) -> None:
        self._max_columns = max_columns
        self._max_rows = max_rows
        self._heads: Heads[_Known] = Heads()

    def begin(self, body: bytes) -> Steps[IncomingRequest]:
        """Which model a message is for.

        Raises:
            RequestError: the bytes are no such message.
        """
        found = self._heads.find(body)
        if found is not None:
            return IncomingRequest(found[0].model, found[0].version, body, found)
        message = yield from parse(body, self._max_columns, self._max_rows)
        return IncomingRequest(message.model_name, message.model_version, body, message=message)

    def read(self, incoming: IncomingRequest, readers: Readers) -> Steps[tuple[InferRequest, Columns]]:
        """What it asks for, and of which rows; by its head the next of its kind will be known.

        Raises:
            RequestError: it breaks a rule.
        """
        if incoming.found is not None:
            known, entries = incoming.found
            columns = readers.raw_columns(known.order, entries, known.rows)
            if columns is not None:
                return known.request, columns
        # what is wrong with its values, only the long way tells
        message = incoming.message
        if message is None:
            message = yield from parse(incoming.body, self._max_columns, self._max_rows)
        request = readers.request.read(message)
        yield
        columns = yield from readers.columns.steps(request.tensors)
        if request.raw and not request.id:
            order = readers.raw_columns.order([(tensor.name, tensor.datatype) for tensor in message.inputs])
            if order is not None:
                bare = request._replace(tensors=[])
                known = _Known(incoming.model, incoming.version, bare, order, len(columns))
                self._heads.keep(incoming.body, message.raw_input_contents, known)
        return request, columns
