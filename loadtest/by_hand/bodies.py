"""What each protocol sends for some rows, and whether an answer is one to them.

``rows`` is looked at whole, as in a check; of the others, that they answer as many rows with the model that was asked.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from rowcast.loadtest.served import ServedModel
from rowcast.models.arrow import END, MEDIA_TYPE, Malformed, Stream, head_of, metadata_of
from rowcast.models.arrow import types as arrow_types
from rowcast.models.arrow import writer as arrow
from rowcast.models.errors import ConfigError
from rowcast.models.kinds import KINDS
from rowcast.models.signature import Column, JsonValue

Row = dict[str, JsonValue]
PROTOCOLS = ("rows", "v2", "grpc", "arrow")
INFER = "/inference.GRPCInferenceService/ModelInfer"
_DATATYPES = {"f": "FP64", "i": "INT64", "O": "BYTES"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    path: str
    headers: dict[str, str]
    body: bytes
    fault: Callable[[bytes], str | None]
    """What is wrong with the body of a good answer; None where nothing is."""


def asked(protocol: str, served: ServedModel, rows: Sequence[Row]) -> Asked:
    """The request for some rows.

    Args:
        protocol: of :data:`PROTOCOLS`.
        served: the model.
        rows: as JSON has them, each with every column.

    Raises:
        ConfigError: there is no such protocol.
    """
    makers = {"rows": _rows, "v2": _v2, "grpc": _grpc, "arrow": _arrow}
    if protocol not in makers:
        raise ConfigError(f"--protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    return makers[protocol](served, rows)


def _rows(served: ServedModel, rows: Sequence[Row]) -> Asked:
    body = orjson.dumps({"rows": rows})
    return Asked(
        served.predict_path, {"Content-Type": "application/json"}, body, lambda got: served.fault(got, len(rows))
    )


def _v2(served: ServedModel, rows: Sequence[Row]) -> Asked:
    inputs = [
        {"name": column.name, "shape": [len(rows), 1], "datatype": _DATATYPES[column.dtype.kind], "data": data}
        for column, data in ((column, _elements(column, rows)) for column in served.signature.columns)
    ]

    def fault(got: bytes) -> str | None:
        try:
            answer = orjson.loads(got)
            came = f"{answer['model_name']}:{answer['model_version']}"
            return _other(served, came) or _fewer(len(rows), answer["outputs"][0]["shape"][0])
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
            return "the answer is none of Open Inference"

    return Asked(served.infer_path, {"Content-Type": "application/json"}, orjson.dumps({"inputs": inputs}), fault)


def _arrow(served: ServedModel, rows: Sequence[Row]) -> Asked:
    columns = [_arrow_column(column, _elements(column, rows)) for column in served.signature.columns]
    names = [column.name for column in served.signature.columns]
    head = arrow.schema([(name, kind) for name, (kind, _) in zip(names, columns, strict=True)])
    body = b"".join([head, *arrow.batch(len(rows), [written for _, written in columns]), END])

    def fault(got: bytes) -> str | None:
        try:
            told = metadata_of(head_of(got))
            came = f"{told['rowcast.model']}:{told['rowcast.version']}"
            return _other(served, came) or _fewer(len(rows), sum(batch.rows for batch in Stream(got).batches()))
        except KeyError:
            return "the answer's schema does not name the model"
        except Malformed as error:
            return f"the answer is no Arrow stream: {error}"

    return Asked(served.predict_path, {"Content-Type": MEDIA_TYPE}, body, fault)


def _grpc(served: ServedModel, rows: Sequence[Row]) -> Asked:
    message = b"".join(_bytes_field(n, text.encode()) for n, text in enumerate(served.model_field, 1) if text)
    raws = []
    for column in served.signature.columns:
        kind = column.dtype.kind
        shape = _bytes_field(3, _varint(len(rows)) + _varint(1))
        tensor = _bytes_field(1, column.name.encode()) + _bytes_field(2, _DATATYPES[kind].encode()) + shape
        message += _bytes_field(5, tensor)
        values = [column.missing if value is None else value for value in _elements(column, rows)]
        if kind == "O":
            texts = [str(value).encode() for value in values]
            raws.append(b"".join(struct.pack("<I", len(text)) + text for text in texts))
        else:
            raws.append(np.array(values, column.dtype).tobytes())
    message += b"".join(_bytes_field(7, raw) for raw in raws)

    def fault(got: bytes) -> str | None:
        try:
            fields = list(_fields(got))
            name, version = (next(bytes(v).decode() for n, v in fields if n == number) for number in (1, 2))
            first = next(bytes(value) for number, value in fields if number == 5)
            shape = next(bytes(value) for number, value in _fields(first) if number == 3)
            return _other(served, f"{name}:{version}") or _fewer(len(rows), _read_varint(shape, 0)[0])
        except (StopIteration, RuntimeError, IndexError, ValueError):
            return "the answer is none of Open Inference"

    return Asked(INFER, {}, message, fault)


def _elements(column: Column, rows: Sequence[Row]) -> list[Any]:
    """A column's values as the graph has them, None where there is null."""
    taken = KINDS[column.kind].taken
    values = (row[column.name] for row in rows)
    found = [None if value is None else taken(value) for value in values]
    return [value if value is None else str(value) for value in found] if column.dtype.kind == "O" else found


def _arrow_column(column: Column, elements: list[Any]) -> tuple[arrow_types.Kind, arrow.Written]:
    if column.dtype.kind == "O":
        return arrow_types.UTF8, arrow.column(arrow_types.UTF8, elements)
    missing = np.array([value is None for value in elements], bool)
    filled = [0 if value is None else value for value in elements]
    if column.kind == "boolean":
        return arrow_types.BOOL, arrow.column(arrow_types.BOOL, np.array(filled, bool), missing)
    if column.kind == "timestamp":
        return arrow_types.MICROS, arrow.column(arrow_types.MICROS, np.array(filled, np.int64), missing)
    return arrow_types.FLOAT64, arrow.column(arrow_types.FLOAT64, np.array(filled, np.float64), missing)


def _other(served: ServedModel, came: str) -> str | None:
    expected = f"{served.name}:{served.version}"
    return None if came == expected else f"the answer comes from {came}, while the load began with {expected}"


def _fewer(rows: int, answered: int) -> str | None:
    return None if answered == rows else f"{rows} rows were sent and {answered} predictions came back"


# Protocol buffers, as much of them as the messages above take: https://protobuf.dev/programming-guides/encoding/


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes_field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that are bytes; raises ValueError or IndexError where it is none."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        if tag & 7 == 2:
            length, at = _read_varint(data, at)
            yield tag >> 3, data[at : at + length]
            at += length
        elif tag & 7 == 0:
            _, at = _read_varint(data, at)
        else:
            raise ValueError("a field of another kind")
