"""From the body of an Open Inference request over HTTP to tensors, or to everything that is wrong with it.

A body is JSON, with the data of its tensors in it; or JSON and after it raw bytes, for the tensors that say
``binary_data_size`` (the binary extension). Nothing is ever made as large as a shape says: shapes are only compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from rowcast.models.errors import Fault, RequestError
from rowcast.models.signature import Signature
from rowcast.models.values import EXACT_WHOLE
from rowcast.service.columns.tensor_bytes import DATATYPES, from_raw, may_hold
from rowcast.service.columns.tensors import Tensor
from rowcast.service.errors import SHOWN, bad_request, brief, raise_faults
from rowcast.service.json_text.long_text import LONG_TEXT, TENSORS, LongJson
from rowcast.service.limits.byte_rule import SMALL_BODY
from rowcast.service.limits.steps import Steps, at_once, refuse_in_steps
from rowcast.service.limits.weigh import Weight, weigh, without_long_texts
from rowcast.service.protocols.v2.json_tensors import DataFaults, from_json, inexact, inexact_long
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
    output_twice,
    too_many_values,
)

_BODY_KEYS = frozenset({"id", "parameters", "inputs", "outputs"})
_INPUT_KEYS = frozenset({"name", "shape", "datatype", "parameters", "data"})
_OUTPUT_KEYS = frozenset({"name", "parameters"})
_EXACT_WHOLE = np.float64(EXACT_WHOLE)
"""Beside half floats a plain number is taken for one of them, which has no such size."""
_VALUES_AT_ONCE = 2**15
"""Values that are taken from lists into arrays in one step: some milliseconds."""

Object = dict[str, Any]


class Output(NamedTuple):
    """An output that is asked for."""

    name: str
    binary: bool
    """Whether it is wanted in raw bytes."""


class InferRequest(NamedTuple):
    """What a request asks for."""

    id: str | None
    tensors: list[Tensor]
    outputs: list[Output]
    limits: Limits


class RequestReader:
    """Reads requests for one model.

    Args:
        signature: the model's.
        max_rows: rows a request may hold.
    """

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._max_rows = max_rows
        self.max_values = max_rows * len(signature.columns) + SLACK
        """Values that a large body may hold."""
        self._max_objects = 4 * (len(signature.columns) + len(signature.outputs)) + SLACK
        self._outputs = signature.outputs

    def read(self, body: bytes, json_bytes: int | None = None) -> InferRequest:
        """What a body asks for.

        Args:
            body: the request's.
            json_bytes: how much of it is JSON; None for all.

        Raises:
            RequestError: the body breaks a rule.
        """
        return at_once(self.steps(body, json_bytes))

    def steps(self, body: bytes, json_bytes: int | None = None) -> Steps[InferRequest]:
        """The same in steps."""
        if json_bytes is not None and json_bytes > len(body):
            raise RequestError(
                f"Inference-Header-Content-Length says that {json_bytes:,} bytes are JSON; the body holds {len(body):,}"
            )
        text = body if json_bytes is None else body[:json_bytes]
        if len(text) > SMALL_BODY:
            yield from self._weigh(text)
            yield
        long = LongJson(text, TENSORS) if len(text) > LONG_TEXT else None
        try:
            content = orjson.loads(text) if long is None else (yield from long.parse())
        except ValueError as error:
            raise RequestError(f"the body must be JSON in UTF-8: {error}") from None
        if type(content) is not dict:
            raise RequestError(f'the body must be an object {{"inputs": [...]}}, got {brief(content)}')
        reading = _Reading(memoryview(body)[len(text) :], ValueCount(self._max_rows, self.max_values))
        request = yield from reading.request(content, self._outputs)
        if reading.faults:
            raise bad_request(*reading.faults)
        if long is None:
            if b"\\" in text or text.count(b'"') != 2 * _strings(content) or reading.large:
                yield
                raise_faults(inexact((yield from without_long_texts(text))))
        else:
            yield
            frame, strings = long.frame, _strings(content, long.parts) + len(long.runs)
            if b"\\" in frame or frame.count(b'"') != 2 * strings or reading.large:
                yield
                yield from refuse_in_steps(inexact_long(long, content))
        return request

    def _weigh(self, text: bytes) -> Steps[None]:
        """Refuse, unparsed, what holds far more than the model's columns."""
        most = Weight(self._max_objects, self.max_values, self.max_values)
        weight = yield from weigh(text, most)
        if weight.objects > most.objects:
            raise RequestError("the body must hold a tensor for each column, got far more objects than those")
        if weight.commas > most.commas:
            raise too_many_values()
        if weight.lists > most.lists:
            raise RequestError("the body must hold flat data, or a list for each row, got far more lists than those")


class _Reading:
    """Reads one body, of which ``raw`` follows the JSON."""

    def __init__(self, raw: memoryview, count: ValueCount) -> None:
        self.faults: list[Fault] = []
        self._raw = raw
        self._count = count
        self._floats: list[NDArray[Any]] = []

    @property
    def large(self) -> bool:
        """Whether JSON held a number that may have been rounded."""
        if not self._floats:
            return False
        return bool((np.abs(np.concatenate(self._floats)) >= _EXACT_WHOLE).any())

    def request(self, content: Object, outputs: tuple[str, ...]) -> Steps[InferRequest]:
        """What the body asks for, as far as it is right."""
        self._keys("", content, _BODY_KEYS)
        request_id = content.get("id")
        if not isinstance(request_id, str | None):
            self._fault("id", f"must be a string, got {brief(request_id)}")
        parameters = self._parameters("", content)
        binary = self._flag("", parameters, "binary_data_output", False)
        limits, faults = limits_of(parameters.get("timeout"), parameters.get("priority"))
        self.faults += faults
        inputs = content.get("inputs")
        tensors, values = [], 0
        if type(inputs) is list:
            for i, entry in enumerate(inputs):
                if len(self.faults) >= RequestError.MAX_FAULTS:
                    break
                tensor = self._tensor(f"inputs[{i}]", entry)
                if tensor is not None:
                    tensors.append(tensor)
                    values += len(tensor.values)
                    if values > _VALUES_AT_ONCE:
                        yield
                        values = 0
        else:
            self._fault("inputs", f"must be a list of tensors, got {brief(inputs)}")
        if self._raw and not self.faults:
            self._fault("", f"the body must end with its last tensor, got {len(self._raw):,} more bytes")
        return InferRequest(request_id, tensors, self._wanted(content.get("outputs"), outputs, binary), limits)

    def _tensor(self, where: str, entry: Any) -> Tensor | None:
        if type(entry) is not dict:
            self._fault(where, f"must be an object, got {brief(entry)}")
            return None
        faults_before = len(self.faults)
        self._keys(where, entry, _INPUT_KEYS)
        parameters = self._parameters(where, entry)
        name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
        if not isinstance(name, str):
            self._fault(f"{where}.name", f"must be a string, got {brief(name)}")
        if not isinstance(datatype, str) or datatype not in DATATYPES:
            self._fault(f"{where}.datatype", no_datatype(datatype))
        if not is_shape(shape):
            self._fault(f"{where}.shape", no_shape(shape))
        if "shared_memory_region" in parameters:
            self._fault(f"{where}.parameters.shared_memory_region", NO_SHARED_MEMORY)
        if len(self.faults) > faults_before:
            return None
        if "binary_data_size" in parameters:
            return self._from_raw(where, entry, parameters["binary_data_size"])
        return self._from_json(where, entry)

    def _from_raw(self, where: str, entry: Object, size: Any) -> Tensor | None:
        path = f"{where}.parameters.binary_data_size"
        if type(size) is not int or size < 0:
            self._fault(path, f"must be a whole number of bytes, got {brief(size)}")
        elif "data" in entry:
            self._fault(f"{where}.data", "must be left out where binary_data_size says that it comes in raw bytes")
        elif size > len(self._raw):
            self._fault(path, f"must be at most the {len(self._raw):,} bytes that are left, got {brief(size)}")
        else:
            raw, self._raw = self._raw[:size], self._raw[size:]
            datatype, rows = entry["datatype"], entry["shape"][0]
            if may_hold(datatype, raw, rows):
                self._count.add(rows)  # before any of its values is made
            try:
                return Tensor(entry["name"], from_raw(datatype, raw, rows))
            except ValueError as error:
                self._fault(where, str(error))
        return None

    def _from_json(self, where: str, entry: Object) -> Tensor | None:
        data = entry.get("data")
        if type(data) is not list:
            self._fault(f"{where}.data", f"must be a list of values, got {brief(data)}")
            return None
        if len(data) >= entry["shape"][0]:
            self._count.add(entry["shape"][0])
        try:
            values, missing = from_json(f"{where}.data", entry["datatype"], entry["shape"], data)
        except DataFaults as wrong:
            for fault in wrong.faults:
                if len(self.faults) == RequestError.MAX_FAULTS:
                    break
                self.faults.append(fault)
            return None
        if entry["datatype"].startswith("FP"):
            self._floats.append(np.asarray(values))
        return Tensor(entry["name"], values, missing)

    def _wanted(self, entries: Any, outputs: tuple[str, ...], binary: bool) -> list[Output]:
        if entries is None or entries == []:
            return [Output(name, binary) for name in outputs]
        if type(entries) is not list:
            self._fault("outputs", f"must be a list, got {brief(entries)}")
            return []
        wanted: dict[str, Output] = {}
        for i, entry in enumerate(entries):
            where = f"outputs[{i}]"
            if type(entry) is not dict:
                self._fault(where, f"must be an object, got {brief(entry)}")
                continue
            self._keys(where, entry, _OUTPUT_KEYS)
            parameters = self._parameters(where, entry)
            for unable in UNABLE:
                if unable in parameters:
                    self._fault(f"{where}.parameters.{unable}", NOT_SUPPORTED)
            name = entry.get("name")
            if not isinstance(name, str) or name not in outputs:
                self._fault(f"{where}.name", no_output(name, outputs))
            elif name in wanted:
                self._fault(f"{where}.name", output_twice(name))
            else:
                wanted[name] = Output(name, self._flag(where, parameters, "binary_data", binary))
        return list(wanted.values())

    def _parameters(self, where: str, entry: Object) -> Object:
        parameters = entry.get("parameters")
        path = f"{where}.parameters".lstrip(".")
        if parameters is None:
            return {}
        if type(parameters) is not dict:
            self._fault(path, f"must be an object, got {brief(parameters)}")
            return {}
        for name, value in parameters.items():
            if isinstance(value, dict | list):
                message = f"must be a string, a number or a boolean, got {brief(value)}"
                self._fault(f"{path}.{name[:SHOWN]}", message)
        return parameters

    def _flag(self, where: str, parameters: Object, name: str, default: bool) -> bool:
        value = parameters.get(name, default)
        if not isinstance(value, bool):
            self._fault(f"{where}.parameters.{name}".lstrip("."), f"must be true or false, got {brief(value)}")
        return value is True

    def _keys(self, where: str, entry: Object, known: frozenset[str]) -> None:
        if not entry.keys() <= known:
            for key in entry.keys() - known:
                path = f"{where}.{key[:SHOWN]}".lstrip(".")
                self._fault(path, f"is unknown: there may be {', '.join(sorted(known))}")

    def _fault(self, path: str, message: str) -> None:
        if len(self.faults) < RequestError.MAX_FAULTS:
            self.faults.append(Fault(path, message))


def _strings(content: Object, elsewhere: Callable[[Any], Any] = lambda _: None) -> int:
    """Strings that a good request's JSON holds, keys included, but those of data that are elsewhere."""
    objects = [content, *content["inputs"], *(content.get("outputs") or ())]
    objects += [entry["parameters"] for entry in objects if entry.get("parameters")]
    strings = sum(map(len, objects)) + sum(_texts(entry.values()) for entry in objects)
    for entry in content["inputs"]:
        if entry["datatype"] == "BYTES" and "data" in entry:
            data = entry["data"]
            if elsewhere(data) is not None:
                continue
            strings += _texts(value for (value,) in data) if data and type(data[0]) is list else _texts(data)
    return strings


def _texts(values: Iterable[Any]) -> int:
    return sum(type(value) is str for value in values)
