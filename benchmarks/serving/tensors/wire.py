"""What each protocol puts on the wire for a table, and what it makes of an answer."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from benchmarks.serving.harness.contenders import V2, Answers
from benchmarks.serving.tensors.tables import Table, rows_of
from rowcast.loadtest.connection import Endpoint
from rowcast.models.signature import MISSING_STRING, MISSING_TIMESTAMP, Kind, Signature

INFER_PATH = "/v2/models/flights/infer"
ARROW_PATH = "/models/flights/predict"
ARROW_TYPE = "application/vnd.apache.arrow.stream"

_DATATYPES = {"f": "FP64", "i": "INT64", "O": "BYTES"}
_ARROW_TYPES: dict[Kind, Any] = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "category": pa.utf8(),
    "timestamp": pa.timestamp("us", "UTC"),
}
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Body:
    """A request without its address."""

    content: bytes
    headers: tuple[str, ...] = ()
    path: str = ""

    def post(self, endpoint: Endpoint) -> bytes:
        """The whole HTTP request."""
        lines = (
            f"POST {endpoint.prefix}{self.path} HTTP/1.1",
            f"Host: {endpoint.authority}",
            *self.headers,
            f"Content-Length: {len(self.content)}",
            "\r\n",
        )
        return "\r\n".join(lines).encode() + self.content


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way to ask for predictions.

    ``write`` takes the signature and a table; ``read`` an answer's body and the classes in order.
    """

    name: str
    title: str
    write: Callable[[Signature, Table], Body]
    read: Callable[[bytes, Sequence[str]], Answers]
    nulls: bool = True
    """Whether every server takes missing values in it."""
    grpc: bool = False


# ─── Open Inference ──────────────────────────────────────────────────────────────────────────────────────────────────


def _write_json(_: Signature, table: Table) -> Body:
    inputs = [{**_described(name, values), "data": values.ravel().tolist()} for name, values in table.items()]
    return Body(orjson.dumps({"inputs": inputs}), ("Content-Type: application/json",), INFER_PATH)


def _write_binary(_: Signature, table: Table) -> Body:
    raw = [_raw(values) for values in table.values()]
    inputs = [
        {**_described(name, values), "parameters": {"binary_data_size": len(data)}}
        for (name, values), data in zip(table.items(), raw, strict=True)
    ]
    head = orjson.dumps({"parameters": {"binary_data_output": True}, "inputs": inputs})
    headers = ("Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {len(head)}")
    return Body(head + b"".join(raw), headers, INFER_PATH)


def _read_binary(body: bytes, classes: Sequence[str]) -> Answers:
    head, _ = json.JSONDecoder().raw_decode(body.decode("latin-1"))  # a character a byte; the JSON is all ASCII
    sizes = [output["parameters"]["binary_data_size"] for output in head["outputs"]]
    at, raw = len(body) - sum(sizes), {}
    for output, size in zip(head["outputs"], sizes, strict=True):
        raw[output["name"]] = body[at : at + size]
        at += size
    return _answers(raw, classes)


def _write_grpc(_: Signature, table: Table) -> Body:
    asked = service_pb2.ModelInferRequest(model_name="flights")
    for name, values in table.items():
        asked.inputs.add(**_described(name, values))
        asked.raw_input_contents.append(_raw(values))
    return Body(asked.SerializeToString())


def _read_grpc(body: bytes, classes: Sequence[str]) -> Answers:
    answer = service_pb2.ModelInferResponse.FromString(body)
    names = [output.name for output in answer.outputs]
    return _answers(dict(zip(names, answer.raw_output_contents, strict=True)), classes)


def _described(name: str, values: NDArray[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": _DATATYPES[values.dtype.kind], "shape": list(values.shape)}


def _raw(values: NDArray[Any]) -> bytes:
    if values.dtype.kind != "O":
        return values.tobytes()
    texts = [text.encode() for text in values.ravel().tolist()]
    return b"".join(_LENGTH.pack(len(text)) + text for text in texts)


def _answers(raw: dict[str, bytes], classes: Sequence[str]) -> Answers:
    probabilities = np.frombuffer(raw["probabilities"], "<f4").reshape(-1, len(classes))
    labels, at = [], 0
    while at < len(raw["label"]):
        (size,) = _LENGTH.unpack_from(raw["label"], at)
        at += _LENGTH.size
        labels.append(raw["label"][at : at + size].decode())
        at += size
    return list(zip(labels, probabilities.tolist(), strict=True))


# ─── Arrow ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _write_arrow(signature: Signature, table: Table) -> Body:
    arrays = [_arrow_array(column.kind, table[column.name].ravel()) for column in signature.columns]
    sent = pa.table(dict(zip(signature.names, arrays, strict=True)))
    out = io.BytesIO()
    with pa.ipc.new_stream(out, sent.schema) as writer:
        writer.write_table(sent, max_chunksize=rows_of(table))
    return Body(out.getvalue(), (f"Content-Type: {ARROW_TYPE}",), ARROW_PATH)


def _arrow_array(kind: Kind, values: NDArray[Any]) -> Any:
    if kind == "category":
        return pa.array(values, pa.utf8(), mask=values == MISSING_STRING)
    missing = values == MISSING_TIMESTAMP if kind == "timestamp" else np.isnan(values)
    whole = values if kind == "number" else np.where(missing, 0, values).astype(np.int64)
    return pa.array(whole, mask=missing).cast(_ARROW_TYPES[kind])


def _read_arrow(body: bytes, classes: Sequence[str]) -> Answers:
    columns = pa.ipc.open_stream(body).read_all().to_pydict()
    probabilities = zip(*(columns[f"probability_{name}"] for name in classes), strict=True)
    return list(zip(columns["label"], map(list, probabilities), strict=True))


V2_JSON = Protocol("v2_json", "V2 JSON", _write_json, V2.read, nulls=False)
V2_BINARY = Protocol("v2_binary", "V2 binary", _write_binary, _read_binary)
GRPC = Protocol("grpc", "gRPC", _write_grpc, _read_grpc, grpc=True)
ARROW = Protocol("arrow", "Arrow", _write_arrow, _read_arrow)
PROTOCOLS = (V2_JSON, V2_BINARY, GRPC, ARROW)
