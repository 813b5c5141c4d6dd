"""What an open protocol sends: named arrays; and what is wrong with them, at places that the protocol names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import Fault, RequestError
from rowcast.service.errors import SHOWN


class Tensor(NamedTuple):
    """A named array of a request."""

    name: str
    values: NDArray[Any] | list[Any]
    """``[rows]`` or ``[rows, 1]``: floats, integers, booleans or text. Text may be a list, of str, bytes or None."""
    missing: NDArray[np.bool_] | None = None
    """``[rows]``: where there is null."""

    def part(self, start: int, stop: int) -> Tensor:
        """These of its rows."""
        missing = None if self.missing is None else self.missing[start:stop]
        return Tensor(self.name, self.values[start:stop], missing)


def rows_of(tensor: Tensor) -> int | None:
    """Rows of a tensor; None when its shape is none of a column."""
    values = tensor.values
    if isinstance(values, list):
        return len(values)
    shape = values.shape
    return shape[0] if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1) else None


def kind_of(values: NDArray[Any] | list[Any]) -> str:
    """NumPy's letter for the kind of values."""
    return "O" if isinstance(values, list) else values.dtype.kind


class ErrorPaths:
    """How a protocol names the places of its tensors. This is how Open Inference does."""

    whole = "inputs"
    """All of them together."""

    def tensor(self, i: int) -> str:
        """The tensor at place ``i`` of the request."""
        return f"inputs[{i}]"

    def element(self, i: int, row: int) -> str:
        """A row of it."""
        return f"inputs[{i}].data[{row}]"


OPEN_INFERENCE = ErrorPaths()


class FaultCollector:
    """Collects what is wrong with the values of tensors."""

    def __init__(self, places: ErrorPaths) -> None:
        self.faults: list[Fault] = []
        self.first_row = 0
        """Of the request, which is the first of the tensors at hand: they may be a part of it."""
        self._places = places

    def of_type(self, i: int, tensor: Tensor, wanted: str) -> None:
        """The tensor at place ``i`` is of a type that its column does not take."""
        came = _CAME.get(kind_of(tensor.values), "another type")
        fault = Fault(self._places.tensor(i), f"{tensor.name[:SHOWN]} must be {wanted}, got {came}")
        if fault not in self.faults:  # of a part before this one
            self.faults.append(fault)

    def of_rows(self, i: int, bad: NDArray[np.bool_], message: Callable[[int], str]) -> None:
        """Some of its rows are wrong."""
        room = max(0, RequestError.MAX_FAULTS - len(self.faults))
        for row in np.flatnonzero(bad)[:room].tolist():
            self.faults.append(Fault(self._places.element(i, self.first_row + row), message(row)))


_CAME = {"f": "floats", "i": "integers", "u": "integers", "b": "booleans", "O": "text", "U": "text", "S": "text"}
