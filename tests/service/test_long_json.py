"""A long text of JSON that is parsed in steps is what it is in one, whatever it is and wherever it is cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import rowcast.service.json_text.long_text
import rowcast.service.protocols.v2.request
from rowcast.models.errors import RequestError
from rowcast.service.json_text.long_text import ROWS, TENSORS, Kind, LongJson
from rowcast.service.limits.byte_rule import MAX_TEXT_BYTES
from rowcast.service.limits.steps import at_once
from rowcast.service.protocols.rows.decode import Decoder
from rowcast.service.protocols.v2.request import RequestReader
from tests.abuse.mutations import SIGNATURE, bodies, damage, edits, fuzzed, usual_bodies
from tests.abuse.mutations import documents as documents_of_rows
from tests.service import hostile_tensors
from tests.service.hostile_payloads import PAYLOADS, ROW
from tests.service.open_inference import body, request
from tests.support import handmade

MAX_ROWS = 8


@contextmanager
def cut_at(part: int, long_list: int = 0) -> Iterator[None]:
    """Texts are cut into parts of some bytes, and every longer list is taken out of the frame."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rowcast.service.json_text.long_text, "PART_BYTES", part)
        patch.setattr(rowcast.service.json_text.long_text, "_LONG_LIST", long_list)
        patch.setattr(rowcast.service.protocols.v2.request, "LONG_TEXT", 0)
        yield


def whole(text: bytes, kind: Kind) -> Any:
    """What a text is in one call, or what is said of it; as text, to tell 1 and 1.0 and True apart."""
    try:
        return repr(kind.parse(text))
    except ValueError as error:
        return error.args[0]


def in_steps(text: bytes, kind: Kind) -> Any:
    """The same in steps."""
    try:
        return repr(at_once(LongJson(text, kind).parse()))
    except ValueError as error:
        return error.args[0]


pieces = st.sampled_from([
    *("[", "]", "[[", "]]", "{", "}", ",", ",", ":", "],[", ",,", ",]", "[,", " ", "\n", "\t", "\0", "\x0b", "é"),
    *('"', "\\", '\\"', '""', '"a"', '"]"', '"[,"', '"a\\"b"', '"\\ud83d"', '"é"', '"😀,"', '"data":', '{"a":1}'),
    *("1", "1.5", "-0", "1e400", "9007199254740993", "18446744073709551616", "null", "true", "tru", "NaN",),
    *("[1]", '["x"]', "[1,2,3]", '["long text", 1]'),
])  # fmt: skip
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(["data", "a", "[", '"']), inner, max_size=3)
    ),
    max_leaves=20,
)
texts = st.one_of(
    st.lists(pieces, max_size=25).map("".join),
    st.lists(pieces, max_size=12).map(lambda parts: f"[{','.join(parts)}]"),
    st.builds(
        lambda document, gap, escaped: json.dumps(document, indent=gap, ensure_ascii=escaped),
        documents,
        st.none() | st.just(1),
        st.booleans(),
    ),
).map(lambda text: text.encode(errors="surrogatepass"))


@given(texts, st.just([]) | edits, st.integers(1, 12), st.integers(0, 9))
@example(b"[1,2,3", [], 1, 0)
@example(b"[1,2,]", [], 1, 0)
@example(b"[ ]", [], 1, 0)
@example(b"\r\n", [], 1, 0)
@example(b'\n["a\n"]', [], 1, 0)
@example(b"[ ,[[[]]]]", [], 1, 0)
@example(b'["\xff",1,,]', [], 1, 0)
@example('["é","é",\n1,\n"😀",,1]'.encode(), [], 2, 0)
@example(b'[1,2,[[3]],4,[5,6],"a]",{"b":[7,8]}]', [], 3, 0)
@fuzzed
def test_a_text_parsed_in_steps_is_what_it_is_in_one_call(
    text: bytes, damages: list[Any], part: int, long: int
) -> None:
    text = damage(text, damages)
    assume(text)
    with cut_at(part, long):
        for kind in (TENSORS, ROWS):
            assert in_steps(text, kind) == whole(text, kind)


READER = RequestReader(handmade.BINARY, MAX_ROWS)
GOOD = body(request(*[ROW] * 3))
NESTED = body(
    {"inputs": [{**entry, "data": [[value] for value in entry["data"]]} for entry in request(ROW, ROW)["inputs"]]}
)
LARGE = GOOD.replace(b"872.0", b"9007199254740993", 1)
BODIES = [
    GOOD,
    NESTED,
    LARGE,
    *(one.body for one in hostile_tensors.HOSTILE if one.json_bytes is None and len(one.body) < 2**13),
]


def asked(text: bytes) -> Any:
    """What a body asks for, or why it is refused."""
    try:
        found = READER.read(text)
    except RequestError as error:
        return str(error), error.status, error.faults
    tensors = [(name, repr(values), repr(missing)) for name, values, missing in found.tensors]
    return found._replace(tensors=[]), tensors


@given(st.sampled_from(BODIES), st.just([]) | edits, st.integers(1, 40), st.integers(0, 9))
@example(GOOD.replace(b'"data": [872.0', b'"data": [1], "data": [872.0', 1), [], 2, 0)
@example(LARGE, [], 2, 0)
@example(LARGE.replace(b"872.0", b"1e999"), [], 2, 0)
@fuzzed
def test_a_body_of_tensors_read_in_steps_is_what_it_is_in_one(
    text: bytes, damages: list[Any], part: int, long: int
) -> None:
    text = damage(text, damages)
    expected = asked(text)
    with cut_at(part, long):
        assert asked(text) == expected


def test_parts_are_cut_where_a_list_has_commas() -> None:
    text = b'{"a": [1, "x,]", [2], 3], "b": {"c": [{"d": [4,5]}]}}'
    with cut_at(2):
        long = LongJson(text, TENSORS)
        assert at_once(long.parse()) == {"a": [1, "x,]", [2], 3], "b": {"c": [{"d": [4, 5]}]}}
        parts = [[text[part] for part in run.parts] for run in long.runs.values()]
    assert parts == [[b'1, "x,]"', b" [2]", b" 3"], [b"4,5"]]


def test_no_part_of_a_long_text_is_long() -> None:
    data = list(range(200_000))
    long = LongJson(json.dumps({"inputs": [{"data": data}, {"data": ["a" * 1000] * 999}]}).encode(), TENSORS)
    content = at_once(long.parse())
    assert content == {"inputs": [{"data": data}, {"data": ["a" * 1000] * 999}]}
    parts = [part.stop - part.start for run in long.runs.values() for part in run.parts]
    assert len(parts) > 10
    assert max(parts) < rowcast.service.json_text.long_text.PART_BYTES + 1100
    assert len(long.frame) < 200
    texts = long.parts(content["inputs"][0]["data"])
    assert texts is not None
    assert [value for text in texts for value in json.loads(text)] == data


def test_a_text_with_too_much_around_its_values_is_refused() -> None:
    text = b"[%b1]" % (b"[[[1]]]," * (MAX_TEXT_BYTES // 8))
    with pytest.raises(RequestError) as refusal:
        at_once(LongJson(text, TENSORS).parse())
    assert (str(refusal.value), refusal.value.status) == (
        "a body in JSON holds at most 2,097,152 bytes besides long flat lists, got more",
        413,
    )


# --- rows

FEW = Decoder(SIGNATURE, 50)


def rows_of(body: bytes) -> Any:
    """The rows of a body, or why it is refused."""
    try:
        found = FEW.rows(body)
    except RequestError as error:
        return str(error), error.status, error.faults
    return repr(found)


def long_rows_of(body: bytes) -> Any:
    """The same, by the way of those that are long and not in the standard form."""
    try:
        found = at_once(FEW.long_steps(body))
    except RequestError as error:
        return str(error), error.status, error.faults
    return repr(found)


@given(
    bodies()
    | usual_bodies()
    | documents_of_rows
    | st.sampled_from([one.body for one in PAYLOADS if len(one.body) < 2**13]),
    st.just([]) | edits,
    st.integers(1, 60),
    st.integers(0, 9),
)
@example(b'{"rows":5,"rows":[{}]}', [], 3, 0)
@fuzzed
def test_rows_read_in_steps_are_what_they_are_in_one(text: bytes, damages: list[Any], part: int, long: int) -> None:
    text = damage(text, damages)
    assume(text)
    with cut_at(part, long):
        assert long_rows_of(text) == rows_of(text)
