"""How a table came in, and how the answers to its rows go out: in the family of the caller's own table.

================================================== ============================================================
a table that is                                    is answered by
================================================== ============================================================
a pandas data frame                                a pandas data frame with its index
a row of one, a Series                             a Series of its name
a polars data frame, eager or lazy                 a polars data frame
an Arrow table, batch or reader, or what gives one a pyarrow table; a polars frame where pyarrow is not there
a list of dicts                                    a list of dicts
a dict of columns                                  a dict of arrays
a dict of one row's values                         a dict of values
a NumPy array, or a list of lists                  a structured NumPy array
a file, a folder, a pattern of files               a polars data frame
================================================== ============================================================

No data-frame library is imported but the caller's own, and polars where there is none.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from rowcast.training.data.arrays import array_columns, array_names, is_array

Answers: TypeAlias = dict[str, Any]
"""Columns of answers by name: arrays ``[rows]``, texts in a list."""


class Family:
    """A caller's table of no family that could say more: a file, or what training refuses to read."""

    def __init__(self, table: Any) -> None:
        self.table = table
        """As training reads it."""

    @property
    def rows(self) -> int | None:
        """How many; None where the table has to be read for that."""
        return None

    @functools.cached_property
    def names(self) -> Sequence[str] | None:
        """Of its columns; None where the table has to be read for them."""
        return None

    def kept(self, name: str) -> Any:
        """A column of it, one of :attr:`names`, as the caller has it."""
        raise NotImplementedError

    def few(self) -> Mapping[str, Sequence[Any]] | None:
        """The values of a table of few rows as scalars, by column; None where this is no quicker than to read it."""
        return None

    def answered(self, answers: Answers) -> Any:
        """Answers to its rows as a table of the family."""
        polars = importlib.import_module("polars")
        columns = {name: polars.String if isinstance(values, list) else None for name, values in answers.items()}
        return polars.DataFrame([polars.Series(name, answers[name], of) for name, of in columns.items()])


class Polars(Family):
    """A polars data frame."""

    @property
    def rows(self) -> int:
        return int(self.table.height)

    @functools.cached_property
    def names(self) -> Sequence[str]:
        names: list[str] = self.table.columns
        return names

    def kept(self, name: str) -> Any:
        return self.table[name]

    def few(self) -> Mapping[str, Sequence[Any]] | None:
        if any(dtype.is_temporal() or dtype.is_nested() for dtype in self.table.dtypes):
            return None  # these may lie beyond what Python can say
        return dict(zip(self.names, zip(*self.table.rows(), strict=True), strict=True))


class Pandas(Family):
    """A pandas data frame. Answers have its index."""

    @property
    def rows(self) -> int:
        return len(self.table)

    @functools.cached_property
    def names(self) -> Sequence[str]:
        return [str(name) for name in self.table.columns.tolist()]

    def kept(self, name: str) -> Any:
        return self.table.iloc[:, self.names.index(name)].array

    def few(self) -> Mapping[str, Sequence[Any]]:
        if len(self.table) == 1:  # half as long, and numbers of several types become doubles, as they do anyway
            return dict(zip(self.names, ([value] for value in self.table.iloc[0].tolist()), strict=True))
        return dict(zip(self.names, self.table.to_numpy(dtype=object).T.tolist(), strict=True))

    def answered(self, answers: Answers) -> Any:
        pandas = sys.modules["pandas"]
        texts = {name: pandas.array(v, "str") for name, v in answers.items() if isinstance(v, list) and not v}
        return pandas.DataFrame(answers | texts, index=self.table.index)


class PandasRow(Family):
    """A row of a pandas data frame: a Series, whose index names the columns."""

    def __init__(self, table: Any) -> None:
        super().__init__({str(name): [value] for name, value in table.items()})
        self._name = table.name

    @property
    def rows(self) -> int:
        return 1

    @functools.cached_property
    def names(self) -> Sequence[str]:
        return list(self.table)

    def kept(self, name: str) -> Any:
        return self.table[name]

    def few(self) -> Mapping[str, Sequence[Any]]:
        columns: Mapping[str, Sequence[Any]] = self.table
        return columns

    def answered(self, answers: Answers) -> Any:
        return sys.modules["pandas"].Series(_first(answers), name=self._name)


class Arrow(Family):
    """A pyarrow table."""

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    @functools.cached_property
    def names(self) -> Sequence[str]:
        names: list[str] = self.table.schema.names
        return names

    def kept(self, name: str) -> Any:
        return self.table.column(name)

    def answered(self, answers: Answers) -> Any:
        pyarrow = sys.modules["pyarrow"]
        texts = {name: pyarrow.array(v, pyarrow.string()) for name, v in answers.items() if isinstance(v, list)}
        return pyarrow.table(answers | texts)


class Columns(Family):
    """A dict of columns."""

    @property
    def rows(self) -> int | None:
        first = next(iter(self.table.values()), ())
        return len(first) if hasattr(first, "__len__") else None

    @functools.cached_property
    def names(self) -> Sequence[str]:
        return [str(name) for name in self.table]

    def kept(self, name: str) -> Any:
        return next(values for key, values in self.table.items() if str(key) == name)

    def few(self) -> Mapping[str, Sequence[Any]] | None:
        found: dict[str, Sequence[Any]] = {}
        for name, values in self.table.items():
            scalars = _scalars(values)
            if scalars is None or len(scalars) != self.rows:
                return None
            found[str(name)] = scalars
        return found

    def answered(self, answers: Answers) -> Any:
        return {name: _array(values) for name, values in answers.items()}


class Row(Family):
    """A dict of one row's values."""

    @property
    def rows(self) -> int:
        return 1

    @functools.cached_property
    def names(self) -> Sequence[str]:
        return [str(name) for name in self.table]

    def kept(self, name: str) -> Any:
        return [value for key, value in self.table.items() if str(key) == name]

    def few(self) -> Mapping[str, Sequence[Any]]:
        return {str(name): (value,) for name, value in self.table.items()}

    def answered(self, answers: Answers) -> Any:
        return _first(answers)


class Rows(Family):
    """A list of rows, each a dict. A key that a row lacks is null there."""

    @property
    def rows(self) -> int:
        return len(self.table)

    @functools.cached_property
    def names(self) -> Sequence[str] | None:
        return [str(name) for name in self._keys()] if self.table else None

    def kept(self, name: str) -> Any:
        return [next((value for key, value in row.items() if str(key) == name), None) for row in self.table]

    def few(self) -> Mapping[str, Sequence[Any]] | None:
        return {str(key): [row.get(key) for row in self.table] for key in self._keys()}

    def answered(self, answers: Answers) -> Any:
        columns = [_scalars(values) or () for values in answers.values()]
        return [dict(zip(answers, row, strict=True)) for row in zip(*columns, strict=True)]

    def _keys(self) -> dict[Any, None]:
        return dict.fromkeys(name for row in self.table for name in row)


class Array(Family):
    """A NumPy array ``[rows, columns]``, or a list of lists. Its columns are ``x0``, ``x1`` and so on."""

    def __init__(self, table: Any) -> None:
        super().__init__(table)
        self._columns = array_columns(table)

    @property
    def rows(self) -> int:
        return len(self._columns[0]) if self._columns else 0

    @functools.cached_property
    def names(self) -> Sequence[str]:
        return array_names(len(self._columns))

    def kept(self, name: str) -> Any:
        return self._columns[self.names.index(name)]

    def few(self) -> Mapping[str, Sequence[Any]]:
        return dict(zip(self.names, (_scalars(values) or () for values in self._columns), strict=True))

    def answered(self, answers: Answers) -> Any:
        return _records(answers)


class Records(Family):
    """A structured NumPy array ``[rows]``."""

    @property
    def rows(self) -> int:
        return len(self.table)

    @functools.cached_property
    def names(self) -> Sequence[str]:
        names: tuple[str, ...] = self.table.dtype.names
        return names

    def kept(self, name: str) -> Any:
        return self.table[name]

    def few(self) -> Mapping[str, Sequence[Any]] | None:
        return Columns({name: self.table[name] for name in self.names}).few()

    def answered(self, answers: Answers) -> Any:
        return _records(answers)


def family_of(table: Any) -> Family:
    """The family of a caller's table."""
    if isinstance(table, str | os.PathLike):
        return Family(table)
    if is_pandas(table, "DataFrame"):
        return Pandas(table)
    if is_pandas(table, "Series"):
        return PandasRow(table)
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(table, polars.LazyFrame):
        table = table.collect()
    if polars is not None and isinstance(table, polars.DataFrame):
        return Polars(table)
    if isinstance(table, Mapping):
        from rowcast.training.data.frames import is_scalar

        return Row(table) if table and all(map(is_scalar, table.values())) else Columns(table)
    if isinstance(table, np.ndarray) and table.ndim == 1 and table.dtype == object:
        table = table.tolist() if all(isinstance(row, Mapping) for row in table) else table
    if isinstance(table, list | tuple) and all(isinstance(row, Mapping) for row in table):
        return Rows(table)
    if isinstance(table, np.ndarray) and table.dtype.names and table.ndim == 1:
        return Records(table)
    if hasattr(table, "__arrow_c_stream__") or hasattr(table, "__arrow_c_array__"):
        return _arrow(table)
    return Array(table) if is_array(table) else Family(table)


def read_again(table: Any) -> Any:
    """A table that says the same each time it is read: a lazy frame or a stream of Arrow is read here, once."""
    is_lazy = hasattr(table, "collect_schema") and not hasattr(table, "height")
    is_stream = hasattr(table, "__arrow_c_stream__") and not hasattr(table, "columns")
    return family_of(table).table if is_lazy or is_stream else table


def is_pandas(value: Any, name: str) -> bool:
    """Whether it is a pandas object of this type, or of one made of it. pandas need not be installed."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, getattr(pandas, name))


def names_of(table: Any) -> Sequence[str] | None:
    """The names of a table's columns; None where it has to be read for them, or is none."""
    if is_pandas(table, "Series"):
        return None
    if hasattr(table, "collect_schema"):
        names: list[str] = table.collect_schema().names()
        return names
    if hasattr(table, "__arrow_c_stream__") and not hasattr(table, "columns"):  # which may be read once
        schema = getattr(table, "schema", None)
        return None if schema is None else [str(name) for name in getattr(schema, "names", ())] or None
    return family_of(table).names


def rows_of(table: Any) -> int | None:
    """How many rows a table has; None where it has to be read for that, or is none."""
    if hasattr(table, "collect_schema") and not hasattr(table, "height"):  # lazy
        return None
    if hasattr(table, "__arrow_c_stream__") and not hasattr(table, "columns"):
        return None
    return None if is_pandas(table, "Series") else family_of(table).rows


def _arrow(table: Any) -> Family:
    """What exports Arrow, as a pyarrow table; as it is where that is not installed."""
    with contextlib.suppress(ImportError):
        pyarrow = importlib.import_module("pyarrow")
        if isinstance(table, pyarrow.Table):
            return Arrow(table)
        with contextlib.suppress(pyarrow.ArrowException, TypeError, ValueError):  # training says what is wrong
            single = not hasattr(table, "__arrow_c_stream__")
            return Arrow(pyarrow.table(pyarrow.record_batch(table) if single else table))
    return Family(table)


def _first(answers: Answers) -> dict[str, Any]:
    return {name: (_scalars(values) or (None,))[0] for name, values in answers.items()}


def _scalars(values: Any) -> Sequence[Any] | None:
    """A column as Python scalars; None where that is not for certain what it holds."""
    if isinstance(values, list | tuple):
        return values
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "biufUO":
        scalars: list[Any] = values.tolist()
        return scalars
    return None


def _array(values: Any) -> Any:
    """A column as an array ``[rows]``; what it is, where it is one of a library."""
    if not isinstance(values, list | tuple):
        return values
    if not values:
        return np.empty(0, "U1")
    if len({type(value) for value in values}) == 1 and isinstance(values[0], str | float | int):
        return np.array(values)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _records(answers: Answers) -> Any:
    """Answers as an array of records ``[rows]``, whose fields are the columns of a frame."""
    columns = {name: np.asarray(_array(values)) for name, values in answers.items()}
    rows = len(next(iter(columns.values())))
    records = np.empty(rows, [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        records[name] = values
    return records
