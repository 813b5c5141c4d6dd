"""How many parts a message over gRPC has, told without parsing it.

An empty part takes two bytes in a message, and parsed a hundred; a packed number one, and parsed eight. So all of them
are counted before, wherever they lie: inputs and outputs, their parameters, the sizes of shapes, the values of
contents, and what nobody knows. What a field is, the message's descriptor says.

Where a message is broken the count ends: that is as far as a parser builds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from rowcast.models.errors import Fault, RequestError
from rowcast.service.errors import bad_request
from rowcast.service.limits.steps import Steps
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES
from rowcast.service.protocols.v2.rules import no_shape_of, too_many_values

_STEP_PARTS = 2**12
"""Parts that are counted in one step: a few milliseconds."""
_MAX_VARINT_BYTES = 10
_VARINT, _FIXED64, _LENGTH, _OPEN, _CLOSE, _FIXED32 = range(6)
_FIXED = {
    **dict.fromkeys((FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_SFIXED64), 8),
    **dict.fromkeys((FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_SFIXED32), 4),
}
"""Bytes of a packed number; of all others as many as it needs."""
_TEXTS = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}


class _Kind(NamedTuple):
    """The fields of a message that may hold many parts, by their numbers."""

    messages: dict[int, _Kind]
    packed: dict[int, int | None]
    """Repeated numbers: how many bytes each takes; None for a varint."""
    texts: frozenset[int]
    """Repeated texts."""


class _Broken(Exception):
    """The message ends amid a field."""


def _kind_of(descriptor: Any) -> _Kind:
    messages: dict[int, _Kind] = {}
    packed: dict[int, int | None] = {}
    texts = set()
    for field in descriptor.fields:
        if field.message_type is not None:
            messages[field.number] = _kind_of(field.message_type)
        elif field.is_repeated and field.type in _TEXTS:
            texts.add(field.number)
        elif field.is_repeated:
            packed[field.number] = _FIXED.get(field.type)
    return _Kind(messages, packed, frozenset(texts))


_Message = REQUEST_CLASSES["ModelInfer"].DESCRIPTOR
_REQUEST = _kind_of(_Message)
_INPUTS = _Message.fields_by_name["inputs"]
_INPUT = _REQUEST.messages[_INPUTS.number]
_SHAPE = _INPUTS.message_type.fields_by_name["shape"].number
_MAX_SIZES = 1000
"""Sizes of a shape that are still explained one by one."""


def weigh(body: bytes, max_parts: int, max_values: int) -> Steps[None]:
    """Look whether a request for predictions may be parsed.

    Args:
        body: the message.
        max_parts: fields that it may have, all of its inputs and outputs together.
        max_values: sizes of shapes and values of contents that it may have.

    Raises:
        RequestError: it has more.
    """
    weighing = _Weighing(body, max_parts, max_values)
    try:
        yield from weighing.message(_REQUEST, 0, len(body))
    except _Broken:
        return


class _Weighing:
    """Counts the parts of one message."""

    def __init__(self, body: bytes, max_parts: int, max_values: int) -> None:
        self._body = body
        self._bytes = np.frombuffer(body, np.uint8)
        self._parts_left = max_parts
        self._values_left = max_values
        self._counted = 0
        self._inputs = 0

    def message(self, kind: _Kind, at: int, end: int) -> Steps[None]:
        """Count the parts of a message of this kind from ``at`` to ``end``."""
        while at < end:
            tag, at = self._varint(at, end)
            number, wire = tag >> 3, tag & 7
            if wire == _LENGTH:
                size, at = self._varint(at, end)
                stop = at + size
                if stop > end:
                    raise _Broken
                if number in kind.texts:
                    at = self._texts(tag, stop, end)
                    continue
                if number in kind.packed:
                    numbers = self._numbers(at, stop, kind.packed[number])
                    if kind is _INPUT and number == _SHAPE and numbers > _MAX_SIZES:
                        raise bad_request(Fault(f"inputs[{self._inputs}].shape", no_shape_of(numbers)))
                    self._values(numbers)
                elif number in kind.messages:
                    yield from self.message(kind.messages[number], at, stop)
                    self._inputs += kind.messages[number] is _INPUT
                at = stop
            elif wire == _VARINT:
                _, at = self._varint(at, end)
            elif wire in (_FIXED64, _FIXED32):
                at += 8 if wire == _FIXED64 else 4
            elif wire not in (_OPEN, _CLOSE):
                raise _Broken
            if number in kind.packed and wire != _LENGTH:
                self._values(1)
            else:
                self._part()
            self._counted += 1
            if self._counted % _STEP_PARTS == 0:
                yield

    def _texts(self, tag: int, at: int, end: int) -> int:
        """Count a text of a repeated field that ends at ``at``, and those that follow it at once; where they end."""
        body, count, most = self._body, 1, self._values_left
        if tag < 0x80:  # else they are counted one by one
            while at + 1 < end and body[at] == tag and count <= most:
                size = body[at + 1]
                at += 2
                if size >= 0x80:
                    size, at = self._varint(at - 1, end)
                at += size
                count += 1
        if at > end:
            raise _Broken
        self._values(count)
        return at

    def _numbers(self, at: int, stop: int, size: int | None) -> int:
        """Packed numbers from ``at`` to ``stop``."""
        if size is not None:
            return (stop - at) // size
        return int(np.count_nonzero(self._bytes[at:stop] < 0x80))

    def _part(self) -> None:
        self._parts_left -= 1
        if self._parts_left < 0:
            raise RequestError(
                "the message must hold a tensor for each column, got far more parts than those", status=400
            )

    def _values(self, count: int) -> None:
        self._values_left -= count
        if self._values_left < 0:
            raise too_many_values()

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """The whole number that begins at ``at``, and where it ends."""
        value = 0
        for i, byte in enumerate(self._body[at : min(end, at + _MAX_VARINT_BYTES)]):
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return value, at + i + 1
        raise _Broken
