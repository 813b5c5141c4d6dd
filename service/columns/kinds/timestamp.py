"""Timestamps: epoch microseconds of the years 0001 to 9999, the smallest int64 where missing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.kinds import MISSING_TIMESTAMP
from rowcast.models.signature import Column
from rowcast.models.texts.columns import TextReader, digits_of
from rowcast.models.values import FIRST_TIMESTAMP, LAST_TIMESTAMP, parse_timestamp
from rowcast.service.columns.arrow_buffers import BatchLayout, Place, batch_nulls, batch_words
from rowcast.service.columns.kinds.block import (
    NULL,
    TEXT_ARRAYS,
    Block,
    Lists,
    Order,
    ReadsBatch,
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

_TEXTS = frozenset({str, NULL})
_WHOLES = frozenset({int, NULL})
_MICROS = 10**6


class Timestamps(Block):
    """Timestamps."""

    def __init__(self, columns: list[Column]) -> None:
        super().__init__(columns)
        self._all_iso = all(reader is None for reader in self.readers)

    def of_tensors(self, order: Order, tensors: Sequence[Tensor], rows: int, collector: FaultCollector) -> NDArray[Any]:
        """``[columns, rows, 1]``, of integers or texts."""
        block = np.empty((len(order), rows), np.int64)
        for line, i in enumerate(order):
            reader = self.readers[line]
            block[line] = MISSING_TIMESTAMP if i < 0 else _line(i, tensors[i], reader, rows, collector)
        return block[:, :, None]

    def of_rows(self, lines: list[Values]) -> tuple[int, NDArray[Any]]:
        """How many texts came in many rows of JSON, and ``[columns, rows]``."""
        texts = 0
        block = np.empty((len(lines), len(lines[0])), np.int64)
        for i, (values, types, reader) in enumerate(zip(lines, self.types_of(lines), self.readers, strict=True)):
            texts += len(values) - (values.count(None) if NULL in types else 0)
            if reader is not None:
                texts -= sum(type(value) in (int, float) for value in values)  # digits of a date
                written = tuple([digits_of(v) if type(v) in (int, float) else v for v in values])
                read = read_values(reader, written)
                block[i] = [MISSING_TIMESTAMP if value is None else value for value in read]
                continue
            block[i] = list(map(_micros_of, values))
        return texts, block

    def of_lists(self, lines: Lists, *, iso: bool) -> NDArray[Any] | None:
        """``[columns, rows]``, of lists of epoch microseconds, or of ISO 8601 texts."""
        types = types_in(lines)
        if iso:
            return _of_texts(lines, types) if self._all_iso else None
        if not types <= _WHOLES:
            return None
        if NULL in types:
            lines = [[MISSING_TIMESTAMP if value is None else value for value in line] for line in lines]
        try:
            block = np.array(lines, np.int64)
        except OverflowError:
            return None
        return None if np.count_nonzero(wrong_micros(block)) else block

    def of_bytes(self, entries: list[bytes], rows: int) -> NDArray[Any] | None:
        """``[columns, rows]``, of raw 64-bit integers."""
        block = joined(entries, "<i8", rows)
        return None if block is None or np.count_nonzero(wrong_micros(block)) else block

    def of_batches(self, places: list[Place]) -> ReadsBatch:
        """What reads record batches of timestamps in microseconds."""
        if any(place.type.scale != _MICROS for place in places):
            raise LookupError("timestamps that are not in microseconds")
        return partial(_of_batch, places)


def _of_texts(lines: Lists, types: set[type]) -> NDArray[Any] | None:
    if not types <= _TEXTS:
        return None
    values = list(chain.from_iterable(lines))
    try:
        block = np.array(list(map(_micros_of, values)), np.int64)
    except ValueError:
        return None
    return block.reshape(len(lines), -1)


def _of_batch(
    places: list[Place], layout: BatchLayout, start: int, stop: int, max_text: int
) -> tuple[NDArray[Any] | None, int]:
    block = batch_words(layout, places, "<i8", start, stop)
    outside = (block > LAST_TIMESTAMP) | (block < FIRST_TIMESTAMP)
    missing = batch_nulls(layout, places, start, stop)
    if missing is not None:
        outside &= ~missing
        block[missing] = MISSING_TIMESTAMP
    return None if np.count_nonzero(outside) else block, 0


def _line(
    i: int, tensor: Tensor, reader: TextReader | None, rows: int, collector: FaultCollector
) -> NDArray[Any] | int:
    kind = kind_of(tensor.values)
    if kind in TEXT_ARRAYS and reader is not None:
        read = read_texts(reader, texts_of(i, tensor, collector), i, collector)
        return np.array([MISSING_TIMESTAMP if value is None else value for value in read], np.int64)
    if kind in TEXT_ARRAYS:
        return _parsed(texts_of(i, tensor, collector), i, collector)
    # Of dates written in digits (20241231), 32 bits hold the digits and no microseconds that anybody means.
    digits = reader is not None and reader.takes_digits and np.asarray(tensor.values).dtype.itemsize < 8
    if kind not in "iu" or digits:
        collector.of_type(i, tensor, RULES["timestamp"].array)
        return MISSING_TIMESTAMP
    values, missing = np.asarray(tensor.values).reshape(rows), tensor.missing
    bad = wrong_micros(values)
    if missing is not None:
        bad &= ~missing
    if np.count_nonzero(bad):
        expected = f"must be {RULES['timestamp'].element}"
        collector.of_rows(i, bad, lambda row: f"{expected}, got {values[row]}")
        return MISSING_TIMESTAMP
    micros = values.astype(np.int64, copy=False)
    return micros if missing is None else np.where(missing, MISSING_TIMESTAMP, micros)


def _parsed(texts: list[str | None], i: int, collector: FaultCollector) -> NDArray[Any]:
    """Timestamps that come as text; each text is read once, however often it comes."""
    micros: dict[str | None, int] = {}
    wrong: dict[str | None, str] = {}
    for text in set(texts):
        try:
            micros[text] = _micros_of(text)
        except ValueError as error:
            wrong[text] = f"{brief(text)} {error}"
            micros[text] = MISSING_TIMESTAMP
    if wrong:
        collector.of_rows(i, np.array([text in wrong for text in texts]), lambda row: wrong[texts[row]])
    return np.fromiter(map(micros.__getitem__, texts), np.int64, len(texts))


def wrong_micros(micros: NDArray[Any]) -> NDArray[np.bool_]:
    """Which whole numbers are neither a moment nor what stands for a missing one."""
    bad: NDArray[np.bool_] = (micros > LAST_TIMESTAMP) | ((micros < FIRST_TIMESTAMP) & (micros != MISSING_TIMESTAMP))
    return bad


def _micros_of(text: str | None) -> int:
    """The epoch microseconds of an ISO 8601 text, or what stands for a missing one."""
    return MISSING_TIMESTAMP if text is None else parse_timestamp(text)
