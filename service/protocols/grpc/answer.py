"""From predictions to an Open Inference answer over gRPC: in raw bytes, or in the fields of their datatypes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from models.session import Predictions
from models.signature import Signature
from service.cache import BoundedCache
from service.columns.tensor_bytes import TextsToRaw, array_to_raw
from service.engine.queue import QueuedRequest
from service.http.options import server_timing
from service.protocols.grpc.heads import varint
from service.protocols.grpc.messages import RESPONSE_CLASSES
from service.protocols.v2.metadata import output_datatype, width

_Message = RESPONSE_CLASSES["ModelInfer"]
_RAW_CONTENTS = b"\x32"
"""The tag of ``raw_output_contents``: field 6, in bytes."""
_MAX_HEADS = 256
"""Answers whose part before the values is kept."""
_CONTENTS = {"BYTES": "bytes_contents", "FP32": "fp32_contents", "FP64": "fp64_contents"}


class AnswerWriter:
    """Writes the answers of one model."""

    def __init__(self, name: str, version: int, signature: Signature) -> None:
        self._head = {"model_name": name, "model_version": str(version)}
        self._described = {output: (output_datatype(output), width(signature, output)) for output in signature.outputs}
        self._labels = TextsToRaw(signature.classes)
        self._texts = {label: label.encode() for label in signature.classes}
        self._heads: BoundedCache[tuple[int, tuple[str, ...]], bytes] = BoundedCache(_MAX_HEADS)

    def write(self, predictions: Predictions, request_id: str, outputs: list[str], *, raw: bool) -> bytes:
        """The answer to a request.

        Args:
            predictions: of its rows.
            request_id: is sent back.
            outputs: what is wanted, in this order.
            raw: whether it is wanted in raw bytes.
        """
        if raw:
            values = [self._raw(predictions, name) for name in outputs]
            return self._described_in(len(predictions), request_id, tuple(outputs)) + b"".join(values)
        message = self._message(len(predictions), request_id, outputs)
        for name, output in zip(outputs, message.outputs, strict=True):
            answers: Any = predictions.labels if name == "label" else getattr(predictions, name)
            flat = map(self._texts.__getitem__, answers) if name == "label" else answers.reshape(-1).tolist()
            getattr(output.contents, _CONTENTS[output.datatype]).extend(flat)
        body: bytes = message.SerializeToString()
        return body

    def _message(self, rows: int, request_id: str, outputs: Iterable[str]) -> Any:
        """An answer without its values."""
        message = _Message(**self._head, id=request_id)
        for name in outputs:
            datatype, columns = self._described[name]
            message.outputs.add(name=name, datatype=datatype, shape=(rows, columns))
        return message

    def _described_in(self, rows: int, request_id: str, outputs: tuple[str, ...]) -> bytes:
        """The same in bytes, which raw values follow; made once for all answers that differ in nothing else."""
        if request_id:
            return bytes(self._message(rows, request_id, outputs).SerializeToString())
        described = self._heads.get((rows, outputs))
        if described is None:
            described = self._heads[rows, outputs] = self._message(rows, "", outputs).SerializeToString()
        return described

    def _raw(self, predictions: Predictions, output: str) -> bytes:
        """The raw values of an output, as the field of a message."""
        values: Any = predictions.labels if output == "label" else getattr(predictions, output)
        raw = self._labels(values) if output == "label" else array_to_raw(values)
        return b"%b%b%b" % (_RAW_CONTENTS, varint(len(raw)), raw)


def times(waiting: QueuedRequest) -> bytes:
    """A parameter ``server-timing`` that follows an answer: how long its rows were queued and run.

    A message is its fields, in any order: so it need not be known before the rest is written.
    """
    name, value = server_timing(waiting.queue_seconds, waiting.compute_seconds)
    message = _Message()
    message.parameters[name.decode()].string_param = value.decode()
    parameter: bytes = message.SerializeToString()
    return parameter
