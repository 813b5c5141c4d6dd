"""Columns whose raw bytes are the graph's own, read without a look at each: FP64, INT64 and texts.

It says nothing of what is wrong with them; :class:`rowcast.service.columns.named.ColumnReader` does.
"""

from __future__ import annotations

from collections.abc import Sequence

from rowcast.models.signature import Signature
from rowcast.service.columns.blocks import blocks_of
from rowcast.service.columns.named import Columns
from rowcast.service.columns.tensor_bytes import datatype_of


class RawColumnReader:
    """Reads columns of the graph's own datatypes for one model.

    Args:
        signature: the model's.
    """

    def __init__(self, signature: Signature) -> None:
        blocks = blocks_of(signature)
        self._columns = [column for block in blocks for column in block.columns]
        self._blocks = [(len(block.columns), block.of_bytes) for block in blocks]

    def order(self, tensors: Sequence[tuple[str, str]]) -> list[int] | None:
        """Where each column is found among tensors of these names and datatypes.

        None unless they are all of the columns, each of the datatype that the graph takes.
        """
        places = {tensor: i for i, tensor in enumerate(tensors)}
        wanted = [(column.name, datatype_of(column.dtype)) for column in self._columns]
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
