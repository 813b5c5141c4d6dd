"""From predictions to the body of an Open Inference answer over HTTP: JSON, or JSON and after it raw bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from rowcast.models.session import Predictions
from rowcast.models.signature import Signature
from rowcast.service.columns.tensor_bytes import TextsToRaw, array_to_raw
from rowcast.service.protocols.v2.metadata import output_datatype, width
from rowcast.service.protocols.v2.request import Output

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


class Answer(NamedTuple):
    """A body."""

    body: bytes
    json_bytes: int | None
    """How much of it is JSON; None for all."""


class AnswerWriter:
    """Writes the answers of one model: each number as it is, in as few digits as give the same back."""

    def __init__(self, name: str, version: int, signature: Signature) -> None:
        self._head = {"model_name": name, "model_version": str(version)}
        self._described = {output: (output_datatype(output), width(signature, output)) for output in signature.outputs}
        self._labels = TextsToRaw(signature.classes)

    def write(self, predictions: Predictions, request_id: str | None, outputs: list[Output]) -> Answer:
        """The answer to a request.

        Args:
            predictions: of its rows, all of them finite.
            request_id: is sent back.
            outputs: what is wanted, in this order.
        """
        head: dict[str, Any] = dict(self._head)
        if request_id is not None:
            head["id"] = request_id
        written: list[dict[str, Any]] = []
        raw: list[bytes] = []
        rows = len(predictions)
        for name, binary in outputs:
            datatype, columns = self._described[name]
            output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": [rows, columns]}
            values: Any = predictions.labels if name == "label" else getattr(predictions, name)
            if binary:
                raw.append(self._labels(values) if name == "label" else array_to_raw(values))
                output["parameters"] = {"binary_data_size": len(raw[-1])}
            else:
                output["data"] = values if name == "label" else values.reshape(-1)
            written.append(output)
        head["outputs"] = written
        text = orjson.dumps(head, option=_OPTIONS)
        return Answer(b"".join((text, *raw)), len(text)) if raw else Answer(text, None)
