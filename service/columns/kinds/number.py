"""Numbers, integers, booleans and durations in seconds: doubles, NaN where missing.

An infinity is refused, and so is a 64-bit integer beyond 2**53, which a double cannot tell from its neighbours, a
fraction in an integer column, and anything but 0 and 1 in a boolean one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.kinds import Kind
from rowcast.models.signature import Column
from rowcast.models.values import EXACT_WHOLE
from rowcast.service.columns.arrow_buffers import BatchLayout, Place, batch_bits, batch_nulls, batch_words
from rowcast.service.columns.kinds.block import (
    NULL,
    TEXT_ARRAYS,
    Block,
    Lists,
    Order,
    ReadsBatch,
    Unusual,
    Values,
    joined,
    read_texts,
    read_values,
    texts_of,
    types_in,
)
from rowcast.service.columns.kinds.rules import RULES
from rowcast.service.columns.tensors import FaultCollector, Tensor, kind_of
from rowcast.service.errors import brief

_NUMBERS = frozenset({float, int, NULL})
_EXACT_WHOLE = np.float64(EXACT_WHOLE)
_CAST_FREELY = "efdbBhHiI"
"""NumPy's letters for types whose every value a double holds; native int64 and what else has 8 bytes is not among them
on any platform, nor are booleans."""


class Numbers(Block):
    """Numbers, integers, booleans and durations."""

    def __init__(self, columns: list[Column]) -> None:
        super().__init__(columns)
        self._wholes, self._booleans = self._lines_of("integer"), self._lines_of("boolean")
        self._read_texts = [(i, reader) for i, reader in enumerate(self.readers) if reader is not None]

    def _lines_of(self, kind: Kind) -> slice | None:
        """The columns of a kind, which are neighbours; None where there are none."""
        kinds = [column.kind for column in self.columns]
        return slice(kinds.index(kind), kinds.index(kind) + kinds.count(kind)) if kind in kinds else None

    def _wrong(self, block: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which numbers of ``[columns, rows]`` are none that their column takes."""
        bad: NDArray[np.bool_] = np.isinf(block)
        if self._wholes is not None:
            wholes = block[self._wholes]
            bad[self._wholes] |= np.floor(wholes) < wholes
        if self._booleans is not None:
            booleans = block[self._booleans]
            bad[self._booleans] = (booleans != 0) & (booleans != 1) & (booleans == booleans)
        return bad

    def of_tensors(self, order: Order, tensors: Sequence[Tensor], rows: int, collector: FaultCollector) -> NDArray[Any]:
        """``[columns, rows, 1]``, of arrays of numbers, or of texts where the column takes them."""
        lines: list[NDArray[Any]] = []
        for line, i in enumerate(order):
            if i < 0:
                lines.append(np.full(rows, np.nan))
                continue
            _, values, missing = tensors[i]
            if missing is not None or isinstance(values, list) or values.dtype.char not in _CAST_FREELY:
                values = self._line(line, i, tensors[i], rows, collector)
            lines.append(values if values.ndim == 1 else values.reshape(rows))
        block = np.concatenate(lines, dtype=np.float64, casting="unsafe").reshape(len(lines), rows)
        bad = self._wrong(block)
        if np.count_nonzero(bad):
            for i, column, values, wrong in zip(order, self.columns, block, bad, strict=True):
                collector.of_rows(i, wrong, partial(_wrong_number, column, values))
        return block[:, :, None]

    def _line(self, line: int, i: int, tensor: Tensor, rows: int, collector: FaultCollector) -> NDArray[Any]:
        """A column that is not simply to be cast, with NaN for what is missing."""
        column, reader = self.columns[line], self.readers[line]
        values, missing = tensor.values, tensor.missing
        kind = kind_of(values)
        if kind in TEXT_ARRAYS and reader is not None:
            values = read_texts(reader, texts_of(i, tensor, collector), i, collector)
            return np.array([np.nan if value is None else value for value in values], np.float64)
        if isinstance(values, list) or not (kind in "fiu" or (kind == "b" and column.kind == "boolean")):
            collector.of_type(i, tensor, RULES[column.kind].array)
            return np.zeros(rows)
        values = values.reshape(rows)
        if kind in "iu" and values.dtype.itemsize == 8:
            beyond = (values > EXACT_WHOLE) | (values < -EXACT_WHOLE)
            if missing is not None:
                beyond &= ~missing
            if column.reading is not None and np.count_nonzero(beyond):
                beyond &= ~np.isin(values.astype(np.float64), column.reading.missing_numbers)
            if np.count_nonzero(beyond):
                collector.of_rows(i, beyond, lambda row: f"must be at most 2**53, got {values[row]}")
                return np.zeros(rows)
        return values if missing is None else np.where(missing, np.nan, values)

    def of_rows(self, lines: list[Values]) -> tuple[int, NDArray[Any]]:
        """How many texts came in many rows of JSON, and ``[columns, rows]``."""
        types = self.types_of(lines)
        texts = 0
        for i, reader in self._read_texts:
            if reader.takes_digits and types[i] & {int, float}:
                raise Unusual  # of the digits, only the long way makes words
            if str in types[i]:
                texts += sum(type(value) is str for value in lines[i])
                lines[i] = read_values(reader, lines[i])
        block = np.array(lines, np.float64)  # None becomes NaN
        if not np.fmax.reduce(np.abs(block), axis=None, initial=0.0) < EXACT_WHOLE:
            raise Unusual
        if self._wholes is not None:
            wholes = block[self._wholes]
            if np.count_nonzero(np.floor(wholes) < wholes):
                raise Unusual
        return texts, block

    def of_lists(self, lines: Lists, *, iso: bool) -> NDArray[Any] | None:
        """``[columns, rows]``, of lists of numbers."""
        if not types_in(lines) <= _NUMBERS:
            return None
        block = np.array(lines, np.float64)  # None becomes NaN
        # a large number may have been rounded: only the text knows
        if np.count_nonzero(np.abs(block) >= _EXACT_WHOLE) or np.count_nonzero(self._wrong(block)):
            return None
        return block

    def of_bytes(self, entries: list[bytes], rows: int) -> NDArray[Any] | None:
        """``[columns, rows]``, of raw doubles."""
        block = joined(entries, "<f8", rows)
        return None if block is None or np.count_nonzero(self._wrong(block)) else block

    def of_batches(self, places: list[Place]) -> ReadsBatch:
        """What reads record batches of doubles, 64-bit integers, durations and booleans."""
        families = {place.type.family for place in places}
        lines = [(family, [i for i, place in enumerate(places) if place.type.family == family]) for family in families]
        return partial(self._of_batch, places, [(family, i, [places[k] for k in i]) for family, i in lines])

    def _of_batch(
        self,
        places: list[Place],
        families: list[tuple[str, list[int], list[Place]]],
        layout: BatchLayout,
        start: int,
        stop: int,
        max_text: int,
    ) -> tuple[NDArray[Any] | None, int]:
        block = np.empty((len(places), stop - start))
        for family, lines, found in families:
            if family == "boolean":
                block[lines] = batch_bits(layout, [place.buffer + 1 for place in found], start, stop)
                continue
            values = batch_words(layout, found, "<f8" if family == "float" else "<i8", start, stop)
            if family == "duration":
                block[lines] = values / np.array([[float(place.type.scale)] for place in found])
                continue
            if family == "integer":
                beyond = (values > EXACT_WHOLE) | (values < -EXACT_WHOLE)
                if np.count_nonzero(beyond):  # it may lie under a null, which the long way looks into
                    return None, 0
            block[lines] = values
        missing = batch_nulls(layout, places, start, stop)
        if missing is not None:
            block[missing] = np.nan
        return None if np.count_nonzero(self._wrong(block)) else block, 0


def _wrong_number(column: Column, values: NDArray[np.float64], row: int) -> str:
    value = float(values[row])
    came = f"{'-' if value < 0 else ''}Infinity" if np.isinf(value) else brief(value)
    return f"must be {RULES[column.kind].element}, or NaN where it is missing, got {came}"
