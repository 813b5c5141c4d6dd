"""The fast path of a request over gRPC: what its tensors are is known from an earlier one.

A message lists its tensors' names, datatypes and shapes first, and all of their raw values after that. A caller sends
the same list again and again, and to parse and check it takes longer than all the rest. So the bytes before the first
value are kept once a whole message with them was found to be right. One that begins with the same bytes, and holds
nothing but as many raw values after them, means the same: a message is its fields, wherever it is cut between two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError

from rowcast.service.cache import BoundedCache
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES

T = TypeVar("T")

_Message = REQUEST_CLASSES["ModelInfer"]

_RAW_CONTENTS = 0x3A
"""The tag of ``raw_input_contents``: field 7, in bytes."""
_MAX_HEADS = 256
"""Heads that are kept."""
_MAX_LENGTHS = 16
"""Different lengths among them: a head is looked for once for each."""
_MAX_HEAD_BYTES = 2**14


class Heads(Generic[T]):
    """The known heads of messages, and whatever is kept with each."""

    def __init__(self) -> None:
        self._heads: BoundedCache[bytes, tuple[int, T]] = BoundedCache(_MAX_HEADS)
        """With how many raw values follow each."""
        self._lengths: BoundedCache[int, None] = BoundedCache(_MAX_LENGTHS)

    def find(self, body: bytes) -> tuple[T, list[bytes]] | None:
        """What was kept with the head of a message, and the raw values of each of its tensors.

        None when the head is not known, or others than its raw values follow it.
        """
        for length in self._lengths:
            head = self._heads.get(body[:length])
            if head is not None:
                count, known = head
                entries = _entries(body, length, count)
                return None if entries is None else (known, entries)
        return None

    def keep(self, body: bytes, entries: Sequence[bytes], known: T) -> None:
        """Keep the head of a message with these raw values, if it is a message without them."""
        length = len(body) - sum(1 + len(varint(len(entry))) + len(entry) for entry in entries)
        if not 0 < length <= _MAX_HEAD_BYTES or _entries(body, length, len(entries)) != list(entries):
            return
        try:
            if len(_Message.FromString(body[:length]).raw_input_contents):
                return
        except DecodeError:  # it ends amid a field, whose bytes look like raw values
            return
        self._lengths[length] = None
        self._heads[body[:length]] = len(entries), known


def _entries(body: bytes, at: int, count: int) -> list[bytes] | None:
    """So many raw values from ``at`` to the end of a message; None if anything else is there."""
    entries: list[bytes] = []
    end = len(body)
    for _ in range(count):
        if at + 1 >= end or body[at] != _RAW_CONTENTS:
            return None
        byte = body[at + 1]
        at += 2
        size, shift = byte & 0x7F, 7
        while byte > 0x7F:
            if at >= end or shift > 28:  # 2**35 bytes and more do not come
                return None
            byte = body[at]
            size |= (byte & 0x7F) << shift
            shift += 7
            at += 1
        if size > end - at:
            return None
        entries.append(body[at : at + size])
        at += size
    return entries if at == end else None


def varint(value: int) -> bytes:
    """A whole number, not negative, as messages have it."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
