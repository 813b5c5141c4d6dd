"""Flatbuffers, as far as Arrow's messages need them: tables read with every position checked, and written.

A flatbuffer is full of positions that say where something else is, and whoever wrote it may lie about each. Here every
one is held against the bytes before it is followed, so a lie is an error and nothing worse.

Source: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_SIZES = {"b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8}
_UNPACK = {letter: struct.Struct("<" + letter).unpack_from for letter in _SIZES}


class Malformed(ValueError):
    """The bytes are no flatbuffer, or none of this kind."""


class Table:
    """A table of a flatbuffer.

    Args:
        data: the flatbuffer.
        position: where in it the table is.

    Raises:
        Malformed: there can be no table there; so does every method where a position points outside.
    """

    __slots__ = ("_data", "_position", "_slots", "_vtable")

    def __init__(self, data: bytes | memoryview, position: int) -> None:
        self._data = data
        self._position = position
        self._vtable = position - _number(data, position, "i")
        self._slots = (_number(data, self._vtable, "H") - 4) // 2

    @classmethod
    def root(cls, data: bytes | memoryview) -> Table:
        """The table that a flatbuffer is about."""
        return cls(data, _number(data, 0, "I"))

    def number(self, slot: int, format: str, default: int = 0) -> int:  # noqa: A002 - the struct module's word
        """A number of the table.

        Args:
            slot: of the field.
            format: its type, in a letter of :mod:`struct`.
            default: what it is when it is not there.
        """
        at = self._at(slot)
        return default if at is None else _number(self._data, at, format)

    def table(self, slot: int) -> Table | None:
        """A table of the table, if it is there."""
        at = self._at(slot)
        return None if at is None else Table(self._data, at + _number(self._data, at, "I"))

    def text(self, slot: int, max_bytes: int) -> str:
        """A text of the table; empty when it is not there.

        Args:
            slot: of the field.
            max_bytes: that it may have. Any number of tables may refer to one text, so its length is looked at before
                the text is.
        """
        at = self._at(slot)
        if at is None:
            return ""
        start, length = self._vector(at, 1)
        if length > max_bytes:
            raise Malformed(f"a name may have at most {max_bytes:,} bytes, got {length:,}")
        try:
            return bytes(self._data[start : start + length]).decode()
        except UnicodeDecodeError:
            raise Malformed("a name is not UTF-8") from None

    def length(self, slot: int) -> int:
        """Elements of a vector of tables."""
        at = self._at(slot)
        return 0 if at is None else self._vector(at, 4)[1]

    def tables(self, slot: int, at_most: int) -> Iterator[Table]:
        """The first tables of a vector of tables: many of its elements may be one and the same."""
        at = self._at(slot)
        if at is None:
            return
        start, length = self._vector(at, 4)
        for place in range(start, start + 4 * min(length, at_most), 4):
            yield Table(self._data, place + _number(self._data, place, "I"))

    def pairs(self, slot: int) -> NDArray[np.int64]:
        """A vector of structs of two 64-bit numbers, ``[structs, 2]``."""
        at = self._at(slot)
        if at is None:
            return np.zeros((0, 2), np.int64)
        start, length = self._vector(at, 16)
        return np.frombuffer(self._data, "<i8", 2 * length, start).reshape(-1, 2)

    def longs(self, slot: int) -> NDArray[np.int64]:
        """A vector of 64-bit numbers."""
        at = self._at(slot)
        if at is None:
            return np.zeros(0, np.int64)
        start, length = self._vector(at, 8)
        return np.frombuffer(self._data, "<i8", length, start)

    def _at(self, slot: int) -> int | None:
        """Where a field is; None when it is not there."""
        if slot >= self._slots:
            return None
        offset = _number(self._data, self._vtable + 4 + 2 * slot, "H")
        return self._position + offset if offset else None

    def _vector(self, at: int, width: int) -> tuple[int, int]:
        """Where the first element of a vector is, and how many there are."""
        start = at + _number(self._data, at, "I")
        length = _number(self._data, start, "I")
        if start + 4 + width * length > len(self._data):
            raise Malformed("a vector does not fit")
        return start + 4, length


def _number(data: bytes | memoryview, at: int, format: str) -> int:  # noqa: A002
    if at < 0:
        raise Malformed("a position lies before the first byte")
    try:
        number: int = _UNPACK[format](data, at)[0]
    except struct.error:
        raise Malformed("a position lies behind the last byte") from None
    return number


Value: TypeAlias = "Scalar | str | Tables | Pairs | Longs | Mapping[int, Any]"
"""What a field of a table may be: a number, a text, a vector, or a table as its fields by their slots."""


class Scalar:
    """A number to be written."""

    __slots__ = ("format", "number")

    def __init__(self, format: str, number: int) -> None:  # noqa: A002
        self.format = format
        self.number = number


class Tables(list[Mapping[int, Any]]):
    """A vector of tables to be written."""


class Pairs(list[tuple[int, int]]):
    """A vector of structs of two 64-bit numbers to be written."""


class Longs(list[int]):
    """A vector of 64-bit numbers to be written."""


def build(fields: Mapping[int, Value]) -> bytes:
    """The flatbuffer of a table, a multiple of 8 bytes."""
    out = bytearray(8)
    struct.pack_into("<I", out, 0, _write_table(out, fields))
    _pad(out)
    return bytes(out)


def _write_table(out: bytearray, fields: Mapping[int, Value]) -> int:
    """Write a table, and behind it what it refers to; where it is."""
    widths = {slot: _SIZES[v.format] if isinstance(v, Scalar) else 4 for slot, v in fields.items()}
    offsets = [0] * (max(fields, default=-1) + 1)
    size = 4
    for slot in sorted(fields, key=lambda slot: -widths[slot]):
        size += -size % widths[slot]
        offsets[slot] = size
        size += widths[slot]
    vtable = len(out)
    out += struct.pack(f"<HH{len(offsets)}H", 4 + 2 * len(offsets), size, *offsets)
    _pad(out)
    table = len(out)
    out += bytes(size)
    struct.pack_into("<i", out, table, table - vtable)
    for slot, value in fields.items():
        at = table + offsets[slot]
        if isinstance(value, Scalar):
            struct.pack_into("<" + value.format, out, at, value.number)
        else:
            struct.pack_into("<I", out, at, _write(out, value) - at)
    return table


def _write(out: bytearray, value: Any) -> int:
    """Write what a field refers to; where it is."""
    if isinstance(value, Mapping):
        _pad(out)
        return _write_table(out, value)
    if isinstance(value, Tables):
        return _write_tables(out, value)
    _pad(out)
    if isinstance(value, str):
        text = value.encode()
        out += struct.pack("<I", len(text)) + text + b"\0"
        return len(out) - len(text) - 5
    numbers: Iterable[int] = [n for pair in value for n in pair] if isinstance(value, Pairs) else value
    out += bytes(4)  # what follows the length stands at a multiple of 8
    start = len(out)
    out += struct.pack("<I", len(value)) + b"".join(struct.pack("<q", number) for number in numbers)
    return start


def _write_tables(out: bytearray, tables: Tables) -> int:
    _pad(out)
    start = len(out)
    out += struct.pack("<I", len(tables)) + bytes(4 * len(tables))
    for i, fields in enumerate(tables):
        at = start + 4 + 4 * i
        _pad(out)
        struct.pack_into("<I", out, at, _write_table(out, fields) - at)
    return start


def _pad(out: bytearray) -> None:
    out += bytes(-len(out) % 8)
