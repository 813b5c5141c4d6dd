"""Bodies in platforms' forms that break a rule, the code each must get and where the first fault lies.

They are for the model of ``tests/support/handmade.py``. The list only grows.
"""

from __future__ import annotations

import json
from typing import Any

from tests.service.hostile_payloads import ROW

_V1 = "/v1/models/flights:predict"
_INVOKE = "/invocations"
_VALUES = list(ROW.values())
_NAMES = list(ROW)
_CSV = b"text/csv"
_LINES = b"application/jsonlines"
_GOOD = b"872,1,False,UA,2013-07-01\n"


class Platform:
    """A request, and how it is refused."""

    def __init__(
        self,
        name: str,
        path: str,
        content: Any,
        content_type: bytes = b"application/json",
        *,
        status: int = 400,
        fault: str | None = None,
        accept: bytes = b"*/*",
    ) -> None:
        self.name = name
        self.path = path
        self.body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.content_type = content_type
        self.status = status
        self.fault = fault
        self.accept = accept


def _with(column: str, value: Any) -> list[Any]:
    return [value if name == column else was for name, was in ROW.items()]


def _split(columns: Any, *data: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": list(data)}}


CASES = [
    # rows as objects
    Platform("text for a number", _V1, {"instances": [ROW, {**ROW, "distance": "far"}]}, fault="instances[1].distance"),
    Platform("unknown field", _V1, {"instances": [{**ROW, "late": 1}]}, fault="instances[0].late"),
    Platform("missing field", _V1, {"instances": [{"distance": 1}]}, fault="instances[0].stops"),
    Platform("records", _INVOKE, {"dataframe_records": [{**ROW, "stops": 1.5}]}, fault="dataframe_records[0].stops"),
    Platform("inputs", _INVOKE, {"inputs": [{**ROW, "night": 1}]}, fault="inputs[0].night"),
    Platform("a key twice", _V1, b'{"instances":[{"distance":1,"distance":2}]}', fault="instances[0].stops"),
    Platform("a key twice, long way", _V1, b'{"instances":[{"distance":1,"distance":2},[1]]}', fault=""),
    Platform("beyond a double", _V1, {"instances": [{**ROW, "distance": 2**53 + 1}]}, fault="instances[0].distance"),
    Platform("infinity", _INVOKE, b'{"dataframe_records":[{"distance":-Infinity,"stops":1,"carrier":"UA"}]}',
             fault="dataframe_records[0].distance"),
    # rows as lists
    Platform("text in a list", _V1, {"instances": [_VALUES, _with("night", "x")]}, fault="instances[1][2]"),
    Platform("too few", _V1, {"instances": [_VALUES, _VALUES[1:]]}, fault="instances[1]"),
    Platform("too many", _V1, {"instances": [[*_VALUES, 1]]}, fault="instances[0]"),
    Platform("a list in a list", _V1, {"instances": [_with("stops", [1])]}, fault="instances[0][1]"),
    Platform("nan in a list", _V1, b'{"instances":[[NaN,1,true,"UA",null]]}', fault="instances[0][0]"),
    Platform("1e400 in a list", _INVOKE, b'{"instances":[[1e400,1,true,"UA",null]]}', fault="instances[0][0]"),
    Platform("2**53+1 in a list", _V1, b'{"instances":[[9007199254740993,1,true,"UA",null]]}', fault="instances[0][0]"),
    Platform("no date in a list", _V1, {"instances": [_with("departs", "2013-02-30")]}, fault="instances[0][4]"),
    Platform("half a surrogate", _V1, b'{"instances":[[1,1,true,"\\ud800",null]]}', fault="instances"),
    Platform("bare values", _V1, {"instances": [1, 2]}, fault="instances[0]"),
    Platform("features too few", _INVOKE, {"instances": [{"features": [1]}]}, fault="instances[0]"),
    Platform("a bare list", _INVOKE, [_with("stops", 1.5)], fault="[0][1]"),
    # bodies
    Platform("no rows", _V1, {"instances": []}, fault="instances"),
    Platform("no list", _V1, {"instances": 3}, fault="instances"),
    Platform("nothing", _V1, {}, fault=""),
    Platform("no body", _V1, b"", fault=""),
    Platform("no object", _V1, "x", fault=""),
    Platform("a list, V1", _V1, [_VALUES], fault=""),
    Platform("two forms", _INVOKE, {"instances": [ROW], "inputs": [ROW]}, fault=""),
    Platform("another member", _V1, {"instances": [ROW], "foo": 1}, fault="foo"),
    Platform("another list", _V1, {"instances": [ROW], "foo": [{}]}, fault="foo"),
    Platform("params", _INVOKE, {"instances": [ROW], "params": {"a": 1}}, fault="params"),
    Platform("signature_name", _V1, {"instances": [ROW], "signature_name": "x"}, fault="signature_name"),
    Platform("broken", _V1, b'{"instances":[{"distance":1,}]}', fault=""),
    Platform("comma at the end", _V1, b'{"instances":[[1,2,3,4,5],]}', fault=""),
    Platform("deep", _INVOKE, b'{"instances":' + b"[" * 100_000, fault=""),
    Platform("many lists", _INVOKE, b'{"instances":[[' + b"[]," * 100_000 + b"[]]]}", fault=""),
    Platform("many values", _INVOKE, b'{"instances":[[' + b"1," * 100_000 + b"1]]}", fault=""),
    Platform("long text", _INVOKE, b'{"instances":[["' + b"," * 400_000 + b'"]]}', fault=""),
    Platform("latin-1", _V1, b'{"instances":[[1,1,true,"\xe9",null]]}', fault=""),
    # frames and columns
    Platform("frame", _INVOKE, _split(_NAMES, _VALUES, _with("carrier", 3)), fault="dataframe_split.data[1][3]"),
    Platform("unknown column", _INVOKE, _split([*_NAMES, "y"], [*_VALUES, 1]), fault="dataframe_split.columns[5]"),
    Platform("column twice", _INVOKE, _split([*_NAMES, "stops"], [*_VALUES, 1]), fault="dataframe_split.columns[5]"),
    Platform("missing column", _INVOKE, _split(_NAMES[1:], _VALUES[1:]), fault="dataframe_split.columns"),
    Platform("names that are none", _INVOKE, _split([1, 2], [1, 2]), fault="dataframe_split.columns[0]"),
    Platform("names in no list", _INVOKE, _split("distance", _VALUES), fault="dataframe_split.columns"),
    Platform("ragged frame", _INVOKE, _split(_NAMES, _VALUES, _VALUES[1:]), fault="dataframe_split.data[1]"),
    Platform("objects in a frame", _INVOKE, _split(_NAMES, ROW), fault="dataframe_split.data[0]"),
    Platform("no names", _INVOKE, {"dataframe_split": {"data": [_VALUES]}}, fault="dataframe_split.columns"),
    Platform("no data", _INVOKE, {"dataframe_split": {"columns": _NAMES}}, fault="dataframe_split.data"),
    Platform("frame with more", _INVOKE, {"dataframe_split": {"columns": _NAMES, "data": [_VALUES], "x": 1}},
             fault="dataframe_split.x"),
    Platform("split is a list", _INVOKE, {"dataframe_split": [_VALUES]}, fault="dataframe_split"),
    Platform("columns", _INVOKE, {"inputs": {name: [value, "x"] for name, value in ROW.items()}},
             fault="inputs.distance[1]"),
    Platform("ragged columns", _INVOKE, {"inputs": {**{name: [value] for name, value in ROW.items()}, "stops": [1, 2]}},
             fault="inputs.stops"),
    Platform("unknown columns", _INVOKE, {"inputs": {**ROW, "y": 1}}, fault="inputs.y"),
    Platform("column and value", _INVOKE, {"inputs": {**ROW, "stops": [1]}}, fault="inputs.distance"),
    Platform("one row", _INVOKE, {"inputs": {**ROW, "stops": "x"}}, fault="inputs.stops"),
    # CSV
    Platform("csv cell", _INVOKE, _GOOD * 2 + b"far,1,,UA,\n", _CSV, fault='csv line 3 column "distance"'),
    Platform("csv whole", _INVOKE, b"stops,carrier,distance\n1.5,UA,1\n", _CSV, fault='csv line 2 column "stops"'),
    Platform("csv yes", _INVOKE, b"1,1,yes,UA,\n", _CSV, fault='csv line 1 column "night"'),
    Platform("csv inf", _INVOKE, b"inf,1,,UA,\n", _CSV, fault='csv line 1 column "distance"'),
    Platform("csv 1e999", _INVOKE, b"1e999,1,,UA,\n", _CSV, fault='csv line 1 column "distance"'),
    Platform("csv decimal comma", _INVOKE, b'"1,5",1,,UA,\n', _CSV, fault='csv line 1 column "distance"'),
    Platform("csv other digits", _INVOKE, "\u0663,1,,UA,\n".encode(), _CSV, fault='csv line 1 column "distance"'),
    Platform("csv ragged", _INVOKE, _GOOD + b"1,2\n", _CSV, fault="csv line 2"),
    Platform("csv empty line", _INVOKE, _GOOD + b"\n" + _GOOD, _CSV, fault="csv line 2"),
    Platform("csv line after quotes", _INVOKE, b'1,1,,"U\nA",\nx,1,,UA,\n', _CSV, fault='csv line 3 column "distance"'),
    Platform("csv open quote", _INVOKE, _GOOD + b'1,1,,"UA,\n', _CSV, fault="csv line 2"),
    Platform("csv stray quote", _INVOKE, b'1,1,,"U"A,\n', _CSV, fault="csv line 1"),
    Platform("csv header", _INVOKE, b"distance,stops,carrier,y\n1,1,UA,1\n", _CSV, fault="csv line 1 cell 3"),
    Platform("csv header lacks", _INVOKE, b"distance,stops\n1,1\n", _CSV, fault="csv line 1"),
    Platform("csv header alone", _INVOKE, b"distance,stops,carrier\n", _CSV, fault="csv"),
    Platform("csv nothing", _INVOKE, b"", _CSV, fault="csv"),
    Platform("csv latin-1", _INVOKE, _GOOD + b"1,1,,\xe9,\n", _CSV, fault="csv line 2"),
    Platform("csv nul", _INVOKE, b"1\0,1,,UA,\n", _CSV, fault='csv line 1 column "distance"'),
    Platform("csv long line", _INVOKE, b"1,1,,%b,\n" % (b"x" * 400_000), _CSV, fault="csv line 1"),
    Platform("csv of newlines", _INVOKE, b"\n" * (2**24 - 1), _CSV, fault="csv"),
    Platform("csv of open quote", _INVOKE, b'1,1,,"' + b"\n" * 2**23 + b"x", _CSV, fault="csv line 1"),
    Platform("lines of newlines", _INVOKE, b"\n" * (2**24 - 1), _LINES, fault="line"),
    Platform("csv no data", _INVOKE, b"x,stops,night\n1,1,1\n", b"text/csv; header=absent", fault="csv line 1"),
    # JSON lines
    Platform("line", _INVOKE, json.dumps(ROW).encode() + b'\n{"distance":"x"}\n\n', _LINES, fault="line 2.distance"),
    Platform("line between", _INVOKE, b"[]\n\n[]", _LINES, fault="line 2"),
    Platform("line broken", _INVOKE, json.dumps(ROW).encode() + b"\n{\n", _LINES, fault="line 2"),
    Platform("line of two", _INVOKE, b"1,2\n", _LINES, fault="line 1"),
    Platform("lines, none", _INVOKE, b"\n\n", _LINES, fault="line"),
    # types
    Platform("recordio", _INVOKE, b"x", b"application/x-recordio-protobuf", status=415),
    Platform("csv in latin-1", _INVOKE, _GOOD, b"text/csv; charset=latin-1", status=415),
    Platform("csv to V1", _V1, _GOOD, _CSV, status=415),
    Platform("an image", _INVOKE, {"instances": [ROW]}, accept=b"image/png", status=406),
]  # fmt: skip
