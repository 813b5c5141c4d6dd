"""Columns whose raw bytes are the graph's own, read without a look at each: FP64, INT64 and texts.

It says nothing of what is wrong with them; :class:`service.columns.named.ColumnReader` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.signature import Column, Signature
from service.columns.arrays import Numbers, Timestamps
from service.columns.level_values import LevelForms
from service.columns.named import Columns
from service.columns.rows import Layout
from service.columns.tensor_bytes import from_raw

_FLOATS, _MICROS = np.dtype("<f8"), np.dtype("<i8")
_DATATYPES = {"category": "BYTES", "timestamp": "INT64"}
"""What the graph takes of a kind; of all others FP64."""


class RawColumnReader:
    """Reads columns of the graph's own datatypes for one model.

    Args:
        signature: the model's.
    """

    def __init__(self, signature: Signature) -> None:
        blocks = Layout(signature).blocks
        self._columns = [column for columns in blocks for column in columns]
        self._blocks = [(len(columns), _reader_of(columns)) for columns in blocks]

    def order(self, tensors: Sequence[tuple[str, str]]) -> list[int] | None:
        """Where each column is found among tensors of these names and datatypes.

        None unless they are all of the columns, each of the datatype that the graph takes.
        """
        places = {tensor: i for i, tensor in enumerate(tensors)}
        wanted = [(column.name, _DATATYPES.get(column.kind, "FP64")) for column in self._columns]
        return [places[one] for one in wanted] if set(wanted) == places.keys() and len(tensors) == len(wanted) else None

    def __call__(self, order: list[int], entries: Sequence[bytes], rows: int) -> Columns | None:
        """The columns of so many rows; None if anything is wrong with them.

        Args:
            order: of the tensors.
            entries: the bytes of each tensor.
            rows: of each.
        """
        if len(entries) != len(order):
            return None
        blocks, start = [], 0
        for width, read in self._blocks:
            block = read([entries[i] for i in order[start : start + width]], rows)
            if block is None:
                return None
            blocks.append(block.reshape(width, rows, 1))
            start += width
        return Columns(blocks)


class _Numbers:
    def __init__(self, columns: list[Column]) -> None:
        self._wrong = Numbers(columns).wrong

    def __call__(self, entries: list[bytes], rows: int) -> NDArray[Any] | None:
        block = _joined(entries, _FLOATS, rows)
        return None if block is None or np.count_nonzero(self._wrong(block)) else block


def _moments(entries: list[bytes], rows: int) -> NDArray[Any] | None:
    block = _joined(entries, _MICROS, rows)
    return None if block is None or np.count_nonzero(Timestamps.wrong(block)) else block


class _Texts:
    def __init__(self, columns: list[Column]) -> None:
        self._forms = LevelForms.of(columns)

    def __call__(self, entries: list[bytes], rows: int) -> NDArray[Any] | None:
        try:
            read = starmap(from_raw, [("BYTES", entry, rows) for entry in entries])
            block = np.array([[text.decode() for text in texts] for texts in read], object)
        except ValueError:  # not those of so many texts, or no UTF-8
            return None
        return block if self._forms is None else self._forms.settle(block)


def _joined(entries: list[bytes], dtype: np.dtype[Any], rows: int) -> NDArray[Any] | None:
    if set(map(len, entries)) != {rows * dtype.itemsize}:
        return None
    return np.frombuffer(b"".join(entries), dtype).reshape(len(entries), rows)


def _reader_of(columns: list[Column]) -> Any:
    if columns[0].kind == "category":
        return _Texts(columns)
    return _moments if columns[0].kind == "timestamp" else _Numbers(columns)
