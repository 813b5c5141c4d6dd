"""Requests over gRPC that a caller might send to break the service, and the refusal each must get. The list only grows.

They are for the model of ``tests/support/handmade.py``. The number is the case of the list of what the service must
withstand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import numpy as np

from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES
from tests.service.hostile_payloads import ROW
from tests.service.open_inference import raw_texts
from tests.service.rpc import good, message

BAD, MANY, NOBODY = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.NOT_FOUND


class Hostile(NamedTuple):
    name: str
    sent: bytes
    error: str
    """How the refusal begins."""
    code: grpc.StatusCode = BAD


def changed(name: str, error: str, change: Callable[[Any], Any], *, raw: bool = True, code: Any = BAD) -> Hostile:
    """A good request of two rows to which something was done."""
    sent = good(raw)
    change(sent)
    return Hostile(name, sent.SerializeToString(), error, code)


def shape(name: str, sizes: list[int], error: str = "inputs[0].shape: must be [rows] or [rows, 1] with") -> Hostile:
    def change(sent: Any) -> None:
        sent.inputs[0].shape[:] = sizes

    return changed(name, error, change)


def raw(name: str, error: str, place: int, content: bytes, datatype: str | None = None) -> Hostile:
    def change(sent: Any) -> None:
        sent.raw_input_contents[place] = content
        if datatype is not None:
            sent.inputs[place].datatype = datatype

    return changed(name, error, change)


def empty_texts(name: str, error: str, *rows: int) -> Hostile:
    """Tensors of empty texts: four bytes of each, and nobody who needs them."""
    sent = REQUEST_CLASSES["ModelInfer"](model_name="flights")
    for n in rows:
        sent.inputs.add(name="carrier", datatype="BYTES", shape=[n])
        sent.raw_input_contents.append(bytes(4 * n))
    return Hostile(name, sent.SerializeToString(), error, MANY)


def typed(name: str, error: str, place: int, datatype: str, **fields: list[Any]) -> Hostile:
    """A good request in fields but for one input."""

    def change(sent: Any) -> None:
        sent.inputs[place].datatype = datatype
        sent.inputs[place].contents.Clear()
        for field, values in fields.items():
            getattr(sent.inputs[place].contents, field).extend(values)

    return changed(name, error, change, raw=False)


def doubles(*values: float) -> bytes:
    return np.array(values, "<f8").tobytes()


def _set(**fields: Any) -> Callable[[Any], None]:
    def change(sent: Any) -> None:
        for field, value in fields.items():
            setattr(sent, field, value)

    return change


def _both(sent: Any) -> None:
    sent.inputs[1].contents.fp64_contents.append(1.0)


def _shared(sent: Any) -> None:
    sent.inputs[0].parameters["shared_memory_region"].string_param = "/etc/passwd"


def _shared_as_triton_sends_it(sent: Any) -> None:
    """An input in shared memory has no entry among the raw values."""
    parameters = sent.inputs[3].parameters
    parameters["shared_memory_region"].string_param = "region"
    parameters["shared_memory_byte_size"].int64_param = 16
    del sent.raw_input_contents[3]


def _all_shared(sent: Any) -> None:
    for entry in sent.inputs:
        entry.parameters["shared_memory_region"].string_param = "region"
    del sent.raw_input_contents[:]


def _answer_shared(sent: Any) -> None:
    sent.outputs.add(name="label").parameters["shared_memory_region"].string_param = "region"


def _classes(sent: Any) -> None:
    sent.outputs.add(name="label").parameters["classification"].int64_param = 1


def _unknown(sent: Any) -> None:
    sent.outputs.add(name="score")


def _left_out(sent: Any) -> None:
    del sent.inputs[0]
    del sent.raw_input_contents[0]


def _short(sent: Any) -> None:
    sent.inputs[1].shape[:] = [1]
    sent.raw_input_contents[1] = doubles(1.0)


def _twice(sent: Any) -> None:
    sent.inputs.append(sent.inputs[0])
    sent.raw_input_contents.append(sent.raw_input_contents[0])


NO_MESSAGE = "the message must be inference.ModelInferRequest in protocol buffers, got bytes that are not"
ROWS_2 = "inputs[0].contents: must hold 2 values in fp64_contents as shape and datatype say, got "

HOSTILE = [
    Hostile("1 truncated", good().SerializeToString()[:-3], NO_MESSAGE),
    Hostile("2 empty", b"", 'no model "" is served; RepositoryIndex lists those that are', NOBODY),
    Hostile("2 no inputs", b"\x0a\x07flights", "inputs: must hold the model's columns, got none"),
    Hostile("3 JSON", b'{"inputs":[]}', NO_MESSAGE),
    raw("3 fraction for a whole number", "inputs[1].data[1]: must be a whole number", 1, doubles(1, 2.5)),
    raw("3 two as a boolean", "inputs[2].data[0]: must be 0 or 1", 2, doubles(2, 0)),
    raw("3 no day", 'inputs[4].data[1]: "2013-02-30" is not', 4, raw_texts("2013-02-28", "2013-02-30"), "BYTES"),
    raw("3 beyond the calendar", "inputs[4].data[0]: must be epoch", 4, np.array([2**62, 0], "<i8").tobytes()),
    raw("5 infinity", "inputs[0].data[1]: must be a number, or NaN where it is missing", 0, doubles(1, np.inf)),
    typed("8 beyond INT8", "inputs[1].data[1]: must be from -128 to 127", 1, "INT8", int_contents=[0, 128]),
    typed("8 beyond UINT8", "inputs[1].data[0]: must be from 0 to 255", 1, "UINT8", uint_contents=[256, 0]),
    typed("8 2**53 + 1", "inputs[0].data[0]: must be at most 2**53", 0, "INT64", int64_contents=[2**53 + 1, 0]),
    changed("10 unknown column", 'inputs[0]: "weather" is not a', lambda sent: _set(name="weather")(sent.inputs[0])),
    changed("11 missing column", "inputs: distance is missing", _left_out),
    changed(
        "11 no datatype", "inputs[0].datatype: must be one of BOOL, ", lambda sent: _set(datatype="")(sent.inputs[0])
    ),
    changed("11 no name", 'inputs[0]: "" is not a column', lambda sent: _set(name="")(sent.inputs[0])),
    raw("12 invalid UTF-8", "inputs[3].data[1]: must be text in UTF-8", 3, raw_texts("UA", b"\xff")),
    Hostile("12 a name in no UTF-8", b"\x0a\x01\xff", NO_MESSAGE),
    shape("15 no dimension", []),
    shape("15 no row", [0]),
    shape("17 a wrong width with a divisible count", [1, 2]),
    shape("18 zero columns", [2, 0]),
    shape("18 negative", [-2]),
    shape("18 minus one", [-1, 1]),
    shape("18 both negative", [-2, -1]),
    shape("18 three dimensions", [2, 1, 1]),
    shape("18 a hundred thousand dimensions", [1] * 100_000),
    shape("19 too few bytes", [3], "inputs[0]: must take 24 bytes as 3 of FP64 do, got 16"),
    shape("19 too many bytes", [1], "inputs[0]: must take 8 bytes as 1 of FP64 do, got 16"),
    shape("19 2**60 rows", [2**60], "inputs[0]: must take 9,223,372,036,854,775,808 bytes"),
    shape("19 a product that wraps", [2**32, 2**32]),
    shape("20 a thousand million rows", [10**9, 1], "inputs[0]: must take 8,000,000,000 bytes"),
    changed(
        "20 a thousand million texts",
        "inputs[3]: must hold 1,000,000,000 texts",
        lambda sent: sent.inputs[3].shape.__setitem__(0, 10**9),
    ),
    changed(
        "20 a thousand million in a field",
        "inputs[0].contents: must hold 1,000,000,000 values",
        lambda sent: sent.inputs[0].shape.__setitem__(0, 10**9),
        raw=False,
    ),
    changed("20 another length than the others", "inputs[1]: must hold 2 rows", _short),
    raw("21 unknown datatype", "inputs[0].datatype: must be one of BOOL, ", 0, bytes(16), "FP8"),
    raw("21 BF16", "inputs[0].datatype: must be one of BOOL, ", 0, bytes(4), "BF16"),
    raw("21 texts for a number", "inputs[0]: distance must be", 0, raw_texts("1", "2"), "BYTES"),
    raw("21 booleans for a number", "inputs[0]: distance must be", 0, b"\0\1", "BOOL"),
    raw("21 floats for a category", "inputs[3]: carrier must be text", 3, doubles(1, 2), "FP64"),
    typed("21 values in another field", ROWS_2 + "int64_contents", 0, "FP64", int64_contents=[1, 2]),
    typed(
        "21 values in two fields",
        ROWS_2 + "fp32_contents and fp64_contents",
        0,
        "FP64",
        fp64_contents=[1, 2],
        fp32_contents=[1, 2],
    ),
    typed("21 no values", ROWS_2 + "none", 0, "FP64"),
    typed("21 a value too few", ROWS_2 + "1 there", 0, "FP64", fp64_contents=[1]),
    typed("21 a value too many", ROWS_2 + "3 there", 0, "FP64", fp64_contents=[1, 2, 3]),
    typed("21 FP16 in a field", "inputs[0].contents: there is no field for FP16", 0, "FP16", fp32_contents=[1, 2]),
    changed("22 an input twice", 'inputs[5]: "distance" appears more than once', _twice),
    changed("22 unknown output", "outputs[0].name: must be one of label, p", _unknown),
    changed(
        "22 an output twice",
        "outputs[1].name: must not appear more than once",
        lambda sent: [sent.outputs.add(name="label") for _ in "ab"],
    ),
    changed("22 top classes", "outputs[0].parameters.classification: is not supported", _classes),
    changed("22 shared memory", "inputs[0].parameters.shared_memory_region: is not supported", _shared),
    changed(
        "22 shared memory and no raw value",
        "inputs[3].parameters.shared_memory_region: is not supported: send the data",
        _shared_as_triton_sends_it,
    ),
    changed(
        "22 shared memory alone",
        "inputs[0].parameters.shared_memory_region: is not supported: send the data",
        _all_shared,
    ),
    changed(
        "22 shared memory for an answer",
        "outputs[0].parameters.shared_memory_region: is not supported: leave it out",
        _answer_shared,
    ),
    changed("36 no such model", 'no model "nobody" is served', _set(model_name="nobody"), code=NOBODY),
    changed("36 no such version", 'no model "flights" of version "2"', _set(model_version="2"), code=NOBODY),
    changed("36 a version with a zero", 'no model "flights" of version "01"', _set(model_version="01"), code=NOBODY),
    changed("36 a path", 'no model "../flights" is served', _set(model_name="../flights"), code=NOBODY),
    changed("36 an absolute path", 'no model "/a/path" is', _set(model_name="/a/path"), code=NOBODY),
    changed("36 a long name", 'no model "xxx', _set(model_name="x" * 100_000), code=NOBODY),
    changed("38 raw and typed", "inputs[1].contents: must be empty where raw_input_contents holds", _both),
    changed(
        "38 an entry too few",
        "raw_input_contents: must hold one entry for each of the 5 inputs, or none, got 4",
        lambda sent: sent.raw_input_contents.pop(),
    ),
    changed(
        "38 an entry too many",
        "raw_input_contents: must hold one entry for each of the 5 inputs, or none, got 6",
        lambda sent: sent.raw_input_contents.append(b""),
    ),
    raw("38 too few bytes", "inputs[0]: must take 16 bytes as 2 of FP64 do, got 8", 0, bytes(8)),
    raw("38 bytes that are no booleans", "inputs[2]: must be bytes of 0 and 1", 2, b"\2\0", "BOOL"),
    raw("38 a text that runs out", "inputs[3]: has a text said to take 255", 3, raw_texts("UA") + b"\xff\0\0\0A"),
    raw("38 a text of 2**32 - 1", "inputs[3]: has a text said to take 4,294", 3, b"\xff\xff\xff\xffAA"),
    raw("38 a length that runs out", "inputs[3]: must hold 4 bytes of length", 3, raw_texts("UA") + b"\0\0"),
    raw("38 a text too few", "inputs[3]: must hold 2 texts and nothing else", 3, raw_texts("UA")),
    raw("38 a text too many", "inputs[3]: must hold 2 texts and nothing else", 3, raw_texts("UA", "AA", "9E")),
    empty_texts("38 hundreds of thousands of empty texts", "a request holds at most 4,096 rows, got", 400_000),
    empty_texts("38 hundreds of thousands in many tensors", "a request must not hold more rows", *[4096] * 100),
    Hostile("38 millions of inputs", b"\x2a\x00" * 900_000, "the message must hold a tensor for each column, "),
    Hostile("38 millions of outputs", b"\x32\x00" * 900_000, "the message must hold a tensor for each column, "),
    Hostile("38 millions of parameters", b"\x22\x00" * 900_000, "the message must hold a tensor for each column, "),
    Hostile("38 megabytes of ones", b"\xff" * 1_900_000, NO_MESSAGE),
    Hostile("38 megabytes of groups", b"\x0b" * 1_900_000, ""),
    Hostile("many rows", message(*[ROW] * 4097).SerializeToString(), "a request holds at most 4,096 rows, ", MANY),
    Hostile(
        "many rows in fields",
        message(*[ROW] * 4097, raw=False).SerializeToString(),
        "a request holds at most 4,096 rows, got 4,097",
        MANY,
    ),
]
