"""Columns whose values came in a list each, of the graph's own datatypes, read at once: FP64, INT64 and texts.

It says nothing of what is wrong with them; :class:`service.columns.named.ColumnReader` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.signature import MISSING_STRING, MISSING_TIMESTAMP, Column, Signature
from models.texts.columns import text_reader
from models.values import EXACT_WHOLE
from service.columns.arrays import Numbers, Timestamps
from service.columns.json_rows import MANY_ROWS, micros_of
from service.columns.level_values import LevelForms
from service.columns.named import Columns
from service.columns.raw import RawColumnReader
from service.columns.rows import Layout
from service.columns.timestamps import usual_timestamps

_NULL = type(None)
_NUMBERS = frozenset({float, int, _NULL})
_TEXTS = frozenset({str, _NULL})
_WHOLES = frozenset({int, _NULL})
_EXACT_WHOLE = np.float64(EXACT_WHOLE)

Lists: TypeAlias = list[list[Any]]


class Order(NamedTuple):
    """How a request has its columns."""

    places: list[int]
    """Where each is found among the lists."""
    iso: bool
    """Whether timestamps come as ISO texts."""


class FlatColumnReader:
    """Reads columns of the graph's own datatypes for one model.

    Args:
        signature: the model's.
        raw_columns: the model's.
    """

    def __init__(self, signature: Signature, raw_columns: RawColumnReader) -> None:
        blocks = Layout(signature).blocks
        self._order = raw_columns.order
        self._timestamps = {column.name for column in signature.columns if column.kind == "timestamp"}
        self._blocks = {iso: [(len(columns), _reader_of(columns, iso)) for columns in blocks] for iso in (False, True)}

    def order(self, tensors: Sequence[tuple[str, str]]) -> Order | None:
        """How tensors of these names and datatypes are read.

        None unless they are all of the columns, each of the datatype that the graph takes; timestamps may all be texts.
        """
        iso = {datatype for name, datatype in tensors if name in self._timestamps} == {"BYTES"}
        if iso:
            tensors = [(name, "INT64" if name in self._timestamps else datatype) for name, datatype in tensors]
        places = self._order(tensors)
        return None if places is None else Order(places, iso)

    def __call__(self, order: Order, lists: Lists) -> Columns | None:
        """The columns; None if anything is wrong with them, or may be.

        Args:
            order: of the lists.
            lists: equally long, a value a row, as the parser gives them.
        """
        blocks, start = [], 0
        for width, read in self._blocks[order.iso]:
            block = read([lists[i] for i in order.places[start : start + width]])
            if block is None:
                return None
            blocks.append(block[:, :, None])
            start += width
        return Columns(blocks)


class _Numbers:
    def __init__(self, columns: list[Column]) -> None:
        self._wrong = Numbers(columns).wrong

    def __call__(self, lines: Lists) -> NDArray[Any] | None:
        if not _types_of(lines) <= _NUMBERS:
            return None
        block = np.array(lines, np.float64)  # None becomes NaN
        # a large number may have been rounded: only the text knows
        if np.count_nonzero(np.abs(block) >= _EXACT_WHOLE) or np.count_nonzero(self._wrong(block)):
            return None
        return block


class _Texts:
    def __init__(self, columns: list[Column]) -> None:
        self._forms = LevelForms.of(columns)

    def __call__(self, lines: Lists) -> NDArray[Any] | None:
        types = _types_of(lines)
        if not types <= _TEXTS:
            return None
        if _NULL in types:
            lines = [[text or MISSING_STRING for text in line] for line in lines]
        block = np.array(lines, object)
        return block if self._forms is None else self._forms.settle(block)


def _moments(lines: Lists) -> NDArray[Any] | None:
    types = _types_of(lines)
    if not types <= _WHOLES:
        return None
    if _NULL in types:
        lines = [[MISSING_TIMESTAMP if value is None else value for value in line] for line in lines]
    try:
        block = np.array(lines, np.int64)
    except OverflowError:
        return None
    return None if np.count_nonzero(Timestamps.wrong(block)) else block


def _iso_moments(lines: Lists) -> NDArray[Any] | None:
    types = _types_of(lines)
    if not types <= _TEXTS:
        return None
    values = list(chain.from_iterable(lines))
    micros = usual_timestamps(values) if _NULL not in types and len(values) >= MANY_ROWS else None
    try:
        block = np.array(list(map(micros_of, values)), np.int64) if micros is None else micros
    except ValueError:
        return None
    return block.reshape(len(lines), -1)


def _types_of(lines: Lists) -> set[type]:
    return set(map(type, chain.from_iterable(lines)))


def _reader_of(columns: list[Column], iso: bool) -> Any:
    if columns[0].kind == "category":
        return _Texts(columns)
    if columns[0].kind == "timestamp":
        if iso and any(text_reader(column) is not None for column in columns):
            return lambda lines: None  # whose texts the long way reads
        return _iso_moments if iso else _moments
    return _Numbers(columns)
