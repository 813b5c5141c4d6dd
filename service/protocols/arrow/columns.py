"""Record batches of the types that writers usually have, read block by block and without a look at each column.

It says nothing of what is wrong with them: whatever is not as usual goes the long way, column by column, which does.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from models.arrow import Batch, Field, Schema, Type
from models.signature import MISSING_STRING, MISSING_TIMESTAMP, Column, Kind, Signature
from models.values import EXACT_WHOLE, FIRST_MOMENT, LAST_MOMENT
from service.columns.arrays import Numbers
from service.columns.level_values import LevelForms
from service.columns.named import Columns
from service.columns.rows import Layout

_USUAL: dict[Kind, frozenset[tuple[str, str]]] = {
    "number": frozenset({("float", "<f8"), ("integer", "<i8")}),
    "integer": frozenset({("float", "<f8"), ("integer", "<i8")}),
    "boolean": frozenset({("boolean", "")}),
    "category": frozenset({("text", "<i4"), ("text", "<i8")}),
    "timestamp": frozenset({("moment", "<i8")}),
}
"""Families and NumPy types that are read here, by the kind of the column."""
_MICROS = 10**6
_ALIGNMENT = 8
_GATHERED_ROWS = 16
"""Rows up to which values are gathered from the body at once; with more a slice a column is quicker."""


class Laid(NamedTuple):
    """A record batch whose buffers lie as usual, each within its body and long enough."""

    rows: int
    body: memoryview
    with_nulls: frozenset[int]
    """The fields that have some."""
    buffers: list[list[int]]
    """Of each its start in the body, a multiple of 8, and its bytes."""


class UsualBatches:
    """Reads the record batches of streams of one schema.

    Args:
        signature: the model's.
        schema: of the streams.

    Raises:
        LookupError: not of this schema.
    """

    def __init__(self, signature: Signature, schema: Schema) -> None:
        fields = {field.name: i for i, field in enumerate(schema.fields)}
        if len(fields) != schema.n_fields or fields.keys() != {column.name for column in signature.columns}:
            raise LookupError("other columns than the model's")
        columns = {column.name: column for column in signature.columns}
        types = [_usual(columns[field.name], field) for field in schema.fields]
        firsts = list(accumulate((3 if type_.family == "text" else 2 for type_ in types), initial=0))
        self._needed = np.array([part for type_ in types for part in _needed(type_)])
        self._bitmaps = firsts[:-1]
        self._blocks: list[_Block | _Texts] = [
            _block_of(block, [_Place(fields[c.name], firsts[fields[c.name]], types[fields[c.name]]) for c in block])
            for block in Layout(signature).blocks
        ]

    def lay(self, batch: Batch) -> Laid | None:
        """A batch of the schema; None unless it lies as usual."""
        rows, body = batch.rows, batch.record.body
        end = 0
        if len(batch.record.nodes) != len(self._bitmaps) or len(batch.record.buffers) != len(self._needed):
            return None
        nodes, buffers = batch.record.nodes.tolist(), batch.record.buffers.tolist()
        eights = (rows + 7) // 8
        for (start, size), needed in zip(buffers, (self._needed @ [rows, eights, 1]).tolist(), strict=True):
            if start < end or start % _ALIGNMENT or size < needed:  # one behind the other: none shares a byte
                return None
            end = start + size
        if end > len(body):
            return None
        with_nulls = []
        for field, ((length, nulls), bitmap) in enumerate(zip(nodes, self._bitmaps, strict=True)):
            if length != rows:
                return None
            if nulls:
                if buffers[bitmap][1] < eights:
                    return None
                with_nulls.append(field)
        return Laid(rows, body, frozenset(with_nulls), buffers)

    def read(self, laid: Laid, start: int, stop: int, max_text: int) -> tuple[Columns, int] | None:
        """Some rows of a batch, and the bytes of their texts; None where anything about them is not as usual.

        Args:
            laid: the batch.
            start: the first row.
            stop: the row behind the last.
            max_text: bytes that their texts may have.
        """
        blocks, text_bytes = [], 0
        for read in self._blocks:
            if isinstance(read, _Texts):
                block, text_bytes = read.read(laid, start, stop, max_text)
            else:
                block = read(laid, start, stop)
            if block is None:
                return None
            blocks.append(block[:, :, None])
        return Columns(blocks), text_bytes


class _Place(NamedTuple):
    """Where a column is found."""

    field: int
    buffer: int
    """The first of its buffers: the bitmap."""
    type: Type


class _Block(Protocol):
    def __call__(self, laid: Laid, start: int, stop: int) -> NDArray[Any] | None:
        """The block, ``[columns, rows]``."""


class _Numbers:
    def __init__(self, columns: list[Column], places: list[_Place]) -> None:
        self._places = places
        self._lines = {
            family: [i for i, place in enumerate(places) if place.type.family == family]
            for family in {place.type.family for place in places}
        }
        self._wrong = Numbers(columns).wrong

    def __call__(self, laid: Laid, start: int, stop: int) -> NDArray[Any] | None:
        block = np.empty((len(self._places), stop - start))
        for family, lines in self._lines.items():
            places = [self._places[i] for i in lines]
            if family == "boolean":
                block[lines] = _bits(laid, [place.buffer + 1 for place in places], start, stop)
                continue
            values = _words(laid, places, "<f8" if family == "float" else "<i8", start, stop)
            if family == "integer":
                beyond = (values > EXACT_WHOLE) | (values < -EXACT_WHOLE)
                if np.count_nonzero(beyond):  # it may lie under a null, which the long way looks into
                    return None
            block[lines] = values
        missing = _missing(laid, self._places, start, stop)
        if missing is not None:
            block[missing] = np.nan
        return None if np.count_nonzero(self._wrong(block)) else block


class _Moments:
    def __init__(self, places: list[_Place]) -> None:
        self._places = places

    def __call__(self, laid: Laid, start: int, stop: int) -> NDArray[Any] | None:
        block = _words(laid, self._places, "<i8", start, stop)
        outside = (block > LAST_MOMENT) | (block < FIRST_MOMENT)
        missing = _missing(laid, self._places, start, stop)
        if missing is not None:
            outside &= ~missing
            block[missing] = MISSING_TIMESTAMP
        return None if np.count_nonzero(outside) else block


class _Texts:
    def __init__(self, columns: list[Column], places: list[_Place]) -> None:
        if len({place.type.dtype for place in places}) > 1:
            raise LookupError("texts with offsets of several sizes")
        self._places = places
        self._offset = np.dtype(places[0].type.dtype)
        self._forms = LevelForms.of(columns)

    def read(self, laid: Laid, start: int, stop: int, max_text: int) -> tuple[NDArray[Any] | None, int]:
        """The block, ``[columns, rows]``, and the bytes of its texts."""
        rows = stop - start
        offsets = np.empty((len(self._places), rows + 1), self._offset)
        for line, place in zip(offsets, self._places, strict=True):
            first = laid.buffers[place.buffer + 1][0] + self._offset.itemsize * start
            line[:] = np.frombuffer(laid.body, self._offset, rows + 1, first)
        ends = np.array([laid.buffers[place.buffer + 2][1] for place in self._places])
        if np.count_nonzero(offsets[:, 0] < 0) or np.count_nonzero(offsets[:, -1] > ends):
            return None, 0
        if np.count_nonzero(offsets[:, 1:] < offsets[:, :-1]):
            return None, 0
        firsts = offsets[:, 0].tolist()
        cuts = (offsets - offsets[:, :1]).tolist()
        text_bytes = sum([line[-1] for line in cuts])
        if text_bytes > max_text:
            return None, 0
        try:
            lines = [
                _cut(laid.body, laid.buffers[place.buffer + 2][0] + first, line)
                for place, first, line in zip(self._places, firsts, cuts, strict=True)
            ]
        except UnicodeDecodeError:
            return None, 0
        block = np.array(lines, object)
        missing = _missing(laid, self._places, start, stop)
        if missing is not None:
            block[missing] = MISSING_STRING
        return block if self._forms is None else self._forms.settle(block), text_bytes


def _cut(body: memoryview, start: int, offsets: list[int]) -> list[str]:
    """The texts between each two neighbouring offsets from a place on; the first of these is 0."""
    data = bytes(body[start : start + offsets[-1]])
    text = data.decode()
    if len(text) == len(data):  # ASCII: it is cut where its bytes are
        return [text[here:there] for here, there in pairwise(offsets)]
    return [data[here:there].decode() for here, there in pairwise(offsets)]


def _words(laid: Laid, places: list[_Place], dtype: str, start: int, stop: int) -> NDArray[Any]:
    """Values of 8 bytes, ``[places, rows]``."""
    rows, starts = stop - start, [laid.buffers[place.buffer + 1][0] + 8 * start for place in places]
    if rows <= _GATHERED_ROWS:
        body = np.frombuffer(laid.body, dtype, len(laid.body) // 8)
        return body[np.array(starts)[:, None] // 8 + np.arange(rows)]
    words = np.empty((len(places), rows), dtype)
    for line, first in zip(words, starts, strict=True):
        line[:] = np.frombuffer(laid.body, dtype, rows, first)
    return words


def _bits(laid: Laid, buffers: list[int], start: int, stop: int) -> NDArray[np.bool_]:
    """Bits, ``[buffers, rows]``."""
    first, last = start // 8, (stop + 7) // 8
    starts = [laid.buffers[i][0] for i in buffers]
    data = b"".join([laid.body[at + first : at + last] for at in starts])
    packed = np.frombuffer(data, np.uint8).reshape(len(buffers), -1)
    skipped = start - 8 * first
    bits = np.unpackbits(packed, axis=1, count=stop - 8 * first, bitorder="little").view(bool)
    return bits[:, skipped:] if skipped else bits


def _missing(laid: Laid, places: list[_Place], start: int, stop: int) -> NDArray[np.bool_] | None:
    """Where there is null, ``[places, rows]``; None where there is none."""
    if not laid.with_nulls:
        return None
    some = [i for i, place in enumerate(places) if place.field in laid.with_nulls]
    if not some:
        return None
    missing = np.zeros((len(places), stop - start), bool)
    missing[some] = ~_bits(laid, [places[i].buffer for i in some], start, stop)
    return missing


def _usual(column: Column, field: Field) -> Type:
    """The type of a field, if it is as usual for its column."""
    type_ = field.type
    if type_ is None or field.dictionary is not None or (type_.family, type_.dtype) not in _USUAL[column.kind]:
        raise LookupError(f"{column.name} is of another type than usual")
    if type_.family == "moment" and type_.scale != _MICROS:
        raise LookupError(f"{column.name} is not in microseconds")
    return type_


def _needed(type_: Type) -> list[tuple[int, int, int]]:
    """What each buffer of a type takes at least: bytes for each row, for each 8 rows begun, and once."""
    bitmap = (0, 0, 0)  # which may be left out, unless there are nulls
    if type_.family == "boolean":
        return [bitmap, (0, 1, 0)]
    size = np.dtype(type_.dtype).itemsize
    return [bitmap, (size, 0, size), (0, 0, 0)] if type_.family == "text" else [bitmap, (size, 0, 0)]


def _block_of(columns: list[Column], places: list[_Place]) -> _Block | _Texts:
    if columns[0].kind == "category":
        return _Texts(columns, places)
    return _Moments(places) if columns[0].kind == "timestamp" else _Numbers(columns, places)
