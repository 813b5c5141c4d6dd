"""How much a body of JSON would build, told without building any of it.

What is counted stands outside of strings: objects, lists and commas, of which JSON has one less than values. The count
is exact up to where a body stops being JSON, and that is as far as a parser builds.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from rowcast.models.errors import Fault, RequestError
from rowcast.service.errors import bad_request
from rowcast.service.limits.byte_rule import MAX_TEXT_BYTES, STEP_BYTES
from rowcast.service.limits.steps import Steps

_TOLD = b'"{}[,'
_UNTOLD = bytes(set(range(256)) - set(_TOLD))
_QUOTE, _OPEN, _CLOSE, _LIST, _COMMA = _TOLD
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_LONG_TEXT = 256
_AFTER_VALUE = re.compile(rb"[ \t\r\n]*[,}\]]")


class Weight(NamedTuple):
    """What a body holds outside of its strings."""

    objects: int = 0
    lists: int = 0
    commas: int = 0
    deepest: int = 0
    """The most objects that lie in one another."""

    def within(self, most: Weight) -> bool:
        """Whether it holds no more than that, however deep."""
        return self.objects <= most.objects and self.lists <= most.lists and self.commas <= most.commas


def most_of(text: bytes) -> Weight:
    """No less than what a text holds, strings included."""
    return Weight(text.count(b"{"), text.count(b"["), text.count(b","))


def weigh(text: bytes, most: Weight) -> Steps[Weight]:
    """What a text holds; as soon as that is more than ``most``, what it has held so far.

    Raises:
        RequestError: 413, it holds a string of more than :data:`MAX_TEXT_BYTES`; perhaps of as many, if it is full of
            escapes.
    """
    if len(text) <= STEP_BYTES and (weight := most_of(text)).within(most):
        return weight
    weight = Weight()
    depth, within_string, rest = 0, False, b""
    string_bytes = longest = 0
    for start in range(0, len(text), STEP_BYTES):
        piece = rest + text[start : start + STEP_BYTES]
        came = len(piece)
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        rest = b"\\" if piece.endswith(b"\\") else b""  # what it escapes is in the next piece
        told = np.frombuffer(piece.translate(None, _UNTOLD), np.uint8)
        quotes = told == _QUOTE
        n_quotes = int(np.count_nonzero(quotes))
        if within_string:
            string_bytes += piece.find(b'"') if n_quotes else came
            longest = max(longest, string_bytes)
        outside = told[~(np.bitwise_xor.accumulate(quotes) ^ within_string) & ~quotes]
        within_string ^= bool(n_quotes & 1)
        if n_quotes:
            string_bytes = len(piece) - piece.rfind(b'"') - 1
        opens = outside == _OPEN
        depths = np.cumsum(opens.view(np.int8) - (outside == _CLOSE).view(np.int8), dtype=np.int64) + depth
        if len(depths):
            depth = int(depths[-1])
        weight = Weight(
            weight.objects + int(np.count_nonzero(opens)),
            weight.lists + int(np.count_nonzero(outside == _LIST)),
            weight.commas + int(np.count_nonzero(outside == _COMMA)),
            max(weight.deepest, int(depths.max(initial=0))),
        )
        if not weight.within(most):
            return weight
        yield
    if longest > MAX_TEXT_BYTES:
        raise _endless() if within_string else _too_long()
    return weight


def _endless() -> RequestError:
    return bad_request(Fault("", "the body must be JSON in UTF-8: a text that does not end"))


def _too_long() -> RequestError:
    return RequestError(f"a text in JSON holds at most {MAX_TEXT_BYTES:,} bytes, got a longer one", status=413)


def without_long_texts(text: bytes) -> Steps[bytes]:
    """Good JSON with nothing in the long texts among its values: to look for what else may be wrong with it."""
    if len(text) <= STEP_BYTES:
        return text
    parts: list[bytes] = []
    start, step_end = 0, STEP_BYTES
    for found in _TEXT.finditer(text):
        begin, end = found.span()
        if end - begin > _LONG_TEXT and _AFTER_VALUE.match(text, end):
            parts.append(text[start : begin + 1])
            start = end - 1
        if end > step_end:
            step_end = end + STEP_BYTES
            yield
    parts.append(text[start:])
    return b"".join(parts)
