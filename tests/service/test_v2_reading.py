"""A known form of an Open Inference request is read the short way, and never as anything but what the long way says."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast.models.errors import RequestError
from rowcast.models.signature import MISSING_TIMESTAMP, Signature
from rowcast.models.values import FIRST_TIMESTAMP, LAST_TIMESTAMP
from rowcast.service import cache
from rowcast.service.columns.named import ColumnReader, Columns
from rowcast.service.protocols.v2 import known_binary as v2_known_binary
from rowcast.service.protocols.v2 import known_json as v2_known_json
from rowcast.service.protocols.v2.reading import InferReader
from rowcast.service.protocols.v2.request import InferRequest, RequestReader
from tests.abuse.mutations import CASES, MAX_ROWS, SIGNATURE, Edit, damage, edits
from tests.service.hostile_payloads import ROW
from tests.service.open_inference import binary, body, raw_texts, request
from tests.support import handmade

BYTES = "BYTES"
fewer = settings(max_examples=1 + CASES // 5, deadline=None, database=None)
"""Each case here reads a body many times over."""


class LongWay:
    """What the short way is held against."""

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._request = RequestReader(signature, max_rows)
        self._columns = ColumnReader(signature, max_rows)

    def read(self, text: bytes, json_bytes: int | None = None) -> tuple[InferRequest, Columns]:
        asked = self._request.read(text, json_bytes)
        return asked, self._columns.read(asked.tensors)


LONG_WAYS = {signature.names: LongWay(signature, MAX_ROWS) for signature in (SIGNATURE, handmade.BINARY)}


class Barred:
    """Stands where the long way begins."""

    def steps(self, *_: Any) -> Any:
        raise AssertionError("the long way was taken")


def outcome(reader: InferReader | LongWay, text: bytes, json_bytes: int | None = None) -> Any:
    """What is made of a body, in values that can be compared."""
    try:
        asked, columns = reader.read(text, json_bytes)
    except RequestError as error:
        return error.status, str(error), error.faults
    blocks = [(block.dtype, block.shape, list(map(plain, block.ravel().tolist()))) for block in columns.blocks]
    return asked._replace(tensors=[]), len(columns), type(columns), blocks


def plain(value: Any) -> Any:
    """Told from all others: NaN is itself, and -0.0 another than 0.0."""
    return (type(value), repr(value))


def check(reader: InferReader, text: bytes, json_bytes: int | None = None, signature: Signature = SIGNATURE) -> Any:
    """What is made of a body by one that may know it, which is what the long way makes of it."""
    expected = outcome(LONG_WAYS[signature.names], text, json_bytes)
    assert outcome(reader, text, json_bytes) == expected
    return expected


def is_known(reader: InferReader, text: bytes, json_bytes: int | None = None) -> bool:
    """Whether a body is read without the long way."""
    long_way, reader._request = reader._request, Barred()  # type: ignore[assignment]
    try:
        reader.read(text, json_bytes)
    except AssertionError:
        return False
    finally:
        reader._request = long_way
    return True


def taught(*bodies: tuple[bytes, int | None], signature: Signature = SIGNATURE) -> InferReader:
    """A reader that has read some bodies, each as often as it takes to know it."""
    reader = InferReader(signature, MAX_ROWS)
    for text, json_bytes in bodies * 2:
        check(reader, text, json_bytes, signature)
    return reader


# ─── Whatever comes ──────────────────────────────────────────────────────────────────────────────────────────────────

KINDS = {column.name: column.kind for column in SIGNATURE.columns}
NUMBERS = {
    "number": st.floats(-(2.0**40), 2.0**40).map(repr) | st.sampled_from(["3", "-0", "-0.0"]),
    "integer": st.integers(-9, 9).map(str) | st.sampled_from(["3.0", "-0.0", "1E2", "9007199254740991"]),
    "boolean": st.sampled_from(["0", "1", "0.0", "1.0"]),
}
USUAL_TEXTS = st.sampled_from(["UA", "", "7", "never seen", "é", "😀", "null", "a,b", "data", ":"])
DATES = st.sampled_from(["2013-07-01", "2013-07-01T08:30:00Z", "0001-01-01T00:00:00Z", "2013-07-01T08:30:00.5+01:00"])
MOMENTS = st.sampled_from([0, 1, -1, 1_372_636_800_000_000, FIRST_TIMESTAMP, LAST_TIMESTAMP, MISSING_TIMESTAMP])
ODD = st.sampled_from([
    "null", "true", "false", "NaN", "Infinity", "1e400", "-1e400", "1e308", "1e16", "0.5", "2", "01", "+1", "", " ",
    " 1", *(str(sign * (2**53 + near)) for sign in (1, -1) for near in (-1, 0, 1)), "9007199254740993.0",
    str(2**63 - 1), str(2**63), str(-(2**63) - 1), str(2**64), str(LAST_TIMESTAMP + 1), str(FIRST_TIMESTAMP - 1),
    "[1]", "[[1]]", "[]", "{}", "1],[2", "1],2", "1]", "[1", "1,2", ",", '"', '"a', 'a"', '"a","b"', '"],["', '"],"',
    '"]"', '"["', '"{"', '"}"', '"\\u0041"', '"\\""', '"\\\\"', '"\\ud800"', '"a\nb"', '"\0"', "UA", '"1"',
    '"2013-02-30"', '"2013-07-01T24:00:00Z"', '""', '"]},{"', '"]}"', '1]},{"name":"stops"',
])  # fmt: skip


class Form(NamedTuple):
    """What a caller sends each time."""

    datatypes: dict[str, str]
    rows: int
    nested_shape: bool
    spaced: bool
    data_first: bool
    more: dict[str, Any]

    def text(self, values: dict[str, list[str]]) -> bytes:
        """A body in JSON, of literals."""
        colon, comma = (": ", ", ") if self.spaced else (":", ",")
        inputs = []
        for name, datatype in self.datatypes.items():
            head = json.dumps(self._head(name, datatype), ensure_ascii=False, separators=(comma, colon))[1:-1]
            data = f'"data"{colon}[{comma.join(values[name])}]'
            inputs.append(f"{{{data}{comma}{head}}}" if self.data_first else f"{{{head}{comma}{data}}}")
        more = json.dumps(self.more, separators=(comma, colon))[1:-1]
        return f'{{"inputs"{colon}[{comma.join(inputs)}]{comma + more if more else ""}}}'.encode(errors="surrogatepass")

    def raw(self, values: dict[str, bytes]) -> tuple[bytes, int]:
        """A body in raw bytes."""
        inputs = [
            {**self._head(name, datatype), "parameters": {"binary_data_size": len(values[name])}}
            for name, datatype in self.datatypes.items()
        ]
        separators = (", ", ": ") if self.spaced else (",", ":")
        content = {**self.more, "inputs": inputs} if self.data_first else {"inputs": inputs, **self.more}
        text = json.dumps(content, separators=separators).encode()
        return text + b"".join(values[name] for name in self.datatypes), len(text)

    def _head(self, name: str, datatype: str) -> dict[str, Any]:
        return {"name": name, "datatype": datatype, "shape": [self.rows, 1] if self.nested_shape else [self.rows]}


MORE = st.sampled_from([
    {}, {}, {"parameters": {"timeout": 5_000_000, "priority": 2}}, {"parameters": {"binary_data_output": True}},
    {"outputs": [{"name": "label", "parameters": {"binary_data": True}}]}, {"id": "7"}, {"id": None}, {"outputs": []},
    {"parameters": {"binary_data_size": 8}}, {"parameters": {"data": 5}}, {"x": 1},
])  # fmt: skip


@st.composite
def forms(draw: st.DrawFn, more: st.SearchStrategy[dict[str, Any]] = MORE, iso: bool | None = None) -> Form:
    texts = draw(st.booleans()) if iso is None else iso
    names = draw(st.permutations(SIGNATURE.names))
    by_kind = {"category": BYTES, "timestamp": BYTES if texts else "INT64"}
    datatypes = {name: by_kind.get(KINDS[name], "FP64") for name in names}
    return Form(datatypes, draw(st.integers(1, MAX_ROWS)), *draw(st.tuples(*[st.booleans()] * 3)), draw(more))


@st.composite
def literals(draw: st.DrawFn, form: Form, *, nulls: bool = True) -> dict[str, list[str]]:
    """Values that break no rule."""
    values = {}
    for name, datatype in form.datatypes.items():
        if datatype == BYTES:
            texts = DATES if KINDS[name] == "timestamp" else USUAL_TEXTS
            one = texts.map(lambda text: json.dumps(text, ensure_ascii=False))
        else:
            one = MOMENTS.map(str) if datatype == "INT64" else NUMBERS[KINDS[name]]
        one = st.one_of(one, one, st.just("null")) if nulls else one
        values[name] = draw(st.lists(one, min_size=form.rows, max_size=form.rows))
    return values


@st.composite
def raws(draw: st.DrawFn, form: Form) -> dict[str, bytes]:
    """Values that break no rule, as bytes."""
    values = {}
    for name, column in draw(literals(form, nulls=False)).items():
        if form.datatypes[name] == BYTES:
            values[name] = raw_texts(*map(json.loads, column))
        elif form.datatypes[name] == "INT64":
            values[name] = np.array(list(map(int, column)), "<i8").tobytes()
        else:
            missing = draw(st.lists(st.booleans(), min_size=form.rows, max_size=form.rows))
            numbers = [math.nan if gone else float(value) for value, gone in zip(column, missing, strict=True)]
            values[name] = np.array(numbers, "<f8").tobytes()
    return values


USUAL_MORE = st.sampled_from([
    {}, {"parameters": {"timeout": 5_000_000, "priority": 2}}, {"id": None}, {"outputs": [{"name": "label"}]},
])  # fmt: skip


@fewer
@given(st.data())
def test_other_values_in_a_known_form_are_read_the_short_way(data: st.DataObject) -> None:
    form = data.draw(forms(USUAL_MORE))
    reader = taught((form.text(data.draw(literals(form))), None))
    text = form.text(data.draw(literals(form)))
    assert len(check(reader, text)) == 4
    assert is_known(reader, text)


@fewer
@given(st.data())
def test_other_raw_values_in_a_known_form_are_read_the_short_way(data: st.DataObject) -> None:
    form = data.draw(forms(USUAL_MORE, iso=False))
    reader = taught(form.raw(data.draw(raws(form))))
    text, json_bytes = form.raw(data.draw(raws(form)))
    assert len(check(reader, text, json_bytes)) == 4
    assert is_known(reader, text, json_bytes)


@fewer
@given(st.data())
def test_odd_values_in_a_known_form_are_what_they_are_in_any(data: st.DataObject) -> None:
    form = data.draw(forms())
    reader = taught((form.text(data.draw(literals(form))), None))
    values = data.draw(literals(form))
    for _ in range(data.draw(st.integers(1, 2))):
        column = values[data.draw(st.sampled_from(SIGNATURE.names))]
        at = data.draw(st.integers(0, len(column)))
        column[at : at + data.draw(st.integers(0, 1))] = [data.draw(ODD)]
    check(reader, form.text(values))


@fewer
@given(st.data(), edits, st.booleans())
def test_a_damaged_body_of_a_known_form_is_what_it_is_in_any(
    data: st.DataObject, changes: list[Edit], again: bool
) -> None:
    form = data.draw(forms())
    reader = taught((form.text(data.draw(literals(form))), None))
    text = damage(form.text(data.draw(literals(form))), changes)
    for _ in range(3 if again else 1):  # if it is right it is itself known after two
        check(reader, text)


@fewer
@given(st.data(), edits, st.integers(0, 3), st.integers(-2, 2))
def test_damaged_raw_values_of_a_known_form_are_what_they_are_in_any(
    data: st.DataObject, changes: list[Edit], where: int, off: int
) -> None:
    form = data.draw(forms(iso=False))
    reader = taught(form.raw(data.draw(raws(form))))
    text, json_bytes = form.raw(data.draw(raws(form)))
    if where == 0:
        text, off = damage(text, changes), 0
    elif where < 3:
        head, raw = text[:json_bytes], text[json_bytes:]
        head, raw = (damage(head, changes), raw) if where == 1 else (head, damage(raw, changes))
        text, json_bytes, off = head + raw, len(head), 0
    for _ in range(3):
        check(reader, text, max(0, json_bytes + off))


@fewer
@given(st.data())
def test_forms_are_not_mistaken_for_each_other(data: st.DataObject) -> None:
    first = data.draw(forms(USUAL_MORE))
    like = first._replace(more=data.draw(MORE)) if data.draw(st.booleans()) else first._replace(rows=1 + first.rows % 3)
    reader = taught(*((form.text(data.draw(literals(form))), None) for form in (first, like)))
    for form in (first, like):
        check(reader, form.text(data.draw(literals(form))))
    raw = [form._replace(datatypes={**form.datatypes, "departs": "INT64"}) for form in (first, like)]
    reader = taught(*(form.raw(data.draw(raws(form))) for form in raw))
    for form in raw:
        check(reader, *form.raw(data.draw(raws(form))))


# ─── By hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────

READER_OF = {"signature": handmade.BINARY}
GOOD = body(request(ROW, ROW))
NULLS = body(request({**ROW, "distance": None}, dict.fromkeys(ROW)))


def known_json() -> InferReader:
    reader = taught((GOOD, None), **READER_OF)
    assert is_known(reader, GOOD)
    return reader


def known_binary(**more: Any) -> InferReader:
    text, json_bytes = binary_of(ROW, ROW, **more)
    reader = taught((text, json_bytes), **READER_OF)
    assert is_known(reader, text, json_bytes)
    return reader


def binary_of(*rows: dict[str, Any], **more: Any) -> tuple[bytes, int]:
    """A request in raw bytes whose timestamps are numbers."""
    text, json_bytes = binary(*rows, **more)
    content = json.loads(text[:json_bytes])
    (at,) = (i for i, entry in enumerate(content["inputs"]) if entry["name"] == "departs")
    assert at == len(content["inputs"]) - 1
    entry = content["inputs"][at]
    raw = text[json_bytes : -entry["parameters"]["binary_data_size"]] + np.zeros(len(rows), "<i8").tobytes()
    entry.update(datatype="INT64", parameters={"binary_data_size": 8 * len(rows)})
    head = body(content)
    return head + raw, len(head)


def put(old: str, new: str, text: bytes = GOOD) -> bytes:
    assert text.count(old.encode()) >= 1
    return text.replace(old.encode(), new.encode(), 1)


def check_json(text: bytes) -> Any:
    return check(known_json(), text, **READER_OF)


DISTANCES, STOPS, CARRIERS = "[872.0, 872.0]", "[1, 1]", '["UA", "UA"]'


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


@pytest.mark.parametrize("rows", [
    [ROW, ROW],
    [{**ROW, "distance": math.nan, "night": math.nan}, ROW],
    [{**ROW, "carrier": ""}, {**ROW, "carrier": "😀" * 99}],
    [{**ROW, "distance": 1e300}, {**ROW, "distance": 2.0**60}],
])  # fmt: skip
def test_any_raw_values_of_a_known_body_are_read_the_short_way(rows: list[dict[str, Any]]) -> None:
    reader = known_binary()
    text, json_bytes = binary_of(*rows)
    assert is_known(reader, text, json_bytes)
    assert len(check(reader, text, json_bytes, **READER_OF)) == 4


@pytest.mark.parametrize("rows", [
    [{**ROW, "distance": math.inf}, ROW],
    [{**ROW, "stops": 0.5}, ROW],
    [{**ROW, "night": 2.0}, ROW],
    [{**ROW, "carrier": b"\xff"}, ROW],
    [ROW],
    [ROW] * (MAX_ROWS + 1),
])  # fmt: skip
def test_wrong_raw_values_of_a_known_body_are_told_of(rows: list[dict[str, Any]]) -> None:
    content = [{**row, "carrier": "??"} if isinstance(row["carrier"], bytes) else row for row in rows]
    text, json_bytes = binary_of(*content)
    check(known_binary(), text.replace(b"??", b"\xc3\xff"), json_bytes, **READER_OF)


def test_more_or_fewer_raw_bytes_than_the_sizes_say_are_told_of() -> None:
    text, json_bytes = binary_of(ROW, ROW)
    reader = known_binary()
    for off in (text + b"\0", text[:-1], text[:json_bytes], text + text[json_bytes:]):
        assert len(check(reader, off, json_bytes, **READER_OF)) == 3
    for wrong in (json_bytes - 1, json_bytes + 1, 0, len(text), len(text) + 1):
        assert len(check(reader, text, wrong, **READER_OF)) == 3
    assert len(check(reader, text, **READER_OF)) == 3


@pytest.mark.parametrize(
    "size", ["8", "016", "16.0", "1.6e1", "-16", "+16", '"16"', "true", "null", "0", "9" * 9, "9" * 10]
)
def test_a_size_that_is_wrong_is_told_of(size: str) -> None:
    text, json_bytes = binary_of(ROW, ROW)
    head = text[:json_bytes].replace(b'"binary_data_size": 16', f'"binary_data_size": {size}'.encode(), 1)
    assert len(check(known_binary(), head + text[json_bytes:], len(head), **READER_OF)) == 3


def test_sizes_that_fit_together_and_not_each_are_told_of() -> None:
    text, json_bytes = binary_of(ROW, ROW)
    sizes = text[:json_bytes].split(b'"binary_data_size": 16')
    assert len(sizes) >= 3
    head = sizes[0] + b'"binary_data_size": 15' + sizes[1] + b'"binary_data_size": 17'
    head += b'"binary_data_size": 16'.join(sizes[2:])
    assert len(check(known_binary(), head + text[json_bytes:], len(head), **READER_OF)) == 3


def test_escapes_around_the_data_are_no_hindrance() -> None:
    for text, json_bytes in ((GOOD, None), binary_of(ROW, ROW)):
        escaped = text.replace(b'"distance"', b'"dist\\u0061nce"', 1)
        more = None if json_bytes is None else json_bytes + len(escaped) - len(text)
        reader = taught((escaped, more), **READER_OF)
        assert is_known(reader, escaped, more)
        assert len(check(reader, escaped, more, **READER_OF)) == 4


def test_a_key_that_looks_like_a_size_is_none() -> None:
    """Written with an escape, a size is not seen and another key is."""
    text, json_bytes = binary_of(ROW, ROW)
    trap = b'"binary\\u005fdata_size": 16, "x\\"binary_data_size": 16'
    head = text[:json_bytes].replace(b'"binary_data_size": 16', trap, 1)
    reader = taught((head + text[json_bytes:], len(head)), **READER_OF)
    assert not is_known(reader, head + text[json_bytes:], len(head))
    head = head.replace(trap, trap[:-2] + b"24")
    assert len(check(reader, head + text[json_bytes:] + bytes(8), len(head), **READER_OF)) == 3
    assert len(check(reader, head + text[json_bytes:], len(head), **READER_OF)) == 4


@pytest.mark.parametrize("in_raw", [[], ["distance"], ["night", "departs"]])
def test_a_body_of_which_some_is_json_and_some_raw_bytes_is_never_known(in_raw: list[str]) -> None:
    content = request(ROW)
    content["inputs"][-1].update(datatype="INT64", data=[0])
    for entry in content["inputs"]:
        if entry["name"] in in_raw:
            del entry["data"]
            entry["parameters"] = {"binary_data_size": 8}
    head = body(content)
    text = head + bytes(8 * len(in_raw))
    reader = taught((text, len(head)), **READER_OF)
    assert len(check(reader, text, len(head), **READER_OF)) == 4
    assert not is_known(reader, text, len(head))


@pytest.mark.parametrize(
    "more", [{"id": "a"}, {"parameters": {"binary_data_size": 8}}, {"parameters": {"x": "x" * 2**14}}]
)
def test_unusual_json_before_raw_bytes_is_never_known(more: dict[str, Any]) -> None:
    text, json_bytes = binary_of(ROW, **more)
    reader = taught((text, json_bytes), **READER_OF)
    assert len(check(reader, text, json_bytes, **READER_OF)) == 4
    assert not is_known(reader, text, json_bytes)


# ─── What is kept ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_more_is_kept_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v2_known_json, "_MAX_STARTS", 6)
    monkeypatch.setattr(v2_known_binary, "_MAX_TEXTS", 6)
    monkeypatch.setattr(cache, "_MAX_SEEN", 9)
    reader = InferReader(handmade.BINARY, 100)
    long_way = LongWay(handmade.BINARY, 100)
    for rows in (*range(1, 30), *range(1, 30)):
        for text, json_bytes in ((body(request(*[ROW] * rows)), None), binary_of(*[ROW] * rows)):
            for _ in range(2):
                assert outcome(reader, text, json_bytes) == outcome(long_way, text, json_bytes)
            assert is_known(reader, text, json_bytes)
            assert sum(map(len, reader._json._templates.values())) <= 6
            assert len(reader._binary._texts) <= 6


def test_of_templates_that_begin_alike_the_newest_are_tried() -> None:
    reader = InferReader(handmade.BINARY, MAX_ROWS)
    bodies = [body(request(ROW, parameters={"timeout": timeout})) for timeout in range(9)]
    for text in bodies:
        check(reader, text, **READER_OF)
        check(reader, text, **READER_OF)
        assert is_known(reader, text)
    assert [is_known(reader, text) for text in bodies] == [False] * 5 + [True] * 4
    for text in bodies:
        check(reader, text, **READER_OF)


def test_a_form_is_learned_when_it_comes_again_and_seldom_tried_in_vain() -> None:
    known: cache.LearningCache[str, int] = cache.LearningCache(9)
    assert [i for i in range(1, 70) if known.is_worth_learning("a")] == [2, 4, 8, 16, 32, 64]
    assert not known.is_worth_learning("b")
    assert known.is_worth_learning("b")
    known.clear()
    assert not known.is_worth_learning("a")


def test_one_row_that_spoils_the_learning_does_not_spoil_it_for_good() -> None:
    odd = put(CARRIERS, '["a{b", "UA"]')
    reader = InferReader(handmade.BINARY, MAX_ROWS)
    for text in (GOOD, odd, GOOD):
        check(reader, text, **READER_OF)
        assert not is_known(reader, GOOD)
    check(reader, GOOD, **READER_OF)
    assert is_known(reader, GOOD)
    assert not is_known(reader, odd)


def test_unusual_data_in_a_known_form_do_not_push_out_its_neighbours() -> None:
    alike = [{"priority": priority} for priority in (1, 2, 3, 4)]
    forms = [body(request(ROW, parameters=parameters)) for parameters in alike]
    reader = taught(*((form, None) for form in forms), **READER_OF)
    for _ in range(40):
        check(reader, body(request({**ROW, "distance": 1e17}, parameters=alike[0])), **READER_OF)
    assert all(is_known(reader, form) for form in forms)
    assert sum(map(len, reader._json._templates.values())) == len(forms)


def test_what_is_too_much_is_too_much_in_a_known_form_too() -> None:
    """Values are counted in large bodies only; beside its data a body may hold so many."""
    content = request(*[{**ROW, "carrier": ""}] * MAX_ROWS, parameters={f"p{n}": 1 for n in range(1200)})
    short = json.dumps(content, separators=(",", ":")).encode()
    content["inputs"][3]["data"] = ["x" * 25_000] * MAX_ROWS
    long = json.dumps(content, separators=(",", ":")).encode()
    assert len(short) < 2**16 < len(long)
    reader = taught((short, None), **READER_OF)
    assert check(reader, short, **READER_OF)[1] == MAX_ROWS
    assert check(reader, long, **READER_OF)[0] == 413
