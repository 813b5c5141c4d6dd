"""A table in shards as the config names it: its columns renamed, and for each row its part, which hangs on it alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rowcast.training.config import Config
from rowcast.training.data.config import DataConfig
from rowcast.training.data.shards.shards import Shards, one_after_the_other
from rowcast.training.data.split import split_by_time
from rowcast.training.data.split_column import no_training_rows, words_of
from rowcast.training.data.table import Table
from rowcast.training.parts import check_ways, shares_of, texts_of, time_rule, times_in
from rowcast.training.stream.hashing import of_rows, of_texts
from rowcast.training.stream.sample import Sample

TRAIN, VALIDATION, TEST = 0, 1, 2
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Plan:
    """How a table in shards is read."""

    shards: Shards
    config: Config
    head: Table
    """The first rows, as the config has them."""
    configured: Callable[[Table], Table]
    """What the config does to the columns of a piece."""

    @property
    def data(self) -> DataConfig:
        """What to read."""
        return self.config.data

    def tables(self, names: Sequence[str] | None = None) -> Iterator[tuple[int, Table]]:
        """Pieces in their order, each with the number of rows before it.

        Args:
            names: of the columns that are needed, as the config calls them; all that it does not drop by default.

        Raises:
            TableError: a piece cannot be read, or lacks a column.
        """
        old = {new: old for old, new in self.data.rename.items()}
        start = 0
        for piece in self.shards.pieces(None if names is None else [old.get(name, name) for name in names]):
            if names is None:
                table = self.configured(piece)
            else:
                table = piece.rename({k: v for k, v in self.data.rename.items() if k in piece.names})
            yield start, table
            start += len(piece)


PartOf = Callable[[int, Table], NDArray[np.int8]]
"""The part of each row of a piece, ``[rows]``, given the number of rows before it."""


def parts_of(plan: Plan, *, own_validation: bool, own_test: bool) -> tuple[PartOf, str, tuple[str, ...]]:
    """Which rows are training, validation and test rows: as for a table in memory, but for shares that chance sets.

    Args:
        plan: of the table.
        own_validation: validation rows come from a table of their own.
        own_test: test rows do.

    Returns:
        the part of rows; a note on the split; and the columns that it reads.

    Raises:
        ConfigError: the table is to be split in two ways at once.
        TableError: it cannot be split so.
    """
    data, seed = plan.data, plan.config.seed
    check_ways(data, own_validation=own_validation, own_test=own_test)
    validation, test = shares_of(data, own_validation=own_validation, own_test=own_test)

    def drawn(numbers: NDArray[np.float64], validation: float = validation, test: float = test) -> NDArray[np.int8]:
        return np.where(numbers < test, TEST, np.where(numbers < test + validation, VALIDATION, TRAIN)).astype(np.int8)

    if own_validation and own_test:
        return (lambda start, table: np.zeros(len(table), np.int8)), "", ()
    if data.split_by_time:
        return _by_time(plan, validation, test)
    if data.group or data.fold:
        name, flag = (data.group, "--group names") if data.group else (data.fold, "--fold names")
        what = "split by group: rows of one" if data.group else "whole folds are held out: rows of one"
        note = f"{what} {name!r} stay on one side, as a hash of it says, and it is no input"
        return (lambda start, table: drawn(of_texts(texts_of(table, name, flag), seed, "split"))), note, (name,)
    if data.split:
        return _as_named(plan, lambda start, table: drawn(of_rows(start, len(table), seed, "split"), test=0.0))
    note = "rows are held out at random, as a hash of their numbers says: shares of the parts and of classes in them "
    note += "are what was asked for but for chance"
    return (lambda start, table: drawn(of_rows(start, len(table), seed, "split"))), note, ()


def _by_time(plan: Plan, validation: float, test: float) -> tuple[PartOf, str, tuple[str, ...]]:
    """Along a column, with limits that the times of a sample set."""
    name, data = plan.data.split_by_time, plan.data
    time_rule(plan.head, name, data)  # which tells that the column is absent
    sample = Sample(data.sample_rows)
    for start, table in plan.tables([name]):
        sample.add(table, of_rows(start, len(table), plan.config.seed, "sample"), start)
    some = sample.taken()
    rule = time_rule(some, name, data)
    times = times_in(some, rule)
    split = split_by_time(times, test=test, validation=validation)
    first_test = times[split.test].min() if len(split.test) else None
    first_validation = times[split.validation].min() if len(split.validation) else first_test

    def of(start: int, table: Table) -> NDArray[np.int8]:
        values = times_in(table, rule)
        part = np.zeros(len(table), np.int8)
        if first_validation is not None:
            part[values >= first_validation] = VALIDATION
        if first_test is not None:
            part[values >= first_test] = TEST
        return part

    latest = "test" if test else "validation"
    note = f"split by time along {name!r}: the latest rows are the {latest} rows, from times on that a sample of "
    return of, f"{note}{len(some):,} rows sets", (name,)


def _as_named(plan: Plan, drawn: PartOf) -> tuple[PartOf, str, tuple[str, ...]]:
    """As a column says; validation rows are drawn where it names none."""
    name = plan.data.split
    held = np.zeros(len(PARTS), np.int64)
    plan.head.require(name, "--split names")
    for _, table in plan.tables([name]):
        held += np.bincount(words_of(table, name), minlength=len(PARTS))
    if held[TRAIN] == 0:
        raise no_training_rows(plan.head.source, name)
    note = f"split as {name!r} says, which is no input"
    if held[VALIDATION]:
        return (lambda start, table: words_of(table, name)), note, (name,)

    def of(start: int, table: Table) -> NDArray[np.int8]:
        named = words_of(table, name)
        return np.where(named == TRAIN, drawn(start, table), named).astype(np.int8)

    return of, f"{note}; it names no validation rows: some of its training rows are taken at random", (name,)


def whole_sample(samples: Sequence[Table]) -> tuple[Table, NDArray[np.int8]]:
    """The samples of all parts as one table, and the part of each row; no rows where none has any."""
    held = [(part, table) for part, table in enumerate(samples) if len(table)] or [(TRAIN, samples[TRAIN])]
    part_of = np.concatenate([np.full(len(table), part, np.int8) for part, table in held])
    return one_after_the_other([table for _, table in held]), part_of
