"""Rows between JSON and the graph: the types pydantic holds them to, and the arrays the model runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Annotated, Any, NotRequired, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, FailFast, Field, Strict, with_config
from typing_extensions import TypedDict

from models.signature import MISSING_STRING, Column, Signature
from models.texts.columns import text_reader
from models.values import EXACT_WHOLE

_KINDS = ("number", "integer", "boolean", "category", "timestamp")

Row: TypeAlias = dict[str, Any]
"""A validated row: float, bool or None; str or None for a category; epoch microseconds for a timestamp."""


def row_type(signature: Signature, *, exact_only: bool = False) -> type[Any]:
    """The type of a row, for pydantic: strict values, null anywhere, and only nullable columns may be left out.

    Args:
        signature: the model's.
        exact_only: take no number that could come of a whole number which a double cannot hold.
    """
    fields: dict[str, Any] = {}
    for column in signature.columns:
        value = value_type(column, exact_only=exact_only) | None
        fields[column.name] = NotRequired[value] if column.nullable else value
    row: Any = TypedDict("row", fields)  # type: ignore[misc]
    return with_config(ConfigDict(extra="forbid"))(row)


def body_type(row: type[Any]) -> type[Any]:
    """The type of a request's body, for pydantic. It stops at the first bad row: a wrong body may hold thousands."""
    fields: dict[str, Any] = {"rows": Annotated[list[row], Field(min_length=1), FailFast()]}  # type: ignore[valid-type]
    body: Any = TypedDict("body", fields)  # type: ignore[misc]
    return with_config(ConfigDict(extra="forbid"))(body)


def value_type(column: Column, *, exact_only: bool = False) -> Any:
    """The type of one value of a column, for pydantic."""
    text = Annotated[str, Strict()]
    finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
    if column.kind in {"number", "integer"}:
        exact = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=-EXACT_WHOLE, lt=EXACT_WHOLE)]
        number = exact if exact_only else finite
        return number if text_reader(column) is None else _either(number, text)
    if column.kind == "boolean":
        boolean, reader = Annotated[bool, Strict()], text_reader(column)
        if reader is not None and reader.takes_digits:
            return _either(boolean, text, Annotated[int, Strict()], finite)
        return boolean if reader is None else _either(boolean, text)
    if (reader := text_reader(column)) is not None and reader.takes_digits:
        return _either(text, Annotated[int, Strict()], finite)
    if column.levels_of in {"whole", "number"}:
        return _either(text, Annotated[int, Strict()], finite)
    return _either(text, Annotated[bool, Strict()]) if column.levels_of == "boolean" else text


def _either(*types: Any) -> Any:
    return Annotated[Union[types], Field(union_mode="left_to_right")]  # noqa: UP007 - of a tuple


class Layout:
    """Which columns lie together: those of a dtype are lines of one array ``[columns, rows, 1]``, a *block*.

    With one row, an array for each of twenty columns takes longer than decoding the request; and requests that share a
    run are joined block by block.
    """

    def __init__(self, signature: Signature) -> None:
        kinds = sorted(signature.columns, key=lambda column: _KINDS.index(column.kind))
        self.blocks = [[c for c in kinds if c.dtype == dtype] for dtype in dict.fromkeys(c.dtype for c in kinds)]
        """The columns of each block; those of a kind are neighbours."""
        self._names = [[column.name for column in block] for block in self.blocks]

    def inputs(self, blocks: Iterable[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The graph's inputs: each column ``[rows, 1]`` by its name, a view into its block."""
        inputs: dict[str, NDArray[Any]] = {}
        for names, block in zip(self._names, blocks, strict=True):
            inputs.update(zip(names, block, strict=True))
        return inputs


class GraphInputs:
    """Turns validated rows into what the graph takes: for each column an array ``[rows, 1]`` of its dtype."""

    def __init__(self, signature: Signature) -> None:
        self.layout = Layout(signature)
        self._blocks = [_Block(columns) for columns in self.layout.blocks]

    def __call__(self, rows: list[Row]) -> dict[str, NDArray[Any]]:
        """The graph's inputs, with each kind's own value for what is missing."""
        return self.layout.inputs(self.blocks(rows))

    def blocks(self, rows: list[Row]) -> list[NDArray[Any]]:
        """The same, as blocks."""
        return [block.lines(rows) for block in self._blocks]


class _Block:
    """The columns of one dtype."""

    def __init__(self, columns: list[Column]) -> None:
        self._names = [column.name for column in columns]
        self._dtype = columns[0].dtype
        self._text = columns[0].kind == "category"
        self._values = values_of(self._names)

    def lines(self, rows: list[Row]) -> NDArray[Any]:
        """``[columns, rows, 1]``, each column's part in one piece."""
        if self._text:
            texts = [[row.get(name) or MISSING_STRING for row in rows] for name in self._names]
            return np.array(texts, self._dtype)[:, :, None]
        try:
            values = [self._values(row) for row in rows]
        except KeyError:  # nullable columns may be left out
            values = [tuple(map(row.get, self._names)) for row in rows]
        # as a double, None becomes NaN
        return np.ascontiguousarray(np.array(values, self._dtype).T)[:, :, None]


def values_of(names: list[str]) -> Callable[[Row], tuple[Any, ...]]:
    """What takes the values of these columns out of a row; it raises KeyError where one is left out."""
    if len(names) > 1:
        return itemgetter(*names)
    if not names:
        return lambda row: ()
    only = names[0]
    return lambda row: (row[only],)  # an itemgetter of one gives no tuple
