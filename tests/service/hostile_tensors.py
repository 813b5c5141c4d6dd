"""Open Inference requests a caller might send to break the service, and the refusal each must get. The list only grows.

They are for the model of ``tests/support/handmade.py``, over HTTP.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.service.hostile_payloads import ROW
from tests.service.open_inference import binary, body, good, raw_texts, request, with_input

OCTETS = "application/octet-stream"


class Hostile(NamedTuple):
    name: str
    body: bytes
    error: str
    """How the refusal begins."""
    status: int = 400
    json_bytes: int | str | None = None
    """What Inference-Header-Content-Length says; None for no such header."""


def one(name: str, error: str, column: str, /, **changes: Any) -> Hostile:
    """A request that is good but for one input."""
    return Hostile(name, body(with_input(column, **changes)), error)


def shape(name: str, shape: Any, error: str = "inputs[0].shape: ", **changes: Any) -> Hostile:
    return one(name, error, "distance", shape=shape, **changes)


def raw(name: str, error: str, column: str, content: bytes, size: Any = None, /, **changes: Any) -> Hostile:
    """A good request but for one input, which comes in raw bytes."""
    parameters = {"binary_data_size": len(content) if size is None else size}
    text = body(with_input(column, data=None, parameters=parameters, **changes))
    return Hostile(name, text + content, error, 400, len(text))


def empty_texts(name: str, error: str, *rows: int) -> Hostile:
    """Tensors of empty texts: four bytes of each, and nobody who needs them."""
    inputs = [
        {"name": "carrier", "shape": [n], "datatype": "BYTES", "parameters": {"binary_data_size": 4 * n}} for n in rows
    ]
    text = body({"inputs": inputs})
    return Hostile(name, text + bytes(4 * sum(rows)), error, 413, len(text))


def more(name: str, error: str, /, **keys: Any) -> Hostile:
    return Hostile(name, body({**good(), **keys}), error)


GOOD = body(good())
WHOLE, SPLIT = binary(ROW, ROW)
TWO = GOOD.replace(b'"distance"', b'"distance", "name": "distance"', 1)

HOSTILE = [
    Hostile("1 truncated", GOOD[:-3], "the body must be JSON in UTF-8: "),
    Hostile("2 empty", b"", "the body must be JSON in UTF-8: "),
    Hostile("2 null", b"null", "the body must be an object "),
    Hostile("2 a list", b"[]", "the body must be an object "),
    Hostile("2 no inputs", b"{}", "inputs: must be a list of tensors, got null"),
    Hostile("2 inputs that are no list", b'{"inputs":{}}', "inputs: must be a list of tensors, got an object"),
    Hostile("2 an empty list of inputs", b'{"inputs":[]}', "inputs: must hold the model's columns, got none"),
    Hostile("2 an input that is none", b'{"inputs":[1]}', "inputs[0]: must be an object, got 1"),
    one("3 text for a number", "inputs[0].data[1]: must be a number as", "distance", data=[1.0, "far"]),
    one("3 a list for a number", "inputs[0].data: must be flat, or nested", "distance", data=[1.0, [2.0]]),
    one("3 nested too deep", "inputs[0].data[0]: must be a number as", "distance", data=[[[1.0]], [[2.0]]]),
    one("3 an object for a number", "inputs[0].data[0]: must be a number as", "distance", data=[{}, 1.0]),
    one("3 fraction for a whole number", "inputs[1].data[1]: must be a whole number", "stops", data=[1, 2.5]),
    one("3 a fraction in integers", "inputs[1].data[1]: must be a whole", "stops", datatype="INT64", data=[1, 2.5]),
    one("3 two as a boolean", "inputs[2].data[0]: must be 0 or 1", "night", data=[2, 0]),
    one("3 a number in booleans", "inputs[2].data[0]: must be true or false", "night", datatype="BOOL", data=[1, 0]),
    one("3 number for a category", "inputs[3].data[0]: must be a string", "carrier", data=[3, "UA"]),
    one("3 empty timestamp", 'inputs[4].data[0]: "" is not an ISO 8601', "departs", data=["", "2013-07-01"]),
    one("3 no day", 'inputs[4].data[1]: "2013-02-30" is not', "departs", data=["2013-02-28", "2013-02-30"]),
    one("3 beyond the calendar", "inputs[4].data[0]: must be epoch mic", "departs", datatype="INT64", data=[2**62, 0]),
    one("4 bool as a number", "inputs[0].data[0]: must be a number as", "distance", data=[True, 1.0]),
    one("4 numeric string", "inputs[0].data[0]: must be a number as", "distance", data=["1", 1.0]),
    Hostile("5 NaN literal", GOOD.replace(b"872.0", b"NaN", 1), "the body must be JSON in UTF-8: "),
    Hostile("5 1e400", GOOD.replace(b"872.0", b"1e400", 1), ""),
    one("6 beyond FP32", "inputs[0].data[0]: must be a number, or", "distance", datatype="FP32", data=[1e39, 0]),
    one("6 beyond FP16", "inputs[0].data[0]: must be a number, or", "distance", datatype="FP16", data=[1e6, 0]),
    one("7 a 1000-digit integer", "inputs[0].data[0]: must be at most 2**53", "distance", data=[10**300, 0]),
    one("8 2**53 + 1", "inputs[0].data[1]: must be at most 2**53", "distance", data=[0, 2**53 + 1]),
    one("8 2**53 + 1 nested", "inputs[0].data[1]: must be at most 2**53", "distance", data=[[0], [2**53 + 1]]),
    one(
        "8 2**53 + 1 in integers",
        "inputs[0].data[1]: must be at most",
        "distance",
        datatype="INT64",
        data=[0, 2**53 + 1],
    ),
    one("8 10**20", "inputs[0].data[0]: must be at most 2**53", "distance", data=[10**20, 0]),
    one("8 beyond INT8", "inputs[1].data[0]: must be from -128 to 127", "stops", datatype="INT8", data=[128, 0]),
    one("8 below UINT8", "inputs[1].data[0]: must be from 0 to 255", "stops", datatype="UINT8", data=[-1, 0]),
    one("8 beyond UINT64", "inputs[1].data[0]: must be a whole", "stops", datatype="UINT64", data=[2**64, 0]),
    Hostile("9 a key twice", TWO, 'inputs[0]: "name" appears more than once'),
    Hostile("9 inputs twice", GOOD[:-1] + b"," + GOOD[1:], '"inputs" appears more than once'),
    Hostile(
        "9 a key twice with an escape", GOOD.replace(b'"data"', b'"data": [], "d\\u0061ta"', 1), 'inputs[0]: "data"'
    ),
    more("10 unknown key", "rows: is unknown: there may be id, inputs, ", rows=[]),
    one("10 unknown key of an input", "inputs[0].values: is unknown", "distance", values=[]),
    one("10 unknown column", 'inputs[0]: "weather" is not a column of the model', "distance", name="weather"),
    one("10 the target", 'inputs[0]: "late" is not a column of the model', "distance", name="late"),
    Hostile("11 missing column", body({"inputs": good()["inputs"][1:]}), "inputs: distance is missing"),
    one("11 no data", "inputs[0].data: must be a list of values, got null", "distance", data=None),
    one("11 no shape", "inputs[0].shape: must be [rows] or", "distance", shape=None),
    one("11 no datatype", "inputs[0].datatype: must be one of BOOL, ", "distance", datatype=None),
    one("11 no name", "inputs[0].name: must be a string", "distance", name=None),
    Hostile("12 invalid UTF-8", GOOD.replace(b"UA", b"\xff\xfe"), "the body must be JSON in UTF-8: "),
    Hostile("12 lone surrogate", GOOD.replace(b"UA", b"\\ud800"), "the body must be JSON in UTF-8: "),
    Hostile("12 UTF-16", GOOD.decode().encode("utf-16"), "the body must be JSON in UTF-8: "),
    raw("12 invalid UTF-8 in bytes", "inputs[3].data[1]: must be text in UTF-8", "carrier", raw_texts("UA", b"\xff")),
    Hostile("13 nesting 250,000 deep", b"[" * 250_000, ""),
    Hostile("13 parameters 900 deep", b'{"parameters":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}", "parameters.a: "),
    Hostile("13 data 900 deep", body(with_input("distance", data=[])).replace(b"[]", b"[" * 900 + b"]" * 900), ""),
    shape("15 no dimension", []),
    shape("15 no row", [0], data=[]),
    shape("15 no row of one", [0, 1], data=[]),
    shape("17 a wrong width with a divisible count", [1, 2]),
    shape("17 two columns in one", [2, 2], data=[1.0, 2.0, 3.0, 4.0]),
    shape("18 zero columns", [2, 0]),
    shape("18 negative", [-2]),
    shape("18 minus one", [-1, 1]),
    shape("18 both negative", [-2, -1]),
    shape("18 a fraction", [2.0]),
    shape("18 text", ["2"]),
    shape("18 true", [True, True]),
    shape("18 three dimensions", [2, 1, 1]),
    shape("18 no list", 2),
    shape("19 too few values", [3], "inputs[0].data: must hold 3 values as the shape says, got 2"),
    shape("19 too many values", [1, 1], "inputs[0].data: must hold 1 values as the shape says, got 2"),
    shape("19 2**60 rows", [2**60], "inputs[0].data: must hold 1,152,921,504,606,846,976 values"),
    shape("19 2**64 rows", [2**64]),
    shape("19 a product that wraps", [2**32, 2**32]),
    shape("20 a thousand million rows", [10**9, 1], "inputs[0].data: must hold 1,000,000,000 values"),
    raw(
        "20 a thousand million texts",
        "inputs[3]: must hold 1,000,000,000 texts",
        "carrier",
        raw_texts("UA"),
        shape=[10**9],
    ),
    raw(
        "20 a thousand million doubles", "inputs[0]: must take 8,000,000,000 bytes", "distance", bytes(8), shape=[10**9]
    ),
    Hostile(
        "20 another length than the others",
        body(with_input("stops", shape=[1], data=[1])),
        "inputs[1]: must hold 2 rows",
    ),
    one("21 unknown datatype", "inputs[0].datatype: must be one of BOOL, ", "distance", datatype="FP8"),
    one("21 a datatype in small letters", "inputs[0].datatype: must be one of BOOL, ", "distance", datatype="fp64"),
    one("21 BF16", "inputs[0].datatype: must be one of BOOL, ", "distance", datatype="BF16"),
    one("21 a datatype that is a list", "inputs[0].datatype: must be one of BOOL, ", "distance", datatype=["FP64"]),
    one("21 texts for a number", "inputs[0]: distance must be", "distance", datatype="BYTES", data=["1", "2"]),
    one("21 booleans for a number", "inputs[0]: distance must be", "distance", datatype="BOOL", data=[True, False]),
    one("21 floats for a category", "inputs[3]: carrier must be text", "carrier", datatype="FP64", data=[1, 2]),
    one("21 floats for a timestamp", "inputs[4]: departs must be", "departs", datatype="FP64", data=[0.0, 1.0]),
    Hostile(
        "22 an input twice", body({"inputs": [*good()["inputs"], good()["inputs"][0]]}), 'inputs[5]: "distance" appears'
    ),
    more("22 unknown output", "outputs[0].name: must be one of label, probabilities", outputs=[{"name": "score"}]),
    more("22 an output twice", "outputs[1].name: must not appear more", outputs=[{"name": "label"}, {"name": "label"}]),
    more("22 an output that is none", "outputs[0]: must be an object", outputs=["label"]),
    more("22 outputs that are no list", "outputs: must be a list", outputs={"name": "label"}),
    more(
        "22 top classes",
        "outputs[0].parameters.classification: is not",
        outputs=[{"name": "label", "parameters": {"classification": 1}}],
    ),
    more(
        "22 shared memory for an output",
        "outputs[0].parameters.shared_memory_region: is not",
        outputs=[{"name": "label", "parameters": {"shared_memory_region": "x"}}],
    ),
    one(
        "22 shared memory",
        "inputs[0].parameters.shared_memory_region: is not",
        "distance",
        data=None,
        parameters={"shared_memory_region": "/etc/passwd", "shared_memory_byte_size": 16},
    ),
    more("22 an id that is a number", "id: must be a string", id=7),
    more("22 parameters that are no object", "parameters: must be an object", parameters=[1]),
    more(
        "22 a flag that is none", "parameters.binary_data_output: must be true or", parameters={"binary_data_output": 1}
    ),
    *(
        Hostile(
            f"23 a JSON length of {length}", WHOLE, "Inference-Header-Content-Length must be one whole", 400, length
        )
        for length in ("-1", "+5", "1e3", "0x10", "", " ", "99999999999", "²", "1,000", "nan")
    ),
    *(
        Hostile(f"23 a JSON length of {length}", WHOLE, "Inference-Header-Content-Length says that", 400, length)
        for length in (2**31, 2**32, len(WHOLE) + 1)
    ),
    Hostile("23 no JSON", WHOLE, "the body must be JSON in UTF-8: ", 400, 0),
    Hostile("23 JSON cut short", WHOLE, "the body must be JSON in UTF-8: ", 400, SPLIT - 1),
    Hostile("23 JSON too long", WHOLE, "the body must be JSON in UTF-8: ", 400, SPLIT + 8),
    Hostile("23 JSON and no length", WHOLE, "the body must be JSON in UTF-8: "),
    Hostile("23 bytes cut short", WHOLE[:-1], "inputs[4].parameters.binary_data_size: must be at most", 400, SPLIT),
    Hostile("23 a byte too many", WHOLE + b"x", "the body must end with its last tensor, got 1 more", 400, SPLIT),
    Hostile("23 no bytes", WHOLE[:SPLIT], "inputs[0].parameters.binary_data_size: must be at most the 0", 400, SPLIT),
    raw(
        "23 a size that is negative",
        "inputs[0].parameters.binary_data_size: must be a whole",
        "distance",
        bytes(16),
        -1,
    ),
    raw(
        "23 a size beyond 2**31", "inputs[0].parameters.binary_data_size: must be at most", "distance", bytes(16), 2**31
    ),
    raw(
        "23 a size that is text", "inputs[0].parameters.binary_data_size: must be a whole", "distance", bytes(16), "16"
    ),
    raw("23 too few bytes", "inputs[0]: must take 16 bytes as 2 of FP64", "distance", bytes(8)),
    raw("23 too many bytes", "inputs[0]: must take 16 bytes as 2 of FP64", "distance", bytes(24)),
    raw("23 bytes that are no booleans", "inputs[2]: must be bytes of 0 and 1", "night", b"\2\0", datatype="BOOL"),
    raw("23 infinity in bytes", "inputs[0].data[0]: must be a number, or", "distance", b"\0\0\0\0\0\0\xf0\x7f" * 2),
    raw(
        "23 a text that runs out", "inputs[3]: has a text said to take 255", "carrier", raw_texts("UA") + b"\xff\0\0\0A"
    ),
    raw("23 a text of 2**32 - 1", "inputs[3]: has a text said to take 4,294", "carrier", b"\xff\xff\xff\xffAA"),
    raw("23 a length that runs out", "inputs[3]: must hold 4 bytes of length", "carrier", raw_texts("UA") + b"\0\0"),
    raw("23 a text too few", "inputs[3]: must hold 2 texts and nothing else", "carrier", raw_texts("UA")),
    raw("23 a text too many", "inputs[3]: must hold 2 texts and nothing else", "carrier", raw_texts("UA", "AA", "9E")),
    empty_texts("23 hundreds of thousands of empty texts", "a request holds at most 4,096 rows, got 400,000", 400_000),
    empty_texts("23 hundreds of thousands in many tensors", "a request must not hold more rows", *[4096] * 100),
    one("23 data and bytes", "inputs[0].data: must be left out where", "distance", parameters={"binary_data_size": 16}),
    Hostile("many rows", body(request(*[ROW] * 4097)), "a request holds at most 4,096 rows, got 4,097", 413),
    Hostile(
        "millions of numbers", b'{"inputs":[{"data":[' + b"1," * 900_000 + b"1]}]}", "a request must not hold", 413
    ),
    Hostile(
        "millions of lists", b'{"inputs":[{"data":[' + b"[]," * 600_000 + b"[]]}]}", "a request must not hold", 413
    ),
    Hostile("millions of inputs", b'{"inputs":[' + b"{}," * 600_000 + b"{}]}", "the body must hold a tensor for each"),
    Hostile("megabytes of quotes", b'{"inputs":["' + b'\\"' * 900_000, "the body must be JSON in UTF-8: "),
]
"""Refused. The number is the case of the list of what the service must withstand."""

PATHS = [
    "/v2/models/nobody/infer",
    "/v2/models/flights/versions/2/infer",
    "/v2/models/flights/versions/01/infer",
    "/v2/models/flights/versions/1/2/infer",
    "/v2/models/../flights/infer",
    "/v2/models/..%2f..%2fetc%2fpasswd/infer",
    "/v2/models/%2e%2e%2fflights/infer",
    "/v2/models//etc/passwd/infer",
    "/v2/models/%2fetc%2fpasswd/infer",
    "/v2/models/flights%00/infer",
    "/v2/models/" + "x" * 256 + "/infer",
    "/v2/repository/models/..%2fflights/load",
    "/v2/models",
    "/v2/",
    "/v22",
]
"""Where nobody is: 404."""
