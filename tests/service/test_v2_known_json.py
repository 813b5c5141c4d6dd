"""Bodies in JSON that resemble a known form of an Open Inference request, by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.models.values import FIRST_TIMESTAMP, LAST_TIMESTAMP
from rowcast.service.protocols.v2 import known_json as v2_known_json
from rowcast.service.protocols.v2.reading import InferReader
from tests.abuse.mutations import MAX_ROWS
from tests.service.hostile_payloads import ROW
from tests.service.known_forms import (
    CARRIERS,
    DISTANCES,
    GOOD,
    NULLS,
    READER_OF,
    STOPS,
    LongWay,
    binary_of,
    check,
    check_json,
    is_known,
    known_json,
    outcome,
    put,
    taught,
)
from tests.service.open_inference import body, request
from tests.support import handmade


@pytest.mark.parametrize("text", [
    put(CARRIERS, '["UA, "UA"]'),
    put(CARRIERS, '["UA", "UA"'),
    put(CARRIERS, '["UA", UA"]'),
    put(CARRIERS, '["UA"], ["UA"]'),
    put(CARRIERS, '[["UA"], ["UA"]]'),
    put(CARRIERS, '["UA", "]}, {\\"name\\": \\"departs\\""]'),
    put(CARRIERS, '["UA", "]}, {"]'),
    put(CARRIERS, '["a", "]"]'),
    put(CARRIERS, '["\\u0041", "A"]'),
    put(CARRIERS, '["\\ud800", "A"]'),
    put(CARRIERS, '["UA"]'),
    put(CARRIERS, '["UA", "UA", "UA"]'),
    put(CARRIERS, "[]"),
    put(CARRIERS, "[1, 2]"),
    put(CARRIERS, "[true, null]"),
    put(DISTANCES, "[872.0], [872.0]"),
    put(DISTANCES, "[872.0, 872.0], 5"),
    put(DISTANCES, '[872.0, 872.0], "data": [1.0, 1.0]'),
    put(DISTANCES, '[872.0, 872.0], "name": "distance"'),
    put(DISTANCES, "[[872.0], [872.0]]"),
    put(DISTANCES, "[872.0, [872.0]]"),
    put(DISTANCES, "[872.0, 872.0, ]"),
    put(DISTANCES, "[872.0 872.0]"),
    put(DISTANCES, "[872.0, 9007199254740992]"),
    put(DISTANCES, "[872.0, 9007199254740993]"),
    put(DISTANCES, "[872.0, -9007199254740993]"),
    put(DISTANCES, "[872.0, 9007199254740993.0]"),
    put(DISTANCES, "[872.0, 1e400]"),
    put(DISTANCES, "[872.0, NaN]"),
    put(DISTANCES, "[872.0, true]"),
    put(DISTANCES, '[872.0, "872"]'),
    put(DISTANCES, "[872.0, {}]"),
    put(STOPS, "[1, 1.5]"),
    put("[0.0, 0.0]", "[0, 2]"),
    put("[0.0, 0.0]", "[0, false]"),
    put("2013-07-01", "2013-02-30"),
    put('"2013-07-01T00:00:00Z"', '""'),
    put('"2013-07-01T00:00:00Z"', "0"),
    put('"inputs"', '"id": "a", "inputs"'),
    put('"inputs"', '"inputs": [], "inputs"'),
    put("[2, 1]", "[3, 1]"),
    put("[2, 1]", "[2]"),
    put('"data": [872.0', '"data"; [872.0'),
    put('"data": [872.0', '"data":[ 872.0'),
    put("FP64", "FP32"),
    put("distance", "distances"),
    put('"distance"', '"dist\\u0061nce"'),
    GOOD + b" ",
    b" " + GOOD,
    GOOD + b"}",
    GOOD[:-1],
    GOOD[:100] + GOOD[-100:],
    GOOD[: len(GOOD) // 2],
    b"",
    b"\xef\xbb\xbf" + GOOD,
    put("UA", "\x01"),
    GOOD.replace(b"UA", b"\xff", 1),
    GOOD.replace(b'"UA", "UA"', b'"\xc3", "\xa9"'),
    body(request(ROW)),
    body(request(ROW, ROW, ROW)),
    body(request(*[ROW] * (MAX_ROWS + 1))),
    body({"inputs": request(ROW, ROW)["inputs"][:3]}),
    body({"inputs": request(ROW, ROW)["inputs"][::-1]}),
    body({"inputs": request(ROW, ROW)["inputs"] * 2}),
])  # fmt: skip
def test_what_only_resembles_a_known_body_is_what_it_is_in_any(text: bytes) -> None:
    check_json(text)


@pytest.mark.parametrize("text", [
    NULLS,
    put(CARRIERS, '["", null]'),
    put(CARRIERS, '["never seen", "data"]'),
    put(CARRIERS, '["😀", "}"]'),
    put(CARRIERS, '["UA","UA"]'),
    put(DISTANCES, "[ 1,\n2 ]"),
    put(DISTANCES, "[9007199254740991, -0.0]"),
    put('["2013-07-01T00:00:00Z", "2013-07-01T00:00:00Z"]', '["2013-07-01", null]'),
])  # fmt: skip
def test_any_values_of_a_known_body_are_read_the_short_way(text: bytes) -> None:
    reader = known_json()
    assert is_known(reader, text)
    assert len(check(reader, text, **READER_OF)) == 4


def test_a_list_that_ends_in_the_next_one_is_none() -> None:
    """What joins the lists may stand in a text: then as many values come out as there should be, of fewer lists."""
    reader = known_json()
    for first, second in (
        ('["UA", "x]', '[y"]'),
        ('["]', '[", "UA"]'),
        ('["UA", "]', '["]'),
        ('["UA", "]', '["], [1]'),
    ):
        text = put("[1, 1]", second, put(DISTANCES, first))
        assert len(check(reader, text, **READER_OF)) == 3
        text = put('["2013-07-01T00:00:00Z", "2013-07-01T00:00:00Z"]', second, put(CARRIERS, first))
        assert len(check(reader, text, **READER_OF)) == 3


def test_what_is_cut_elsewhere_than_at_the_data_is_not_kept() -> None:
    text = b'{"inputs":[{"shape":[1],"data":[1]}]}'
    for at in (text.index(b"1"), text.rindex(b"1")):
        pieces = v2_known_json._Pieces(text[:at], [], text[at + 1 :])
        assert pieces.lists(text) == [[1]]
        is_data = v2_known_json._are_around(pieces, pieces.first + pieces.last, text, json.loads(text))
        assert is_data == (at == text.rindex(b"1"))


@pytest.mark.parametrize("content", [
    request(ROW, id="a"),
    request({**ROW, "carrier": "a]b"}),
    request({**ROW, "carrier": "a[b"}),
    request({**ROW, "carrier": "a{b"}),
    request({**ROW, "carrier": 'a"b'}),
    {"inputs": request(ROW)["inputs"][:2] + request(ROW)["inputs"][3:]},
    {"inputs": [{**entry, "data": [[value] for value in entry["data"]]} for entry in request(ROW)["inputs"]]},
    {"inputs": [{**entry, "datatype": entry["datatype"].replace("64", "32")} for entry in request(ROW)["inputs"]]},
    {"inputs": request(ROW)["inputs"], "parameters": {"x": "x" * 2**14}},
    request(*[{**ROW, "carrier": "a" * 2**17}] * 3),
])  # fmt: skip
def test_an_unusual_body_is_never_known(content: dict[str, Any]) -> None:
    reader = taught((body(content), None), **READER_OF)
    assert len(check(reader, body(content), **READER_OF)) == 4
    assert not is_known(reader, body(content))


def test_what_looks_like_data_but_is_a_parameter_is_no_data() -> None:
    content = request(ROW, parameters={"data": "data", "x": '"data":'})
    reader = taught((body(content), None), **READER_OF)
    check(reader, body(content), **READER_OF)
    content = request(ROW, parameters={"data": 5})
    reader = taught((body(content), None), **READER_OF)
    assert is_known(reader, body(content))


def test_timestamps_in_numbers_are_read_the_short_way() -> None:
    content = request(ROW, ROW)
    content["inputs"][-1].update(datatype="INT64", data=[FIRST_TIMESTAMP, None])
    reader = taught((body(content), None), **READER_OF)
    for data in ([LAST_TIMESTAMP, MISSING_TIMESTAMP], [None, None], [0, -1]):
        content["inputs"][-1]["data"] = data
        assert is_known(reader, body(content))
        assert len(check(reader, body(content), **READER_OF)) == 4
    for data in (
        [LAST_TIMESTAMP + 1, 0],
        [0, FIRST_TIMESTAMP - 1],
        [2**63, 0],
        [2**64, 0],
        [1.0, 0],
        [True, 0],
        ["1", 0],
    ):
        content["inputs"][-1]["data"] = data
        assert len(check(reader, body(content), **READER_OF)) == 3


def test_many_timestamps_in_texts_are_read_the_short_way() -> None:
    reader = InferReader(handmade.BINARY, 100)
    days = [{**ROW, "departs": f"2013-07-{1 + i % 30:02}T08:30:00Z"} for i in range(40)]
    for rows in (days, days, days[::-1], [{**ROW, "departs": "2013-07-01"}] * 40, [{**ROW, "departs": None}] * 40):
        text = body(request(*rows))
        assert outcome(reader, text) == outcome(LongWay(handmade.BINARY, 100), text)
    assert is_known(reader, text)


def test_what_a_request_asks_for_is_kept_with_its_form() -> None:
    more = {
        "parameters": {"timeout": 5_000_000, "priority": 3},
        "outputs": [{"name": "label", "parameters": {"binary_data": True}}],
    }
    for text, json_bytes in ((body(request(ROW, **more)), None), binary_of(ROW, **more)):
        reader = taught((text, json_bytes), **READER_OF)
        assert is_known(reader, text, json_bytes)
        asked, _ = reader.read(text, json_bytes)
        assert (asked.limits.timeout, asked.limits.priority, asked.tensors) == (5.0, 3, [])
        assert [(output.name, output.binary) for output in asked.outputs] == [("label", True)]


def test_escapes_around_the_data_are_no_hindrance() -> None:
    for text, json_bytes in ((GOOD, None), binary_of(ROW, ROW)):
        escaped = text.replace(b'"distance"', b'"dist\\u0061nce"', 1)
        more = None if json_bytes is None else json_bytes + len(escaped) - len(text)
        reader = taught((escaped, more), **READER_OF)
        assert is_known(reader, escaped, more)
        assert len(check(reader, escaped, more, **READER_OF)) == 4
