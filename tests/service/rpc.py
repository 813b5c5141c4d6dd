"""Open Inference over gRPC for the model of ``tests/support/handmade.py``, spoken with nothing but the messages."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np

from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.models.values import parse_timestamp
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES, RESPONSE_CLASSES, SERVICE
from tests.service.hostile_payloads import ROW
from tests.service.open_inference import raw_texts

INFER = "ModelInfer"
DATATYPES = {"distance": "FP64", "stops": "FP64", "night": "FP64", "carrier": "BYTES", "departs": "INT64"}
CONTENTS = {"FP64": "fp64_contents", "INT64": "int64_contents", "BYTES": "bytes_contents"}


def message(*rows: dict[str, Any], raw: bool = True, **more: Any) -> Any:
    """The request of some rows: in raw bytes, or else in the fields of the datatypes."""
    data: list[Any]
    asked = REQUEST_CLASSES[INFER](**{"model_name": "flights", **more})
    for name, datatype in DATATYPES.items():
        entry = asked.inputs.add(name=name, datatype=datatype, shape=[len(rows), 1])
        values = [row.get(name) for row in rows]
        if datatype == "FP64":
            data = [np.nan if value is None else float(value) for value in values]
            content = np.array(data, "<f8").tobytes()
        elif datatype == "INT64":
            data = [MISSING_TIMESTAMP if value is None else parse_timestamp(value) for value in values]
            content = np.array(data, "<i8").tobytes()
        else:
            data = [("" if value is None else str(value)).encode() for value in values]
            content = raw_texts(*data)
        if raw:
            asked.raw_input_contents.append(content)
        else:
            getattr(entry.contents, CONTENTS[datatype]).extend(data)
    return asked


def good(raw: bool = True) -> Any:
    """A new good request of two rows."""
    return message(ROW, ROW, raw=raw)


class Caller:
    """Asks on one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    def method(self, name: str) -> Any:
        """A method that takes a message, or bytes as they are."""
        return self.channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=lambda sent: sent if isinstance(sent, bytes) else sent.SerializeToString(),
            response_deserializer=RESPONSE_CLASSES[name].FromString,
        )

    def ask(self, method: str, sent: Any = None, /, **fields: Any) -> Any:
        """An answer."""
        return self.method(method)(REQUEST_CLASSES[method](**fields) if sent is None else sent, timeout=30)

    def infer(self, sent: Any) -> Any:
        return self.ask(INFER, sent)

    def refusal(self, sent: Any, method: str = INFER, **options: Any) -> tuple[grpc.StatusCode, str]:
        """The code and the words of a refusal."""
        try:
            answer = self.method(method)(sent, **{"timeout": 30, **options})
        except grpc.RpcError as error:
            return error.code(), error.details()
        raise AssertionError(f"answered with {answer}")


@contextmanager
def calling(port: int, options: tuple[tuple[str, Any], ...] = ()) -> Iterator[Caller]:
    """A caller on a connection of its own."""
    own = ("grpc.use_local_subchannel_pool", 1)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=(own, *options)) as channel:
        yield Caller(channel)


def outputs(answer: Any) -> dict[str, list[Any]]:
    """The values of an answer, row by row."""
    values: dict[str, list[Any]] = {}
    for i, output in enumerate(answer.outputs):
        if output.datatype == "BYTES":
            if answer.raw_output_contents:
                texts = list(texts_of(answer.raw_output_contents[i]))
            else:
                texts = list(output.contents.bytes_contents)
            values[output.name] = [text.decode() for text in texts]
        else:
            dtype = {"FP32": "<f4", "FP64": "<f8"}[output.datatype]
            if answer.raw_output_contents:
                numbers = np.frombuffer(answer.raw_output_contents[i], dtype)
            else:
                numbers = np.array(getattr(output.contents, f"{output.datatype.lower()}_contents"), dtype)
            values[output.name] = numbers.reshape(tuple(output.shape)).tolist()
    return values


def texts_of(raw: bytes) -> Iterator[bytes]:
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        yield raw[4 : 4 + size]
        raw = raw[4 + size :]
