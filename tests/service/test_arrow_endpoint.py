"""Large requests: cut into runs, with others in between; given up when their caller is gone."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import rowcast.service.engine.model
from rowcast.models.arrow import END
from rowcast.models.arrow.types import NULL, UTF8
from rowcast.models.arrow.writer import batch, nothing, schema, texts
from rowcast.service.engine.batch_size import SIZES
from rowcast.service.engine.registry import Registry
from rowcast.service.errors import QueueFull
from rowcast.service.protocols.arrow import endpoint
from rowcast.service.router import Router
from tests.abuse.test_fuzz_arrow import written
from tests.service.hostile_payloads import GOOD, ROW
from tests.service.servers import publish_flights
from tests.service.test_arrow import ARROW, arrow, stream, table
from tests.service.test_router import Caller, metric, serve


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bulk") / "repository"
    publish_flights(root)
    return root


def slowly(serving: Registry, done: list[int], seconds: float = 0.01) -> None:
    """Have every run take its time, in the thread, and say how many rows it had."""
    batcher = serving.versions["flights", 1].batcher
    run = batcher._run

    def slow(requests: list[Any]) -> Any:
        import time

        time.sleep(seconds)
        done.append(sum(map(len, requests)))
        return run(requests)

    batcher._run = slow


def nulls(rows: int, padding: int = 0) -> bytes:
    """A stream of any number of rows in hardly any bytes, but for the padding."""
    head = schema([(name, NULL) for name in ROW], {"padding": " " * padding})
    return b"".join([head, *batch(rows, [nothing(rows)] * len(ROW)), END])


def test_single_rows_have_their_turn_between_the_runs_of_a_large_request(repository: Path) -> None:
    async def scenario(front: Router, serving: Registry) -> None:
        runs: list[int] = []
        slowly(serving, runs)
        bulk = asyncio.ensure_future(arrow(front, stream(table(5000))))
        await asyncio.sleep(0.05)
        for _ in range(5):
            before = len(runs)
            status, _, _ = await Caller("POST", "/predict", GOOD).answer(front)
            assert status == 200
            assert len(runs) - before <= 3  # the one that ran, the one that followed, its own
        assert not bulk.done()
        status, got = await bulk
        assert (status, got.height) == (200, 5000)
        assert max(runs) <= 257

    serve(repository, scenario, device="cpu")


@pytest.mark.parametrize("size", SIZES)
def test_runs_are_as_large_as_was_measured(repository: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    measured: list[int] = []

    def measure(run: Callable[[int], object], _: Callable[[], float]) -> int:
        for rows in SIZES:
            run(rows)  # what is measured is the model at work
            measured.append(rows)
        return size

    monkeypatch.setattr(rowcast.service.engine.model, "cheapest_size", measure)

    async def scenario(front: Router, serving: Registry) -> None:
        runs: list[int] = []
        slowly(serving, runs)
        status, got = await arrow(front, stream(table(5 * size)))
        assert (status, got.height) == (200, 5 * size)
        assert runs == [size] * 5

    serve(repository, scenario, device="cpu")
    assert measured == list(SIZES)


def test_the_rest_is_not_computed_when_the_caller_is_gone(repository: Path) -> None:
    async def scenario(front: Router, serving: Registry) -> None:
        runs: list[int] = []
        slowly(serving, runs)
        caller = Caller("POST", "/predict", stream(table(20_000)), headers=ARROW)
        asking = asyncio.ensure_future(front(caller.scope, caller.receive, caller.send))
        await asyncio.sleep(0.1)
        caller.hangs_up.set()
        await asyncio.wait_for(asking, 1)
        assert caller.sent == []
        so_far = len(runs)
        await asyncio.sleep(0.1)
        assert len(runs) <= so_far + 1
        assert sum(runs) < 20_000 / 2
        assert serving.versions["flights", 1].batcher.queued_rows == 0

    serve(repository, scenario, device="cpu")


def test_a_short_request_is_not_computed_when_its_caller_is_gone(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SHORT_RUN_SECONDS", "SHORT_RUN_SECONDS_ON_ONE_CORE"):
        monkeypatch.setattr(rowcast.service.engine.model, name, 0.0)  # every run goes to the thread

    async def scenario(front: Router, serving: Registry) -> None:
        runs: list[int] = []
        slowly(serving, runs, 0.1)
        first = asyncio.ensure_future(arrow(front, stream(table(100))))
        await asyncio.sleep(0.02)
        caller = Caller("POST", "/predict", stream(table(7)), headers=ARROW)
        asking = asyncio.ensure_future(front(caller.scope, caller.receive, caller.send))
        caller.hangs_up.set()
        await asyncio.wait_for(asking, 1)
        assert caller.sent == []
        assert (await first)[0] == 200
        assert runs == [100]

    serve(repository, scenario, device="cpu")


def test_short_requests_of_several_record_batches_are_answered_in_the_order_of_their_rows(repository: Path) -> None:
    frame = table(90).with_columns(distance=pl.int_range(90).cast(pl.Float64))

    async def scenario(front: Router, serving: Registry) -> None:
        _, whole = await arrow(front, stream(frame))
        status, got = await arrow(front, written({c: frame.to_arrow()[c] for c in frame.columns}, 40))
        assert status == 200
        assert got.equals(whole)

    serve(repository, scenario, device="cpu")


def test_nothing_more_is_computed_once_a_fault_is_found(repository: Path) -> None:
    frame = table(30_000).with_columns(pl.when(pl.int_range(30_000) == 600).then(0.5).otherwise(1.0).alias("stops"))

    async def scenario(front: Router, serving: Registry) -> None:
        runs: list[int] = []
        slowly(serving, runs)
        status, answer = await arrow(front, stream(frame))
        assert status == 400
        assert [fault["path"] for fault in answer["errors"]] == ["columns.stops[600]"]
        assert sum(runs) <= 512

    serve(repository, scenario, device="cpu")


def test_a_full_queue_refuses_a_request_that_has_not_begun_and_holds_up_one_that_has(repository: Path) -> None:
    async def scenario(front: Router, serving: Registry) -> None:
        batcher = serving.versions["flights", 1].batcher
        runs: list[int] = []
        slowly(serving, runs)
        admit: Callable[..., None] = batcher.admit
        refusals = 0

        def full_for_a_while(rows: int = 1, priority: int = 0, size: int = 0) -> None:
            nonlocal refusals
            if runs and refusals < 3:
                refusals += 1
                raise QueueFull(0.1)
            admit(rows, priority, size)

        batcher.admit = full_for_a_while  # type: ignore[method-assign]
        status, got = await arrow(front, stream(table(2000)))
        assert (status, got.height, refusals) == (200, 2000, 3)

        def always(rows: int = 1, priority: int = 0, size: int = 0) -> None:
            raise QueueFull(3.2)

        batcher.admit = always  # type: ignore[method-assign]
        caller = Caller("POST", "/predict", stream(table(2000)), headers=ARROW)
        status, headers, answer = await caller.answer(front)
        assert (status, headers[b"retry-after"]) == (429, b"4")
        assert answer == {"error": "too many rows are waiting: send this request again later, see Retry-After"}

    serve(repository, scenario, device="cpu")


def test_a_request_that_is_refused_half_done_is_counted(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_PATIENCE_SECONDS", 0.0)

    async def scenario(front: Router, serving: Registry) -> None:
        batcher = serving.versions["flights", 1].batcher
        runs: list[int] = []
        slowly(serving, runs)
        admit: Callable[..., None] = batcher.admit

        def full_once_begun(rows: int = 1, priority: int = 0, size: int = 0) -> None:
            if runs:
                raise QueueFull(0.1)
            admit(rows, priority, size)

        batcher.admit = full_once_begun  # type: ignore[method-assign]
        before = metric("rowcast_refused_requests_total", model="flights")
        status, _, _ = await Caller("POST", "/predict", stream(table(5000)), headers=ARROW).answer(front)
        assert status == 429
        assert metric("rowcast_refused_requests_total", model="flights") - before == 1

    serve(repository, scenario, device="cpu")


def ask(repository: Path, body: bytes, **settings: Any) -> tuple[int, Any]:
    """What a body is answered."""
    told: list[tuple[int, Any]] = []

    async def scenario(front: Router, serving: Registry) -> None:
        told.append(await arrow(front, body))

    serve(repository, scenario, device="cpu", **settings)
    return told[0]


def test_more_rows_than_json_may_have_but_no_more_than_the_body_might(repository: Path) -> None:
    assert ask(repository, nulls(5000, 5000), max_rows=3, max_body=16 * 5000)[1].height == 5000
    for rows in (5001, 2**40, 2**63 - 1):
        status, answer = ask(repository, nulls(rows, 5000), max_rows=3, max_body=16 * 5000)
        assert status == 413
        assert answer["error"] == (
            "a stream holds at most 5,000 rows; send them in several requests, or raise ROWCAST_MAX_BODY"
        )


def test_more_rows_than_json_may_have_need_a_byte_each(repository: Path) -> None:
    body = nulls(2000)
    assert 500 < len(body) < 1000
    assert ask(repository, body, max_rows=2000)[1].height == 2000
    for rows in (len(body) + 1, 10**5):
        status, answer = ask(repository, nulls(rows), max_rows=3)
        assert status == 413
        assert answer["error"] == (
            f"a stream of {len(body):,} bytes holds at most {len(body):,} rows; "
            "send them in several requests, or raise ROWCAST_MAX_ROWS"
        )
    assert ask(repository, nulls(len(body)), max_rows=3)[1].height == len(body)


def test_a_stream_of_very_many_batches_is_refused(repository: Path) -> None:
    one = b"".join(batch(1, [nothing(1)] * len(ROW)))
    head = schema([(name, NULL) for name in ROW])
    assert ask(repository, head + one * 300 + END)[1].height == 300
    status, answer = ask(repository, head + one * 4097 + END)
    assert status == 413
    assert answer["error"] == ("a stream holds at most 4,096 record batches and dictionaries; put more rows into each")


def test_batches_of_no_rows_are_no_trouble(repository: Path) -> None:
    head, empty = schema([(name, NULL) for name in ROW]), b"".join(batch(0, [nothing(0)] * len(ROW)))
    one = b"".join(batch(1, [nothing(1)] * len(ROW)))
    assert ask(repository, head + empty + one + empty + one + END)[1].height == 2
    assert ask(repository, head + END)[1]["error"] == "columns: must hold at least one row, got none"


def test_a_column_that_comes_twice_is_refused(repository: Path) -> None:
    names = [*ROW, "stops"]
    body = b"".join([schema([(name, NULL) for name in names]), *batch(1, [nothing(1)] * len(names)), END])
    assert ask(repository, body)[1]["errors"] == [{"path": "columns.stops", "message": "appears more than once"}]


def test_texts_that_are_not_utf_8_are_found_row_by_row(repository: Path) -> None:
    kinds = dict.fromkeys(ROW, NULL) | {"carrier": UTF8}
    columns = [nothing(3) if name != "carrier" else texts(["UA", "xx", "AA"]) for name in ROW]
    body = b"".join([schema([*kinds.items()]), *batch(3, columns), END]).replace(b"xx", b"\xffx")
    assert ask(repository, body)[1]["errors"] == [
        {"path": "columns.carrier[1]", "message": "must be text in UTF-8, got bytes that are not"}
    ]


def test_the_content_type_may_have_parameters_and_others_are_refused(repository: Path) -> None:
    async def scenario(front: Router, serving: Registry) -> None:
        for kind, expected in (
            (b"Application/vnd.apache.arrow.stream; x=y", 200),
            (b"application/vnd.apache.arrow.file", 415),
        ):
            caller = Caller("POST", "/predict", stream(table(3)), headers=[(b"content-type", kind)])
            assert (await caller.answer(front))[0] == expected

    serve(repository, scenario, device="cpu")


def test_answers_are_read_by_pyarrow_and_pandas(repository: Path) -> None:
    import pyarrow as pa

    async def scenario(front: Router, serving: Registry) -> None:
        caller = Caller("POST", "/predict", stream(table(20_000)), headers=ARROW)
        _, _, content = await caller.answer(front)
        got = pa.ipc.open_stream(io.BytesIO(content)).read_all()
        got.validate(full=True)
        assert got.schema.names == ["label", "probability_on time", "probability_late"]
        assert got.schema.metadata == {b"rowcast.model": b"flights", b"rowcast.version": b"1"}
        assert got.num_rows == len(got.to_pandas()) == 20_000

    serve(repository, scenario, device="cpu")
