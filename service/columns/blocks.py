"""Which columns of a model lie together in memory, and what reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.kinds import KINDS
from rowcast.models.signature import Signature
from rowcast.service.columns.kinds.block import Block
from rowcast.service.columns.kinds.category import Categories
from rowcast.service.columns.kinds.number import Numbers
from rowcast.service.columns.kinds.timestamp import Timestamps

_BLOCKS: dict[np.dtype[Any], type[Block]] = {
    np.dtype(np.float64): Numbers,
    np.dtype(object): Categories,
    np.dtype(np.int64): Timestamps,
}


def blocks_of(signature: Signature) -> list[Block]:
    """What reads each block of a model's columns, in the order of :class:`Layout`."""
    return [_BLOCKS[columns[0].dtype](columns) for columns in Layout(signature).blocks]


class Layout:
    """Which columns lie together: those of a dtype are lines of one array ``[columns, rows, 1]``, a *block*.

    With one row, an array for each of twenty columns takes longer than decoding the request; and requests that share a
    run are joined block by block.
    """

    def __init__(self, signature: Signature) -> None:
        order = list(KINDS)
        kinds = sorted(signature.columns, key=lambda column: order.index(column.kind))
        self.blocks = [[c for c in kinds if c.dtype == dtype] for dtype in dict.fromkeys(c.dtype for c in kinds)]
        """The columns of each block; those of a kind are neighbours."""
        self._names = [[column.name for column in block] for block in self.blocks]

    def inputs(self, blocks: Iterable[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The graph's inputs: each column ``[rows, 1]`` by its name, a view into its block."""
        inputs: dict[str, NDArray[Any]] = {}
        for names, block in zip(self._names, blocks, strict=True):
            inputs.update(zip(names, block, strict=True))
        return inputs
