"""The same rows as JSON sends them and as tensors do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.signature import Column, Signature
from rowcast.service.columns.tensors import Tensor


def tensor(column: Column, values: list[Any]) -> Tensor:
    """JSON values of a column as a tensor, with a mask where some are null."""
    missing = np.array([value is None for value in values])
    mask = missing if missing.any() else None
    if column.kind in {"category", "timestamp"}:
        return Tensor(column.name, ["" if value is None else str(value).encode() for value in values], mask)
    return Tensor(column.name, numbers(values), mask)


def numbers(values: list[Any]) -> NDArray[np.float64]:
    """JSON numbers and booleans as doubles; what stands for null is not to be looked at."""
    return np.array([np.inf if value is None else value for value in values], np.float64)


def tensors(signature: Signature, rows: list[dict[str, Any]]) -> list[Tensor]:
    """JSON rows as a tensor a column."""
    return [tensor(column, [row.get(column.name) for row in rows]) for column in signature.columns]
