"""The fast path of an Open Inference request in raw bytes over HTTP: what its JSON says is known from an earlier one.

A caller sends the same JSON again and again, and to parse and check it takes longer than all the rest. From one request
to the next nothing in it changes but how many bytes its texts take. So what stands around those sizes is kept once a
whole request with it was found to be right; with other sizes it means the same of as many other bytes.
"""

from __future__ import annotations

import re
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, TypeAlias

import orjson

from rowcast.service.cache import LearningCache
from rowcast.service.columns.named import Columns
from rowcast.service.columns.raw import RawColumnReader
from rowcast.service.protocols.v2.request import InferRequest

_SIZE = re.compile(rb'"binary_data_size": ?([1-9][0-9]{0,8})')
"""A size, as whoever writes one does."""
_MAX_TEXTS = 256
"""Texts that are kept."""
_MAX_TEXT_BYTES = 2**14

_Around: TypeAlias = tuple[bytes, ...]
"""What stands before, between and after the sizes."""


class _Known(NamedTuple):
    """What a text says."""

    request: InferRequest
    """Without its tensors."""
    order: list[int]
    """Of the columns among its raw bytes."""
    rows: int


class KnownBinary:
    """The known JSON of requests for one model all of whose tensors are raw bytes.

    Args:
        raw_columns: the model's.
    """

    def __init__(self, raw_columns: RawColumnReader) -> None:
        self._raw_columns = raw_columns
        self._texts: LearningCache[_Around, _Known] = LearningCache(_MAX_TEXTS)

    def read(self, body: bytes, json_bytes: int) -> tuple[InferRequest, Columns] | None:
        """What a body asks for, and of which rows; None when it is not known, or when anything is wrong with it."""
        if json_bytes > _MAX_TEXT_BYTES:
            return None
        around, sizes = _split(body[:json_bytes])
        known = self._texts.get(around)
        if known is None:
            return None
        ends = list(accumulate(sizes, initial=json_bytes))
        if ends[-1] != len(body):
            return None
        columns = self._raw_columns(known.order, [body[start:end] for start, end in pairwise(ends)], known.rows)
        return None if columns is None else (known.request, columns)

    def keep(self, text: bytes, request: InferRequest, rows: int) -> None:
        """Keep the JSON of a request that was found right, if it is as most are and not the first of its kind.

        Args:
            text: the JSON.
            request: what it was read as.
            rows: of each tensor.
        """
        if len(text) > _MAX_TEXT_BYTES or request.id is not None:  # an id is another each time
            return
        around, sizes = _split(text)
        if not self._texts.is_worth_learning(around):
            return
        content = orjson.loads(text)
        order = self._raw_columns.order([(entry["name"], entry["datatype"]) for entry in content["inputs"]])
        if order is None or not _are_sizes(around, sizes, content):
            return
        self._texts[around] = _Known(request._replace(tensors=[]), order, rows)


def _split(text: bytes) -> tuple[_Around, list[int]]:
    parts = _SIZE.split(text)
    return tuple(parts[::2]), list(map(int, parts[1::2]))


def _are_sizes(around: _Around, sizes: list[int], content: dict[str, Any]) -> bool:
    """Whether what seem to be the sizes in a good text are those of its inputs, of each one.

    With escapes a size may not look like one, and something else may. So others are put in their place: the text has to
    say the same then of as many other bytes.
    """
    parameters = [entry.get("parameters") or {} for entry in content["inputs"]]
    if sizes != [of_one.get("binary_data_size") for of_one in parameters]:
        return False
    for of_one in parameters:
        of_one["binary_data_size"] += 1
    other = around[0] + b"".join(
        b'"binary_data_size":%d%b' % (size + 1, after) for size, after in zip(sizes, around[1:], strict=True)
    )
    return bool(orjson.loads(other) == content)
