"""Arrow streams damaged at random: read as they are meant, or refused; nothing else, and in bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import io
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from models.arrow import MEDIA_TYPE, Stream
from models.flatbuffer import Malformed
from models.repository import Repository
from service.front import Front
from service.serving import Serving
from service.settings import Settings
from tests import handmade
from tests.abuse.mutations import fuzzed
from tests.service.test_front import Caller, inner

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
        for field, column in zip(stream.schema.fields, batch.columns, strict=True):
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


def test_no_stream_takes_more_memory_than_a_multiple_of_its_bytes() -> None:
    most = 0

    @fuzzed
    @given(damaged())
    def check(body: bytes) -> None:
        nonlocal most
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        with contextlib.suppress(Malformed):
            read_whole(body)
        most = max(most, tracemalloc.get_traced_memory()[1] - before)

    tracemalloc.start()
    try:
        check()
    finally:
        tracemalloc.stop()
    assert most < 16 * 2**20  # a stream has some 4 kB; nulls take no bytes, and there may be a million of them here


@pytest.fixture(scope="module")
def status(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bytes], int]]:
    """The front's status for a body."""
    root = tmp_path_factory.mktemp("fuzz")
    Repository(root).publish("any", handmade.manifest(), {"model.onnx": handmade.graph()})
    loop = asyncio.new_event_loop()
    serving = Serving(Settings(repository=root, device="cpu", max_body=16 * 4096))
    loop.run_until_complete(serving.start())
    front = Front(inner, serving, set())
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
