"""Which rows of a table are training, validation and test rows, as ``config.data`` says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError, TableError
from rowcast.training.columns.declared import Declared
from rowcast.training.columns.infer import ColumnRule, infer_columns, read_column
from rowcast.training.columns.reading import level_texts
from rowcast.training.columns.target import Target
from rowcast.training.data.config import DataConfig, TableConfig
from rowcast.training.data.split import Split, split_by_group, split_by_time, split_random
from rowcast.training.data.split_column import parts_named
from rowcast.training.data.table import Table


def check_roles(data: DataConfig) -> None:
    """Make sure no column has two roles that exclude each other.

    Raises:
        ConfigError: one has; names both flags.
    """
    flag_of: dict[str, str] = {}
    for flag, name in data.roles.items():
        if name and name in flag_of:
            raise ConfigError(f"a column has one role, but {flag_of[name]} and {flag} both name {name!r}: change one")
        flag_of[name] = flag


def split_table(
    table: Table, target: Target, config: TableConfig, *, own_validation: bool = False, own_test: bool = False
) -> Split:
    """Choose the training, validation and test rows of a table.

    Args:
        table: the rows that hold a target.
        target: of these rows.
        config: ``config.data`` says how to split.
        own_validation: validation rows come from a table of their own.
        own_test: test rows do.

    Raises:
        ConfigError: the table is to be split in two ways at once; names both.
        TableError: the table cannot be split so; names the way out.
    """
    data = config.data
    check_ways(data, own_validation=own_validation, own_test=own_test)
    validation_share, test_share = shares_of(data, own_validation=own_validation, own_test=own_test)
    if own_validation and own_test:
        nothing = np.zeros(0, np.int64)
        return Split(np.arange(len(table)), nothing, nothing)
    if data.split_by_time:
        times = times_of(table, data.split_by_time, data)
        split = split_by_time(times, test=test_share, validation=validation_share)
        held_out = "test" if test_share else "validation"
        note = f"split by time along {data.split_by_time!r}: the latest rows are the {held_out} rows"
        return replace(in_order_of_time(split, times), notes=(note,))
    if data.group:
        groups = texts_of(table, data.group, "--group names")
        split = split_by_group(groups, seed=config.seed, test=test_share, validation=validation_share)
        note = f"split by group: rows of one {data.group!r} stay on one side, and it is no input"
        return replace(split, notes=(note,))
    if data.fold:
        folds = texts_of(table, data.fold, "--fold names")
        split = split_by_group(folds, seed=config.seed, test=test_share, validation=validation_share, flag="--fold")
        return replace(split, notes=(f"whole folds of {data.fold!r} are held out, and it is no input",))
    labels = None if target.task == "regression" else target.values
    if data.split:
        return _split_as_named(table, labels, config)
    return split_random(len(table), seed=config.seed, labels=labels, test=test_share, validation=validation_share)


def shares_of(data: DataConfig, *, own_validation: bool, own_test: bool) -> tuple[float, float]:
    """Shares of the table for validation rows and for test rows, where either may come from a table of its own."""
    test = 0.0 if own_test else data.test_share
    # With a test table of its own, the table is split 80/20 as it would be without its test rows.
    return 0.0 if own_validation else data.validation_share / (1.0 - data.test_share if own_test else 1.0), test


def check_ways(data: DataConfig, *, own_validation: bool, own_test: bool) -> None:
    """Make sure that a table is split in one way.

    Raises:
        ConfigError: it is to be split in two; names both flags.
    """
    given = [flag for flag, name in data.ways_to_split.items() if name]
    if len(given) > 1:
        raise ConfigError(f"a table is split in one way, got both {given[0]} and {given[1]}: leave one of them out")
    for flag, own in (("--validation", own_validation), ("--test", own_test)):
        if own and given and given[0] in ("--split", "--fold"):
            raise ConfigError(
                f"{given[0]} says which rows of the table are held out, so it does not go with {flag}, got both: leave "
                "one of them out"
            )


def _split_as_named(table: Table, labels: NDArray[Any] | None, config: TableConfig) -> Split:
    """The parts that a column names; validation rows are taken from the training rows where it names none."""
    data = config.data
    table.require(data.split, "--split names")
    split = parts_named(table, data.split)
    note = f"split as {data.split!r} says, which is no input"
    if len(split.validation):
        return replace(split, notes=(note,))
    share = data.validation_share / (1.0 - data.test_share if len(split.test) else 1.0)
    of_rest = None if labels is None else labels[split.train]
    rest = split_random(len(split.train), seed=config.seed, labels=of_rest, test=0.0, validation=share)
    note += f"; it names no validation rows: {share:.4g} of its training rows are taken at random"
    return Split(split.train[rest.train], split.train[rest.validation], split.test, (note,))


def in_order_of_time(split: Split, times: NDArray[Any]) -> Split:
    """With validation rows in the order of time: calibration looks at stretches of it."""
    return replace(split, validation=split.validation[np.argsort(times[split.validation], kind="stable")])


def texts_of(table: Table, name: str, who: str) -> NDArray[Any]:
    """Each row's value of a column that groups rows, as text, ``[rows]``; rows without one are a group, too.

    Raises:
        TableError: there is no such column; ``who`` asks for it.
    """
    table.require(name, who)
    return np.asarray(level_texts(table, table.frame[name]).fill_null("").to_numpy())


def times_of(table: Table, name: str, data: DataConfig) -> NDArray[Any]:
    """The column that the table is split along, ``[rows]``, in its unit.

    Raises:
        TableError: it is absent, of another kind, or a row holds no value there.
    """
    return times_in(table, time_rule(table, name, data))


def time_rule(table: Table, name: str, data: DataConfig) -> ColumnRule:
    """How the column is read that a table is split along.

    Raises:
        TableError: it is absent, or of another kind.
    """
    if name not in table.names:
        raise TableError(
            f"--split-by-time names {name!r}, which {table.source} lacks; its columns: {', '.join(table.names)}"
        )
    only = [other for other in table.names if other != name]
    rules, _ = infer_columns(
        table.drop(only), null=data.null, keep=True, declared=Declared.of(data, table).within([name])
    )
    rule = rules[0]
    if rule.kind == "category" or rule.kind == "boolean":
        raise TableError(f"--split-by-time needs a timestamp or number column; {name!r} is a {rule.kind}")
    return rule


def times_in(table: Table, rule: ColumnRule) -> NDArray[Any]:
    """The times of the rows of a table, ``[rows]``, in their unit.

    Raises:
        TableError: a row holds no value there.
    """
    values = read_column(table, rule)
    missing = np.isnan(values) if values.dtype.kind == "f" else values == np.iinfo(np.int64).min
    if missing.any():
        where = table.where(int(missing.argmax()))
        raise TableError(f"--split-by-time {named(rule.name)}: {where} holds no value there; drop such rows first")
    return values


def order_in_time(table: Table, data: DataConfig) -> NDArray[np.int64]:
    """Positions of the rows of a table of its own in the order that the training table was split along."""
    if data.split_by_time not in table.names:
        return np.arange(len(table))
    return np.argsort(times_of(table, data.split_by_time, data), kind="stable")
