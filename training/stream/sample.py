"""A random sample of a table that is read a piece at a time: the rows with the smallest random numbers."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rowcast.training.data.config import DataConfig
from rowcast.training.data.shards.shards import one_after_the_other, open_shards
from rowcast.training.data.table import Table
from rowcast.training.stream.hashing import of_rows


class Sample:
    """As many rows as asked for, each as likely as any other, in the order of the table.

    Args:
        rows: at most.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.seen = 0
        """Rows that it was drawn from."""
        self._limit = 1.0
        self._kept: list[tuple[NDArray[np.float64], NDArray[np.int64], Table]] = []
        self._empty: Table | None = None

    def add(
        self, table: Table, numbers: NDArray[np.float64], start: int, among: NDArray[np.int64] | None = None
    ) -> None:
        """Take in rows.

        Args:
            table: of the rows.
            numbers: one for each, ``[rows]``, from 0 to below 1.
            start: the place of the first row.
            among: 0-based positions of those to draw from; all where there are none given.
        """
        among = np.arange(len(table)) if among is None else among
        self.seen += len(among)
        chosen = among[numbers[among] < self._limit]
        if self._empty is None:
            self._empty = table.take([])
        if len(chosen) == 0:
            return
        self._kept.append((numbers[chosen], start + chosen, table.take(chosen)))
        if sum(len(one) for one, _, _ in self._kept) > 2 * self.rows:
            self._prune()

    def taken(self) -> Table:
        """The rows of the sample."""
        if not self._kept:
            assert self._empty is not None, "no row was added"
            return self._empty
        self._prune()
        return self._kept[0][2]

    def _prune(self) -> None:
        numbers = np.concatenate([one for one, _, _ in self._kept])
        places = np.concatenate([one for _, one, _ in self._kept])
        chosen = np.arange(len(numbers))
        if len(numbers) > self.rows:
            chosen = np.argpartition(numbers, self.rows)[: self.rows]
            self._limit = float(numbers[chosen].max())
        chosen = chosen[np.argsort(places[chosen], kind="stable")]
        table = one_after_the_other([table for _, _, table in self._kept]).take(chosen)
        self._kept = [(numbers[chosen], places[chosen], table)]


def sample_of(source: str | os.PathLike[str], data: DataConfig, seed: int) -> tuple[Table, int]:
    """A random sample of ``data.sample_rows`` rows of a table in shards, and how many rows it has.

    Raises:
        TableError: it cannot be read; names row, line, column and the way out.
    """
    shards = open_shards(source, data.form())
    sample = Sample(data.sample_rows)
    for piece in shards.pieces():
        sample.add(piece, of_rows(sample.seen, len(piece), seed, "sample"), sample.seen)
    return replace(sample.taken(), notes=shards.head.notes), sample.seen
