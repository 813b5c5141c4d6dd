"""Rows between JSON and the graph: the types pydantic holds them to, and the arrays the model runs on."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, FailFast, Field, Strict, with_config
from typing_extensions import TypedDict

from models.signature import Column, Signature

Row: TypeAlias = dict[str, Any]
"""A validated row: float, bool or None; str or None for a category; epoch microseconds for a timestamp."""


def row_type(signature: Signature) -> type[Any]:
    """The type of a row, for pydantic: strict values, null anywhere, and only nullable columns may be left out."""
    fields: dict[str, Any] = {}
    for column in signature.columns:
        value = value_type(column) | None
        fields[column.name] = NotRequired[value] if column.nullable else value
    row: Any = TypedDict("row", fields)  # type: ignore[misc]
    return with_config(ConfigDict(extra="forbid"))(row)


def body_type(row: type[Any]) -> type[Any]:
    """The type of a request's body, for pydantic. It stops at the first bad row: a wrong body may hold thousands."""
    fields: dict[str, Any] = {"rows": Annotated[list[row], Field(min_length=1), FailFast()]}  # type: ignore[valid-type]
    body: Any = TypedDict("body", fields)  # type: ignore[misc]
    return with_config(ConfigDict(extra="forbid"))(body)


def value_type(column: Column) -> Any:
    """The type of one value of a column, for pydantic."""
    if column.kind in {"number", "integer"}:
        return Annotated[float, Field(strict=True, allow_inf_nan=False)]
    if column.kind == "boolean":
        return Annotated[bool, Strict()]
    if column.whole_levels:
        whole = Annotated[float, Field(strict=True, allow_inf_nan=False)]
        return Annotated[Annotated[str, Strict()] | Annotated[int, Strict()] | whole, Field(union_mode="left_to_right")]
    return Annotated[str, Strict()]


def graph_inputs(signature: Signature, rows: list[Row]) -> dict[str, NDArray[Any]]:
    """Graph inputs ``[rows, 1]`` of validated rows, with each kind's own value for what is missing."""
    inputs: dict[str, NDArray[Any]] = {}
    for column in signature.columns:
        name = column.name
        if column.kind == "category":
            values = [row.get(name) or "" for row in rows]
        elif column.kind == "timestamp":
            values = [row[name] for row in rows]
        else:
            values = [row.get(name) for row in rows]  # as a double, None becomes NaN
        inputs[name] = np.array(values, dtype=column.dtype).reshape(-1, 1)
    return inputs
