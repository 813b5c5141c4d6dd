"""The buffers of a record batch that lies in the standard order, read many columns at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rowcast.models.arrow import Type

_GATHERED_ROWS = 16
"""Rows up to which values are gathered from the body at once; with more a slice a column is quicker."""


class BatchLayout(NamedTuple):
    """A record batch whose buffers lie in the standard order, each within its body and long enough."""

    rows: int
    body: memoryview
    with_nulls: frozenset[int]
    """The fields that have some."""
    buffers: list[list[int]]
    """Of each its start in the body, a multiple of 8, and its bytes."""


class Place(NamedTuple):
    """Where a column is found."""

    field: int
    buffer: int
    """The first of its buffers: the bitmap."""
    type: Type


def batch_words(layout: BatchLayout, places: list[Place], dtype: str, start: int, stop: int) -> NDArray[Any]:
    """Values of 8 bytes, ``[places, rows]``."""
    rows, starts = stop - start, [layout.buffers[place.buffer + 1][0] + 8 * start for place in places]
    if rows <= _GATHERED_ROWS:
        body = np.frombuffer(layout.body, dtype, len(layout.body) // 8)
        return body[np.array(starts)[:, None] // 8 + np.arange(rows)]
    values = np.empty((len(places), rows), dtype)
    for line, first in zip(values, starts, strict=True):
        line[:] = np.frombuffer(layout.body, dtype, rows, first)
    return values


def batch_bits(layout: BatchLayout, buffers: list[int], start: int, stop: int) -> NDArray[np.bool_]:
    """Bits, ``[buffers, rows]``."""
    first, last = start // 8, (stop + 7) // 8
    starts = [layout.buffers[i][0] for i in buffers]
    data = b"".join([layout.body[at + first : at + last] for at in starts])
    packed = np.frombuffer(data, np.uint8).reshape(len(buffers), -1)
    skipped = start - 8 * first
    values = np.unpackbits(packed, axis=1, count=stop - 8 * first, bitorder="little").view(bool)
    return values[:, skipped:] if skipped else values


def batch_nulls(layout: BatchLayout, places: list[Place], start: int, stop: int) -> NDArray[np.bool_] | None:
    """Where there is null, ``[places, rows]``; None where there is none."""
    if not layout.with_nulls:
        return None
    some = [i for i, place in enumerate(places) if place.field in layout.with_nulls]
    if not some:
        return None
    missing = np.zeros((len(places), stop - start), bool)
    missing[some] = ~batch_bits(layout, [places[i].buffer for i in some], start, stop)
    return missing


def batch_texts(
    layout: BatchLayout, places: list[Place], offset: np.dtype[Any], start: int, stop: int, max_text: int
) -> tuple[NDArray[Any] | None, int]:
    """Texts, ``[places, rows]``, and their bytes; None where they are none, or have more bytes than these."""
    rows = stop - start
    offsets = np.empty((len(places), rows + 1), offset)
    for line, place in zip(offsets, places, strict=True):
        first = layout.buffers[place.buffer + 1][0] + offset.itemsize * start
        line[:] = np.frombuffer(layout.body, offset, rows + 1, first)
    ends = np.array([layout.buffers[place.buffer + 2][1] for place in places])
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
            _cut(layout.body, layout.buffers[place.buffer + 2][0] + first, line)
            for place, first, line in zip(places, firsts, cuts, strict=True)
        ]
    except UnicodeDecodeError:
        return None, 0
    return np.array(lines, object), text_bytes


def _cut(body: memoryview, start: int, offsets: list[int]) -> list[str]:
    """The texts between each two neighbouring offsets from a place on; the first of these is 0."""
    data = bytes(body[start : start + offsets[-1]])
    text = data.decode()
    if len(text) == len(data):  # ASCII: it is cut where its bytes are
        return [text[here:there] for here, there in pairwise(offsets)]
    return [data[here:there].decode() for here, there in pairwise(offsets)]
