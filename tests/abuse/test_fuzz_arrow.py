"""Arrow streams damaged at random: read as they are meant, or refused; nothing else.

What reading them takes is held to its bounds in test_arrow_bounds.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from rowcast.models.arrow import END, MEDIA_TYPE, Malformed, Schema, Stream, head_of, types, writer
from rowcast.models.arrow.flatbuffer import Table
from rowcast.models.errors import RequestError
from rowcast.models.repository import Repository
from rowcast.models.values import FIRST_TIMESTAMP, LAST_TIMESTAMP
from rowcast.service.columns.named import Columns
from rowcast.service.engine.registry import Registry
from rowcast.service.protocols.arrow.stream import ArrowReader, Part
from rowcast.service.router import Router
from rowcast.service.settings import Settings
from tests.abuse.mutations import fuzzed
from tests.service.test_router import Caller, inner
from tests.support import handmade

N = 20
COLUMNS: dict[str, pa.Array] = {
    "distance": pa.array([1.5 * i if i % 7 else None for i in range(N)]),
    "stops": pa.array(range(N), pa.uint8()),
    "night": pa.array([i % 2 == 0 if i % 5 else None for i in range(N)]),
    "carrier": pa.array([("UA", "AA", None, "Zürich, and more than a view holds")[i % 4] for i in range(N)]),
    "departs": pa.array(range(0, N * 10**9, 10**9), pa.timestamp("ms", "UTC")),
}
FORMS: list[dict[str, pa.Array]] = [
    COLUMNS,
    COLUMNS | {"carrier": COLUMNS["carrier"].dictionary_encode()},
    COLUMNS
    | {"carrier": COLUMNS["carrier"].cast(pa.string_view()), "distance": COLUMNS["distance"].cast(pa.float16())},
    COLUMNS | {"carrier": COLUMNS["carrier"].cast(pa.large_string()), "stops": pa.array(range(N), pa.decimal128(9, 2))},
    COLUMNS
    | {
        "carrier": COLUMNS["carrier"].cast(pa.string_view()).dictionary_encode(),
        "night": pa.nulls(N),
        "stops": pa.array(range(N), pa.decimal256(40, 2)),
        "departs": pa.array(range(N), pa.date32()),
    },
]


def written(columns: dict[str, pa.Array], rows: int = 8) -> bytes:
    """A stream of record batches of at most so many rows."""
    out = io.BytesIO()
    table = pa.table(columns)
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return out.getvalue()


SIGNATURE = handmade.BINARY
STREAMS = [written(columns) for columns in FORMS]

_words = st.sampled_from([0, 1, -1, 2**15, 2**16, 2**24, 2**31 - 1, -(2**31), 8, 16]) | st.integers(-(2**31), 2**31 - 1)
_longs = st.sampled_from([2**63 - 1, -(2**63), 2**62, 2**40, 2**33, -1, 1])
_edit: SearchStrategy[bytes] = st.one_of(
    st.binary(min_size=1, max_size=1),
    _words.map(lambda word: struct.pack("<i", word)),
    _longs.map(lambda long: struct.pack("<q", long)),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A stream in which some bytes, words or long words are others, that may be cut off."""
    body = bytearray(draw(st.sampled_from(STREAMS)))
    for place, edit in draw(st.lists(st.tuples(st.integers(0, len(body)), _edit), max_size=3)):
        at = place if len(edit) == 1 else place & ~(len(edit) - 1)
        body[at : at + len(edit)] = edit
    cut = draw(st.one_of(st.none(), st.none(), st.none(), st.integers(0, len(body))))
    return bytes(body[:cut])


def read_whole(body: bytes) -> dict[str, list[Any]]:
    """Every value of a stream whose every column can be read; None where there is null."""
    stream = Stream(body)
    read: dict[str, list[Any]] = {field.name: [] for field in stream.schema.fields}
    for batch in stream.batches():
        if batch.rows > 10**6:  # nulls: they take no bytes, and whoever reads them asks for some at a time
            continue
        for field, column in zip(stream.schema.fields, batch.columns(), strict=True):
            values, missing = column[:]
            values = values if isinstance(values, list) else values.tolist()
            if missing is not None:
                values = [None if gone else value for value, gone in zip(values, missing.tolist(), strict=True)]
            read[field.name] += values
    return read


def in_python(values: pa.Array) -> list[Any]:
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.int64() if values.type.bit_width == 64 else pa.int32())
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    return list(values.to_pylist())


@pytest.mark.parametrize("columns", FORMS)
def test_what_pyarrow_writes_is_read_as_it_was_meant(columns: dict[str, pa.Array]) -> None:
    assert read_whole(written(columns)) == {name: in_python(values) for name, values in columns.items()}


@fuzzed
@given(st.binary(max_size=60))
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_whole(body)


@fuzzed
@given(damaged())
def test_a_damaged_stream_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        read_whole(body)


class LongWay(ArrowReader):
    """Reads every record batch column by column."""

    def _learned(self, head: bytes, schema: Schema) -> Any:
        known = super()._learned(head, schema)
        self._known.clear()
        return known._replace(usual=None)


def compare(reader: ArrowReader, body: bytes) -> bool:
    """Hold what a reader makes of a body, block by block where it can, against the long way; whether it is rows."""
    short, long = outcome(reader, body), outcome(LONG_WAY, body)
    if isinstance(short, RequestError) or isinstance(long, RequestError):
        assert isinstance(short, RequestError), long
        assert isinstance(long, RequestError), short
        assert (short.status, str(short), short.faults) == (long.status, str(long), long.faults)
        return False
    for block, expected in zip(short.blocks, long.blocks, strict=True):
        assert block.dtype == expected.dtype
        assert np.array_equal(block, expected, equal_nan=block.dtype == np.float64)
    return True


def outcome(reader: ArrowReader, body: bytes) -> Columns | RequestError:
    """The rows of a body, or what is wrong with it."""
    try:
        stream = reader.open(body)
        parts = list(stream.parts(list(stream.batches())))
    except RequestError as error:
        return error
    wrong = [part for part in parts if isinstance(part, RequestError)]
    return wrong[0] if wrong else Columns.joined([part.columns.blocks for part in parts if isinstance(part, Part)])


LIMITS = (4096, 16 * 4096)
"""Rows and bytes: refusals name them."""
LONG_WAY = LongWay(SIGNATURE, *LIMITS)

_numbers = st.sampled_from([0.0, 1.0, -2.5, float("nan"), float("inf"), 2.0**60]) | st.floats()
_wholes = st.integers(-3, 3) | st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1])
_timestamps = st.integers(FIRST_TIMESTAMP, LAST_TIMESTAMP) | st.sampled_from(
    [FIRST_TIMESTAMP - 1, LAST_TIMESTAMP + 1, -(2**63)]
)
_texts = st.sampled_from(["AA", "", "Zürich", "never seen, and longer than a view"]) | st.text(max_size=3)
NO_OPTIONS: dict[str, list[tuple[pa.DataType, SearchStrategy[Any], SearchStrategy[Any]]]] = {
    "distance": [(pa.float64(), st.floats(-9, 9), _numbers), (pa.int64(), st.integers(-9, 9), _wholes)],
    "stops": [(pa.int64(), st.integers(0, 3), _wholes), (pa.float64(), st.integers(0, 3).map(float), _numbers)],
    "night": [(pa.bool_(), st.booleans(), st.booleans())],
    "carrier": [(pa.string(), _texts, _texts), (pa.large_string(), _texts, _texts)],
    "departs": [(pa.timestamp(*unit), st.integers(0, 10**15), _timestamps) for unit in (("us", "UTC"), ("us",))],
}
"""Types that are read block by block, values that their columns take, and some that they may not."""


def array_of(type_: pa.DataType, values: list[Any], missing: list[bool]) -> pa.Array:
    """What lies under a null is as it was given, which a writer may well leave there."""
    plain = pa.array(values, pa.int64() if pa.types.is_timestamp(type_) else type_)
    bits = np.packbits(~np.array(missing), bitorder="little")
    return pa.Array.from_buffers(
        type_, len(values), [pa.py_buffer(bits) if any(missing) else None, *plain.buffers()[1:]]
    )


USUAL_STREAM = written(
    {
        "distance": array_of(pa.float64(), [1.5, float("inf"), 2.5], [False, True, False]),
        "stops": array_of(pa.int64(), [1, 2, 3], [False, False, False]),
        "night": array_of(pa.bool_(), [True, True, False], [False, True, False]),
        "carrier": array_of(pa.string(), ["AA", "under null", "Zürich"], [False, True, False]),
        "departs": array_of(pa.timestamp("us"), [0, -(2**63), 10**15], [False, True, False]),
    }
)


OWN_STREAM = b"".join(
    [
        writer.schema(
            [
                ("distance", types.FLOAT64),
                ("stops", types.INT64),
                ("night", types.BOOL),
                ("carrier", types.UTF8),
                ("departs", types.MICROS),
            ]
        ),
        *writer.batch(
            2,
            [
                writer.numbers(np.array([1.5, 2.5])),
                writer.numbers(np.array([1, 2])),
                writer.booleans(np.array([True, False])),
                writer.texts(["AA", None]),
                writer.numbers(np.array([0, 1])),
            ],
        ),
        END,
    ]
)
"""What the client sends: its batches name the buffers of views, of which there are none."""


@st.composite
def usual(draw: st.DrawFn) -> bytes:
    """A stream of usual types, with values that its columns take, some of which may be others."""
    rows, share = draw(st.integers(1, 20)), draw(st.sampled_from([0.0, 0.0, 0.3, 1.0]))
    odd = draw(st.sampled_from(["", *NO_OPTIONS]))
    columns = {}
    for name in draw(st.permutations(list(NO_OPTIONS))):
        type_, good, any_ = draw(st.sampled_from(NO_OPTIONS[name]))
        values = draw(st.lists(any_ if name == odd else good, min_size=rows, max_size=rows))
        missing = draw(st.lists(st.floats(0, 1).map(lambda place: place < share), min_size=rows, max_size=rows))
        columns[name] = array_of(type_, values, missing)
    return written(columns, draw(st.sampled_from([3, 8, 20])))


def test_batches_read_block_by_block_are_what_the_long_way_makes_of_them() -> None:
    told: list[bool] = []

    @fuzzed
    @given(usual() | st.just(OWN_STREAM), st.lists(st.tuples(st.integers(0, 4000), _edit), max_size=2))
    def check(body: bytes, edits: list[tuple[int, bytes]]) -> None:
        reader = ArrowReader(SIGNATURE, *LIMITS)
        told.append(compare(reader, body))
        damaged = bytearray(body)
        for place, edit in edits:
            at = place % len(body) & ~(len(edit) - 1)
            damaged[at : at + len(edit)] = edit
        compare(reader, bytes(damaged))  # under a head that is known by now, unless that was damaged

    check()
    assert 0.1 < sum(told) / len(told) < 0.9


def test_usual_streams_are_read_block_by_block() -> None:
    reader = ArrowReader(SIGNATURE, *LIMITS)
    (batch,) = reader.open(USUAL_STREAM).batches()
    assert batch is not None
    assert batch.usual(slice(0, 3), 100) is not None
    assert batch.usual(slice(0, 3), 1) is None  # its texts have 10 bytes
    assert compare(reader, USUAL_STREAM)


def test_long_streams_of_uneven_batches_are_read_alike_both_ways() -> None:
    rng = np.random.default_rng(0)
    for rows, size in ((3000, 3000), (3000, 1029), (2500, 777)):
        missing = rng.random((5, rows)) < 0.1
        columns = {
            "distance": array_of(pa.float64(), rng.normal(size=rows).tolist(), missing[0].tolist()),
            "stops": array_of(pa.int64(), rng.integers(0, 4, rows).tolist(), missing[1].tolist()),
            "night": array_of(pa.bool_(), (rng.random(rows) < 0.5).tolist(), missing[2].tolist()),
            "carrier": array_of(pa.string(), rng.choice(["AA", "Zürich", ""], rows).tolist(), missing[3].tolist()),
            "departs": array_of(pa.timestamp("us"), rng.integers(0, 10**15, rows).tolist(), missing[4].tolist()),
        }
        assert compare(ArrowReader(SIGNATURE, *LIMITS), written(columns, size))


@pytest.mark.parametrize("distance", [1.5, float("inf")])
def test_a_vector_that_is_not_there_is_found_out_whichever_way_is_taken(distance: float) -> None:
    assert compare(ArrowReader(SIGNATURE, *LIMITS), OWN_STREAM)
    body = bytearray(OWN_STREAM.replace(struct.pack("<d", 1.5), struct.pack("<d", distance)))
    start = len(head_of(OWN_STREAM)) + 8
    header = Table.root(memoryview(body)[start:]).table(2)
    assert header is not None
    at = header._at(4)
    assert at is not None
    at += start
    at += struct.unpack_from("<I", body, at)[0]
    struct.pack_into("<I", body, at, 2**31 - 1)
    reader = ArrowReader(SIGNATURE, *LIMITS)
    compare(reader, OWN_STREAM)
    assert not compare(reader, bytes(body))


def test_a_known_head_vouches_for_nothing_behind_it() -> None:
    reader = ArrowReader(SIGNATURE, *LIMITS)
    assert compare(reader, USUAL_STREAM)
    (head,) = reader._known
    rest = USUAL_STREAM[len(head) :]
    for body in (head, head[:-1], head + END, head + USUAL_STREAM, head + rest + b"\0", rest):
        assert not compare(reader, body)
    assert compare(reader, USUAL_STREAM)


@pytest.fixture(scope="module")
def status(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bytes], int]]:
    """The front's status for a body."""
    root = tmp_path_factory.mktemp("fuzz")
    Repository(root).publish("any", handmade.manifest(), {"model.onnx": handmade.graph()})
    loop = asyncio.new_event_loop()
    serving = Registry(Settings(repository=root, device="cpu", max_body=16 * 4096))
    loop.run_until_complete(serving.start())
    front = Router(inner, serving, set())
    kind = [(b"content-type", MEDIA_TYPE.encode())]
    yield lambda body: loop.run_until_complete(Caller("POST", "/predict", body, headers=kind).answer(front))[0]
    serving.stop()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_the_front_answers_or_refuses_and_never_fails(status: Callable[[bytes], int]) -> None:
    told: list[int] = []

    @fuzzed
    @given(damaged())
    def check(body: bytes) -> None:
        told.append(status(body))
        assert told[-1] in {200, 400, 413}

    check()
    assert 0.1 < told.count(200) / len(told) < 0.9  # else one of the two would hardly have been tried
