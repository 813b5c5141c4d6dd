"""From an Open Inference request over gRPC to tensors, or to everything that is wrong with it.

The values of its tensors are in ``raw_input_contents``, one entry of little-endian bytes for each input, or in the
``contents`` of each input; never in both. Nothing is made as large as a shape says: shapes are only compared.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from rowcast.models.errors import Fault, RequestError
from rowcast.models.signature import Signature
from rowcast.service.columns.tensor_bytes import DATATYPES, DTYPES, from_raw, may_hold
from rowcast.service.columns.tensors import Tensor
from rowcast.service.errors import bad_request
from rowcast.service.limits.byte_rule import SMALL_BODY
from rowcast.service.limits.steps import Steps
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES
from rowcast.service.protocols.grpc.weigh import weigh
from rowcast.service.protocols.v2.rules import (
    NO_SHARED_MEMORY,
    NOT_SUPPORTED,
    SLACK,
    UNABLE,
    Limits,
    ValueCount,
    is_shape,
    limits_of,
    no_datatype,
    no_output,
    no_shape,
    out_of_range,
    output_twice,
)

_Message = REQUEST_CLASSES["ModelInfer"]
_PARTS = 10
"""Fields that a tensor has: itself, what it says, its values, and some parameters."""
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field for the values of each datatype; FP16 has none."""
_SHAPE_LOOKED_AT = 20
"""Sizes that are looked at of a shape, which may hold millions."""


class InferRequest(NamedTuple):
    """What a request asks for."""

    id: str
    tensors: list[Tensor]
    outputs: list[str]
    raw: bool
    """Whether its values came in raw bytes; so will the answer's."""
    limits: Limits


class RequestReader:
    """Reads requests for one model.

    Args:
        signature: the model's.
        max_rows: rows a request may hold.
    """

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._max_rows = max_rows
        self._max_values = max_rows * len(signature.columns) + SLACK
        self._outputs = signature.outputs

    def read(self, message: Any) -> InferRequest:
        """What a message asks for.

        Raises:
            RequestError: it breaks a rule.
        """
        return _Reading(message, ValueCount(self._max_rows, self._max_values), self._outputs).request()


def parse(body: bytes, max_columns: int, max_rows: int) -> Steps[Any]:
    """The message of a request for predictions, in steps.

    Args:
        body: as it came.
        max_columns: the most columns a served model has.
        max_rows: rows a request may hold.

    Raises:
        RequestError: it is no such message, or one of far more parts than a model has columns.
    """
    if len(body) > SMALL_BODY:
        yield from weigh(body, _PARTS * max_columns + SLACK, max_rows * max_columns + SLACK)
        yield
    return parsed(_Message, body)


def parsed(message: type[Any], body: bytes) -> Any:
    """A message of this class.

    Raises:
        RequestError: the bytes are none.
    """
    try:
        return message.FromString(body)
    except DecodeError:
        name = message.DESCRIPTOR.full_name
        raise RequestError(f"the message must be {name} in protocol buffers, got bytes that are not") from None


class _Reading:
    """Reads one message."""

    def __init__(self, message: Any, count: ValueCount, outputs: tuple[str, ...]) -> None:
        self._message = message
        self._count = count
        self._outputs = outputs
        self._raw = message.raw_input_contents
        self._faults: list[Fault] = []

    def request(self) -> InferRequest:
        """What the message asks for."""
        message = self._message
        inputs = message.inputs
        raw = len(self._raw) > 0
        if raw and len(self._raw) != len(inputs):
            self._refuse_shared_memory(inputs)  # such an input has no entry, so the counts differ
            came = f"{len(self._raw):,}"
            expected = f"must hold one entry for each of the {len(inputs):,} inputs, or none"
            raise bad_request(Fault("raw_input_contents", f"{expected}, got {came}"))
        tensors = []
        for i, entry in enumerate(inputs):
            tensor = self._tensor(i, entry, raw)
            if tensor is not None:
                tensors.append(tensor)
            elif len(self._faults) >= RequestError.MAX_FAULTS:
                break
        outputs = self._wanted() if len(message.outputs) else list(self._outputs)
        limits, faults = limits_of(self._parameter("timeout"), self._parameter("priority"))
        self._faults += faults
        if self._faults:
            raise bad_request(*self._faults)
        return InferRequest(message.id, tensors, outputs, raw, limits)

    def _parameter(self, name: str) -> Any:
        """The value of a parameter of the request; None when it has none."""
        parameters = self._message.parameters
        if not len(parameters) or name not in parameters:  # to ask a map for a key it lacks would add it
            return None
        field = parameters[name].WhichOneof("parameter_choice")
        return None if field is None else getattr(parameters[name], field)

    def _tensor(self, i: int, entry: Any, raw: bool) -> Tensor | None:
        datatype, shape = entry.datatype, list(entry.shape[:_SHAPE_LOOKED_AT])
        n_faults = len(self._faults)
        if datatype not in DATATYPES:
            self._fault(f"inputs[{i}].datatype", no_datatype(datatype))
        if not is_shape(shape):
            self._fault(f"inputs[{i}].shape", no_shape(shape))
        if len(entry.parameters):
            self._shared_memory(i, entry)
        if len(self._faults) > n_faults:
            return None
        try:
            if raw:
                return self._from_raw(i, entry, shape[0])
            return self._from_contents(i, entry, shape[0])
        except ValueError as error:
            self._fault(f"inputs[{i}]", str(error))
            return None

    def _refuse_shared_memory(self, inputs: Any) -> None:
        for i, entry in enumerate(inputs):
            self._shared_memory(i, entry)
        if self._faults:
            raise bad_request(*self._faults)

    def _shared_memory(self, i: int, entry: Any) -> None:
        """Note an input whose values are said to be in shared memory."""
        if "shared_memory_region" in entry.parameters:
            self._fault(f"inputs[{i}].parameters.shared_memory_region", NO_SHARED_MEMORY)

    def _from_raw(self, i: int, entry: Any, rows: int) -> Tensor | None:
        if entry.HasField("contents") and entry.contents.ListFields():
            expected = "must be empty where raw_input_contents holds values"
            self._fault(f"inputs[{i}].contents", f"{expected}, got {_fields(entry.contents)}")
            return None
        content = self._raw[i]
        if may_hold(entry.datatype, content, rows):
            self._count.add(rows)  # before any of its values is made
        return Tensor(entry.name, from_raw(entry.datatype, content, rows))

    def _from_contents(self, i: int, entry: Any, rows: int) -> Tensor | None:
        where = f"inputs[{i}].contents"
        contents, datatype = entry.contents, entry.datatype
        wanted = _CONTENTS.get(datatype)
        if wanted is None:
            self._fault(where, f"there is no field for {datatype}: send it in raw_input_contents")
            return None
        values = getattr(contents, wanted)
        if len(values) != rows or len(contents.ListFields()) > 1:
            came = f"{len(values):,} there" if set(_fields(contents).split(" and ")) <= {wanted} else _fields(contents)
            expected = f"must hold {rows:,} values in {wanted} as shape and datatype say"
            self._fault(where, f"{expected}, got {came}")
            return None
        self._count.add(rows)  # before any of its values is made
        if datatype == "BYTES":
            return Tensor(entry.name, list(values))
        numbers = list(values)
        try:
            return Tensor(entry.name, np.array(numbers, DTYPES[datatype]))
        except OverflowError:
            for fault in out_of_range(f"inputs[{i}].data", datatype, numbers):
                self._fault(fault.path, fault.message)
            return None

    def _wanted(self) -> list[str]:
        wanted: list[str] = []
        for i, entry in enumerate(self._message.outputs):
            if len(self._faults) >= RequestError.MAX_FAULTS:
                break
            for unable in UNABLE:
                if len(entry.parameters) and unable in entry.parameters:
                    self._fault(f"outputs[{i}].parameters.{unable}", NOT_SUPPORTED)
            if entry.name not in self._outputs:
                self._fault(f"outputs[{i}].name", no_output(entry.name, self._outputs))
            elif entry.name in wanted:
                self._fault(f"outputs[{i}].name", output_twice(entry.name))
            else:
                wanted.append(entry.name)
        return wanted

    def _fault(self, path: str, message: str) -> None:
        if len(self._faults) < RequestError.MAX_FAULTS:
            self._faults.append(Fault(path, message))


def _fields(contents: Any) -> str:
    """The fields that hold something."""
    return " and ".join(field.name for field, _ in contents.ListFields()) or "none"
