"""Open Inference tensors whose data stands in JSON, flat or nested; null is missing, whatever the datatype."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import Fault
from rowcast.service.columns.tensor_bytes import DTYPES
from rowcast.service.errors import BEYOND, SHOWN, Beyond, brief
from rowcast.service.json_text.exactness import repeated, whole
from rowcast.service.json_text.long_text import LongJson
from rowcast.service.limits.weigh import without_long_texts
from rowcast.service.protocols.v2.rules import out_of_range

_NULL = type(None)
_TYPES: dict[str, frozenset[type]] = {
    "B": frozenset({str}),
    "b": frozenset({bool}),
    "f": frozenset({int, float}),
    "i": frozenset({int}),
    "u": frozenset({int}),
}
_WORDS = {"B": "a string", "b": "true or false", "f": "a number", "i": "a whole number", "u": "a whole number"}

Values = tuple[NDArray[Any] | list[Any], NDArray[np.bool_] | None]
"""What a tensor holds, and where it is null, as :class:`rowcast.service.columns.tensors.Tensor` has them."""


class DataFaults(Exception):
    """Data that is not what the tensor's datatype and shape say. Its faults come one by one."""

    def __init__(self, faults: Iterator[Fault]) -> None:
        self.faults = faults


def from_json(where: str, datatype: str, shape: list[int], data: list[Any]) -> Values:
    """The values of a tensor.

    Args:
        where: the place of its data.
        datatype: one of those that there are.
        shape: ``[rows]`` or ``[rows, 1]``.
        data: as it was parsed.

    Raises:
        DataFaults: they are not of this datatype, or more or fewer than the shape says.
    """
    types = set(map(type, data))
    if list in types:
        if len(shape) != 2 or not all(type(value) is list and len(value) == 1 for value in data):
            raise _one(where, f"must be flat, or nested as the shape says: {shape}")
        data = [value for (value,) in data]
        types = set(map(type, data))
    if len(data) != shape[0]:
        raise _one(where, f"must hold {shape[0]:,} values as the shape says, got {len(data):,}")
    dtype = DTYPES.get(datatype)
    kind = "B" if dtype is None else dtype.kind
    if not types <= _TYPES[kind] | {_NULL}:
        raise DataFaults(_of_another_type(where, datatype, kind, data))
    if dtype is None:
        return data, None
    if kind == "f":
        with np.errstate(over="ignore"):  # what FP16 or FP32 cannot hold is Infinity, and refused where it stands
            return np.array(data, dtype), None
    missing = np.array([value is None for value in data]) if _NULL in types else None
    numbers = data if missing is None else [value or 0 for value in data]
    try:
        return np.array(numbers, dtype), missing
    except OverflowError:
        raise DataFaults(out_of_range(where, datatype, numbers)) from None


def _one(where: str, message: str) -> DataFaults:
    return DataFaults(iter([Fault(where, message)]))


def _of_another_type(where: str, datatype: str, kind: str, data: list[Any]) -> Iterator[Fault]:
    for row, value in enumerate(data):
        if value is not None and type(value) not in _TYPES[kind]:
            expected = f"must be {_WORDS[kind]} as the datatype {datatype} says, or null"
            yield Fault(f"{where}[{row}]", f"{expected}, got {brief(value)}")


def inexact(text: bytes) -> Iterator[Fault]:
    """Faults of a request that is good otherwise, which only its text shows.

    The parser keeps the last of two equal keys, and rounds a whole number beyond 64 bits to a double.
    """
    content = json.loads(text, object_pairs_hook=_Object, parse_int=whole)
    for path, found in _objects("", content):
        yield from (Fault(path, f"{brief(name)} appears more than once") for name in found.repeated)
    for i, entry in enumerate(content["inputs"]):
        if entry["datatype"].startswith("FP"):
            yield from _rounded(f"inputs[{i}].data", entry.get("data") or ())


def inexact_long(long: LongJson, content: dict[str, Any]) -> Iterator[Fault | None]:
    """The same of a long text, and None for a pause.

    Args:
        long: the text.
        content: what it was parsed as.
    """
    around = json.loads((yield from without_long_texts(long.frame)), object_pairs_hook=_Object, parse_int=whole)
    for path, found in _objects("", around):
        yield from (Fault(path, f"{brief(name)} appears more than once") for name in found.repeated)
    for i, (entry, short) in enumerate(zip(content["inputs"], around["inputs"], strict=True)):
        if entry["datatype"].startswith("FP"):
            parts = long.parts(entry.get("data"))
            left = short.get("data") or ()
            row = 0
            if parts is not None:
                for part in parts:
                    values = json.loads(part, parse_int=whole)
                    yield from _rounded(f"inputs[{i}].data", values, row)
                    yield None
                    row += len(values)
                left = left[1:]  # behind the mark of what was taken out
            yield from _rounded(f"inputs[{i}].data", left, row)


def _rounded(where: str, values: Iterable[Any], first: int = 0) -> Iterator[Fault]:
    """The numbers of some data that a double may not hold."""
    for row, value in enumerate(values, first):
        number = value[0] if isinstance(value, list) else value
        if isinstance(number, Beyond):
            yield Fault(f"{where}[{row}]", f"{BEYOND}, got {brief(number)}")


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys came more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated = repeated(pairs)


def _objects(path: str, content: Any) -> Iterator[tuple[str, _Object]]:
    if isinstance(content, _Object):
        yield path, content
        for key, value in content.items():
            if key != "data":
                yield from _objects(f"{path}.{key[:SHOWN]}".lstrip("."), value)
    elif isinstance(content, list):
        for i, value in enumerate(content):
            yield from _objects(f"{path}[{i}]", value)
