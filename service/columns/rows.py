"""Rows between JSON and the graph: the types pydantic holds them to, and the arrays the model runs on."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Annotated, Any, NotRequired, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, FailFast, Field, Strict, with_config
from typing_extensions import TypedDict

from rowcast.models.signature import MISSING_STRING, Column, Signature
from rowcast.models.values import EXACT_WHOLE
from rowcast.service.columns.blocks import Layout
from rowcast.service.columns.kinds.rules import RULES, json_types

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
    types = json_types(column)
    finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
    if column.dtype == np.float64 and float in RULES[column.kind].json_types:
        exact = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=-EXACT_WHOLE, lt=EXACT_WHOLE)]
        options = [exact if exact_only else finite, *([_TEXT] if str in types else [])]
    else:
        options = [strict for type_, strict in _STRICT.items() if type_ in types]
        if int in types:  # 3.0 is a whole number as well
            options.append(finite)
    return options[0] if len(options) == 1 else Annotated[Union[tuple(options)], Field(union_mode="left_to_right")]  # noqa: UP007 - of a tuple


_TEXT = Annotated[str, Strict()]
_STRICT: dict[type, Any] = {bool: Annotated[bool, Strict()], str: _TEXT, int: Annotated[int, Strict()]}


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
        self._text = columns[0].dtype == object
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
