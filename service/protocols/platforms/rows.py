"""Rows as a platform sends them, made rows as this service takes them: objects of columns, in bodies of JSON.

Every rule for a value is kept by the decoder of ``{"rows": [...]}``, so a row is refused for the same reasons whatever
protocol brought it; only where the fault lies is said in the platform's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

import numpy as np
import orjson

from rowcast.models.errors import Fault, RequestError
from rowcast.models.signature import Signature
from rowcast.service.columns.named import Columns
from rowcast.service.errors import LEFT_OUT, SHOWN, bad_request, brief, unknown_column
from rowcast.service.http.body import refusal_body
from rowcast.service.http.reply import Reply
from rowcast.service.protocols.rows.codec import RowsCodec

_PATH = re.compile(r"rows\[(\d+)\](?:\.(.*))?", re.DOTALL)
_FEATURES = "features"
"""The only member of a row in SageMaker's common format, which holds the values in order."""


class ErrorPaths:
    """How a body names its rows and their values: ``instances[3].distance``, or ``instances[3][0]`` in a list.

    Args:
        base: what holds the rows.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.order: Sequence[str] = ()
        """The columns of rows that are lists."""
        self._in_lists = bytearray()

    def note(self, *, in_list: bool) -> None:
        """Take note of how the next row came."""
        self._in_lists.append(in_list)

    def row(self, i: int) -> str:
        """A row."""
        return f"{self.base}[{i}]"

    def fault(self, i: int, name: str, message: str) -> Fault:
        """A fault of a row's value; a place that does not name the column has the message name it."""
        if i < len(self._in_lists) and self._in_lists[i] and name in self.order:
            return Fault(f"{self.row(i)}[{self.order.index(name)}]", f"{name[:SHOWN]} {message}")
        return Fault(f"{self.row(i)}.{name}", message)


class RowSink:
    """Takes the rows of one request as they are read, and gives them to the decoder part by part.

    Args:
        signature: the model's.
        codec: the model's.
        places: how the platform names what is in its bodies.
        nat_is_null: whether the text ``NaT`` means a missing timestamp, as pandas writes it.
    """

    def __init__(
        self, signature: Signature, codec: RowsCodec, places: ErrorPaths, *, nat_is_null: bool = False
    ) -> None:
        self.places = places
        self._timestamps = [c.name for c in signature.columns if c.dtype == np.int64] if nat_is_null else []
        self.columns = signature.columns
        self.count = 0
        """Rows that have come."""
        self.max_rows = codec.decoder.max_rows
        self._codec = codec
        self._order = places.order = [column.name for column in signature.columns]
        self._held: bytes | None = None
        """The first part: if it is the only one, it is answered as a body of its own."""
        self._parts: list[Sequence[Any]] = []

    def set_order(self, names: list[str]) -> None:
        """Have rows that are lists hold these columns, instead of all in the signature's order."""
        self._order = self.places.order = names

    def add(self, rows: list[Any]) -> None:
        """Take some rows: objects of columns, lists in the order of columns, or bare values of the only column.

        Raises:
            RequestError: one of them breaks a rule, or there are more than a request may hold.
        """
        if not rows:
            return
        first = self.count
        if first + len(rows) > self.max_rows:
            raise RequestError(
                f"a request holds at most {self.max_rows:,} rows, got more; "
                "send them in several requests, or raise ROWCAST_MAX_ROWS",
                status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
        content, faults = [], []
        for i, row in enumerate(rows, first):
            found = self._object(i, row)
            if isinstance(found, Fault):
                faults.append(found)
                continue
            for name in self._timestamps:
                if found.get(name) == "NaT":
                    found[name] = None
            content.append(found)
        if faults:
            raise bad_request(*faults[: RequestError.MAX_FAULTS])
        try:
            body = b'{"rows":%b}' % orjson.dumps(content)
        except TypeError as error:  # orjson's own error is one
            raise bad_request(Fault(self.places.base, f"must hold text in UTF-8, got none ({error})")) from None
        self.count += len(rows)
        if first == 0:
            self._held = body
        else:
            self._decode_held()
            self._decode(body, first)

    def finish(self) -> bytes | Columns:
        """The rows of the request: a body of its own, or where they came in many parts, columns.

        Raises:
            RequestError: there are none.
        """
        if self.count == 0:
            raise bad_request(Fault(self.places.base, "must be a list of at least one row, got none"))
        return self._codec.joined(self._parts) if self._held is None else self._held

    def in_words(self, error: RequestError, first: int = 0) -> RequestError:
        """A decoder's refusal of the rows from ``first`` on, in the platform's words."""
        if not error.faults:
            return error
        return bad_request(*(self._fault(fault, first) for fault in error.faults))

    def with_platform_faults(self, reply: Reply) -> Reply:
        """A reply to the only part, with its faults in the platform's words."""
        if reply.status != HTTPStatus.BAD_REQUEST:
            return reply
        faults = faults_of(reply)
        if not faults:
            return reply
        translated = [self._fault(fault, 0) for fault in faults]
        return reply._replace(body=body_of(translated))

    def _fault(self, fault: Fault, first: int) -> Fault:
        match = _PATH.fullmatch(fault.path)
        if match is None:
            return fault
        row = first + int(match[1])
        return (
            Fault(self.places.row(row), fault.message)
            if match[2] is None
            else (self.places.fault(row, match[2], fault.message))
        )

    def _decode_held(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._decode(held, 0)

    def _decode(self, body: bytes, first: int) -> None:
        try:
            self._parts.append(self._codec.blocks(body))
        except RequestError as error:
            raise self.in_words(error, first) from None

    def _object(self, i: int, row: Any) -> dict[str, Any] | Fault:
        """A row as an object of columns, or what is wrong with it."""
        if type(row) is dict and len(row) == 1 and _FEATURES in row and _FEATURES not in self._order:
            row = row[_FEATURES]
        self.places.note(in_list=type(row) is list)
        if type(row) is dict:
            return row
        if type(row) is list:
            if len(row) == len(self._order):
                return dict(zip(self._order, row, strict=True))
            return Fault(
                self.places.row(i), f"must hold {len(self._order)} values, one for each column, got {len(row)}"
            )
        if len(self._order) == 1:
            return {self._order[0]: row}
        wanted = f"an object of columns, or a list of {len(self._order)} values in their order"
        return Fault(self.places.row(i), f"must be {wanted}, got {shown(row)}")


def misnamed(names: Sequence[Any], sink: RowSink, whole: str, place: str) -> Iterator[Fault]:
    """Everything that keeps names, in the order of a body, from being those of the model's columns.

    Args:
        names: what came; whatever it is.
        sink: for the columns.
        whole: where all of them are.
        place: where one of them is, with ``{i}`` and ``{name}`` for which.
    """
    known = {column.name for column in sink.columns}
    seen: set[str] = set()
    for i, name in enumerate(names):
        where = place.format(i=i, name=str(name)[:SHOWN]) if isinstance(name, str) else place.format(i=i, name=i)
        if not isinstance(name, str):
            yield Fault(where, f"must be the name of a column, got {shown(name)}")
        elif name not in known:
            yield Fault(where, f"{brief(name)} {unknown_column([column.name for column in sink.columns])}")
        elif name in seen:
            yield Fault(where, f"{brief(name)} appears more than once")
        else:
            seen.add(name)
    for column in sink.columns:
        if column.name not in seen and not column.nullable:
            yield Fault(whole, f"{column.name[:SHOWN]} {LEFT_OUT}")


def shown(value: Any) -> str:
    """A wrong value in a few words."""
    if not isinstance(value, orjson.Fragment):
        return brief(value)
    text = orjson.dumps(value).decode()
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def faults_of(reply: Reply) -> list[Fault]:
    """The faults that a refusal lists."""
    content = orjson.loads(reply.body)
    return [Fault(fault["path"], fault["message"]) for fault in content.get("errors", ())]


def body_of(faults: Iterable[Fault]) -> bytes:
    """The body of a refusal for these faults."""
    return refusal_body(bad_request(*faults))
