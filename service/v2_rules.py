"""What every Open Inference request is held to, over HTTP and over gRPC alike, and the words of a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from models.errors import Fault
from service.faults import SHOWN, brief
from service.v2_binary import DATATYPES, DTYPES

UNABLE = ("classification", "shared_memory_region")
"""Parameters of an output that are refused."""
NO_SHARED_MEMORY = "is not supported: send the data"
NOT_SUPPORTED = "is not supported: leave it out"


def is_shape(shape: Any) -> bool:
    """Whether this is the shape of a column."""
    if type(shape) is not list or not 1 <= len(shape) <= 2 or type(shape[0]) is not int or shape[0] < 1:
        return False
    return len(shape) == 1 or (type(shape[1]) is int and shape[1] == 1)


def no_shape(shape: Any) -> str:
    """Of a shape that is none of a column."""
    text = str(shape) if type(shape) is list and all(type(size) is int for size in shape) else brief(shape)
    came = text if len(text) <= SHOWN else text[:SHOWN] + "..."
    return f"must be [rows] or [rows, 1] with at least one row, however: {came}"


def no_datatype(datatype: Any) -> str:
    """Of a datatype that there is not."""
    return f"must be one of {', '.join(DATATYPES)}, however: {brief(datatype)}"


def no_output(name: Any, outputs: tuple[str, ...]) -> str:
    """Of an output that the model does not have."""
    return f"must be one of {', '.join(outputs)}, however: {brief(name)}"


def output_twice(name: str) -> str:
    """Of an output that is asked for again."""
    return f"must not appear more than once, however: {brief(name)}"


def out_of_range(where: str, datatype: str, numbers: list[int]) -> Iterator[Fault]:
    """The faults of whole numbers, some of which their own datatype cannot hold."""
    bounds = np.iinfo(DTYPES[datatype])
    for row, value in enumerate(numbers):
        if not bounds.min <= value <= bounds.max:
            expected = f"must be from {bounds.min} to {bounds.max} as the datatype {datatype} says"
            yield Fault(f"{where}[{row}]", f"{expected}, however: {value}")
