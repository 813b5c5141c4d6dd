"""Messages of gRPC made at random: whatever they are, they are read or refused, and never fail the service."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rowcast.models.errors import RequestError
from rowcast.service.columns.named import ColumnReader, Columns
from rowcast.service.columns.tensor_bytes import DATATYPES
from rowcast.service.limits.steps import at_once
from rowcast.service.protocols.grpc.messages import REQUEST_CLASSES
from rowcast.service.protocols.grpc.reading import MessageReader, Readers
from rowcast.service.protocols.grpc.request import RequestReader, parse
from tests.abuse import mutations
from tests.abuse.mutations import MAX_ROWS, SIGNATURE, damage, edits, fuzzed
from tests.abuse.outcomes import check

Message = REQUEST_CLASSES["ModelInfer"]
READER = RequestReader(SIGNATURE, MAX_ROWS)
COLUMNS = ColumnReader(SIGNATURE, MAX_ROWS)
READERS = Readers(SIGNATURE, MAX_ROWS)
RIGHT = {"number": "FP64", "integer": "FP64", "boolean": "FP64", "category": "BYTES", "timestamp": "INT64"}
FIELDS = {
    "bool_contents": st.booleans(),
    "int_contents": st.integers(-(2**31), 2**31 - 1),
    "int64_contents": st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3),
    "uint_contents": st.integers(0, 2**32 - 1),
    "uint64_contents": st.integers(0, 2**64 - 1),
    "fp32_contents": st.floats(width=32),
    "fp64_contents": st.floats(),
    "bytes_contents": st.binary(max_size=4) | st.sampled_from([b"UA", b"7", b"", b"2013-07-01"]),
}
SHAPES = st.sampled_from([[1], [2], [2, 1], [3], [4], [0], [-1], [2, 2], [1, 2], [2**60], [2**32, 2**32], [], [1] * 30])


@st.composite
def requests(draw: st.DrawFn) -> Any:
    """A message as it should be, or with an oddity here and there."""
    sent = Message(model_name="flights")
    rows, raw = draw(st.integers(1, 3)), draw(st.booleans())
    for column in SIGNATURE.columns:
        datatype = RIGHT[column.kind]
        entry = sent.inputs.add(name=column.name, datatype=datatype, shape=[rows])
        if raw:
            sent.raw_input_contents.append(b"\2\0\0\0UA" * rows if datatype == "BYTES" else bytes(8 * rows))
        elif datatype == "BYTES":
            entry.contents.bytes_contents.extend([b"UA"] * rows)
        else:
            getattr(entry.contents, "int64_contents" if datatype == "INT64" else "fp64_contents").extend([0] * rows)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(sent.inputs) - 1)) if len(sent.inputs) else 0
        entry = sent.inputs[place] if len(sent.inputs) else sent.inputs.add()
        match draw(st.integers(0, 8)):
            case 0:
                entry.shape[:] = draw(SHAPES)
            case 1:
                entry.datatype = draw(st.sampled_from([*DATATYPES, "", "BF16"]))
            case 2:
                entry.name = draw(st.sampled_from(["", "x", *SIGNATURE.names]))
            case 3 | 4:
                field = draw(st.sampled_from(list(FIELDS)))
                if draw(st.booleans()):
                    entry.contents.Clear()
                getattr(entry.contents, field).extend(draw(st.lists(FIELDS[field], max_size=3)))
            case 5 if place < len(sent.raw_input_contents):
                sent.raw_input_contents[place] = draw(st.binary(max_size=24))
            case 6:
                del sent.inputs[place : place + 1]
                if draw(st.booleans()):
                    del sent.raw_input_contents[place : place + 1]
            case 7:
                sent.outputs.add(name=draw(st.sampled_from(["", "x", "label", "probabilities"])))
            case _:
                name = draw(st.sampled_from(["shared_memory_region", "classification", "x"]))
                (sent.outputs or sent.inputs).add().parameters[name].string_param = "x"
    return sent


def outcome(body: bytes) -> Columns | RequestError:
    try:
        return COLUMNS.read(READER.read(at_once(parse(body, len(SIGNATURE.columns), MAX_ROWS))).tensors)
    except RequestError as error:
        return error


@fuzzed
@given(requests(), edits, st.booleans())
def test_messages_nearly_valid_or_damaged_are_read_or_refused(
    sent: Any, changes: list[mutations.Edit], damaged: bool
) -> None:
    body = sent.SerializeToString()
    check(outcome(damage(body, changes) if damaged else body))


@fuzzed
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    check(outcome(body))


@fuzzed
@given(st.binary(min_size=1, max_size=40), st.integers(2**16, 2**16 + 50))
def test_any_bytes_again_and_again_are_read_or_refused(body: bytes, size: int) -> None:
    check(outcome((body * (size // len(body) + 1))[:size]))


@fuzzed
@given(requests())
def test_raw_and_typed_values_are_the_same_columns(sent: Any) -> None:
    if not sent.raw_input_contents:
        return
    raw = outcome(sent.SerializeToString())
    typed = Message.FromString(sent.SerializeToString())
    if isinstance(raw, RequestError) or any(entry.datatype == "FP16" for entry in sent.inputs):
        return
    for entry, content in zip(typed.inputs, sent.raw_input_contents, strict=True):
        field, values = as_typed(entry.datatype, content)
        entry.contents.Clear()
        getattr(entry.contents, field).extend(values)
    del typed.raw_input_contents[:]
    got = outcome(typed.SerializeToString())
    assert isinstance(got, Columns), got
    for block, expected in zip(got.blocks, raw.blocks, strict=True):
        assert np.array_equal(block, expected, equal_nan=block.dtype == np.float64)


def as_typed(datatype: str, raw: bytes) -> tuple[str, list[Any]]:
    """The field of a tensor, and its values, from raw bytes that are right."""
    if datatype == "BYTES":
        texts = []
        while raw:
            end = 4 + int.from_bytes(raw[:4], "little")
            texts.append(raw[4:end])
            raw = raw[end:]
        return "bytes_contents", texts
    if datatype == "BOOL":
        return "bool_contents", [byte == 1 for byte in raw]
    letter, bits = datatype.rstrip("0123456789"), int(datatype.lstrip("FPINTU"))
    values = np.frombuffer(raw, {"FP": "<f", "INT": "<i", "UINT": "<u"}[letter] + str(bits // 8)).tolist()
    if letter == "FP":
        return f"fp{bits}_contents", values
    return f"{letter.lower()}{64 if bits == 64 else ''}_contents", values


_FLOATS = st.sampled_from([0.0, 1.0, float("nan")]) | st.sampled_from([2.0, -1.0]) | st.floats()
_WHOLES = st.integers(-(10**15), 10**15) | st.integers(-(2**63), 2**63 - 1)
_TEXTS = st.text(max_size=3).map(str.encode) | st.binary(max_size=3)
ENTRIES = {
    "FP64": _FLOATS.map(struct.Struct("<d").pack),
    "INT64": _WHOLES.map(struct.Struct("<q").pack),
    "BYTES": _TEXTS.map(lambda text: len(text).to_bytes(4, "little") + text),
}


@st.composite
def of_one_kind(draw: st.DrawFn) -> tuple[list[Any], bool]:
    """Messages that differ in their values alone, or nearly so; and whether one is damaged after all."""
    rows = draw(st.integers(1, MAX_ROWS))
    columns = SIGNATURE.columns if draw(st.booleans()) else SIGNATURE.columns[::-1]
    sent = []
    for n in range(3):
        message = Message(model_name="flights")
        for column in columns:
            datatype = RIGHT[column.kind]
            message.inputs.add(name=column.name, datatype=datatype, shape=[rows])
            message.raw_input_contents.append(b"\2\0\0\0UA" * rows if datatype == "BYTES" else bytes(8 * rows))
        for _ in range(draw(st.integers(0, 2)) if n else 0):
            place = draw(st.integers(0, len(columns) - 1))
            values = [draw(ENTRIES[message.inputs[place].datatype]) for _ in range(rows)]
            message.raw_input_contents[place] = b"".join(values)
        sent.append(message)
    match draw(st.integers(0, 7)):
        case 0:
            sent[-1].raw_input_contents.append(draw(st.binary(max_size=9)))
        case 1:
            del sent[-1].raw_input_contents[-1]
        case 2:
            sent[-1].raw_input_contents[0] = draw(st.binary(max_size=20))
        case 3:
            sent[-1].id = "7"
    return sent, draw(st.integers(0, 3)) == 0


def compare(reader: MessageReader, body: bytes) -> bool:
    """Make sure that both ways agree on a message; whether it took the short one."""
    asked = None
    try:
        asked = at_once(reader.begin(body))
        got: Columns | RequestError = at_once(reader.read(asked, READERS))[1]
    except RequestError as error:
        got = error
    right = outcome(body)
    check(right)
    if isinstance(got, Columns) and isinstance(right, Columns):
        for block, same in zip(got.blocks, right.blocks, strict=True):
            assert block.dtype == same.dtype
            np.testing.assert_array_equal(block, same)
        return asked is not None and asked.found is not None
    assert (type(got), str(got)) == (type(right), str(right))
    return False


def test_the_short_way_reads_what_the_long_way_reads() -> None:
    short: list[bool] = []

    @fuzzed
    @given(of_one_kind(), edits)
    def check_both(drawn: tuple[list[Any], bool], changes: list[mutations.Edit]) -> None:
        messages, damaged = drawn
        reader = MessageReader(len(SIGNATURE.columns))
        bodies = [message.SerializeToString() for message in messages]
        if damaged:
            bodies[-1] = damage(bodies[-1], changes)
        short.extend(compare(reader, body) for body in bodies)

    check_both()
    assert sum(short) / len(short) > 0.15  # else hardly any would have been read the short way
