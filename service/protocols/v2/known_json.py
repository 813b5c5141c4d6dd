"""The fast path of an Open Inference request in JSON: what stands around its data is known from an earlier one.

A caller sends the same text around other data again and again, and to parse and check it takes longer than all the
rest. So the text is cut at its lists of data into *pieces*, which are kept once a whole request with them was found to
be right. A body of the same pieces means the same of other data. The data alone are parsed then, all lists in one go.

This reads what breaks no rule and is written in the standard form: flat lists, in whose texts stand no escapes,
brackets or braces. Of any other body it says nothing: :mod:`rowcast.service.protocols.v2.request` and
:mod:`rowcast.service.columns.named`, which know all the rules, read that one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from rowcast.service.cache import LearningCache
from rowcast.service.columns.flat import FlatColumnReader, Lists, Order
from rowcast.service.columns.named import Columns
from rowcast.service.protocols.v2.request import InferRequest

_DATA = re.compile(rb'"data"[ \t\n\r]*:[ \t\n\r]*\[')
_MAX_STARTS = 64
"""Beginnings of templates that are kept."""
_MAX_ALIKE = 4
"""Templates that begin alike: that many are tried at most."""
_MAX_PIECES_BYTES = 2**14
_MAX_BODY_BYTES = 2**18
"""Beyond, parsing and checking take so long that what is around the data is nothing to it."""


class _Pieces(NamedTuple):
    """What stands around the data; a list's brackets are of the pieces around it."""

    first: bytes
    between: list[bytes]
    last: bytes

    def lists(self, body: bytes) -> Lists | None:
        """The data between these pieces; None unless the body is they with flat data between them.

        No bracket or brace stands in the data of one list, so that joined they hold those alone that join them. If a
        text began in one list and ended in a later one, what joins them would be in the text, a list less would come
        out, and nothing could make up for it. So where as many come out, each is whole by itself, and as good JSON
        between its pieces as between others' brackets.
        """
        first, between, last = self
        if not (body.endswith(last) and body.startswith(first)):
            return None
        at, stop = len(first), len(body) - len(last)
        data = []
        for piece in between:
            end = body.find(b"]", at)
            if not body.startswith(piece, end):
                return None
            data.append(body[at:end])
            at = end + len(piece)
        if at > stop:
            return None
        data.append(body[at:stop])
        joins = len(between)
        joined = b"],[".join(data)
        if joined.count(b"[") != joins or joined.count(b"]") != joins or b"{" in joined or b"\\" in joined:
            return None
        try:
            lists: Lists = orjson.loads(b"[[%b]]" % joined)
        except ValueError:
            return None
        return lists if len(lists) == len(data) else None


class _Template(NamedTuple):
    """Pieces, and what they say."""

    pieces: _Pieces
    request: InferRequest
    """Without its tensors."""
    order: Order
    """Of the columns among the lists."""
    rows: int


class KnownJson:
    """The known templates of requests for one model.

    Args:
        flat_columns: the model's.
        max_values: values that a body of this model may hold.
    """

    def __init__(self, flat_columns: FlatColumnReader, max_values: int) -> None:
        self._flat_columns = flat_columns
        self._max_values = max_values
        self._templates: LearningCache[bytes, tuple[_Template, ...]] = LearningCache(_MAX_STARTS)

    def read(self, body: bytes) -> tuple[InferRequest, Columns] | None:
        """What a body asks for, and of which rows; None when it is not known, or when anything may be wrong with it."""
        if len(body) > _MAX_BODY_BYTES:
            return None
        for pieces, request, order, rows in self._templates.get(_start(body), ()):
            lists = pieces.lists(body)
            if lists is not None:
                if set(map(len, lists)) != {rows}:
                    return None
                columns = self._flat_columns(order, lists)
                return None if columns is None else (request, columns)
        return None

    def keep(self, body: bytes, request: InferRequest, rows: int) -> None:
        """Keep the template of a request that was found right, if it is as most are and not the first of its kind.

        Args:
            body: the request's.
            request: what it was read as.
            rows: of each tensor.
        """
        if len(body) > _MAX_BODY_BYTES or request.id is not None:  # an id is another each time
            return
        pieces = _cut(body)
        hollow = b"".join([pieces.first, *pieces.between, pieces.last])
        start = _start(body)
        alike = self._templates.get(start, ())
        if any(template.pieces == pieces for template in alike):  # its data were unusual
            return
        commas = hollow.count(b",") + (rows - 1) * (len(pieces.between) + 1)
        if (
            len(hollow) > _MAX_PIECES_BYTES
            or commas > self._max_values
            or not self._templates.is_worth_learning(hollow)
        ):
            return
        content = orjson.loads(body)
        inputs = content["inputs"]
        order = self._flat_columns.order([(entry["name"], entry["datatype"]) for entry in inputs])
        if order is None or not _are_around(pieces, hollow, body, content):
            return
        newest = _Template(pieces, request._replace(tensors=[]), order, rows)
        self._templates[start] = (newest, *alike[: _MAX_ALIKE - 1])


def _start(body: bytes) -> bytes:
    """By what templates are found."""
    return body[: max(0, body.find(b'"data"', 0, _MAX_PIECES_BYTES))]


def _cut(body: bytes) -> _Pieces:
    """A good body cut at what seems to be its data."""
    *pieces, last = _pieces(body)
    return _Pieces(pieces[0] if pieces else b"", pieces[1:], last)


def _pieces(body: bytes) -> Iterator[bytes]:
    at = 0
    for found in _DATA.finditer(body):
        yield body[at : found.end()]
        at = body.find(b"]", found.end())
    yield body[at:]


def _are_around(pieces: _Pieces, hollow: bytes, body: bytes, content: dict[str, Any]) -> bool:
    """Whether pieces of a good body are what stands around its data.

    No data are empty in a good body. So if they are without what is between the pieces, and all else is as it was, then
    that was the data.
    """
    data = [entry.get("data") for entry in content["inputs"]]
    if pieces.lists(body) != data:
        return False
    for entry in content["inputs"]:
        entry["data"] = []
    try:
        return bool(orjson.loads(hollow) == content)
    except ValueError:
        return False
