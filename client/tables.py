"""Tables of any family a caller may have, and answers in the same: polars, pandas, pyarrow, columns or rows.

None of the data-frame libraries is imported unless it is the caller's own.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from client.columns import Column, column_of, to_arrow, to_rows
from client.errors import Unsendable

Answer = dict[str, Any]
"""The columns of predictions: labels are a list of str, numbers an array ``[rows]``."""


class Given:
    """A table of a caller's.

    Args:
        table: what the caller has.
    """

    def __init__(self, table: Any) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def piece(self, start: int, stop: int) -> Given:
        """Some of its rows."""
        return type(self)(self.table[start:stop])

    def columns(self) -> dict[str, Column]:
        """Its columns."""
        raise NotImplementedError

    def rows(self) -> list[dict[str, Any]]:
        """Its rows, as JSON has them."""
        return to_rows(self.columns())

    def stream(self) -> bytes:
        """Itself as an Arrow stream."""
        return to_arrow(self.columns())

    def answered(self, answer: Answer) -> Any:
        """An answer, as a table of this family."""
        return {name: values if isinstance(values, list) else _short(values) for name, values in answer.items()}


class Columns(Given):
    """A dict of columns, each understood already. So is the answer, of lists."""

    def __init__(self, table: dict[str, Column]) -> None:
        super().__init__(table)
        lengths = {name: len(column) for name, column in table.items()}
        if len(set(lengths.values())) > 1:
            raise Unsendable(f"columns must be of one length, however: {lengths}")
        self._rows = next(iter(lengths.values()), 0)

    def __len__(self) -> int:
        return self._rows

    def piece(self, start: int, stop: int) -> Given:
        return Columns({name: column[start:stop] for name, column in self.table.items()})

    def columns(self) -> dict[str, Column]:
        columns: dict[str, Column] = self.table
        return columns


class Rows(Given):
    """A list of rows, each a dict. The answer is a prediction for each, as JSON has them."""

    def columns(self) -> dict[str, Column]:
        names = self.table[0].keys() if self.table else ()
        for i, row in enumerate(self.table):
            if row.keys() != names:
                raise Unsendable(
                    f"rows must have the keys of the first to be sent as Arrow, however: rows[{i}] has not"
                )
        return {name: column_of(name, [row[name] for row in self.table]) for name in names}

    def rows(self) -> list[dict[str, Any]]:
        if self.alike:
            return super().rows()
        return [row for i in range(len(self)) for row in Rows([self.table[i]]).rows()]

    @property
    def alike(self) -> bool:
        """Whether all rows have the same keys: then they are columns."""
        return len(set(map(frozenset, self.table))) <= 1

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

    def columns(self) -> dict[str, Column]:
        return {name: column_of(name, values) for name, values in self.table.to_dict(as_series=False).items()}

    def stream(self) -> bytes:
        out = io.BytesIO()
        self.table.write_ipc_stream(out, compression="uncompressed")
        return out.getvalue()

    def answered(self, answer: Answer) -> Any:
        return sys.modules["polars"].DataFrame(answer)


class Pandas(Given):
    """A pandas data frame. The answer has its index."""

    def piece(self, start: int, stop: int) -> Given:
        return Pandas(self.table.iloc[start:stop])

    def columns(self) -> dict[str, Column]:
        names = [str(name) for name in self.table.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Unsendable(f"column names must differ, however: {twice[0]!r} comes twice")
        return {name: column_of(name, _of_pandas(self.table.iloc[:, i])) for i, name in enumerate(names)}

    def answered(self, answer: Answer) -> Any:
        return sys.modules["pandas"].DataFrame(answer, index=self.table.index)


class PyArrow(Given):
    """A pyarrow table or record batch."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def piece(self, start: int, stop: int) -> Given:
        return PyArrow(self.table.slice(start, stop - start))

    def columns(self) -> dict[str, Column]:
        return {name: column_of(name, values) for name, values in self.table.to_pydict().items()}

    def stream(self) -> bytes:
        from pyarrow import ipc

        out = io.BytesIO()
        with ipc.new_stream(out, self.table.schema) as writer:
            writer.write(self.table)
        return out.getvalue()

    def answered(self, answer: Answer) -> Any:
        return sys.modules["pyarrow"].table(answer)


def given(table: Any) -> Given:
    """A caller's table.

    Raises:
        Unsendable: it is none.
    """
    family, name = type(table).__module__.partition(".")[0], type(table).__name__
    if family == "polars" and name == "LazyFrame":
        return Polars(table.collect())
    if (family, name) in _FAMILIES:
        return _FAMILIES[family, name](table)
    if isinstance(table, Mapping):
        return Columns({str(name): column_of(str(name), values) for name, values in table.items()})
    if isinstance(table, Sequence) and not isinstance(table, str) and all(isinstance(row, Mapping) for row in table):
        return Rows(table)
    raise Unsendable(
        "a table is a polars or pandas data frame, a pyarrow table, a dict of columns or a list of rows, "
        f"however: {type(table).__module__}.{type(table).__qualname__}"
    )


_FAMILIES: dict[tuple[str, str], type[Given]] = {
    ("polars", "DataFrame"): Polars,
    ("pandas", "DataFrame"): Pandas,
    ("pyarrow", "Table"): PyArrow,
    ("pyarrow", "RecordBatch"): PyArrow,
}


def _of_pandas(column: Any) -> Any:
    """A pandas column as NumPy has it, or as Python values with None where there is none."""
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufM":
        return column.to_numpy()
    objects = column.astype(object).to_numpy()
    return [None if gone else value for value, gone in zip(objects, column.isna().to_numpy(), strict=True)]


def _short(values: Any) -> list[Any]:
    """Numbers with as few digits as tell them apart: the float32 0.1 is 0.1, not 0.10000000149011612."""
    short: list[Any] = orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
    return short
