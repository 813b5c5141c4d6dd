"""Columns of a record batch: values are read some rows at a time, from buffers whose content nobody vouches for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rowcast.models.arrow.flatbuffer import Malformed
from rowcast.models.arrow.types import Type

MAX_REPEATED_TEXT = 16 * 2**10
"""Bytes a row that texts may have on average where many may be one and the same: 256 rows that all point at a text of
16 MB would fill the memory."""
REPEATED = "a text column holds the same long texts again and again: send fewer rows at a time"

_Views: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int64]]
_INLINE = 12
"""Bytes of a text that a view holds itself."""
_NO_BLOCKS = np.zeros((0, 2), np.int64)
_NO_STARTS = np.zeros(0, np.int64)
_DISORDERED = "the offsets of a text column do not lie one behind the other in its bytes"
_EXACT = 2**53
_EXACT_POWERS = 22
"""Powers of ten up to this one are exact as a double."""


class Texts(list[str | None]):
    """Texts that were decoded from UTF-8, None where there is null: no lone surrogate is among them."""

    __slots__ = ()


class Values(NamedTuple):
    """Some values of a column."""

    values: NDArray[Any] | list[Any]
    """``[rows]``: numbers, booleans, or units since the epoch; or texts, None where there is null. Text that is not
    UTF-8 comes as bytes; where none does, they are :class:`Texts`."""
    missing: NDArray[np.bool_] | None = None
    """``[rows]``: where there is null; None where there is none, and for texts."""


class Array:
    """A column of one record batch; a slice gives the :class:`Values` of its rows.

    Args:
        type: of the column.
        length: its rows.
        bitmap: a bit for each row, 0 where there is null, and bits that say nothing behind it; None: nowhere.
        buffers: as the layout has them, each at least as long as so many rows take; of views, the views alone.
        body: of the message.
        blocks: of views, start in the body and bytes of each buffer that they point into, ``[buffers, 2]``; they lie
            within the body, and apart from each other.
    """

    __slots__ = ("_viewed_last", "bitmap", "blocks", "body", "buffers", "length", "type")

    def __init__(
        self,
        type: Type,  # noqa: A002
        length: int,
        bitmap: memoryview | None,
        buffers: list[memoryview],
        body: memoryview,
        blocks: NDArray[np.int64] | None = None,
    ) -> None:
        self.type = type
        self.length = length
        self.bitmap = bitmap
        self.buffers = buffers
        self.body = body
        self.blocks = _NO_BLOCKS if blocks is None else blocks
        self._viewed_last: tuple[tuple[int, int], _Views] | None = None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, rows: slice) -> Values:
        """The values of some rows, without a step.

        Raises:
            Malformed: they are not what the message promised.
        """
        start, stop, _ = rows.indices(self.length)
        if self.type.layout == "none":
            return Values(np.zeros(stop - start), np.ones(stop - start, bool))
        missing = self._missing(slice(start, stop))
        if self.type.layout == "bits":
            return Values(_bits(self.buffers[0], start, stop), missing)
        if self.type.layout == "fixed":
            return Values(self._numbers(slice(start, stop)), missing)
        texts = self._viewed(slice(start, stop), missing) if self.type.layout == "views" else self._offset(start, stop)
        return Values(_with_nulls(texts, missing))

    @property
    def text_bytes(self) -> int:
        """Bytes that its texts have to lie in, beside what views hold themselves."""
        return int(self.blocks[:, 1].sum()) if self.type.layout == "views" else len(self.buffers[-1])

    def take(self, rows: NDArray[np.int64]) -> Values:
        """The values of rows that there are, in any order.

        Raises:
            Malformed: they are not what the message promised.
        """
        if self.type.layout == "none":
            return Values(np.zeros(len(rows)), np.ones(len(rows), bool))
        missing = self._missing(rows)
        if self.type.layout == "bits":
            return Values(_bits_at(self.buffers[0], rows), missing)
        if self.type.layout == "fixed":
            return Values(self._numbers(rows), missing)
        if self.type.layout == "views":
            return Values(_with_nulls(self._viewed(rows, missing), missing))
        starts, ends = self._ends(rows)
        data = self.buffers[1]
        parts = [bytes(data[here:there]) for here, there in zip(starts.tolist(), ends.tolist(), strict=True)]
        return Values(_with_nulls(_decoded(parts), missing))

    def sizes(self, rows: slice | NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of the texts of some rows, a slice without a step or rows that there are; 0 for what is no text.

        Raises:
            Malformed: they are not what the message promised.
        """
        if isinstance(rows, slice):
            rows = slice(*rows.indices(self.length)[:2])
        if self.type.layout == "offsets":
            starts, ends = self._ends(rows)
            lengths: NDArray[np.int64] = (ends - starts).astype(np.int64)
            return lengths
        if self.type.layout == "views":
            return self._views(rows, self._missing(rows))[1]
        return np.zeros(rows.stop - rows.start if isinstance(rows, slice) else len(rows), np.int64)

    def _missing(self, rows: slice | NDArray[np.int64]) -> NDArray[np.bool_] | None:
        if self.bitmap is None:
            return None
        return ~(_bits(self.bitmap, rows.start, rows.stop) if isinstance(rows, slice) else _bits_at(self.bitmap, rows))

    def _numbers(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        values = np.frombuffer(self.buffers[0], self.type.dtype, self.length)[rows]
        return _decimals(values, self.type.scale) if self.type.family == "decimal" else values

    def _ends(self, rows: slice | NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Where in their bytes the texts of some rows begin and end."""
        offsets = np.frombuffer(self.buffers[0], self.type.dtype, self.length + 1)
        if isinstance(rows, slice):
            starts, ends = offsets[rows.start : rows.stop], offsets[rows.start + 1 : rows.stop + 1]
        else:
            starts, ends = offsets[rows], offsets[rows + 1]
        if ((starts < 0) | (ends < starts) | (ends > len(self.buffers[1]))).any():
            raise Malformed(_DISORDERED)
        return starts, ends

    def _offset(self, start: int, stop: int) -> list[Any]:
        offsets = np.frombuffer(self.buffers[0], self.type.dtype, self.length + 1)[start : stop + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        if first < 0 or last > len(self.buffers[1]) or (offsets[1:] < offsets[:-1]).any():
            raise Malformed(_DISORDERED)
        data = bytes(self.buffers[1][first:last])
        places = pairwise((offsets - first).tolist())
        if data.isascii():
            text = data.decode("ascii")
            return Texts([text[here:there] for here, there in places])
        return _decoded([data[here:there] for here, there in places])

    def _views(self, rows: slice | NDArray[np.int64], missing: NDArray[np.bool_] | None) -> _Views:
        """The views of some rows, ``[rows, 4]``, and the bytes of their texts, 0 where there is null."""
        if not isinstance(rows, slice):
            return self._checked_views(rows, missing)
        which = rows.start, rows.stop
        if self._viewed_last is None or self._viewed_last[0] != which:  # who reads texts asked for their sizes before
            self._viewed_last = which, self._checked_views(rows, missing)
        return self._viewed_last[1]

    def _checked_views(self, rows: slice | NDArray[np.int64], missing: NDArray[np.bool_] | None) -> _Views:
        views = np.frombuffer(self.buffers[0], "<i4", 4 * self.length).reshape(-1, 4)[rows]
        lengths = views[:, 0].astype(np.int64)
        if missing is not None:
            lengths[missing] = 0
        if (lengths < 0).any():
            raise Malformed("a view has a length below 0")
        long = lengths > _INLINE
        if long.any():
            blocks, offsets = views[long, 2], views[long, 3].astype(np.int64)
            if (blocks < 0).any() or (blocks >= len(self.blocks)).any():
                raise Malformed("a view names a buffer that is not there")
            if ((offsets < 0) | (offsets + lengths[long] > self.blocks[blocks, 1])).any():
                raise Malformed("a view points outside of its buffer")
        return views, lengths

    def _viewed(self, rows: slice | NDArray[np.int64], missing: NDArray[np.bool_] | None) -> list[Any]:
        views, lengths = self._views(rows, missing)
        if int(lengths.sum()) > max(MAX_REPEATED_TEXT * len(lengths), int(self.blocks[:, 1].sum())):
            raise Malformed(REPEATED)
        data = views.tobytes()
        parts = [data[at : at + n] for at, n in zip(range(4, len(data), 16), lengths.tolist(), strict=True)]
        long = np.flatnonzero(lengths > _INLINE)
        starts = self.blocks[views[long, 2], 0] + views[long, 3] if len(long) else _NO_STARTS
        for i, at, n in zip(long.tolist(), starts.tolist(), lengths[long].tolist(), strict=True):
            parts[i] = bytes(self.body[at : at + n])
        return _decoded(parts)


def _bits(buffer: memoryview, start: int, stop: int) -> NDArray[np.bool_]:
    first = start // 8
    data = np.frombuffer(buffer[first : (stop + 7) // 8], np.uint8)
    return np.unpackbits(data, bitorder="little")[start - 8 * first : stop - 8 * first].view(bool)


def _bits_at(buffer: memoryview, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    data = np.frombuffer(buffer, np.uint8)
    bits: NDArray[np.bool_] = ((data[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1).view(bool)
    return bits


def _decoded(parts: list[bytes]) -> list[Any]:
    """Texts of bytes; left as they are when one is not UTF-8."""
    try:
        return Texts(map(bytes.decode, parts))
    except UnicodeDecodeError:
        return list(parts)


def _with_nulls(texts: list[Any], missing: NDArray[np.bool_] | None) -> list[Any]:
    """Texts with None where they are missing."""
    if missing is None:
        return texts
    return type(texts)([None if gone else text for text, gone in zip(texts, missing.tolist(), strict=True)])


def _decimals(values: NDArray[Any], scale: int) -> NDArray[np.float64]:
    """The doubles nearest to decimals."""
    if values.dtype.kind == "V":
        low, *high = np.frombuffer(values.tobytes(), "<i8").reshape(len(values), -1).T
        small = np.all([word == (low >> 63) for word in high], axis=0)
    else:
        low = values.astype(np.int64)
        small = np.ones(len(values), bool)
    small &= (low <= _EXACT) & (low >= -_EXACT)
    exact = 10.0 ** min(abs(scale), _EXACT_POWERS)
    doubles: NDArray[np.float64] = low / exact if scale >= 0 else low * exact
    if abs(scale) > _EXACT_POWERS:
        small[:] = False
    power = 10 ** abs(scale)
    for i in np.flatnonzero(~small).tolist():  # Python's division of whole numbers is the one that rounds right
        whole = int.from_bytes(values[i].tobytes(), "little", signed=True)
        doubles[i] = whole / power if scale >= 0 else float(whole * power)
    return doubles
