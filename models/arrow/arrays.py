"""Columns of a record batch: values are read some rows at a time, from buffers whose content nobody vouches for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.arrow.flatbuffer import Malformed
from models.arrow.types import Type

MAX_REPEATED_TEXT = 16 * 2**10
"""Bytes a row that texts may have on average where many may be one and the same: 256 rows that all point at a text of
16 MB would fill the memory."""

_EXACT = 2**53
_EXACT_POWERS = 22
"""Powers of ten up to this one are exact as a double."""


class Values(NamedTuple):
    """Some values of a column."""

    values: NDArray[Any] | list[Any]
    """``[rows]``: numbers, booleans, or units since the epoch; or texts, None where there is null. Text that is not
    UTF-8 comes as bytes."""
    missing: NDArray[np.bool_] | None = None
    """``[rows]``: where there is null; None where there is none, and for texts."""


class Array:
    """A column of one record batch; a slice gives the :class:`Values` of its rows.

    Args:
        type: of the column.
        length: its rows.
        bitmap: a bit for each row, 0 where there is null, and bits that say nothing behind it; None: nowhere.
        buffers: as the layout has them, each at least as long as so many rows take.
    """

    __slots__ = ("_sizes", "bitmap", "buffers", "length", "type")

    def __init__(self, type: Type, length: int, bitmap: memoryview | None, buffers: list[memoryview]) -> None:  # noqa: A002
        self.type = type
        self.length = length
        self.bitmap = bitmap
        self.buffers = buffers
        self._sizes: NDArray[np.int64] | None = None

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
        missing = None if self.bitmap is None else ~_bits(self.bitmap, start, stop)
        if self.type.layout == "bits":
            return Values(_bits(self.buffers[0], start, stop), missing)
        if self.type.layout == "fixed":
            values = np.frombuffer(self.buffers[0], self.type.dtype, self.length)[start:stop]
            return Values(_decimals(values, self.type.scale) if self.type.family == "decimal" else values, missing)
        texts = self._viewed(start, stop, missing) if self.type.layout == "views" else self._offset(start, stop)
        if missing is not None:
            texts = [None if gone else text for text, gone in zip(texts, missing.tolist(), strict=True)]
        return Values(texts)

    def _offset(self, start: int, stop: int) -> list[Any]:
        offsets = np.frombuffer(self.buffers[0], self.type.dtype, self.length + 1)[start : stop + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        if first < 0 or last > len(self.buffers[1]) or (offsets[1:] < offsets[:-1]).any():
            raise Malformed("the offsets of a text column do not lie one behind the other in its bytes")
        data = bytes(self.buffers[1][first:last])
        places = pairwise((offsets - first).tolist())
        if data.isascii():
            text = data.decode("ascii")
            return [text[here:there] for here, there in places]
        return _decoded([data[here:there] for here, there in places])

    def _viewed(self, start: int, stop: int, missing: NDArray[np.bool_] | None) -> list[Any]:
        views = bytes(self.buffers[0][16 * start : 16 * stop])
        numbers = np.frombuffer(views, "<i4").reshape(-1, 4)
        lengths = numbers[:, 0].astype(np.int64)
        if missing is not None:
            lengths[missing] = 0
        long = lengths > 12
        if self._sizes is None:
            self._sizes = np.array([0, *map(len, self.buffers[1:])])
        sizes = self._sizes
        buffers = np.where(long, numbers[:, 2].astype(np.int64) + 1, 0)
        offsets = np.where(long, numbers[:, 3], 0)
        if (lengths < 0).any() or (buffers < 0).any() or (buffers >= len(sizes)).any():
            raise Malformed("a view has a length below 0, or names a buffer that is not there")
        if ((offsets < 0) | (offsets + lengths > sizes[buffers]))[long].any():
            raise Malformed("a view points outside of its buffer")
        if int(lengths.sum()) > max(MAX_REPEATED_TEXT * len(lengths), int(sizes.sum())):
            raise Malformed("a text column holds the same long texts again and again: send fewer rows at a time")
        parts = [views[at : at + n] for at, n in zip(range(4, len(views), 16), lengths.tolist(), strict=True)]
        for i in np.flatnonzero(long).tolist():
            at = int(offsets[i])
            parts[i] = bytes(self.buffers[buffers[i]][at : at + int(lengths[i])])
        return _decoded(parts)


class Dictionary:
    """The values that a dictionary-encoded column picks from."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self._picked: Values | None = None
        self._lengths: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self._array)

    def pick(self, places: NDArray[Any], missing: NDArray[np.bool_] | None) -> Values:
        """The values at these places, null where they are missing.

        Raises:
            Malformed: there is no such place, or the values are not what the message promised.
        """
        if missing is not None:
            places = np.where(missing, 0, places)
        if not len(self):
            if missing is None or not missing.all():
                raise Malformed("a column names a place in a dictionary that is empty")
            if self._array.type.family == "text":
                return Values([None] * len(places))
            return Values(np.zeros(len(places)), missing)
        if len(places) and (places.min() < 0 or places.max() >= len(self)):
            raise Malformed(f"a column names a place that its dictionary, of {len(self):,} values, does not have")
        whole = self._whole()
        if self._lengths is not None:
            if int(self._lengths[places].sum()) > MAX_REPEATED_TEXT * len(places):
                raise Malformed("a text column holds the same long texts again and again: send fewer rows at a time")
            texts = whole.values[places]
            if missing is not None:
                texts[missing] = None
            return Values(texts.tolist())
        if whole.missing is not None:
            missing = whole.missing[places] if missing is None else missing | whole.missing[places]
        return Values(whole.values[places], missing)

    def _whole(self) -> Values:
        if self._picked is None:
            self._picked = self._array[:]
            if isinstance(self._picked.values, list):
                texts = self._picked.values
                self._lengths = np.fromiter((len(text or "") for text in texts), np.int64, len(texts))
                objects = np.empty(len(texts), object)
                objects[:] = texts
                self._picked = Values(objects)
        return self._picked


class Places:
    """A dictionary-encoded column of one record batch; a slice gives the :class:`Values` of its rows."""

    __slots__ = ("_dictionary", "_places")

    def __init__(self, places: Array, dictionary: Dictionary) -> None:
        self._places = places
        self._dictionary = dictionary

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: slice) -> Values:
        """The values of some rows, without a step.

        Raises:
            Malformed: they are not what the messages promised.
        """
        places, missing = self._places[rows]
        assert isinstance(places, np.ndarray)
        return self._dictionary.pick(places, missing)


def _bits(buffer: memoryview, start: int, stop: int) -> NDArray[np.bool_]:
    first = start // 8
    data = np.frombuffer(buffer[first : (stop + 7) // 8], np.uint8)
    return np.unpackbits(data, bitorder="little")[start - 8 * first : stop - 8 * first].view(bool)


def _decoded(parts: list[bytes]) -> list[Any]:
    """Texts of bytes; left as they are when one is not UTF-8."""
    try:
        return list(map(bytes.decode, parts))
    except UnicodeDecodeError:
        return list(parts)


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
    for i in np.flatnonzero(~small).tolist():  # Python's division of whole numbers is the one that rounds right
        whole = int.from_bytes(values[i].tobytes(), "little", signed=True)
        doubles[i] = whole / 10**scale if scale >= 0 else float(whole * 10**-scale)
    return doubles
