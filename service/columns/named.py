"""The columns of a request, which every protocol decodes to, and the reader of those that come as named arrays.

Open Inference and Arrow bring such arrays, each for all rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from sys import getsizeof
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import Fault, RequestError
from rowcast.models.signature import MISSING_STRING, Column, Signature
from rowcast.models.texts.columns import text_reader
from rowcast.service.columns.blocks import blocks_of
from rowcast.service.columns.kinds.block import Order
from rowcast.service.columns.tensors import OPEN_INFERENCE, ErrorPaths, FaultCollector, Tensor, rows_of
from rowcast.service.errors import LEFT_OUT, SHOWN, bad_request, brief, raise_faults, too_many_rows, unknown_column
from rowcast.service.limits.steps import Steps, at_once

_STEP_US = 12_800
"""Microseconds of a step in which texts are looked at one by one: a quarter of what the loop allows, since a busy
machine takes three times as long."""
_READ_US, _MOMENT_US = 25, 1
"""What a text takes that is read by what training found out of its column, or made a level; and an ISO 8601 text."""

_ASCII_HEAD = getsizeof("")
"""What an ASCII text takes besides its characters."""


class Columns:
    """The columns of one request, in the graph's types.

    ``len()`` is its rows, and a slice some of them, without a copy.

    Args:
        blocks: as :class:`rowcast.service.columns.blocks.Layout` has them.
        codec: of the protocol, where answers are written row by row in the run; None where the predictions are handed
            over as they are.
    """

    __slots__ = ("_rows", "blocks", "codec")

    def __init__(self, blocks: Sequence[NDArray[Any]], codec: Any = None) -> None:
        self.blocks = blocks
        self.codec = codec
        self._rows = int(blocks[0].shape[1])

    def __len__(self) -> int:
        return self._rows

    @property
    def bytes(self) -> int:
        """What they take, texts included."""
        return sum(block.nbytes + (_text_bytes(block) if block.dtype == object else 0) for block in self.blocks)

    def __getitem__(self, rows: slice) -> Columns:
        return Columns([block[:, rows] for block in self.blocks], self.codec)

    @classmethod
    def joined(cls, parts: Sequence[Sequence[NDArray[Any]]], codec: Any = None) -> Columns:
        """The rows of several, one after the other."""
        blocks = parts[0] if len(parts) == 1 else [np.concatenate(lines, axis=1) for lines in zip(*parts, strict=True)]
        return cls(blocks, codec)


def _text_bytes(block: NDArray[Any]) -> int:
    """What texts take; where all are ASCII, as most are, that is told from their lengths in a quarter of the time."""
    texts = block.ravel().tolist()
    if all(map(str.isascii, texts)):
        return len(texts) * _ASCII_HEAD + sum(map(len, texts))
    return sum(map(getsizeof, texts))


class ColumnReader:
    """Reads requests of columns for one model.

    Args:
        signature: the model's.
        max_rows: rows a request may hold.
    """

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self.max_rows = max_rows
        self._columns = {column.name: column for column in signature.columns}
        self._blocks = blocks_of(signature)
        self._known = [
            (i, [(c.name, frozenset(c.levels or ()) | {MISSING_STRING}) for c in block.columns if c.kind == "category"])
            for i, block in enumerate(self._blocks)
            if block.columns[0].kind == "category"  # which are the first lines of their block
        ]
        self._text_us = {column.name: us for column in signature.columns if (us := _microseconds(column))}

    def read(self, tensors: Sequence[Tensor], places: ErrorPaths = OPEN_INFERENCE) -> Columns:
        """The columns of a request, see :meth:`steps`."""
        return at_once(self.steps(tensors, places))

    def steps(self, tensors: Sequence[Tensor], places: ErrorPaths = OPEN_INFERENCE) -> Steps[Columns]:
        """The columns of a request, in steps where texts have to be read one by one.

        Args:
            tensors: one for each column, in any order; a nullable column may be left out.
            places: how the protocol names them in a refusal.

        Raises:
            RequestError: 400 with the path of each fault, or 413 for too many rows.
        """
        rows = rows_of(tensors[0]) if tensors else None
        if rows is not None and rows > self.max_rows:
            raise too_many_rows(rows, self.max_rows)
        orders = self._orders_of([tensor.name for tensor in tensors])
        shapes = {len(values) if isinstance(values, list) else values.shape for _, values, _ in tensors}
        if orders is None or not rows or not shapes <= {rows, (rows,), (rows, 1)}:
            raise_faults(self._misfits(tensors, places))
            raise bad_request()
        collector = FaultCollector(places)
        parts = []
        rows_at_once = self._rows_at_once(tensors)
        for start in range(0, rows, rows_at_once):
            part, n = tensors, min(rows_at_once, rows - start)
            if n < rows:
                yield
                part = [tensor.part(start, start + n) for tensor in tensors]
                collector.first_row = start
            parts.append(
                [block.of_tensors(order, part, n, collector) for block, order in zip(self._blocks, orders, strict=True)]
            )
        if collector.faults:
            raise bad_request(*collector.faults[: RequestError.MAX_FAULTS])
        return Columns.joined(parts)

    def _rows_at_once(self, tensors: Sequence[Tensor]) -> int:
        """How many rows are read in a step: only what comes in text is read one by one, or is made a level."""
        if not self._text_us:
            return self.max_rows
        row_us = 0
        for name, values, _ in tensors:
            texts = isinstance(values, list) or values.dtype.kind in "OSU"
            if name in self._text_us and (texts or self._columns[name].levels_of):
                row_us += self._text_us[name]
        return max(1, _STEP_US // row_us) if row_us else self.max_rows

    def unseen(self, columns: Columns) -> Counter[str]:
        """How many values of each category column are levels that training never saw."""
        counts: Counter[str] = Counter()
        for block, levels in self._known:
            lines = columns.blocks[block][: len(levels), :, 0].tolist()
            for (name, known), values in zip(levels, lines, strict=True):
                if not known.issuperset(values):
                    unseen = set(values) - known
                    counts[name] = sum(map(unseen.__contains__, values))
        return counts

    def _orders_of(self, names: list[str]) -> list[Order] | None:
        """Where each block finds its columns among tensors of these names; None when they are not the model's."""
        found = {name: i for i, name in enumerate(names)}
        if len(found) < len(names) or not found.keys() <= self._columns.keys():
            return None
        if not all(column.nullable or name in found for name, column in self._columns.items()):
            return None
        return [[found.get(column.name, -1) for column in block.columns] for block in self._blocks]

    def _misfits(self, tensors: Sequence[Tensor], places: ErrorPaths) -> Iterator[Fault]:
        """Everything that keeps a request's tensors from being columns of the model."""
        if not tensors:
            yield Fault(places.whole, "must hold the model's columns, got none")
        names: dict[str, int] = {}
        rows = next(filter(None, map(rows_of, tensors)), None)
        for i, tensor in enumerate(tensors):
            where = places.tensor(i)
            if tensor.name not in self._columns:
                yield Fault(where, f"{brief(tensor.name)} {unknown_column(self._columns)}")
            elif tensor.name in names:
                first = places.tensor(names[tensor.name])
                yield Fault(where, f"{brief(tensor.name)} appears more than once, first as {first}")
            names.setdefault(tensor.name, i)
            if (length := rows_of(tensor)) is None:
                shape = list(np.shape(tensor.values))
                yield Fault(where, f"must have the shape [rows] or [rows, 1], got {shape}")
            elif length == 0:
                yield Fault(where, "must hold at least one row, got none")
            elif length != rows:
                yield Fault(where, f"must hold {rows:,} rows as the one before, got {length:,}")
        for name, column in self._columns.items():
            if not column.nullable and name not in names:
                yield Fault(places.whole, f"{name[:SHOWN]} {LEFT_OUT}")


def _microseconds(column: Column) -> int:
    """What a value of a column takes to read that comes in text, where texts are looked at one by one."""
    if column.levels_of is not None or text_reader(column) is not None:
        return _READ_US
    return _MOMENT_US if column.dtype == np.int64 else 0
