"""From predictions to an Open Inference answer over gRPC: in raw bytes, or in the fields of their datatypes."""

from __future__ import annotations

from typing import Any

from rowcast.models.session import Predictions
from rowcast.models.signature import Signature
from rowcast.service.columns.tensor_bytes import TextsToRaw, array_to_raw
from rowcast.service.engine.queue import QueuedRequest
from rowcast.service.http.options import server_timing
from rowcast.service.protocols.grpc.messages import RESPONSE_CLASSES
from rowcast.service.protocols.v2.metadata import output_datatype, width

_Message = RESPONSE_CLASSES["ModelInfer"]
_CONTENTS = {"BYTES": "bytes_contents", "FP32": "fp32_contents", "FP64": "fp64_contents"}


class AnswerWriter:
    """Writes the answers of one model."""

    def __init__(self, name: str, version: int, signature: Signature) -> None:
        self._head = {"model_name": name, "model_version": str(version)}
        self._described = {output: (output_datatype(output), width(signature, output)) for output in signature.outputs}
        self._labels = TextsToRaw(signature.classes)
        self._texts = {label: label.encode() for label in signature.classes}

    def write(self, predictions: Predictions, request_id: str, outputs: list[str], *, raw: bool) -> bytes:
        """The answer to a request.

        Args:
            predictions: of its rows.
            request_id: is sent back.
            outputs: what is wanted, in this order.
            raw: whether it is wanted in raw bytes.
        """
        message = _Message(**self._head, id=request_id)
        for name in outputs:
            datatype, columns = self._described[name]
            output = message.outputs.add(name=name, datatype=datatype, shape=(len(predictions), columns))
            values: Any = predictions.labels if name == "label" else getattr(predictions, name)
            if raw:
                content = self._labels(values) if name == "label" else array_to_raw(values)
                message.raw_output_contents.append(content)
            else:
                flat = map(self._texts.__getitem__, values) if name == "label" else values.reshape(-1).tolist()
                getattr(output.contents, _CONTENTS[datatype]).extend(flat)
        body: bytes = message.SerializeToString()
        return body


def times(waiting: QueuedRequest) -> bytes:
    """A parameter ``server-timing`` that follows an answer: how long its rows were queued and run.

    A message is its fields, in any order: so it need not be known before the rest is written.
    """
    name, value = server_timing(waiting.queue_seconds, waiting.compute_seconds)
    message = _Message()
    message.parameters[name.decode()].string_param = value.decode()
    parameter: bytes = message.SerializeToString()
    return parameter
