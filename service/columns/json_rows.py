"""Many rows of JSON read at once, column by column: the quick way of a body that is as usual.

To check rows one value at a time takes as long as parsing them twice over. What the rules ask is soon told of a whole
column, though: the set of its values' types, and its largest number. So this reads a body that breaks no rule, has
every column in every row, and writes no escapes. Of any other it says nothing:
:class:`service.protocols.rows.decode.Decoder`, which knows all the rules, reads that one again. For a few rows the
arrays take longer than they save.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from models.levels import LevelType, boolean_level, number_level
from models.signature import MISSING_STRING, MISSING_TIMESTAMP, Column, Signature
from models.texts.columns import TextReader, digits_of, text_reader
from models.values import EXACT_WHOLE, parse_timestamp
from service.columns.level_values import TypedLevels
from service.columns.named import Columns
from service.columns.rows import Layout, values_of
from service.columns.timestamps import usual_timestamps

MANY_ROWS = 8
"""Rows from which this way is taken: 64 rows of 22 columns in a body take 425 us instead of 597, 16 take 157 instead of
169, 8 about as long as before; 16 bodies of a row each 14 us a row instead of 21."""

Values: TypeAlias = tuple[Any, ...]
"""A column's values, as the parser gives them."""

_NULL = type(None)
_TYPES: dict[str, frozenset[type]] = {
    "number": frozenset({float, int, _NULL}),
    "integer": frozenset({float, int, _NULL}),
    "boolean": frozenset({bool, _NULL}),
    "category": frozenset({str, _NULL}),
    "timestamp": frozenset({str, _NULL}),
}
_LEVEL_TYPES: dict[LevelType | None, frozenset[type]] = {
    "whole": frozenset({int}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
}
"""Types that a category takes besides texts."""


class Unusual(ValueError):
    """A body that this way does not read; it may still be a good one."""


class RowColumnReader:
    """Reads bodies of many rows for one model.

    Args:
        signature: the model's.
        max_rows: rows a request may hold.
    """

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._max_rows = max_rows
        blocks = Layout(signature).blocks
        self._width = len(signature.columns)
        self._values = values_of([column.name for columns in blocks for column in columns])
        self._blocks = [_reader_of(columns) for columns in blocks]

    def __call__(self, bodies: list[bytes]) -> Columns:
        """The rows of some bodies, one after the other.

        Raises:
            Unusual: they break a rule, or may.
        """
        try:
            contents = list(map(orjson.loads, bodies))
            tables = [content["rows"] for content in contents]
            if set(map(len, contents)) != {1} or set(map(type, tables)) != {list}:
                raise Unusual
            if max(map(len, tables)) > self._max_rows:
                raise Unusual
            rows = tables[0] if len(tables) == 1 else list(chain.from_iterable(tables))
            lines = list(zip(*map(self._values, rows), strict=True))
            if set(map(len, rows)) != {self._width}:
                raise Unusual
            blocks, texts, start = [], 0, 0
            for block in self._blocks:
                stop = start + len(block.columns)
                block_texts, values = block(lines[start:stop])
                blocks.append(values[:, :, None])
                texts += block_texts
                start = stop
        except (ValueError, TypeError, KeyError) as error:  # orjson's own error is a ValueError
            raise Unusual from error
        # the parser keeps the last of two equal keys; then more texts were sent than it gave
        quotes = 2 * (len(bodies) + self._width * len(rows) + texts)
        if sum(body.count(b'"') for body in bodies) != quotes or any(b"\\" in body for body in bodies):
            raise Unusual
        return Columns(blocks)


class _Block(ABC):
    """The columns of one dtype. Calling it gives how many texts came in them, and ``[columns, rows]``."""

    def __init__(self, columns: list[Column]) -> None:
        self.columns = columns
        self._types = [_types_of(column) for column in columns]

    @abstractmethod
    def __call__(self, lines: list[Values]) -> tuple[int, NDArray[Any]]: ...

    def _types_of(self, lines: list[Values]) -> list[set[type]]:
        """The types of each column's values, which are those that its kind may have."""
        found = [set(map(type, values)) for values in lines]
        if not all(map(frozenset.issuperset, self._types, found)):
            raise Unusual
        return found


class _Numbers(_Block):
    """Numbers, integers and booleans."""

    def __init__(self, columns: list[Column]) -> None:
        super().__init__(columns)
        self._wholes = [i for i, column in enumerate(columns) if column.kind == "integer"]
        self._readers = [(i, reader) for i, column in enumerate(columns) if (reader := text_reader(column)) is not None]

    def __call__(self, lines: list[Values]) -> tuple[int, NDArray[Any]]:
        types = self._types_of(lines)
        texts = 0
        for i, reader in self._readers:
            if reader.takes_digits and types[i] & {int, float}:
                raise Unusual  # of the digits, only the long way makes words
            if str in types[i]:
                texts += sum(type(value) is str for value in lines[i])
                lines[i] = _read(reader, lines[i])
        block = np.array(lines, np.float64)  # None becomes NaN
        if not np.fmax.reduce(np.abs(block), axis=None, initial=0.0) < EXACT_WHOLE:
            raise Unusual
        if self._wholes:
            wholes = block[self._wholes]
            if np.count_nonzero(np.floor(wholes) < wholes):
                raise Unusual
        return texts, block


class _Texts(_Block):
    """Categories."""

    def __init__(self, columns: list[Column]) -> None:
        super().__init__(columns)
        self._levels = {i: TypedLevels(column) for i, column in enumerate(columns) if column.levels_of is not None}

    def __call__(self, lines: list[Values]) -> tuple[int, NDArray[Any]]:
        texts = 0
        block: list[Sequence[str]] = []
        for i, (values, types) in enumerate(zip(lines, self._types_of(lines), strict=True)):
            texts += len(values)
            column: Sequence[str] = values
            if len(types) > 1 or str not in types:
                texts -= sum(type(value) is not str for value in values)
                column = [_level(value) for value in values]
            if i in self._levels:
                column = self._levels[i].of_texts(column)
            block.append(column)
        return texts, np.array(block, object)


class _Moments(_Block):
    """Timestamps."""

    def __init__(self, columns: list[Column]) -> None:
        super().__init__(columns)
        self._readers = {i: reader for i, column in enumerate(columns) if (reader := text_reader(column)) is not None}

    def __call__(self, lines: list[Values]) -> tuple[int, NDArray[Any]]:
        texts = 0
        block = np.empty((len(lines), len(lines[0])), np.int64)
        for i, (values, types) in enumerate(zip(lines, self._types_of(lines), strict=True)):
            texts += len(values) - (values.count(None) if _NULL in types else 0)
            if i in self._readers:
                texts -= sum(type(value) in (int, float) for value in values)  # digits of a date
                written = tuple([digits_of(v) if type(v) in (int, float) else v for v in values])
                read = _read(self._readers[i], written)
                block[i] = [MISSING_TIMESTAMP if value is None else value for value in read]
                continue
            micros = None if _NULL in types else usual_timestamps(values)
            block[i] = list(map(micros_of, values)) if micros is None else micros
        return texts, block


def _types_of(column: Column) -> frozenset[type]:
    """The types that the values of a column may have."""
    types = _TYPES[column.kind] | _LEVEL_TYPES.get(column.levels_of, frozenset())
    reader = text_reader(column)
    return types if reader is None else types | ({str, int, float} if reader.takes_digits else {str})


def _level(value: Any) -> str:
    """The level of a value of any of the types that a category may have."""
    if type(value) is str:
        return value
    if value is None:
        return MISSING_STRING
    return boolean_level(value) if type(value) is bool else number_level(value) if type(value) is float else str(value)


def _read(reader: TextReader, values: Values) -> tuple[Any, ...]:
    """The values with those for which there came a text, each of which is read once."""
    read = {text: reader(text) for text in {value for value in values if type(value) is str}}
    return tuple(read[value] if type(value) is str else value for value in values)


def micros_of(text: str | None) -> int:
    """The epoch microseconds of an ISO 8601 text, or what stands for a missing one."""
    return MISSING_TIMESTAMP if text is None else parse_timestamp(text)


def _reader_of(columns: list[Column]) -> _Block:
    if columns[0].kind == "category":
        return _Texts(columns)
    return _Moments(columns) if columns[0].kind == "timestamp" else _Numbers(columns)
