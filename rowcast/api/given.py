"""What a caller hands over as a table, a target and further columns, put together as one table.

A target, weights or folds that are no columns of the table become columns of it, under a name that is free.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rowcast.api.families import is_pandas, names_of, rows_of
from rowcast.models.errors import ConfigError, TableError
from rowcast.models.names import WEIGHT_BESIDE

_ONE_TARGET = (
    "a model predicts one target, for its graph has one answer a row: fit a model for each, with the others left out "
    'by data={"drop": [...]}'
)


@dataclass(frozen=True)
class Given:
    """A table, and the columns that came beside it."""

    table: Any
    columns: Mapping[str, Any]
    """Values of the rows, by the name of the column they become."""
    arguments: Mapping[str, str]
    """Under which argument each was given, by the same names."""
    fields: dict[str, str] = field(default_factory=dict)
    """``target``, ``weight``, ``split`` and ``fold`` of ``config.data``."""

    @property
    def source(self) -> Any:
        """What training reads."""
        return _beside(self.table, self.columns, self.arguments)

    def further(self, other: Any, argument: str) -> Any:
        """A table of validation or test rows as training reads it; a pair of a table and its target where y was given.

        Raises:
            ConfigError: there is no target to a table, or there are two.
        """
        named = {self.arguments[name]: name for name in self.columns}
        if not _is_pair(other):
            return other
        if "y" not in named:
            raise ConfigError(
                f"{argument}= is a pair of a table and a target where y= is given; the target is a column here, "
                f"{self.fields.get('target', '')!r}: pass a table that holds it"
            )
        table, values = other
        name = named["y"]
        called = f"y of {argument}="
        _check_rows(table, values := _one_column(values, called), called)
        return _beside(table, {name: values}, {name: called})


def given(
    table: Any, y: Any, target: Any, further: Mapping[str, Any], data: Mapping[str, Any], *, needed: bool = True
) -> Given:
    """Put a table and what came beside it together.

    Args:
        table: whatever is read as a table.
        y: the target's values ``[rows]``, or None; a text is the name of a column, as ``target`` is.
        target: the name of a column, or None.
        further: by argument: a column's name, values ``[rows]``, or None.
        data: the section ``data`` of the settings, which may name the target too.
        needed: whether there has to be a target.

    Raises:
        ConfigError: there is no target, or two; or one that is no column.
        TableError: the columns are not as long as the table.
    """
    if isinstance(y, str):
        if target is not None:
            raise ConfigError(f"the target is given once, got y={y!r} and target={target!r}")
        y, target = None, y
    if y is not None and target is not None:
        raise ConfigError(
            f"the target is given once: as y=, values beside the table, or as target=, a column of it; "
            f"got both, and target={target!r}"
        )
    if target is not None and not isinstance(target, str):
        if isinstance(target, Sequence | np.ndarray) and all(isinstance(one, str) for one in target):
            raise ConfigError(f"target= must be the name of one column, got {list(target)!r}: {_ONE_TARGET}")
        raise ConfigError(
            f"target= must be the name of a column, got {type(target).__module__}.{type(target).__qualname__}: values "
            "beside the table are given as y="
        )
    fields: dict[str, str] = {}
    columns: dict[str, Any] = {}
    arguments: dict[str, str] = {}
    taken = names_of(table)
    if y is not None:
        values = _one_column(y, "y=")
        name = _name_of_target(y, values, taken)
        columns[name], arguments[name], fields["target"] = values, "y", name
    elif target is not None:
        fields["target"] = target
    elif needed and not data.get("target"):
        raise ConfigError(
            'a target is needed: y=, the values to predict, or target="...", the column of the table that holds them'
        )
    for argument, value in further.items():
        if value is None:
            continue
        if isinstance(value, str):
            fields[argument] = value
            continue
        values = _one_column(value, f"{argument}=")
        # Weights are looked for in tables of later days, too: none of them is to hold them by accident.
        wanted = WEIGHT_BESIDE if argument == "weight" else argument
        name = _free(wanted, [*(taken or ()), *columns])
        columns[name], arguments[name], fields[argument] = values, argument, name
    for name, values in columns.items():
        _check_rows(table, values, f"{arguments[name]}=")
    return Given(table, columns, arguments, fields)


def with_target(table: Any, name: str) -> tuple[Any, Any]:
    """A table that holds the target, from one that does or from a pair ``(X, y)``.

    Args:
        table: the one or the other.
        name: of the target.

    Returns:
        what training reads; and the table that came.

    Raises:
        TableError: the target is not as long as the table.
    """
    if not _is_pair(table):
        return table, table
    table, y = table
    _check_rows(table, values := _one_column(y, "y="), "y=")
    return _beside(table, {name: values}, {name: "y"}), table


def _is_pair(table: Any) -> bool:
    """Whether it is a table and a target rather than a table: a tuple of two rows is a table too."""
    if not isinstance(table, tuple) or len(table) != 2 or all(isinstance(part, Mapping) for part in table):
        return False
    first = table[0]
    return not isinstance(first, list | tuple) or any(isinstance(row, list | tuple | Mapping) for row in first)


def _beside(table: Any, columns: Mapping[str, Any], arguments: Mapping[str, str]) -> Any:
    if not columns:
        return table
    from rowcast.training.data.beside import Beside, Column

    return Beside(table, {name: Column(values, arguments[name]) for name, values in columns.items()})


def _name_of_target(y: Any, values: Any, taken: Sequence[str] | None) -> str:
    """The name of a target that is no column: its own, or ``target``.

    Raises:
        TableError: a column of the table is called so, and would tell the target.
    """
    own = getattr(values, "name", None)
    if own is None and not isinstance(y, np.ndarray | list | tuple):
        own = next(iter(names_of(y) or ()), None)  # of a frame of one column
    if not isinstance(own, str) or not own.strip():  # pandas numbers what nobody named
        return _free("target", taken or ())
    if own in (taken or ()):
        raise TableError(
            f"y= is named {own!r}, and the table holds a column of that name, which would tell the target: take it "
            f"out of the table, or pass the table alone with target={own!r}"
        )
    return own


def _free(name: str, taken: Sequence[str]) -> str:
    """A name that no column has."""
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    return found


def _one_column(values: Any, argument: str) -> Any:
    """Values of the rows, ``[rows]``; of an array ``[rows, 1]`` or a frame of one column, that column.

    Raises:
        TableError: they are none, or several columns.
    """
    if isinstance(values, str | bytes | os.PathLike) or not hasattr(values, "__len__"):
        raise TableError(
            f"{argument} must be a value for each row, in a list, an array or a series, got "
            f"{type(values).__module__}.{type(values).__qualname__}"
        )
    if isinstance(values, list | tuple) and values and isinstance(values[0], list | tuple | np.ndarray):
        values = np.array(values)
    shape = tuple(getattr(values, "shape", ()))
    if hasattr(values, "shape") and len(shape) not in (1, 2):
        raise TableError(f"{argument} must be a value for each row, got an array of shape {shape}")
    if len(shape) == 1 or (not shape and names_of(values) is None):
        return values
    columns = shape[1] if shape else len(names_of(values) or ())
    if columns != 1:
        hint = f": {_ONE_TARGET}" if argument == "y=" else ""
        raise TableError(f"{argument} must be one value for each row, got {columns} columns{hint}")
    if isinstance(values, Mapping):
        return next(iter(values.values()))
    if is_pandas(values, "DataFrame"):
        return values.iloc[:, 0]
    if isinstance(values, np.ndarray):
        return values[:, 0]
    column = getattr(values, "to_series", None) or getattr(values, "column", None)
    if column is not None:
        return column(0)
    return np.asarray(values)[:, 0]


def _check_rows(table: Any, values: Any, argument: str) -> None:
    """Make sure that a column is as long as the table, and in its order.

    Raises:
        TableError: it is not.
    """
    rows = rows_of(table)
    if rows is not None and len(values) != rows:
        raise TableError(
            f"{argument} must hold a value for each row of the table: it holds {len(values):,} and the table "
            f"{rows:,} rows"
        )
    if is_pandas(table, "DataFrame") and is_pandas(values, "Series"):
        rows_index, values_index = table.index, values.index
        if (
            not rows_index.equals(values_index)
            and rows_index.is_unique
            and values_index.is_unique
            and rows_index.isin(values_index).all()
        ):
            raise TableError(
                f"{argument} must be in the order of the table: its index holds the same labels in another order. "
                f"Bring them in line with .loc[table.index], or pass .to_numpy() to go by position"
            )
