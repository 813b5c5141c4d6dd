"""The training rows of a table in shards, written once as the network's front takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import TableError
from rowcast.training.columns.reading import ColumnRule, read_column, read_levels
from rowcast.training.columns.row_weights import with_weights
from rowcast.training.columns.target import Target, read_target_like
from rowcast.training.columns.target_rows import with_target_like
from rowcast.training.data.config import DataConfig
from rowcast.training.data.table import Table
from rowcast.training.features.encoder import UNKNOWN_CODE, FeatureEncoder
from rowcast.training.stream.plan import TRAIN, PartOf, Plan
from rowcast.training.stream.store import Store, open_store


@dataclass(frozen=True)
class Converted:
    """Training rows in a file: numbers, timestamps, codes, words, target and weight of each."""

    store: Store
    code_counts: tuple[NDArray[np.int64], ...]
    """For each category the rows of each of its codes."""
    ends: tuple[float, float] | None
    """The least and the largest target; None for classes."""
    mean_weight: float | None
    """Of the rows; None where every row counts the same."""
    missing: frozenset[str]
    """Columns that some row holds no value in."""

    def __len__(self) -> int:
        return len(self.store)


def record_of(encoder: FeatureEncoder, target: Target, words: int = 0) -> np.dtype[Any]:
    """What stands in the file for a row; ``words``: how many of its texts, at most."""
    fields: list[Any] = [
        ("numbers", "<f8", (len(encoder.numbers),)),
        ("timestamps", "<i8", (len(encoder.timestamps),)),
        ("codes", "<i4", (len(encoder.categories),)),
        ("target", "<i4" if target.classes else "<f8"),
    ]
    fields += [] if target.weight is None else [("weight", "<f8")]
    return np.dtype(fields if not encoder.words else [*fields, ("words", "<i4", (words,))])


@contextmanager
def converted(
    plan: Plan,
    part_of: PartOf,
    reads: Sequence[str],
    encoder: FeatureEncoder,
    target: Target,
    rows: int,
    words: int = 0,
) -> Iterator[Converted]:
    """Write the training rows of a table to a temporary file, which is gone afterwards.

    Args:
        plan: of the table.
        part_of: tells training rows from others.
        reads: columns that it reads.
        encoder: fitted to a sample of the training rows.
        target: of that sample.
        rows: of the table.
        words: of the texts of a row, at most: further ones teach nothing.

    Raises:
        TableError: a value does not fit the kind that the sample told; names column, row and the way out.
        TrainingError: there is no room for the file.
    """
    data = plan.data
    names = list(dict.fromkeys([*(rule.name for rule in encoder.rules), target.name, *reads]))
    names += [data.weight] if data.weight else []
    record = record_of(encoder, target, words)
    index = {label: i for i, label in enumerate(target.classes)}
    counts = [np.zeros(n, np.int64) for n in encoder.level_counts]
    missing: set[str] = set()
    low, high, weight_sum = np.inf, -np.inf, 0.0
    with open_store(record, rows) as store:
        for start, piece in plan.tables(names):
            table, weight = training_rows(piece.take(np.flatnonzero(part_of(start, piece) == TRAIN)), target, data)
            if len(table) == 0:
                continue
            values = read_target_like(table, target, null=data.null)
            records = np.empty(len(table), record)
            if target.classes:
                records["target"] = [index[label] for label in values]
            else:
                records["target"] = values
                low, high = min(low, float(values.min())), max(high, float(values.max()))
            if weight is not None:
                records["weight"] = weight
                weight_sum += float(weight.sum())
            _columns(records, table, encoder, missing)
            for i in range(len(counts)):
                counts[i] += np.bincount(records["codes"][:, i], minlength=len(counts[i]))
            store.append(records)
        if len(store) == 0:
            raise TableError(f"{plan.head.source}: no training row is left: split otherwise, or add rows")
        yield Converted(
            store,
            tuple(counts),
            None if target.classes else (low, high),
            weight_sum / len(store) if target.weight is not None else None,
            frozenset(missing),
        )


def training_rows(table: Table, target: Target, data: DataConfig) -> tuple[Table, NDArray[np.float64] | None]:
    """Those of training rows that hold a target and count, and how much each counts."""
    if len(table):
        table = with_target_like(table, target, null=data.null, may_be_none=True)
    if not data.weight or len(table) == 0:
        return table, None
    return with_weights(table, data.weight, may_be_none=True)


def _columns(records: NDArray[Any], table: Table, encoder: FeatureEncoder, missing: set[str]) -> None:
    """Fill in the columns of a piece."""
    rules = {rule.name: rule for rule in encoder.rules}
    for field, names in (("numbers", encoder.numbers), ("timestamps", encoder.timestamps)):
        for i, name in enumerate(names):
            values = read_column(table, rules[name])
            records[field][:, i] = values
            if name not in missing and rules[name].is_missing(values).any():
                missing.add(name)
    for i, name in enumerate(encoder.categories):
        levels = read_levels(table, rules[name])
        distinct = levels.unique()
        known = encoder.codes_of(name)
        codes = [known.get(level, UNKNOWN_CODE) for level in distinct]
        records["codes"][:, i] = levels.replace_strict(distinct, codes).to_numpy()
        if name not in missing and (levels == "").any():
            missing.add(name)
    texts = {name: read_column(table, rules[name]) for name in encoder.words}
    places = encoder.bags.places(texts)
    if places is not None:
        n = min(places.shape[1], records["words"].shape[1])
        records["words"] = -1
        records["words"][:, :n] = places[:, :n].numpy()
        missing.update(name for name, values in texts.items() if rules[name].is_missing(values).any())


def with_nullable(rules: Sequence[ColumnRule], missing: frozenset[str]) -> tuple[ColumnRule, ...]:
    """The rules once all training rows were read: a column that one of them lacks is nullable."""
    return tuple(replace(rule, nullable=rule.nullable or rule.name in missing) for rule in rules)
