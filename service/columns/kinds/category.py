"""Categories: texts, "" where missing; those that stand for levels in the form that the graph knows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import starmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.kinds import MISSING_STRING, MISSING_TIMESTAMP
from rowcast.models.levels import boolean_level, number_level
from rowcast.models.signature import Column
from rowcast.service.columns.arrow_buffers import BatchLayout, Place, batch_nulls, batch_texts
from rowcast.service.columns.kinds.block import (
    NULL,
    TEXT_ARRAYS,
    Block,
    Lists,
    Order,
    ReadsBatch,
    Values,
    texts_of,
    types_in,
)
from rowcast.service.columns.kinds.rules import LEVELS, RULES
from rowcast.service.columns.kinds.timestamp import wrong_micros
from rowcast.service.columns.level_values import TypedLevels
from rowcast.service.columns.tensor_bytes import from_raw
from rowcast.service.columns.tensors import FaultCollector, Tensor, kind_of
from rowcast.service.errors import brief

_TEXTS = frozenset({str, NULL})


class Categories(Block):
    """Categories."""

    def __init__(self, columns: list[Column]) -> None:
        super().__init__(columns)
        self._levels = {i: TypedLevels(column) for i, column in enumerate(columns) if column.levels_of is not None}

    def of_tensors(self, order: Order, tensors: Sequence[Tensor], rows: int, collector: FaultCollector) -> NDArray[Any]:
        """``[columns, rows, 1]``, of texts; of other arrays where the levels are the texts of such values."""
        lines = [
            [MISSING_STRING] * rows if i < 0 else self._line(line, i, tensors[i], rows, collector)
            for line, i in enumerate(order)
        ]
        return np.array(lines, object)[:, :, None]

    def _line(self, line: int, i: int, tensor: Tensor, rows: int, collector: FaultCollector) -> Sequence[str]:
        kind, levels, of = kind_of(tensor.values), self._levels.get(line), self.columns[line].levels_of
        if kind in TEXT_ARRAYS:
            texts = [text or MISSING_STRING for text in texts_of(i, tensor, collector)]
            return texts if levels is None else levels.of_texts(texts)
        if levels is not None and of is not None and kind in LEVELS[of].array_kinds:
            return self._typed(i, tensor, self.columns[line], levels, rows, collector)
        collector.of_type(i, tensor, RULES["category"].array if of is None else LEVELS[of].array)
        return [MISSING_STRING] * rows

    def _typed(
        self, i: int, tensor: Tensor, column: Column, levels: TypedLevels, rows: int, collector: FaultCollector
    ) -> list[str]:
        """Levels that come as numbers, booleans or timestamps, in the words that the graph knows them by."""
        values = np.asarray(tensor.values).reshape(rows)
        missing = np.zeros(rows, bool) if tensor.missing is None else tensor.missing
        bad = np.zeros(rows, bool)
        if values.dtype.kind == "f":
            missing = missing | np.isnan(values)
            bad = (np.isinf(values) | ((column.levels_of == "whole") & (np.floor(values) < values))) & ~missing
        elif column.levels_of in ("date", "timestamp"):
            missing = missing | (values == MISSING_TIMESTAMP)
            bad = wrong_micros(values) & ~missing
        if np.count_nonzero(bad):
            assert column.levels_of is not None
            expected = f"must be {LEVELS[column.levels_of].json}"
            collector.of_rows(i, bad, lambda row: f"{expected}, got {brief(values[row].item())}")
            return [MISSING_STRING] * rows
        present = values[~missing].tolist()
        if column.levels_of in ("date", "timestamp"):
            found = iter(levels.of_moments(present))
        else:
            found = iter([levels.level_of(value) or MISSING_STRING for value in present])
        return [MISSING_STRING if gone else next(found) for gone in missing.tolist()]

    def of_rows(self, lines: list[Values]) -> tuple[int, NDArray[Any]]:
        """How many texts came in many rows of JSON, and ``[columns, rows]``."""
        texts = 0
        block: list[Sequence[str]] = []
        for i, (values, types) in enumerate(zip(lines, self.types_of(lines), strict=True)):
            texts += len(values)
            column: Sequence[str] = values
            if len(types) > 1 or str not in types:
                texts -= sum(type(value) is not str for value in values)
                column = [_level(value) for value in values]
            if i in self._levels:
                column = self._levels[i].of_texts(column)
            block.append(column)
        return texts, np.array(block, object)

    def of_lists(self, lines: Lists, *, iso: bool) -> NDArray[Any] | None:
        """``[columns, rows]``, of lists of texts."""
        types = types_in(lines)
        if not types <= _TEXTS:
            return None
        if NULL in types:
            lines = [[text or MISSING_STRING for text in line] for line in lines]
        block = np.array(lines, object)
        return self._settled(block) if self._levels else block

    def of_bytes(self, entries: list[bytes], rows: int) -> NDArray[Any] | None:
        """``[columns, rows]``, of raw texts, each after its length."""
        try:
            read = starmap(from_raw, [("BYTES", entry, rows) for entry in entries])
            block = np.array([[text.decode() for text in texts] for texts in read], object)
        except ValueError:  # not those of so many texts, or no UTF-8
            return None
        return self._settled(block) if self._levels else block

    def of_batches(self, places: list[Place]) -> ReadsBatch:
        """What reads record batches of texts."""
        if len({place.type.dtype for place in places}) > 1:
            raise LookupError("texts with offsets of several sizes")
        return partial(self._of_batch, places, np.dtype(places[0].type.dtype))

    def _of_batch(
        self, places: list[Place], offset: np.dtype[Any], layout: BatchLayout, start: int, stop: int, max_text: int
    ) -> tuple[NDArray[Any] | None, int]:
        block, text_bytes = batch_texts(layout, places, offset, start, stop, max_text)
        if block is None:
            return None, 0
        missing = batch_nulls(layout, places, start, stop)
        if missing is not None:
            block[missing] = MISSING_STRING
        return self._settled(block) if self._levels else block, text_bytes

    def _settled(self, block: NDArray[Any]) -> NDArray[Any]:
        """``[columns, rows]`` of texts, with levels in the form that the graph knows."""
        for i, levels in self._levels.items():
            line = block[i].tolist()
            settled = levels.of_texts(line)
            if settled is not line:
                block[i] = settled
        return block


def _level(value: Any) -> str:
    """The level of a value of any of the types that a category may have."""
    if type(value) is str:
        return value
    if value is None:
        return MISSING_STRING
    return boolean_level(value) if type(value) is bool else number_level(value) if type(value) is float else str(value)
