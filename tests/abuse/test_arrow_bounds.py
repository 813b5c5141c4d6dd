"""Arrow streams built to take much memory or time: none takes more than docs/protocols.md says, answered or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.models.arrow import Malformed, Stream, schema_of
from rowcast.models.arrow.batch import RecordBatch
from rowcast.models.arrow.flatbuffer import Longs, Pairs, Scalar, Table, build
from rowcast.models.arrow.types import Type
from rowcast.models.errors import RequestError
from rowcast.models.repository import Repository
from rowcast.models.signature import Column, Signature
from rowcast.service.engine.registry import Registry
from rowcast.service.protocols.arrow.bounds import DECODED_MULTIPLE, DECODED_SPARE, Bounds, RowCost
from rowcast.service.protocols.arrow.endpoint import ArrowEndpoint
from rowcast.service.protocols.arrow.stream import ArrowReader
from rowcast.service.settings import Settings
from tests.abuse.bounds import LOOP_SECONDS, SHARED_MACHINE, Taken, settled, taken, taken_in_steps
from tests.abuse.hostile_streams import (
    COLUMNS,
    DECIMAL256,
    FLOAT64,
    INT64,
    MIB,
    NULL,
    STREAMS,
    UTF8,
    VIEWS,
    WIDE,
    Body,
    Hostile,
    batch,
    dictionary,
    field,
    numbers,
    one_field_many_times,
    places,
    schema,
    stream,
    texts,
)
from tests.abuse.mutations import fuzzed
from tests.abuse.test_fuzz_arrow import SIGNATURE, damaged, written
from tests.service.hostile_payloads import ROW
from tests.service.test_arrow import stream as polars_stream
from tests.service.test_arrow import table
from tests.support import handmade

Answer = Callable[[bytes], tuple[int, bytes, Taken]]


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answer]:
    """What a body is answered, and what it takes."""
    root = tmp_path_factory.mktemp("bounds")
    Repository(root).publish("any", handmade.manifest(), {"model.onnx": handmade.graph()})
    loop = asyncio.new_event_loop()
    serving = Registry(Settings(repository=root, device="cpu"))
    loop.run_until_complete(serving.start())
    bulk = ArrowEndpoint(serving.versions["any", 1])

    async def receive() -> Any:
        await asyncio.Event().wait()

    def ask(body: bytes) -> tuple[int, bytes, Taken]:
        reply, took = loop.run_until_complete(taken(lambda: bulk.answer(body, receive)))
        return reply.status, reply.body, took

    yield ask
    serving.stop()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def check(body: bytes, took: Taken, answer_bytes: int = 0) -> None:
    """What is decoded is bounded by the stream; the answer is there twice while it is put together."""
    assert took.peak_bytes <= DECODED_MULTIPLE * len(body) + DECODED_SPARE + 2 * answer_bytes
    assert took.longest_seconds <= SHARED_MACHINE * LOOP_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("hostile", STREAMS, ids=lambda hostile: hostile.build.__name__)
def test_a_hostile_stream_is_answered_or_refused_within_its_bounds(answer: Answer, hostile: Hostile) -> None:
    body = hostile.build(MIB // 8 if hostile.status == 200 else 2 * MIB)
    status, content, took = answer(body)
    assert (status, hostile.words in content.decode(errors="replace")) == (hostile.status, True), content[:200]
    check(body, took, len(content))


@pytest.mark.slow
def test_a_stream_of_sixteen_mebibytes_keeps_to_the_same_bounds(answer: Answer) -> None:
    build = {hostile.build.__name__: hostile.build for hostile in STREAMS}
    for name in ("long_texts_in_few_rows", "a_large_dictionary_of_nothing", "a_dictionary_of_long_texts"):
        body = build[name](16 * MIB - 4096)
        status, content, took = answer(body)
        assert status == 200
        check(body, took, len(content))


# --- buffers


def record(rows: int, types: list[Type], buffers: list[tuple[int, int]], body_bytes: int, counts: list[int]) -> Any:
    header = {
        0: Scalar("q", rows),
        1: Pairs([(rows, 0)] * len(types)),
        2: Pairs(buffers),
        4: Longs(counts),
    }
    return RecordBatch(Table.root(build(header)), memoryview(bytes(body_bytes))).arrays(types)


NUMBERS, TEXT, VIEWED = Type("integer", "fixed", "<i8"), Type("text", "offsets", "<i4"), Type("text", "views")
SHARED: dict[str, tuple[int, list[Type], list[tuple[int, int]], list[int]]] = {
    "the same buffer twice": (1, [NUMBERS] * 2, [(0, 0), (0, 8), (0, 0), (0, 8)], []),
    "one within another": (1, [NUMBERS] * 2, [(0, 0), (0, 24), (0, 0), (8, 8)], []),
    "one byte of the next": (1, [NUMBERS] * 2, [(0, 0), (0, 9), (0, 0), (8, 8)], []),
    "one byte of the one before": (1, [NUMBERS] * 2, [(0, 0), (8, 8), (0, 0), (0, 9)], []),
    "a bitmap and values": (1, [NUMBERS], [(0, 1), (0, 8)], []),
    "offsets and texts": (1, [TEXT], [(0, 0), (0, 8), (4, 4)], []),
    "views and what they point into": (1, [VIEWED], [(0, 0), (0, 16), (8, 16)], [1]),
    "buffers of views": (1, [VIEWED], [(0, 0), (0, 16), (16, 16), (24, 16)], [2]),
    "buffers of views, out of order": (1, [VIEWED], [(0, 0), (40, 16), (16, 16), (0, 17)], [2]),
    "buffers of views of two columns": (
        1,
        [VIEWED] * 2,
        [(0, 0), (0, 16), (32, 16), (0, 0), (16, 16), (40, 8)],
        [1, 1],
    ),
    "the first of many": (1, [VIEWED], [(0, 0), (0, 16), *((16 + 8 * i, 8) for i in range(5)), (0, 1)], [6]),
}


@pytest.mark.parametrize("case", SHARED.values(), ids=SHARED)
def test_buffers_that_share_a_byte_are_refused(case: tuple[int, list[Type], list[tuple[int, int]], list[int]]) -> None:
    rows, types, buffers, counts = case
    with pytest.raises(Malformed, match="must not share bytes of its body"):
        record(rows, types, buffers, 64, counts)


@given(st.permutations([(0, 8), (8, 16), (24, 8), (32, 24), (0, 0), (16, 0), (56, 0), (64, 0)]), st.integers(0, 8))
def test_buffers_that_lie_apart_are_read_in_any_order(buffers: list[tuple[int, int]], n_views: int) -> None:
    types = [Type("text", "views")]
    arrays = record(0, types, [*buffers[:2], *buffers[2 : 2 + n_views]], 64, [len(buffers[2 : 2 + n_views])])
    assert len(arrays) == 1


@given(st.lists(st.tuples(st.integers(0, 70), st.integers(0, 20)), min_size=2, max_size=9))
def test_what_is_said_of_buffers_is_what_their_bytes_say(buffers: list[tuple[int, int]]) -> None:
    held: list[int] = [at for start, size in buffers for at in range(start, start + size)]
    within = all(start + size <= 64 for start, size in buffers)
    try:
        record(0, [Type("text", "views")], buffers, 64, [len(buffers) - 2])
    except Malformed:
        assert not within or len(held) > len(set(held))
    else:
        assert within
        assert len(held) == len(set(held))


def test_libraries_put_every_column_into_bytes_of_its_own() -> None:
    same = pa.array([f"the same text in every column, {i}" for i in range(9)])
    views, levels = same.cast(pa.string_view()), same.dictionary_encode()
    forms = {
        "one array in two columns": {"a": same, "b": same},
        "slices of one array": {"a": same[1:5], "b": same[3:7]},
        "views of one array": {"a": views, "b": views},
        "slices of one array of views": {"a": views[1:5], "b": views[3:7]},
        "a dictionary in two columns": {"a": levels, "b": levels},
    }
    for name, columns in forms.items():
        for rows in (2, 9):
            assert sum(len(b.columns()) for b in Stream(written(columns, rows)).batches()), name
    import polars as pl

    frame = pl.DataFrame({"a": views.to_pylist(), "b": views.to_pylist()})
    frames = [frame.with_columns(c=pl.col("a")), pl.concat([frame, frame[2:5], frame], rechunk=False), frame[3:7]]
    for one in [*frames, frame.cast({"a": pl.Categorical}), frame.with_columns(d=pl.lit("x" * 40))]:
        assert sum(len(b.columns()) for b in Stream(polars_stream(one)).batches())


# --- names and fields


def test_a_name_is_as_long_as_one_may_be_or_refused() -> None:
    for name, fits in (("n" * 1024, True), ("n" * 1025, False), (WIDE * 256, True), (WIDE * 257, False)):
        reader = ArrowReader(SIGNATURE, 4096, MIB)
        with pytest.raises(RequestError) as caught:
            reader.open(stream(schema(field(name, NULL))))
        refused = "is not a column of the model" if fits else "a name may have at most 1,024 bytes, got "
        assert refused in str(caught.value)


def test_a_model_may_have_a_longer_name() -> None:
    name = "n" * 2000
    column = SIGNATURE.columns[0].model_copy(update={"name": name})
    reader = ArrowReader(SIGNATURE.model_copy(update={"columns": (column,)}), 4096, MIB)
    body = written({name: pa.array([1.5])})
    parts = list(reader.open(body).parts(list(reader.open(body).batches())))
    assert len(parts) == 1


def test_fields_that_share_their_bytes_are_refused() -> None:
    with pytest.raises(Malformed, match="the columns of a schema must not share their bytes"):
        schema_of(one_field_many_times(MIB // 4))


def test_columns_of_a_wide_table_do_not_share_their_bytes() -> None:
    columns = {f"column_{i}": pa.nulls(1) for i in range(3000)}
    assert schema_of(written(columns)).n_fields == 3000


# --- parts


def wide_model(n: int) -> Signature:
    half = [
        *(
            Column(name=f"n{i}", kind="number", nullable=True, minimum=0.0, maximum=1.0, median=0.5)
            for i in range(n // 2)
        ),
        *(Column(name=f"c{i}", kind="category", nullable=True, levels={"a": 9}) for i in range(n // 2)),
    ]
    return SIGNATURE.model_copy(update={"columns": tuple(half)})


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "ab", WIDE])
def test_a_model_of_many_columns_reads_few_rows_at_a_time(text: str) -> None:
    model = wide_model(600)
    rows = 300
    columns = {f"n{i}": pa.nulls(rows) for i in range(300)} | {f"c{i}": pa.array([text] * rows) for i in range(300)}
    body = written(columns, rows)
    reader = ArrowReader(model, 4096, 16 * MIB)
    with settled():
        took = taken_in_steps(lambda: steps(reader, body))
    check(body, took)


def test_parts_are_as_large_as_their_bounds_allow() -> None:
    usual = RowCost(work=20, read_bytes=1000, held_bytes=500)
    assert Bounds.of(16 * MIB, usual).part_rows == 1024
    assert Bounds.of(0, usual).part_rows == 512
    assert Bounds.of(0, RowCost(work=20_000, read_bytes=10**6, held_bytes=10**6)).part_rows == 1
    assert Bounds.of(16 * MIB, RowCost(work=4000, read_bytes=100, held_bytes=100)).part_rows == 8
    assert Bounds.of(0, RowCost(work=1, read_bytes=10**6, held_bytes=10**7)).waiting_rows == 1


def test_long_texts_are_read_in_parts_and_none_is_lost() -> None:
    rng = np.random.default_rng(5)
    words = [str(i) + "y" * int(n) for i, n in enumerate(rng.integers(0, 9000, 700))]
    columns = {name: pa.nulls(700) for name in ROW} | {"carrier": pa.array(words)}
    for carrier in (
        columns["carrier"],
        columns["carrier"].cast(pa.string_view()),
        columns["carrier"].dictionary_encode(),
    ):
        opened = ArrowReader(SIGNATURE, 4096, 16 * MIB).open(written(columns | {"carrier": carrier}, 300))
        list(opened.batches())
        read: list[str] = []
        for part in opened.parts(opened.batches()):
            if part is not None:
                assert not isinstance(part, RequestError)
                assert part.text_bytes <= opened.bounds.part_text
                (block,) = (block for block in part.columns.blocks if block.dtype == object)
                read += block[0, :, 0].tolist()
        assert read == words


def test_a_dictionary_forgets_what_there_is_no_room_for_and_reads_it_again() -> None:
    n = 3000
    levels = [f"level {i} ö" for i in range(n)]
    rng = np.random.default_rng(6)
    picks = rng.permutation(np.repeat(np.arange(n), 3))
    body, picked = Body(), Body()
    lengths = [len(level.encode()) for level in levels]
    texts(body, lengths, "".join(levels).encode())
    places(picked, picks)
    made = stream(schema(field("carrier", UTF8, 0)), dictionary(0, n, body), batch(len(picks), picked))
    for kept_bytes in (0, 2000, 10**4, 10**7):
        opened = Stream(made, None, kept_bytes)
        (one,) = opened.batches()
        column = one.columns()[0]
        read = [text for start in range(0, len(picks), 500) for text in column[start : start + 500].values]
        assert read == [levels[i] for i in picks]


# --- any stream


def steps(reader: ArrowReader, body: bytes) -> Iterator[object]:
    """Read a stream as the service does, without running anything; a step, and the event loop has its turn."""
    try:
        opened = reader.open(body)
        yield opened
        yield from opened.batches()
        yield from opened.parts(opened.batches())
    except RequestError as error:
        yield error


KINDS = {"null": NULL, "int64": INT64, "float64": FLOAT64, "decimal": DECIMAL256, "text": UTF8, "views": VIEWS}
_letters = st.sampled_from(["", "x", "xy", WIDE, "ж", "a level", "z" * 30, "y" * 5000 + WIDE])
_rows = st.sampled_from([0, 1, 7, 8, 9, 255, 256, 257, 1023, 1025, 3000])


@st.composite
def stretched(draw: st.DrawFn) -> bytes:
    """A stream whose buffers may be shared, turned round or cut, whose texts may be long or repeated, or many."""
    chosen = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=5, unique=True))
    kinds = [draw(st.sampled_from([*KINDS, "dictionary"])) for _ in chosen]
    fields = [
        field(name, UTF8, i) if kind == "dictionary" else field(name, KINDS[kind])
        for i, (name, kind) in enumerate(zip(chosen, kinds, strict=True))
    ]
    messages = []
    for _ in range(draw(st.integers(1, 3))):
        rows, body, counts = draw(_rows), Body(), []
        for i, kind in enumerate(kinds):
            word = draw(_letters).encode()
            if len(word) * rows > MIB // 4:
                word = word[:4]
            if kind == "dictionary":
                levels, n = Body(), draw(st.sampled_from([0, 1, 5, 2000]))
                texts(levels, [len(word)] * n, word * n)
                _bend(draw, levels)
                messages += [dictionary(i, n, levels)] * draw(st.sampled_from([0, 1, 1, 1, 2, 20]))
                places(body, np.arange(rows) % max(1, n))
            elif kind == "text":
                texts(body, [len(word)] * rows, word * rows)
            elif kind == "views":
                counts.append(draw(st.sampled_from([0, 1, 2, 40])))
                views_of(body, word, rows, counts[-1])
            elif kind != "null":
                numbers(body, bytes((32 if kind == "decimal" else 8) * rows))
        _bend(draw, body)
        nodes = [(rows, draw(st.sampled_from([0, 0, 0, 1]))) for _ in kinds]
        messages += [batch(rows, body, len(nodes), counts)] * draw(st.sampled_from([1, 1, 1, 1, 30]))
    return stream(schema(*fields), *messages)


def views_of(body: Body, word: bytes, rows: int, n_buffers: int) -> None:
    """Add a column of views of one text, whose buffer may be named many times."""
    body.add(b"")
    long = len(word) > 12
    view = len(word).to_bytes(4, "little") + (word[:4] + bytes(8) if long else word + bytes(12 - len(word)))
    body.add(view * rows)
    data = body.add(word)
    body.buffers[-1:] = [data] * n_buffers


def _bend(draw: st.DrawFn, body: Body) -> None:
    """Have a buffer be another one, or begin or end elsewhere."""
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        if body.buffers:
            i, j = (draw(st.integers(0, len(body.buffers) - 1)) for _ in range(2))
            start, size = body.buffers[j]
            moved = draw(st.sampled_from([0, 0, 8, -8]))
            body.buffers[i] = (max(0, start + moved), size)


@pytest.mark.parametrize("streams", [stretched(), damaged()], ids=["stretched", "damaged"])
def test_no_stream_takes_more_than_its_bounds(streams: Any) -> None:
    reader = ArrowReader(SIGNATURE, 4096, 16 * MIB)
    answered = 0
    tried = 0

    @fuzzed
    @given(streams)
    def check_one(body: bytes) -> None:
        nonlocal answered, tried
        list(steps(reader, body))  # what is kept of its head is kept for all streams that begin alike
        took = taken_in_steps(lambda: steps(reader, body))
        check(body, took)
        tried += 1
        *_, last = steps(reader, body)
        answered += not isinstance(last, RequestError)

    with settled():
        check_one()
    assert 0.05 < answered / tried < 0.95  # else one of the two would hardly have been tried


@pytest.mark.slow
def test_rows_in_many_batches_are_answered_as_in_one(answer: Answer) -> None:
    columns = {name: table(600).to_arrow()[name] for name in ROW}
    _, whole, _ = answer(written(columns, 600))
    _, parts, _ = answer(written(columns, 7))
    assert pa.ipc.open_stream(whole).read_all().equals(pa.ipc.open_stream(parts).read_all())
