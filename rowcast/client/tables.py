"""Tables of any family a caller may have, and answers in the same: polars, pandas, pyarrow, columns or rows.

None of the data-frame libraries is imported unless it is the caller's own.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from rowcast.client.columns import Column, column_of, to_arrow, to_rows
from rowcast.client.errors import Unsendable
from rowcast.client.frames import (
    any_column,
    family_of,
    pandas_column,
    polars_column,
    polars_stream,
    pyarrow_column,
    pyarrow_stream,
)

Answer = dict[str, Any]
"""The columns of predictions: labels are a list of str, numbers an array ``[rows]``."""


class Given(ABC):
    """A table of a caller's.

    Args:
        table: what the caller has.
        first: which row of the caller's whole table its first is, for errors.
    """

    def __init__(self, table: Any, first: int = 0) -> None:
        self.table = table
        self.first = first

    def __len__(self) -> int:
        return len(self.table)

    @abstractmethod
    def columns(self) -> dict[str, Column]:
        """Its columns.

        Raises:
            Unsendable: one holds what is not sent.
        """

    @property
    def alike(self) -> bool:
        """Whether every row has a value, or none, for every column: then it may be sent as Arrow."""
        return True

    @property
    @abstractmethod
    def names(self) -> list[Any]:
        """The names of its columns, as the caller has them."""

    def only(self, known: Collection[str] | None) -> Given:
        """Itself without the columns that a model does not know.

        Args:
            known: the model's columns; None for all columns.
        """
        names = self.names
        kept = [i for i, name in enumerate(names) if known is None or str(name) in known]
        return self if len(kept) in (0, len(names)) else self._with_columns(kept)

    @abstractmethod
    def _with_columns(self, kept: list[int]) -> Given:
        """Itself with some of its columns, by their 0-based places."""

    def piece(self, start: int, stop: int) -> Given:
        """Some of its rows."""
        return type(self)(self._cut(start, stop), self.first + start)

    def rows(self) -> list[dict[str, Any]]:
        """Its rows, as JSON has them."""
        return to_rows(self.columns(), len(self))

    def stream(self) -> bytes:
        """Itself as an Arrow stream."""
        columns = self.columns()
        if not columns:
            raise Unsendable("a table must hold at least one column, got none")
        return to_arrow(columns, len(self), self.first)

    def answered(self, answer: Answer) -> Any:
        """An answer, as a table of this family."""
        return {name: values if isinstance(values, list) else _short(values) for name, values in answer.items()}

    def _cut(self, start: int, stop: int) -> Any:
        return self.table[start:stop]

    def _rows(self) -> range:
        return range(self.first, self.first + len(self))


class Columns(Given):
    """A dict of columns, each understood already. So is the answer, of lists."""

    def __init__(self, table: dict[str, Column], first: int = 0) -> None:
        super().__init__(table, first)
        lengths = {name: len(column) for name, column in table.items()}
        if len(set(lengths.values())) > 1:
            raise Unsendable(f"columns must be of one length, got {lengths}")
        self._length = next(iter(lengths.values()), 0)

    def __len__(self) -> int:
        return self._length

    @property
    def names(self) -> list[Any]:
        return list(self.table)

    def columns(self) -> dict[str, Column]:
        columns: dict[str, Column] = self.table
        return columns

    def _with_columns(self, kept: list[int]) -> Given:
        return Columns(self._some(kept), self.first)

    def _some(self, kept: list[int]) -> dict[str, Column]:
        names = self.names
        return {names[i]: self.table[names[i]] for i in kept}

    def _cut(self, start: int, stop: int) -> dict[str, Column]:
        return {name: column[start:stop] for name, column in self.table.items()}


class Rows(Columns):
    """A list of rows, each a dict. The answer is a prediction for each, as JSON has them.

    Args:
        table: the rows as columns, with null where a row lacks the column.
        first: as :class:`Given` has it.
        absent: of the columns that some rows lack, which rows do, ``[rows]``.
    """

    def __init__(
        self, table: dict[str, Column], first: int = 0, absent: Mapping[str, NDArray[np.bool_]] | None = None
    ) -> None:
        absent = {name: gone for name, gone in (absent or {}).items() if gone.any()}
        nowhere = {name for name, gone in absent.items() if gone.all()}
        if len(nowhere) < len(table):  # else nothing told how many rows there are
            table = {name: column for name, column in table.items() if name not in nowhere}
            absent = {name: gone for name, gone in absent.items() if name not in nowhere}
        super().__init__(table, first)
        self._absent = absent

    @classmethod
    def of(cls, rows: Sequence[Mapping[Any, Any]]) -> Rows:
        """Rows as a caller has them.

        Raises:
            Unsendable: they hold what is not sent.
        """
        keys = dict.fromkeys(key for row in rows for key in row)
        columns = _named(keys, ([row.get(key) for row in rows] for key in keys), column_of)
        if not keys:  # the columns do not tell how many rows there are
            return cls({"": column_of("", [None] * len(rows))}, absent={"": np.ones(len(rows), bool)})
        absent = {name: np.array([key not in row for row in rows]) for name, key in zip(columns, keys, strict=True)}
        return cls(columns, absent=absent)

    @property
    def alike(self) -> bool:
        """Whether all rows have the same keys."""
        return not self._absent

    def columns(self) -> dict[str, Column]:
        if self._absent:
            others = [np.flatnonzero(gone != gone[0]) for gone in self._absent.values()]
            row = min((int(rows[0]) for rows in others if len(rows)), default=0)
            raise Unsendable(
                "rows must have the keys of the first to be sent as Arrow, "
                f"got others in rows[{self.first + row}]: choose protocol='json'"
            )
        return super().columns()

    def rows(self) -> list[dict[str, Any]]:
        rows = to_rows(self.table, len(self))
        for name, gone in self._absent.items():
            for i in np.flatnonzero(gone).tolist():
                del rows[i][name]
        return rows

    def _with_columns(self, kept: list[int]) -> Given:
        table = self._some(kept)
        return Rows(table, self.first, {name: gone for name, gone in self._absent.items() if name in table})

    def piece(self, start: int, stop: int) -> Given:
        absent = {name: gone[start:stop] for name, gone in self._absent.items()}
        return Rows(self._cut(start, stop), self.first + start, absent)

    def answered(self, answer: Answer) -> Any:
        columns = super().answered(answer)
        if "label" not in columns:
            return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        labels = columns.pop("label")
        classes = [name.removeprefix("probability_") for name in columns]
        return [
            {"label": label, "probabilities": dict(zip(classes, row, strict=True))}
            for label, *row in zip(labels, *columns.values(), strict=True)
        ]


class Polars(Given):
    """A polars data frame."""

    @property
    def names(self) -> list[Any]:
        return list(self.table.columns)

    def _with_columns(self, kept: list[int]) -> Given:
        return Polars(self.table[:, kept], self.first)

    def columns(self) -> dict[str, Column]:
        return _named(self.table.columns, self.table.get_columns(), polars_column, self._rows())

    def stream(self) -> bytes:
        return (polars_stream(self.table) if self.table.width else None) or super().stream()

    def answered(self, answer: Answer) -> Any:
        return sys.modules["polars"].DataFrame(answer)


class Pandas(Given):
    """A pandas data frame. The answer has its index."""

    @property
    def names(self) -> list[Any]:
        return list(self.table.columns)

    def _with_columns(self, kept: list[int]) -> Given:
        return Pandas(self.table.iloc[:, kept], self.first)

    def columns(self) -> dict[str, Column]:
        names = list(self.table.columns)
        return _named(names, (self.table.iloc[:, i] for i in range(len(names))), pandas_column, self._rows())

    def answered(self, answer: Answer) -> Any:
        return sys.modules["pandas"].DataFrame(answer, index=self.table.index)

    def _cut(self, start: int, stop: int) -> Any:
        return self.table.iloc[start:stop]


class PyArrow(Given):
    """A pyarrow table or record batch."""

    @property
    def names(self) -> list[Any]:
        return list(self.table.schema.names)

    def _with_columns(self, kept: list[int]) -> Given:
        return PyArrow(self.table.select(kept), self.first)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def columns(self) -> dict[str, Column]:
        return _named(self.table.schema.names, self.table.columns, pyarrow_column, self._rows())

    def stream(self) -> bytes:
        names = self.table.schema.names
        stream = pyarrow_stream(self.table) if names and len(set(names)) == len(names) else None
        return stream or super().stream()

    def answered(self, answer: Answer) -> Any:
        return sys.modules["pyarrow"].table(answer)

    def _cut(self, start: int, stop: int) -> Any:
        return self.table.slice(start, stop - start)


def given(table: Any) -> Given:
    """A caller's table.

    Raises:
        Unsendable: it is none.
    """
    family = family_of(table)
    if family == ("polars", "LazyFrame"):
        return Polars(table.collect())
    if family in _FAMILIES:
        return _FAMILIES[family](table)
    if isinstance(table, Mapping):
        return Columns(_named(table.keys(), table.values(), any_column))
    if isinstance(table, np.ndarray) and table.ndim == 1 and table.dtype == object:
        table = table.tolist()
    if isinstance(table, Sequence) and not isinstance(table, str) and all(isinstance(row, Mapping) for row in table):
        return Rows.of(table)
    raise Unsendable(
        "a table is a polars or pandas data frame, a pyarrow table, a dict of columns or a list of rows, "
        f"got {type(table).__module__}.{type(table).__qualname__}; rows are dicts by column name, in a list"
    )


def _named(
    names: Iterable[Any], columns: Iterable[Any], convert: Callable[..., Column], rows: range | None = None
) -> dict[str, Column]:
    """Columns by their names, each converted."""
    converted: dict[str, Column] = {}
    for key, values in zip(names, columns, strict=True):
        name = _name_of(key)
        if name in converted:
            raise Unsendable(f"column names must differ, got {name!r} twice")
        converted[name] = convert(name, values, rows)
    return converted


def _name_of(key: Any) -> str:
    """The name of a column as it is sent.

    Raises:
        Unsendable: it cannot be written in UTF-8.
    """
    name = str.__str__(key) if isinstance(key, str) else str(key)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise Unsendable(
            f"a column's name must be text that can be written in UTF-8, got {name!a}: {error.reason}"
        ) from None
    return name


_FAMILIES: dict[tuple[str, str], type[Given]] = {
    ("polars", "DataFrame"): Polars,
    ("pandas", "DataFrame"): Pandas,
    ("pyarrow", "Table"): PyArrow,
    ("pyarrow", "RecordBatch"): PyArrow,
}


def _short(values: Any) -> list[Any]:
    """Numbers with as few digits as tell them apart: the float32 0.1 is 0.1, not 0.10000000149011612."""
    short: list[Any] = orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
    return short
