"""Arrow's stream format, written: numbers, booleans, texts and timestamps, never compressed.

A stream is ``schema(...)``, any number of ``batch(...)``, and :data:`rowcast.models.arrow.END`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rowcast.models.arrow.flatbuffer import Longs, Pairs, Scalar, Tables, Value, build
from rowcast.models.arrow.stream import CONTINUES, RECORD_BATCH, SCHEMA
from rowcast.models.arrow.types import BOOL, NULL, Kind

_VERSION = 4
"""Of the metadata: format 1.0 and later."""


_Buffer: TypeAlias = "bytes | NDArray[Any]"


class Written(NamedTuple):
    """A column of a record batch, ready to be sent."""

    rows: int
    nulls: int
    buffers: Sequence[_Buffer]


def schema(fields: Sequence[tuple[str, Kind]], metadata: Mapping[str, str] | None = None) -> bytes:
    """The message that begins a stream.

    Args:
        fields: name and kind of each column.
        metadata: what else a reader may want to know.
    """
    written = Tables(
        {
            0: name,
            1: Scalar("?", 1),
            2: Scalar("B", kind.number),
            3: kind.details,
            5: Tables(),
        }
        for name, kind in fields
    )
    pairs = Tables({0: key, 1: value} for key, value in (metadata or {}).items())
    return _message(SCHEMA, {1: written, 2: pairs}, 0)


def batch(rows: int, columns: Sequence[Written]) -> list[bytes]:
    """The message of a record batch, in parts."""
    places, parts, place = [], [], 0
    for column in columns:
        for buffer in column.buffers:
            data = buffer if isinstance(buffer, bytes) else buffer.tobytes()
            places.append((place, len(data)))
            padding = bytes(-len(data) % 8)
            parts += [data, padding] if padding else [data]
            place += len(data) + len(padding)
    nodes = tuple([(column.rows, column.nulls) for column in columns])
    message = _known_batch_message if len(places) <= _KNOWN_BUFFERS else _batch_message
    return [message(rows, nodes, tuple(places), place), *parts]


def _batch_message(
    rows: int, nodes: tuple[tuple[int, int], ...], places: tuple[tuple[int, int], ...], body_bytes: int
) -> bytes:
    header: dict[int, Value] = {0: Scalar("q", rows), 1: Pairs(nodes), 2: Pairs(places), 4: Longs()}
    return _message(RECORD_BATCH, header, body_bytes)


_KNOWN_BUFFERS = 64
"""Buffers of a batch whose message is kept, at most."""
_known_batch_message = lru_cache(maxsize=256)(_batch_message)
"""A service answers with batches of the same few shapes again and again."""


def column(
    kind: Kind, values: NDArray[Any] | Sequence[str | None], missing: NDArray[np.bool_] | None = None
) -> Written:
    """A column of a kind: ``[rows]``; texts have None where there is null, the others a mask."""
    if kind is NULL:
        return nothing(len(values))
    if not isinstance(values, np.ndarray):
        return texts(values)
    return booleans(values, missing) if kind is BOOL else numbers(values, missing)


def numbers(values: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> Written:
    """Numbers, or timestamps: ``[rows]`` of the kind's own dtype."""
    nulls, bitmap = _bitmap(missing)
    return Written(len(values), nulls, [bitmap, np.ascontiguousarray(values)])


def booleans(values: NDArray[np.bool_], missing: NDArray[np.bool_] | None = None) -> Written:
    """Booleans: ``[rows]``."""
    nulls, bitmap = _bitmap(missing)
    return Written(len(values), nulls, [bitmap, np.packbits(values, bitorder="little")])


def texts(values: Sequence[str | None]) -> Written:
    """Texts, None where there is null.

    Raises:
        OverflowError: they are 2 GiB or more.
        UnicodeEncodeError: one is not to be written in UTF-8.
    """
    present = [value or "" for value in values]
    whole = "".join(present)
    data = whole.encode()
    lengths = list(map(len, present if len(data) == len(whole) else [value.encode() for value in present]))
    if len(data) >= 2**31:
        raise OverflowError("the texts of a column are 2 GiB or more: write fewer rows at a time")
    offsets = np.zeros(len(present) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    nulls, bitmap = _bitmap(np.array([value is None for value in values], bool) if None in values else None)
    return Written(len(present), nulls, [bitmap, offsets, data])


def nothing(rows: int) -> Written:
    """Nulls and nothing else."""
    return Written(rows, rows, [])


def _bitmap(missing: NDArray[np.bool_] | None) -> tuple[int, _Buffer]:
    """How many are null, and the bits that say where."""
    nulls = 0 if missing is None else int(np.count_nonzero(missing))
    return (nulls, np.packbits(~missing, bitorder="little")) if nulls and missing is not None else (0, b"")


def _message(kind: int, header: Mapping[int, Value], body_bytes: int) -> bytes:
    metadata = build({0: Scalar("h", _VERSION), 1: Scalar("B", kind), 2: header, 3: Scalar("q", body_bytes)})
    return CONTINUES + struct.pack("<i", len(metadata)) + metadata
