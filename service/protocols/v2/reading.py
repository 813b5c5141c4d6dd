"""From the body of an Open Inference request over HTTP to its columns: the fast path of a known one, or the long."""

from __future__ import annotations

from rowcast.models.signature import Signature
from rowcast.service.columns.flat import FlatColumnReader
from rowcast.service.columns.named import ColumnReader, Columns
from rowcast.service.columns.raw import RawColumnReader
from rowcast.service.limits.steps import Steps, at_once
from rowcast.service.protocols.v2.known_binary import KnownBinary
from rowcast.service.protocols.v2.known_json import KnownJson
from rowcast.service.protocols.v2.request import InferRequest, RequestReader


class InferReader:
    """Reads the requests for one model.

    Args:
        signature: the model's.
        max_rows: rows a request may hold.
    """

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._request = RequestReader(signature, max_rows)
        self._columns = ColumnReader(signature, max_rows)
        raw_columns = RawColumnReader(signature)
        self._binary = KnownBinary(raw_columns)
        self._json = KnownJson(FlatColumnReader(signature, raw_columns), self._request.max_values)

    def read(self, body: bytes, json_bytes: int | None = None) -> tuple[InferRequest, Columns]:
        """What a body asks for, and of which rows; by what it says the next of its kind will be known.

        Args:
            body: the request's.
            json_bytes: how much of it is JSON; None for all.

        Raises:
            RequestError: it breaks a rule.
        """
        return at_once(self.steps(body, json_bytes))

    def steps(self, body: bytes, json_bytes: int | None = None) -> Steps[tuple[InferRequest, Columns]]:
        """The same in steps."""
        known = self._json.read(body) if json_bytes is None else self._binary.read(body, json_bytes)
        if known is not None:
            return known
        # what is wrong with its values, only this way tells
        request = yield from self._request.steps(body, json_bytes)
        columns = yield from self._columns.steps(request.tensors)
        if json_bytes is None:
            self._json.keep(body, request, len(columns))
        else:
            self._binary.keep(body[:json_bytes], request, len(columns))
        return request, columns
