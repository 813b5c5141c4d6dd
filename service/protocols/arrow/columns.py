"""Record batches of the types that writers usually have, read block by block and without a look at each column.

It says nothing of what is wrong with them: whatever is not in the standard form is read
column by column instead, which does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from rowcast.models.arrow import Batch, Field, Schema, Type
from rowcast.models.signature import Column, Signature
from rowcast.service.columns.arrow_buffers import BatchLayout, Place
from rowcast.service.columns.kinds.block import Block
from rowcast.service.columns.kinds.rules import RULES
from rowcast.service.columns.named import Columns

_ALIGNMENT = 8


class UsualBatches:
    """Reads the record batches of streams of one schema.

    Args:
        signature: the model's.
        blocks: its columns, as :func:`rowcast.service.columns.blocks.blocks_of` has them.
        schema: of the streams.

    Raises:
        LookupError: not of this schema.
    """

    def __init__(self, signature: Signature, blocks: Sequence[Block], schema: Schema) -> None:
        fields = {field.name: i for i, field in enumerate(schema.fields)}
        if len(fields) != schema.n_fields or fields.keys() != {column.name for column in signature.columns}:
            raise LookupError("other columns than the model's")
        columns = {column.name: column for column in signature.columns}
        types = [_usual(columns[field.name], field) for field in schema.fields]
        firsts = list(accumulate((3 if type_.family == "text" else 2 for type_ in types), initial=0))
        self._needed = np.array([part for type_ in types for part in _needed(type_)])
        self._bitmaps = firsts[:-1]
        self._blocks = [
            block.of_batches(
                [Place(fields[c.name], firsts[fields[c.name]], types[fields[c.name]]) for c in block.columns]
            )
            for block in blocks
        ]

    def locate(self, batch: Batch) -> BatchLayout | None:
        """A batch of the schema; None unless it lies in the standard order."""
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
        return BatchLayout(rows, body, frozenset(with_nulls), buffers)

    def read(self, layout: BatchLayout, start: int, stop: int, max_text: int) -> tuple[Columns, int] | None:
        """Some rows of a batch, and the bytes of their texts; None where any of them is not in the standard form.

        Args:
            layout: the batch.
            start: the first row.
            stop: the row behind the last.
            max_text: bytes that their texts may have.
        """
        blocks, text_bytes = [], 0
        for read in self._blocks:
            block, its_bytes = read(layout, start, stop, max_text)
            if block is None:
                return None
            blocks.append(block[:, :, None])
            text_bytes += its_bytes
        return Columns(blocks), text_bytes


def _usual(column: Column, field: Field) -> Type:
    """The type of a field, if it is in the standard form for its column."""
    type_ = field.type
    usual = RULES[column.kind].usual
    if type_ is None or field.dictionary is not None or (type_.family, type_.dtype) not in usual:
        raise LookupError(f"{column.name} is of another type than usual")
    return type_


def _needed(type_: Type) -> list[tuple[int, int, int]]:
    """What each buffer of a type takes at least: bytes for each row, for each 8 rows begun, and once."""
    bitmap = (0, 0, 0)  # which may be left out, unless there are nulls
    if type_.family == "boolean":
        return [bitmap, (0, 1, 0)]
    size = np.dtype(type_.dtype).itemsize
    return [bitmap, (size, 0, size), (0, 0, 0)] if type_.family == "text" else [bitmap, (size, 0, 0)]
