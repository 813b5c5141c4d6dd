"""Which columns of a table are those of the model that a fit starts from: of the same name, and of the same kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.errors import TableError
from rowcast.models.kinds import KINDS
from rowcast.models.levels import LevelType
from rowcast.training.columns.declared import Declared
from rowcast.training.columns.infer import ColumnRule, infer_columns, read_column
from rowcast.training.columns.levels import LevelRows
from rowcast.training.columns.sentinels import with_sentinels
from rowcast.training.columns.target import Target
from rowcast.training.data.config import DataConfig, TableConfig
from rowcast.training.data.table import Table
from rowcast.training.start.keys import named_list
from rowcast.training.start.start import Start

_KIND_OF_LEVELS: dict[LevelType, tuple[str, ...]] = {
    "whole": ("integer",),
    "number": ("number", "integer"),
    "boolean": ("boolean",),
    "date": ("timestamp",),
    "timestamp": ("timestamp",),
}


@dataclass(frozen=True)
class Carried:
    """The columns of a table that a model knows."""

    rules: tuple[ColumnRule, ...]
    """In the table's order."""
    columns: dict[str, NDArray[Any]]
    """Of the training rows ``[rows]``, by name."""
    left_out: tuple[str, ...]
    """Columns that the model was told to leave out, which the table holds."""
    decisions: list[str]

    @property
    def names(self) -> frozenset[str]:
        """What they are called."""
        return frozenset(self.columns)


def carried_columns(start: Start, train: Table, target: Target, config: TableConfig) -> Carried:
    """Find the columns of a table that a model knows, and how they are read: none is dropped for its values here.

    Args:
        start: the model.
        train: training rows and no others.
        target: of these rows.
        config: ``config.data`` may say what a column is.

    Raises:
        TableError: there is none, or one cannot be read.
    """
    data, known = config.data, {column.name for column in start.columns}
    rules: list[ColumnRule] = []
    decisions: list[str] = []
    for name in train.names:
        if name not in known or name in data.no_inputs:
            continue
        rule, notes = _rule_like(start, train, name, config)
        decisions += notes
        if rule is not None:
            rules.append(rule)
    if not rules:
        raise TableError(
            f"a fit starts from a model that has columns in common with its table, of the same name and kind: "
            f"{start.called} takes {named_list(sorted(known), 10)}, and {train.source} holds "
            f"{named_list([name for name in train.names if name not in data.no_inputs], 10)}; train without --from, or "
            "map names with --rename old=new"
        )
    if data.sentinels:
        found, notes = with_sentinels(train, tuple(rules), except_in=data.no_sentinels, columns={})
        rules, decisions = list(found), [*decisions, *notes]
    columns = {rule.name: read_column(train, rule) for rule in rules}
    rules = [replace(rule, nullable=rule.nullable or bool(rule.is_missing(columns[rule.name]).any())) for rule in rules]
    return Carried(tuple(rules), columns, _left_out(start, train, target, data, known), decisions)


def _left_out(start: Start, train: Table, target: Target, data: DataConfig, known: set[str]) -> tuple[str, ...]:
    """Columns that the model was told to leave out, of the same target: one of them may tell it."""
    if target.name != start.target:
        return ()
    wanted = {*data.keep, *data.number, *data.date, *data.boolean, *data.category, *data.text, *data.no_inputs, *known}
    return tuple(name for name in start.config["data"]["drop"] if name in train.names and name not in wanted)


def _rule_like(start: Start, train: Table, name: str, config: TableConfig) -> tuple[ColumnRule | None, list[str]]:
    """How a column is read that a model knows by that name; None where it is of another kind here."""
    old = start.rule(name)
    declared = Declared.of(config.data, train)
    rule, notes = _inferred(train, name, config, declared)
    if _is_empty(train, rule):
        return replace(old, nullable=True), [
            f"{name!r} holds no value in the training rows, and is read as in {start.called}"
        ]
    as_levels = old.levels_of is not None and rule.kind in _KIND_OF_LEVELS[old.levels_of]
    if old.kind == "category" and as_levels and name not in declared.kinds:  # numbers or dates are levels there
        rule, notes = _inferred(train, name, config, replace(declared, kinds={**declared.kinds, name: "category"}))
    if old.kind == "text" and rule.kind == "category" and rule.levels_of is None and not rule.declared:
        rule, notes = replace(rule, kind="text"), [*notes, f"{name!r} is read word by word, as in {start.called}"]
    quantities = {rule.kind, old.kind} == {"number", "integer"}
    if rule.kind != old.kind and not quantities:
        return None, [f"{name!r} is {_a(rule.kind)} here and {_a(old.kind)} in {start.called}, so that it starts fresh"]
    # Texts are read as this table writes them; what meant null goes on meaning it.
    missing = tuple(sorted({*rule.reading.missing_numbers, *old.reading.missing_numbers}))
    alike = rule.levels_of == old.levels_of
    return (
        replace(
            rule,
            kind="number" if quantities else rule.kind,
            nullable=rule.nullable or old.nullable,
            nulls=rule.nulls | (old.nulls - KINDS[old.kind].null_spellings),
            reading=rule.reading.model_copy(update={"missing_numbers": missing}),
            whole_levels=rule.whole_levels and alike,
            level_type=rule.level_type if alike else None,
        ),
        notes,
    )


def _inferred(train: Table, name: str, config: TableConfig, declared: Declared) -> tuple[ColumnRule, list[str]]:
    rules, notes = infer_columns(
        train,
        exclude=set(train.names) - {name},
        null=config.data.null,
        keep=True,
        declared=declared,
        level_rows=LevelRows(1, 1),  # levels are known already, however few rows hold one here
    )
    return rules[0], notes


def _is_empty(train: Table, rule: ColumnRule) -> bool:
    values = read_column(train, rule)
    return bool(np.all(rule.is_missing(values)))


def told(start: Start, carried: Carried, rules: tuple[ColumnRule, ...]) -> list[str]:
    """What became of the columns, in sentences.

    Args:
        start: the model.
        carried: what is taken over from it.
        rules: all columns of the fit.
    """
    fresh = [rule.name for rule in rules if rule.name not in carried.names]
    gone = [column.name for column in start.columns if column.name not in carried.names]
    parts = [f"{named_list([rule.name for rule in carried.rules])} {_carry(len(carried.rules))}"]
    if fresh:
        parts.append(f"{named_list(fresh)} {'starts' if len(fresh) == 1 else 'start'} fresh")
    if gone:
        parts.append(f"{named_list(gone)} of it {'is' if len(gone) == 1 else 'are'} not used any more")
    again = [
        f"{name!r} is no input, as {start.called} was told to leave it out; to take it, add --keep {named(name)}"
        for name in carried.left_out
    ]
    return [f"the fit starts from {start.called}: {'; '.join(parts)}", *carried.decisions, *again]


def _a(kind: str) -> str:
    return f"{'an' if kind == 'integer' else 'a'} {kind}"


def _carry(n: int) -> str:
    return "carries its embeddings and weights over" if n == 1 else "carry their embeddings and weights over"
