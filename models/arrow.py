"""Arrow's stream format, read from bytes that nobody vouches for.

A stream is messages: a schema, dictionaries, record batches, an end. Each is a flatbuffer that says where in the bytes
behind it the buffers of its columns are. Here whatever it says is held against those bytes before it is used, and
values are read some rows at a time, when they are asked for: memory is bounded by the bytes that came, not by what they
claim to hold. Malformed bytes raise :class:`Malformed`, and can do nothing else, for there is no code here but Python's
and NumPy's.

Not read, and said so: compressed buffers (16 MB may claim to be a terabyte), dictionary deltas, big-endian machines'
streams, and types that no column of a model takes, such as lists.

Source: https://arrow.apache.org/docs/format/Columnar.html, format version 1.5
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.flatbuffer import Malformed, Table

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
CONTINUES = b"\xff\xff\xff\xff"
"""What every message begins with."""
END = CONTINUES + bytes(4)
"""What a stream ends with."""
MAX_DICTIONARY = 2**20
"""Values of a dictionary: it is held as texts as soon as one of them is used."""
MAX_REPEATED_TEXT = 16 * 2**10
"""Bytes a row that texts may have on average where many may be one and the same: 256 rows that all point at a text of
16 MB would fill the memory."""

SCHEMA, DICTIONARY_BATCH, RECORD_BATCH = 1, 2, 3
_VERSIONS = {3, 4}
_FILE_MAGIC = b"ARROW1"
_MAX_SCALE = 128
_EXACT = 2**53
_EXACT_POWERS = 22
"""Powers of ten up to this one are exact as a double."""

Family: TypeAlias = Literal["null", "boolean", "integer", "float", "decimal", "text", "moment"]


class Type(NamedTuple):
    """The type of a column."""

    family: Family
    layout: str
    """How it lies in the buffers: ``none``, ``bits``, ``fixed``, ``offsets`` or ``views``."""
    dtype: str = ""
    """NumPy's name for the elements, or for the offsets of texts."""
    scale: int = 0
    """Of a decimal: digits after the point; of a moment: its units in a second."""


class Field(NamedTuple):
    """A column of a stream."""

    name: str
    type: Type | None
    """None: one that is not read."""
    came: str
    """The type in words."""
    dictionary: int | None = None
    """Where its values are kept, when what it holds are places in there."""
    place: str = ""
    """NumPy's name for such a place."""


class Values(NamedTuple):
    """Some values of a column."""

    values: NDArray[Any] | list[Any]
    """``[rows]``: numbers, booleans, or units since the epoch; or texts, None where there is null. Text that is not
    UTF-8 comes as bytes."""
    missing: NDArray[np.bool_] | None = None
    """``[rows]``: where there is null; None where there is none, and for texts."""


class Array:
    """A column of one record batch; a slice gives the :class:`Values` of its rows."""

    __slots__ = ("_bitmap", "_buffers", "_length", "_sizes", "_type")

    def __init__(self, type: Type, length: int, bitmap: memoryview | None, buffers: list[memoryview]) -> None:  # noqa: A002
        self._type = type
        self._length = length
        self._bitmap = bitmap
        self._buffers = buffers
        self._sizes = np.array([0, *map(len, buffers[1:])]) if type.layout == "views" else None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, rows: slice) -> Values:
        """The values of some rows, without a step.

        Raises:
            Malformed: they are not what the message promised.
        """
        start, stop, _ = rows.indices(self._length)
        if self._type.layout == "none":
            return Values(np.zeros(stop - start), np.ones(stop - start, bool))
        missing = None if self._bitmap is None else ~_bits(self._bitmap, start, stop)
        if self._type.layout == "bits":
            return Values(_bits(self._buffers[0], start, stop), missing)
        if self._type.layout == "fixed":
            values = np.frombuffer(self._buffers[0], self._type.dtype, self._length)[start:stop]
            return Values(_decimals(values, self._type.scale) if self._type.family == "decimal" else values, missing)
        texts = self._viewed(start, stop, missing) if self._type.layout == "views" else self._offset(start, stop)
        if missing is not None:
            texts = [None if gone else text for text, gone in zip(texts, missing.tolist(), strict=True)]
        return Values(texts)

    def _offset(self, start: int, stop: int) -> list[Any]:
        offsets = np.frombuffer(self._buffers[0], self._type.dtype, self._length + 1)[start : stop + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        if first < 0 or last > len(self._buffers[1]) or (offsets[1:] < offsets[:-1]).any():
            raise Malformed("the offsets of a text column do not lie one behind the other in its bytes")
        data = bytes(self._buffers[1][first:last])
        places = pairwise((offsets - first).tolist())
        if data.isascii():
            text = data.decode("ascii")
            return [text[here:there] for here, there in places]
        return _decoded([data[here:there] for here, there in places])

    def _viewed(self, start: int, stop: int, missing: NDArray[np.bool_] | None) -> list[Any]:
        views = bytes(self._buffers[0][16 * start : 16 * stop])
        numbers = np.frombuffer(views, "<i4").reshape(-1, 4)
        lengths = numbers[:, 0].astype(np.int64)
        if missing is not None:
            lengths[missing] = 0
        long = lengths > 12
        sizes = self._sizes
        assert sizes is not None
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
            parts[i] = bytes(self._buffers[buffers[i]][at : at + int(lengths[i])])
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
            return Values([None] * len(places))
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


class Batch(NamedTuple):
    """A record batch."""

    rows: int
    columns: list[Array | Places]
    """In the order of the schema's fields."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What every record batch of a stream holds."""

    fields: list[Field]
    """At most as many as were asked for."""
    n_fields: int
    """How many there are."""


class Stream:
    """A stream whose schema has been read.

    Args:
        body: all of it.
        max_fields: columns to be read; where there are more, only as many are looked at, and there are no batches.

    Raises:
        Malformed: it does not begin with a schema.
    """

    def __init__(self, body: bytes, max_fields: int = 10_000) -> None:
        self._body = memoryview(body)
        if body.startswith(_FILE_MAGIC):
            raise Malformed("this is Arrow's file format: write the stream format")
        kind, header, _, self._after_schema = self._message(0)
        if kind != SCHEMA or header is None:
            raise Malformed("a stream begins with a schema")
        self.schema = _read_schema(header, max_fields)

    def batches(self) -> Iterator[Batch]:
        """The record batches, read as they are asked for.

        Raises:
            Malformed: one cannot be read, or the stream does not end as it should.
        """
        fields = self.schema.fields
        if self.schema.n_fields > len(fields) or any(field.type is None for field in fields):
            raise Malformed("a column has a type that is not read")
        types = {field.dictionary: field.type for field in fields if field.dictionary is not None}
        dictionaries: dict[int, Dictionary] = {}
        place = self._after_schema
        while True:
            kind, header, body, place = self._message(place)
            if header is None:
                break
            if kind == DICTIONARY_BATCH:
                number, data = header.number(0, "q"), header.table(1)
                if header.number(2, "?"):
                    raise Malformed("dictionary deltas are not read: send each dictionary whole")
                if data is None:
                    raise Malformed("a dictionary holds no values")
                value_type = types.get(number)
                if value_type is not None:
                    values = _BatchReader(data, body).array(value_type)
                    if len(values) > MAX_DICTIONARY:
                        raise Malformed(f"a dictionary holds at most {MAX_DICTIONARY:,} values")
                    dictionaries[number] = Dictionary(values)
            elif kind == RECORD_BATCH:
                reader = _BatchReader(header, body)
                yield Batch(reader.rows, [reader.column(field, dictionaries) for field in fields])
            else:
                raise Malformed("a message is neither a dictionary nor a record batch")
        if place != len(self._body):
            raise Malformed("there are bytes behind the end of the stream")

    def _message(self, place: int) -> tuple[int, Table | None, memoryview, int]:
        """The message at a place: its kind, its header (None: the end), its body, and the place behind it."""
        head = self._body[place : place + 8]
        if len(head) < 8 or head[:4] != CONTINUES:
            raise Malformed("the stream is cut off, or is none of Arrow's stream format since version 0.15")
        (size,) = struct.unpack("<i", head[4:])
        start = place + 8
        if size == 0:
            return 0, None, self._body[:0], start
        if size < 0 or start + size > len(self._body):
            raise Malformed("the stream is cut off")
        message = Table.root(self._body[start : start + size])
        if message.number(0, "h") not in _VERSIONS:
            raise Malformed("a message is of another version of the format than 1.0")
        header, length = message.table(2), message.number(3, "q")
        end = start + size + length
        if length < 0 or end > len(self._body):
            raise Malformed("the stream is cut off")
        if header is None:
            raise Malformed("a message has no header")
        return message.number(1, "B"), header, self._body[start + size : end], end


class _BatchReader:
    """Hands out the buffers of a record batch, column by column."""

    def __init__(self, header: Table, body: memoryview) -> None:
        if header.table(3) is not None:
            raise Malformed("buffers must not be compressed: write the stream without compression")
        self.rows = header.number(0, "q")
        if self.rows < 0:
            raise Malformed("a record batch has fewer than 0 rows")
        self._body = body
        self._nodes = iter(header.pairs(1))
        self._buffers = iter(header.pairs(2))
        self._view_buffers = iter(header.longs(4))

    def column(self, field: Field, dictionaries: dict[int, Dictionary]) -> Array | Places:
        """The next column of a record batch."""
        assert field.type is not None
        if field.dictionary is None:
            return self.array(field.type)
        places = self.array(Type("integer", "fixed", field.place))
        dictionary = dictionaries.get(field.dictionary)
        if dictionary is None:
            raise Malformed("a dictionary is missing: send it before the record batch that needs it")
        return Places(places, dictionary)

    def array(self, type: Type) -> Array:  # noqa: A002
        """The next column, of this type."""
        length, nulls = next(self._nodes, (-1, 0))
        if length != self.rows:
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


def _read_schema(header: Table, max_fields: int) -> Schema:
    if header.number(0, "h") != 0:
        raise Malformed("numbers must be little-endian")
    return Schema([_read_field(field) for field in header.tables(1, max_fields)], header.length(1))


def _read_field(field: Table) -> Field:
    name, number, details = field.text(0), field.number(2, "B"), field.table(3)
    type_, came = _read_type(number, details)
    encoding = field.table(4)
    if encoding is None or type_ is None:
        return Field(name, type_, came)
    index = encoding.table(1)
    index_type = Type("integer", "fixed", "<i4") if index is None else _read_type(2, index)[0]
    if index_type is None:
        raise Malformed("a dictionary's places are whole numbers of 8, 16, 32 or 64 bits")
    return Field(name, type_, came, encoding.number(0, "q"), index_type.dtype)


def _read_type(number: int, details: Table | None) -> tuple[Type | None, str]:
    """A type, and what it is in words."""
    if details is None:
        raise Malformed("a column has no type")
    if number == 1:
        return Type("null", "none"), "nulls"
    if number == 2 and (bits := details.number(0, "i")) in (8, 16, 32, 64):
        return Type("integer", "fixed", f"<{'i' if details.number(1, '?') else 'u'}{bits // 8}"), "integers"
    if number == 3 and (precision := details.number(0, "h")) in (0, 1, 2):
        return Type("float", "fixed", f"<f{2 << precision}"), "floats"
    if number == 7 and (dtype := _DECIMALS.get(details.number(2, "i", 128))) is not None:
        scale = details.number(1, "i")
        if abs(scale) > _MAX_SCALE:
            raise Malformed(f"a decimal has at most {_MAX_SCALE} digits after the point")
        return Type("decimal", "fixed", dtype, scale), "decimals"
    if number == 8:
        days = details.number(0, "h", 1) == 0
        return Type("moment", "fixed", "<i4" if days else "<i8", 0 if days else 1000), "dates"
    if number == 10 and (unit := details.number(0, "h")) in (0, 1, 2, 3):
        return Type("moment", "fixed", "<i8", 1000**unit), "timestamps"
    if number in _PLAIN:
        return _PLAIN[number]
    return None, _OTHERS.get(number, "another type")


_DECIMALS = {32: "<i4", 64: "<i8", 128: "V16", 256: "V32"}
_PLAIN: dict[int, tuple[Type, str]] = {
    5: (Type("text", "offsets", "<i4"), "text"),
    6: (Type("boolean", "bits"), "booleans"),
    20: (Type("text", "offsets", "<i8"), "text"),
    24: (Type("text", "views"), "text"),
}
_OTHERS = {
    **dict.fromkeys((4, 15, 19, 23), "bytes"),
    **dict.fromkeys((12, 16, 21, 25, 26), "lists"),
    **dict.fromkeys((13, 17), "structs"),
    **dict.fromkeys((9, 11, 18), "times or durations"),
}
