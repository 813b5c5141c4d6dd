"""A record batch: where its columns are said to lie, and the columns for whoever asks for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rowcast.models.arrow.arrays import Array
from rowcast.models.arrow.dictionaries import Dictionary, DictionaryArray
from rowcast.models.arrow.flatbuffer import Malformed, Table
from rowcast.models.arrow.types import Field, Type

_AT_ONCE = 256
"""Elements of a vector that become Python's numbers together: it may be far longer than a batch needs."""
_MOST_VIEW_BUFFERS = 2**16
_MOST_SORTED = 2**16
"""Buffers that are sorted to see whether they lie apart: it takes 5 ms."""
_OUTSIDE = "a buffer does not lie within its message"


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
            Malformed: one does not lie within the body, is not whole, or shares bytes of the body with another.
        """
        reader = _Reader(self.rows, self.body, self.nodes[: len(types)], self.buffers, self._view_buffers)
        arrays = [reader.array(type_) for type_ in types]
        reader.check_apart()
        return arrays


class Batch:
    """A record batch of a stream.

    Args:
        record: the batch.
        fields: of the stream's schema.
        dictionaries: those that came before it; the mapping does not change.
    """

    __slots__ = ("_dictionaries", "_fields", "record")

    def __init__(self, record: RecordBatch, fields: list[Field], dictionaries: dict[int, Dictionary]) -> None:
        self.record = record
        self._fields = fields
        self._dictionaries = dictionaries

    @property
    def rows(self) -> int:
        """Rows of each column."""
        return self.record.rows

    def columns(self) -> list[Array | DictionaryArray]:
        """The columns, in the order of the schema's fields.

        Raises:
            Malformed: one does not lie within the body, is not whole, or needs a dictionary that did not come.
        """
        arrays = self.record.arrays([_held(field) for field in self._fields])
        return [self._column(field, array) for field, array in zip(self._fields, arrays, strict=True)]

    def _column(self, field: Field, array: Array) -> Array | DictionaryArray:
        if field.dictionary is None:
            return array
        dictionary = self._dictionaries.get(field.dictionary)
        if dictionary is None:
            raise Malformed("a dictionary is missing: send it before the record batch that needs it")
        return DictionaryArray(array, dictionary)


def _held(field: Field) -> Type:
    """The type of what a column's own buffers hold."""
    assert field.type is not None
    return field.type if field.dictionary is None else Type("integer", "fixed", field.place)


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
        self._buffers = buffers
        self._next = 0  # of the buffers
        self._listed: list[list[int]] = []  # some of them from here on
        self._listed_from = 0
        self._view_buffers = iter(view_buffers[: len(nodes)].tolist())
        self._end = 0  # of the last one
        self._in_order = True

    def array(self, type: Type) -> Array:  # noqa: A002
        """The next array, of this type."""
        length, nulls = next(self._nodes, (-1, 0))
        if length != self._rows:
            raise Malformed("a column has another length than its record batch")
        if type.layout == "none":
            return Array(type, length, None, [], self._body)
        bitmap: memoryview | None = self._buffer(0)
        if nulls == 0:
            bitmap = None
        elif bitmap is not None and len(bitmap) < (length + 7) // 8:
            raise Malformed("a column has nulls, and too small a bitmap to say where")
        if type.layout == "bits":
            return Array(type, length, bitmap, [self._buffer((length + 7) // 8)], self._body)
        if type.layout == "fixed":
            return Array(type, length, bitmap, [self._buffer(length * np.dtype(type.dtype).itemsize)], self._body)
        if type.layout == "views":
            return Array(type, length, bitmap, [self._buffer(16 * length)], self._body, self._blocks())
        offsets, data = self._buffer(0), self._buffer(0)
        if length == 0 and not len(offsets):
            offsets = memoryview(bytes(8))  # writers may leave out the one offset of no rows
        if len(offsets) < (length + 1) * np.dtype(type.dtype).itemsize:
            raise Malformed("a text column has fewer offsets than rows")
        return Array(type, length, bitmap, [offsets, data], self._body)

    def check_apart(self) -> None:
        """Make sure that no byte of the body is in two of the buffers: what they hold together is no more than it is.

        Writers put them one behind the other, so mostly there is nothing to do.

        Raises:
            Malformed: one is.
        """
        if self._in_order:
            return
        pairs = self._buffers[: self._next]
        pairs = pairs[pairs[:, 1] > 0]
        if len(pairs) > _MOST_SORTED:
            raise Malformed("the buffers of a record batch must lie in its body in their order")
        starts, sizes = pairs[np.argsort(pairs[:, 0])].T
        if (starts[1:] - starts[:-1] < sizes[:-1]).any():
            raise Malformed("the buffers of a record batch must not share bytes of its body")

    def _blocks(self) -> NDArray[np.int64]:
        """Where the buffers are that views point into."""
        n_buffers = next(self._view_buffers, -1)
        if n_buffers < 0:
            raise Malformed("a column of views does not say how many buffers it has")
        if n_buffers > _MOST_VIEW_BUFFERS:
            raise Malformed(f"a column of views has at most {_MOST_VIEW_BUFFERS:,} buffers")
        blocks = self._buffers[self._next : self._next + n_buffers]
        if len(blocks) < n_buffers:
            raise Malformed("a column of views has fewer buffers than it says")
        self._next += n_buffers
        if not n_buffers:
            return blocks
        starts, sizes = blocks.T
        if blocks.min() < 0 or blocks.max() > len(self._body) or (starts > len(self._body) - sizes).any():
            raise Malformed(_OUTSIDE)
        if starts[0] < self._end or (starts[1:] < starts[:-1] + sizes[:-1]).any():
            self._in_order = False
        self._end = max(self._end, int((starts + sizes).max()))
        return blocks

    def _buffer(self, at_least: int) -> memoryview:
        i = self._next - self._listed_from
        if not 0 <= i < len(self._listed):
            self._listed_from, i = self._next, 0
            self._listed = self._buffers[self._next : self._next + _AT_ONCE].tolist()
            if not self._listed:
                raise Malformed("a record batch has fewer buffers than its columns need")
        self._next += 1
        start, size = self._listed[i]
        if start < 0 or size < 0 or start + size > len(self._body):
            raise Malformed(_OUTSIDE)
        if size < at_least:
            raise Malformed("a buffer is smaller than the rows of its column need")
        if size:
            if start < self._end:
                self._in_order = False
            self._end = max(self._end, start + size)
        return self._body[start : start + size]
