"""Training rows of a file in a random order, a buffer of them in memory at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rowcast.training.features.encoder import FeatureEncoder
from rowcast.training.fit.loop import Batch, Shuffled
from rowcast.training.fit.objective import Objective
from rowcast.training.stream.convert import Converted

BLOCK_ROWS = 256
"""Rows that stand together in the file and are read together: a tenth of a megabyte or less."""
BUFFER_BYTES = 1 << 27
"""Of a buffer, with what is derived of its rows."""
MOST_ROWS, LEAST_ROWS = 1 << 18, 1 << 12
"""Of a buffer: from so many blocks of all over the table its rows are drawn."""


class StreamedRows:
    """Training rows that a fit reads from a file, see :class:`rowcast.training.fit.loop.TrainingRows`.

    An order of the rows is an order of blocks of 256 rows, whose beginnings shift from epoch to epoch, and within each
    buffer of up to a thousand blocks an order of its rows. Both hang on the generator alone.

    Args:
        converted: the rows.
        some: rows of them that are in memory, on the device of the fit.
        encoder: fitted, on that device.
        objective: of the fit.

    Raises:
        TableError, ConfigError: the loss does not take a target of theirs.
    """

    def __init__(self, converted: Converted, some: Batch, encoder: FeatureEncoder, objective: Objective) -> None:
        self._rows, self._some = converted, some
        self._encoder, self._objective = encoder, objective
        width = converted.store.dtype.itemsize + 16 * (some.features.shape[1] + some.codes.shape[1] + 1)
        rows = min(MOST_ROWS, max(LEAST_ROWS, BUFFER_BYTES // width))
        self.buffer_rows = rows // BLOCK_ROWS * BLOCK_ROWS
        if converted.ends is not None:
            objective.encode(np.array(converted.ends))

    def __len__(self) -> int:
        return len(self._rows.store)

    @property
    def device(self) -> torch.device:
        """That batches are on."""
        return self._some.device

    @property
    def some(self) -> Batch:
        """The rows that are in memory."""
        return self._some

    def counts_of_codes(self, level_counts: object) -> list[Tensor]:
        """For each category the rows of each of its codes, ``[codes]``."""
        return [torch.from_numpy(counts).to(self.device) for counts in self._rows.code_counts]

    def shuffled(self, generator: torch.Generator) -> Shuffled:
        """The rows in a random order: those from one position of it up to another, best asked for in turn."""
        n = len(self)
        shift = int(torch.randint(BLOCK_ROWS, (1,), generator=generator))
        blocks = torch.randperm(n // BLOCK_ROWS, generator=generator).numpy()
        if n % BLOCK_ROWS:  # the last, smaller block stays last: another shift makes it of other rows
            blocks = np.append(blocks, n // BLOCK_ROWS)
        seed = int(torch.randint(2**62, (1,), generator=generator))
        held: list[tuple[int, Batch]] = []

        def buffer(number: int) -> Batch:
            if not held or held[0][0] != number:
                held.clear()  # before the next one is made
                some = blocks[number * self.buffer_rows // BLOCK_ROWS : (number + 1) * self.buffer_rows // BLOCK_ROWS]
                held.append((number, self._read(some, shift, torch.Generator().manual_seed(seed + number))))
            return held[0][1]

        def rows(start: int, stop: int) -> Batch:
            parts = []
            while start < stop:
                number, at = divmod(start, self.buffer_rows)
                end = min(stop, (number + 1) * self.buffer_rows)
                parts.append(buffer(number)[slice(at, at + end - start)])
                start = end
            return parts[0] if len(parts) == 1 else joined(parts)

        return rows

    def _read(self, blocks: NDArray[np.int64], shift: int, generator: torch.Generator) -> Batch:
        """The rows of some blocks in a random order. A block that reaches beyond the last row goes on at the first."""
        n, store = len(self), self._rows.store
        sizes = np.minimum(BLOCK_ROWS, n - blocks * BLOCK_ROWS)
        records = np.empty(int(sizes.sum()), store.dtype)
        at = 0
        for block, size in zip(blocks.tolist(), sizes.tolist(), strict=True):
            start = (block * BLOCK_ROWS + shift) % n
            first = min(size, n - start)
            store.read(start, records[at : at + first])
            if first < size:
                store.read(0, records[at + first : at + size])
            at += size
        order = torch.randperm(len(records), generator=generator).numpy()
        return self._batch(records[order])

    def _batch(self, records: NDArray[Any]) -> Batch:
        device = self.device

        def field(name: str) -> Tensor:
            return torch.from_numpy(records[name].copy()).to(device)  # a field without columns is contiguous as it is

        if self._objective.classes:
            target = field("target").to(torch.int64)
        else:
            target = self._objective.encode(np.ascontiguousarray(records["target"])).to(device)
        weight = None
        if self._rows.mean_weight is not None:
            weight = (field("weight") / self._rows.mean_weight).to(torch.float32)
        features = self._encoder.derive(field("numbers"), field("timestamps"))
        words = field("words") if "words" in (records.dtype.names or ()) else None
        return Batch(features, field("codes").to(torch.int64), target, weight, words)


def joined(parts: list[Batch]) -> Batch:
    """The rows of several batches, one after the other."""
    weights = [part.weight for part in parts if part.weight is not None]
    words = [part.words for part in parts if part.words is not None]
    return Batch(
        torch.cat([part.features for part in parts]),
        torch.cat([part.codes for part in parts]),
        torch.cat([part.target for part in parts]),
        torch.cat(weights) if weights else None,
        torch.cat(words) if words else None,
    )
