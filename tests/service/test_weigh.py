"""What a body would build is told without building it: of JSON, and of messages over gRPC."""

from __future__ import annotations

import json
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast.models.errors import RequestError
from rowcast.service.limits.byte_rule import STEP_BYTES
from rowcast.service.limits.steps import Steps, at_once
from rowcast.service.limits.weigh import Weight, weigh, without_long_texts
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES
from rowcast.service.protocols.grpc.weigh import weigh as weigh_message
from rowcast.service.protocols.rows.decode import Decoder
from rowcast.service.protocols.v2.request import RequestReader
from tests.support import handmade

ANYTHING = Weight(2**60, 2**60, 2**60)
MESSAGE = REQUEST_CLASSES["ModelInfer"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\{}[],:é\n😀'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='b"\\{[,'), inner),
)


def counted(content: Any) -> Weight:
    """What a parsed document holds."""
    if isinstance(content, dict):
        inner = [counted(value) for value in content.values()]
    elif isinstance(content, list):
        inner = [counted(value) for value in content]
    else:
        return Weight()
    is_object = isinstance(content, dict)
    return Weight(
        is_object + sum(one.objects for one in inner),
        (not is_object) + sum(one.lists for one in inner),
        max(0, len(content) - 1) + sum(one.commas for one in inner),
        is_object + max((one.deepest for one in inner), default=0),
    )


@pytest.mark.parametrize("step", [1, 2, 3, 7, STEP_BYTES])
def test_what_stands_outside_of_strings_is_counted_exactly_wherever_a_piece_ends(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rowcast.service.limits.weigh.STEP_BYTES", step)

    @settings(max_examples=40 if step < STEP_BYTES else 100)  # a byte at a time takes a hundredfold
    @given(JSON)
    def check(content: Any) -> None:
        text = json.dumps(content, ensure_ascii=False).encode()
        exact = at_once(weigh(text, Weight(-1, -1, -1)._replace(objects=2**60, lists=2**60, commas=2**60)))
        if len(text) > step:
            assert exact == counted(content)
        hollow = at_once(without_long_texts(text))
        assert json.loads(hollow) == content

    check()


def peak(steps: Steps[Any]) -> int:
    """Bytes that are allocated at most while steps are done that end in a refusal."""
    tracemalloc.start()
    try:
        with pytest.raises(RequestError):
            at_once(steps)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


SIZE = 4 * 2**20
MARKS = {
    "nested rows of short keys": b'{"rows":[' + b'{"a":' * (SIZE // 5),
    "short strings": b'{"rows":[' + b'"",' * (SIZE // 3) + b'""]}',
    "pairs of short strings": b'{"rows":[{' + b'"a":"b",' * (SIZE // 8) + b'"a":"b"}]}',
    "numbers": b'{"rows":[' + b"1," * (SIZE // 2) + b"1]}",
    "empty lists": b'{"inputs":[' + b"[]," * (SIZE // 3) + b"[]]}",
    "escaped quotes before marks": b'{"rows":["' + b'\\"' * STEP_BYTES + b'"' + b',""' * (SIZE // 3),
}


@pytest.mark.parametrize("body", MARKS.values(), ids=MARKS)
def test_a_body_of_hardly_more_than_marks_is_refused_in_little_memory(body: bytes) -> None:
    assert peak(Decoder(handmade.BINARY, 4096).steps(body)) < 8 * SIZE
    assert peak(RequestReader(handmade.BINARY, 4096).steps(body)) < 8 * SIZE


@pytest.mark.parametrize("filler", [b"z", b"\\n", "é".encode(), "😀".encode()])
def test_a_text_of_more_than_two_mebibytes_is_refused_before_it_is_parsed(filler: bytes) -> None:
    def text(size: int) -> bytes:
        return b'{"rows":[{"carrier":"' + filler * (size // len(filler)) + b'"}]}'

    assert at_once(weigh(text(2**21 - 8), ANYTHING)) == Weight(1 + 1, 1, 0, 2)
    with pytest.raises(RequestError, match="a text in JSON holds at most 2,097,152 bytes") as raised:
        at_once(weigh(text(2**22), ANYTHING))
    assert raised.value.status == 413


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([value])


def an_input(*fields: bytes) -> bytes:
    return field(1, b"flights") + field(5, field(1, b"carrier") + field(2, b"BYTES") + b"".join(fields))


HALF = SIZE // 2
MESSAGES = {
    "parameters of an input": an_input(*[field(4, field(1, b"%06x" % i)) for i in range(100_000)]),
    "parameters of an output": field(6, b"".join(field(2, field(1, b"%06x" % i)) for i in range(100_000))),
    "parameters of the request": b"".join(field(4, field(1, b"%06x" % i)) for i in range(100_000)),
    "fields of one parameter": field(4, field(2, b"\x10\x01" * HALF)),
    "packed sizes of a shape": an_input(field(3, b"\x01" * SIZE)),
    "sizes of a shape one by one": an_input(b"\x18\x01" * HALF),
    "empty texts": an_input(field(5, b"\x42\x00" * HALF)),
    "texts with a long tag": an_input(field(5, b"\xc2\x00\x00" * HALF)),
    "texts between others": an_input(field(5, b"\x42\x00\x4a\x00" * (HALF // 2))),
    "packed booleans": an_input(field(5, field(1, b"\x01" * SIZE))),
    "packed integers": an_input(field(5, field(3, b"\x01" * SIZE))),
    "packed floats": an_input(field(5, field(6, bytes(SIZE)))),
    "empty raw values": an_input(field(3, b"\x01")) + b"\x3a\x00" * HALF,
    "unknown fields": an_input(b"\x78\x01" * HALF),
    "unknown groups": b"\x7b\x7c" * HALF,
}


@pytest.mark.slow
@pytest.mark.parametrize("body", MESSAGES.values(), ids=MESSAGES)
def test_a_message_of_millions_of_parts_is_refused_before_it_is_parsed_wherever_they_lie(body: bytes) -> None:
    assert peak(weigh_message(body, 1000, 20_000)) < 2 * SIZE


@given(st.lists(st.binary(max_size=300)), st.integers(0, 60), st.integers(1, 40), st.binary(max_size=30))
def test_a_message_is_never_refused_for_parts_that_it_does_not_have(
    texts: list[bytes], rows: int, cut: int, tail: bytes
) -> None:
    message = MESSAGE(model_name="m", id="i", raw_input_contents=texts)
    entry = message.inputs.add(name="a", datatype="BYTES", shape=[rows, 1])
    entry.contents.bytes_contents.extend(texts)
    entry.contents.fp64_contents.extend([0.5] * rows)
    entry.contents.int_contents.extend(range(rows))
    entry.parameters["p"].int64_param = 3
    message.outputs.add(name="o").parameters["q"].string_param = "s"
    body = message.SerializeToString()
    values = 2 * len(texts) + 2 * rows + 2
    at_once(weigh_message(body, 24, values))
    with pytest.raises(RequestError):
        at_once(weigh_message(body, 24, values - 1))
    at_once(weigh_message(body[:-cut] + tail, 10**6, 10**6))  # whatever it is, it ends


def test_a_message_that_is_cut_off_is_left_to_the_parser() -> None:
    body = an_input(field(3, b"\x01")) + b"\x3a" + struct.pack("<B", 0x7F)
    at_once(weigh_message(body, 100, 100))
    with pytest.raises(Exception, match="Error parsing message"):
        MESSAGE.FromString(body)
