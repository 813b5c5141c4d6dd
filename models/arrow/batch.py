"""A record batch: where its columns are said to lie, and the columns for whoever asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrow.arrays import Array, Dictionary, Places
from models.arrow.flatbuffer import Malformed, Table
from models.arrow.types import Field, Type

_AT_ONCE = 256
"""Elements of a vector that become Python's numbers together."""


class RecordBatch:
    """Rows of arrays, as a record batch or a dictionary has them.

    Args:
        header: of the message.
        body: of the message.

    Raises:
        Malformed: it is compressed, has fewer than 0 rows, or a header that points outside of itself.
    """

    __slots__ = ("_view_buffers", "body", "buffers", "nodes", "rows")

    def __init__(self, header: Table, body: memoryview) -> None:
        if header.table(3) is not None:
            raise Malformed("buffers must not be compressed: write the stream without compression")
        self.rows = header.number(0, "q")
        if self.rows < 0:
            raise Malformed("a record batch has fewer than 0 rows")
        self.body = body
        self.nodes = header.pairs(1)
        """Rows and nulls of each array, as they are told, ``[arrays, 2]``."""
        self.buffers = header.pairs(2)
        """Start in the body and bytes of each buffer, as they are told, ``[buffers, 2]``."""
        self._view_buffers = header.longs(4)

    def arrays(self, types: Sequence[Type]) -> list[Array]:
        """The arrays, whose types these are.

        Raises:
            Malformed: one does not lie within the body, or is not whole.
        """
        reader = _Reader(self.rows, self.body, self.nodes[: len(types)], self.buffers, self._view_buffers)
        return [reader.array(type_) for type_ in types]


class Batch:
    """A record batch of a stream.

    Args:
        record: the batch.
        fields: of the stream's schema.
        dictionaries: those that came before it.
    """

    __slots__ = ("_dictionaries", "_fields", "record")

    def __init__(self, record: RecordBatch, fields: list[Field], dictionaries: dict[int, Dictionary]) -> None:
        self.record = record
        self._fields = fields
        self._dictionaries = dict(dictionaries)

    @property
    def rows(self) -> int:
        """Rows of each column."""
        return self.record.rows

    def columns(self) -> list[Array | Places]:
        """The columns, in the order of the schema's fields.

        Raises:
            Malformed: one does not lie within the body, is not whole, or needs a dictionary that did not come.
        """
        arrays = self.record.arrays([_held(field) for field in self._fields])
        return [self._column(field, array) for field, array in zip(self._fields, arrays, strict=True)]

    def _column(self, field: Field, array: Array) -> Array | Places:
        if field.dictionary is None:
            return array
        dictionary = self._dictionaries.get(field.dictionary)
        if dictionary is None:
            raise Malformed("a dictionary is missing: send it before the record batch that needs it")
        return Places(array, dictionary)


def _held(field: Field) -> Type:
    """The type of what a column's own buffers hold."""
    assert field.type is not None
    return field.type if field.dictionary is None else Type("integer", "fixed", field.place)


def _one_by_one(told: NDArray[np.int64]) -> Iterator[Any]:
    """What a vector tells, as far as it is asked for: it may be far longer than a batch needs."""
    for start in range(0, len(told), _AT_ONCE):
        yield from told[start : start + _AT_ONCE].tolist()


class _Reader:
    """Hands out the buffers of a record batch, array by array."""

    def __init__(
        self,
        rows: int,
        body: memoryview,
        nodes: NDArray[np.int64],
        buffers: NDArray[np.int64],
        view_buffers: NDArray[np.int64],
    ) -> None:
        self._rows = rows
        self._body = body
        self._nodes = iter(nodes.tolist())
        self._buffers = _one_by_one(buffers)
        self._view_buffers = _one_by_one(view_buffers)

    def array(self, type: Type) -> Array:  # noqa: A002
        """The next array, of this type."""
        length, nulls = next(self._nodes, (-1, 0))
        if length != self._rows:
            raise Malformed("a column has another length than its record batch")
        if type.layout == "none":
            return Array(type, length, None, [])
        bitmap: memoryview | None = self._buffer(0)
        if nulls == 0:
            bitmap = None
        elif bitmap is not None and len(bitmap) < (length + 7) // 8:
            raise Malformed("a column has nulls, and too small a bitmap to say where")
        if type.layout == "bits":
            return Array(type, length, bitmap, [self._buffer((length + 7) // 8)])
        if type.layout == "fixed":
            return Array(type, length, bitmap, [self._buffer(length * np.dtype(type.dtype).itemsize)])
        if type.layout == "views":
            views, n_buffers = self._buffer(16 * length), next(self._view_buffers, -1)
            if n_buffers < 0:
                raise Malformed("a column of views does not say how many buffers it has")
            data = [buffer for _, buffer in zip(range(n_buffers), self._rest(), strict=False)]
            if len(data) < n_buffers:
                raise Malformed("a column of views has fewer buffers than it says")
            return Array(type, length, bitmap, [views, *data])
        offsets, data = self._buffer(0), [self._buffer(0)]
        if length == 0 and not len(offsets):
            offsets = memoryview(bytes(8))  # writers may leave out the one offset of no rows
        if len(offsets) < (length + 1) * np.dtype(type.dtype).itemsize:
            raise Malformed("a text column has fewer offsets than rows")
        return Array(type, length, bitmap, [offsets, *data])

    def _rest(self) -> Iterator[memoryview]:
        for offset, length in self._buffers:
            yield self._lying(offset, length)

    def _buffer(self, at_least: int) -> memoryview:
        pair = next(self._buffers, None)
        if pair is None:
            raise Malformed("a record batch has fewer buffers than its columns need")
        buffer = self._lying(*pair)
        if len(buffer) < at_least:
            raise Malformed("a buffer is smaller than the rows of its column need")
        return buffer

    def _lying(self, offset: int, length: int) -> memoryview:
        if offset < 0 or length < 0 or offset + length > len(self._body):
            raise Malformed("a buffer does not lie within its message")
        return self._body[offset : offset + length]
