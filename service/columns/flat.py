"""Columns whose values came in a list each, of the graph's own datatypes, read at once: FP64, INT64 and texts.

It says nothing of what is wrong with them; :class:`rowcast.service.columns.named.ColumnReader` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rowcast.models.signature import Signature
from rowcast.service.columns.blocks import blocks_of
from rowcast.service.columns.kinds.block import Lists
from rowcast.service.columns.named import Columns
from rowcast.service.columns.raw import RawColumnReader

__all__ = ["FlatColumnReader", "Lists", "Order"]


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
        self._order = raw_columns.order
        self._timestamps = {column.name for column in signature.columns if column.dtype == np.int64}
        self._blocks = [(len(block.columns), block.of_lists) for block in blocks_of(signature)]

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
        for width, read in self._blocks:
            block = read([lists[i] for i in order.places[start : start + width]], iso=order.iso)
            if block is None:
                return None
            blocks.append(block[:, :, None])
            start += width
        return Columns(blocks)
