"""What every Open Inference request is held to, over HTTP and over gRPC alike, and the words of a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rowcast.models.errors import Fault, RequestError
from rowcast.service.columns.tensor_bytes import DATATYPES, DTYPES
from rowcast.service.errors import SHOWN, brief, too_many_rows

UNABLE = ("classification", "shared_memory_region")
"""Parameters of an output that are refused."""
NO_SHARED_MEMORY = "is not supported: send the data"
NOT_SUPPORTED = "is not supported: leave it out"

MICROSECONDS = 1_000_000
SLACK = 1000
"""Values, lists and objects a request may have beyond what its tensors need, so that a small muddle is explained."""


class Limits(NamedTuple):
    """What a request's parameters say about when it wants to be answered."""

    timeout: float | None = None
    """Seconds from its coming until its answer is of no use; None when it waits for as long as it takes."""
    priority: int = 0
    """1 is the highest; 0 is none in particular."""

    def deadline(self, since: float) -> float | None:
        """By when it has to be answered, on the clock that ``since``, its coming, was read off."""
        return None if self.timeout is None else since + self.timeout


class ValueCount:
    """Counts the values that the shapes of a request's tensors announce, before any of them is made.

    Args:
        max_rows: rows a request may hold.
        max_values: values that all of its tensors may hold together.
    """

    def __init__(self, max_rows: int, max_values: int) -> None:
        self._max_rows = max_rows
        self._left = max_values

    def add(self, rows: int) -> None:
        """Count a tensor of so many rows.

        Raises:
            RequestError: 413 for too many rows, or too many values.
        """
        if rows > self._max_rows:
            raise too_many_rows(rows, self._max_rows)
        self._left -= rows
        if self._left < 0:
            raise too_many_values()


def too_many_values() -> RequestError:
    """The refusal of a request that holds far more values than its model's columns take."""
    return RequestError(
        "a request must not hold more rows than ROWCAST_MAX_ROWS, got far more values than those; "
        "send them in several requests",
        status=413,
    )


def limits_of(timeout: Any, priority: Any) -> tuple[Limits, list[Fault]]:
    """The limits that the parameters ``timeout`` (microseconds; 0 is none) and ``priority`` set, and what is wrong.

    Either is None when the request does not have it.
    """
    faults = []
    for name, value in (("timeout", timeout), ("priority", priority)):
        if value is not None and not (type(value) is int and 0 <= value < 2**63):
            message = f"must be a whole number, 0 or more, got {brief(value)}"
            faults.append(Fault(f"parameters.{name}", message))
    if faults:
        return Limits(), faults
    return Limits(timeout / MICROSECONDS if timeout else None, priority or 0), []


def is_shape(shape: Any) -> bool:
    """Whether this is the shape of a column."""
    if type(shape) is not list or not 1 <= len(shape) <= 2 or type(shape[0]) is not int or shape[0] < 1:
        return False
    return len(shape) == 1 or (type(shape[1]) is int and shape[1] == 1)


def no_shape(shape: Any) -> str:
    """Of a shape that is none of a column."""
    text = str(shape) if type(shape) is list and all(type(size) is int for size in shape) else brief(shape)
    came = text if len(text) <= SHOWN else text[:SHOWN] + "..."
    return f"must be [rows] or [rows, 1] with at least one row, got {came}"


def no_shape_of(sizes: int) -> str:
    """Of a shape that has so many sizes."""
    return f"must be [rows] or [rows, 1] with at least one row, got {sizes:,} sizes"


def no_datatype(datatype: Any) -> str:
    """Of a datatype that there is not."""
    return f"must be one of {', '.join(DATATYPES)}, got {brief(datatype)}"


def no_output(name: Any, outputs: tuple[str, ...]) -> str:
    """Of an output that the model does not have."""
    return f"must be one of {', '.join(outputs)}, got {brief(name)}"


def output_twice(name: str) -> str:
    """Of an output that is asked for again."""
    return f"must not appear more than once, got {brief(name)}"


def out_of_range(where: str, datatype: str, numbers: list[int]) -> Iterator[Fault]:
    """The faults of whole numbers, some of which their own datatype cannot hold."""
    bounds = np.iinfo(DTYPES[datatype])
    for row, value in enumerate(numbers):
        if not bounds.min <= value <= bounds.max:
            expected = f"must be from {bounds.min} to {bounds.max} as the datatype {datatype} says"
            yield Fault(f"{where}[{row}]", f"{expected}, got {value}")
