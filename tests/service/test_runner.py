"""One run answers rows of JSON and columns, each as it would be answered alone."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from rowcast.models.errors import RequestError
from rowcast.models.repository import Repository
from rowcast.models.session import Predictions, Session
from rowcast.service.columns.blocks import Layout
from rowcast.service.columns.many_json_rows import MANY_ROWS
from rowcast.service.columns.named import ColumnReader, Columns
from rowcast.service.engine.model import Model, NoAnswer
from rowcast.service.engine.queue import QueuedRequest
from rowcast.service.engine.registry import Registry
from rowcast.service.engine.runner import NotFinite, Runner, Unread
from rowcast.service.errors import QueueFull
from rowcast.service.http.reply import Reply
from rowcast.service.protocols.rows.codec import RowsCodec
from rowcast.service.protocols.rows.decode import Decoder
from rowcast.service.protocols.rows.encode import Encoder
from rowcast.service.protocols.rows.endpoint import RowsEndpoint
from rowcast.service.settings import Settings
from tests.abuse.mutations import SIGNATURE, usual_bodies
from tests.abuse.slow_model import publish_slow
from tests.service.hostile_payloads import ROW
from tests.service.tensors import tensors
from tests.support import handmade

Row = dict[str, Any]
ENCODER = Encoder("any", 1, SIGNATURE)
READING = RowsCodec(SIGNATURE, ENCODER, 100)
COUNTED: list[Columns] = []
RUN = Runner(Session(handmade.graph(SIGNATURE), "cpu"), Layout(SIGNATURE), COUNTED.append)
DECODER = Decoder(SIGNATURE, 100)
MANY = Decoder(SIGNATURE, 100, many_rows=0)
READER = ColumnReader(SIGNATURE, 100)

NUMBERS = st.floats(-1e6, 1e6)
MOMENTS = st.datetimes().map(lambda moment: moment.isoformat())
ROWS = st.lists(
    st.fixed_dictionaries({
        "distance": st.none() | NUMBERS,
        "stops": st.none() | st.integers(-(2**53) + 1, 2**53 - 1),
        "night": st.none() | st.booleans(),
        "carrier": st.none() | st.sampled_from(["UA", "AA", "9E", "never seen", "é"]),
        "departs": st.none() | MOMENTS,
        "line": st.none() | st.sampled_from(["7", "12", "x"]),
        "Größe": st.none() | NUMBERS,
    }),
    min_size=1,
    max_size=5,
)  # fmt: skip


def of_json(rows: list[Row]) -> Columns:
    return one_by_one(json.dumps({"rows": rows}).encode())


def one_by_one(body: bytes) -> Columns:
    columns = DECODER.columns_of(DECODER.rows(body))
    columns.codec = READING
    return columns


def of_much_json(rows: list[Row]) -> Columns:
    whole = [dict.fromkeys(SIGNATURE.names) | row for row in rows]
    many = MANY.read(json.dumps({"rows": whole}, ensure_ascii=False).encode())
    many.codec = READING
    return many


def of_tensors(rows: list[Row]) -> Columns:
    return READER.read(tensors(SIGNATURE, rows))


def close(encoded: list[bytes], predictions: Predictions) -> None:
    """Make sure that an answer to rows of JSON says the same as one to columns."""
    said = [json.loads(row) for row in encoded]
    assert [row["label"] for row in said] == predictions.labels
    probabilities = np.array([list(row["probabilities"].values()) for row in said])
    assert np.abs(probabilities - predictions.probabilities).max() <= 1e-6


def probabilities_of(encoded: list[bytes]) -> Predictions:
    """Predictions that say what an answer in JSON says."""
    said = [json.loads(row) for row in encoded]
    return Predictions([row["label"] for row in said], np.array([list(row["probabilities"].values()) for row in said]))


@settings(database=None, deadline=None)
@given(ROWS)
def test_the_same_rows_get_the_same_bits_in_json_and_in_columns(rows: list[Row]) -> None:
    (encoded,), (predictions,) = RUN([of_json(rows)]), RUN([of_tensors(rows)])
    assert ENCODER.rows(predictions) == encoded
    assert RUN([of_much_json(rows)]) == [encoded]


FORMS: list[Callable[[list[Row]], Any]] = [of_json, of_much_json, of_tensors]


@settings(database=None, deadline=None)
@given(st.lists(st.tuples(ROWS, st.sampled_from(FORMS)), min_size=1, max_size=6))
def test_a_run_of_all_forms_answers_each_request_as_it_is_answered_alone(
    requests: list[tuple[list[Row], Callable[[list[Row]], Any]]],
) -> None:
    mixed = RUN([form(rows) for rows, form in requests])
    in_rows = RUN([of_json(rows) for rows, _ in requests])
    for outcome, same, (rows, form) in zip(mixed, in_rows, requests, strict=True):
        assert len(outcome) == len(rows)
        if form is of_tensors:
            close(same, outcome)
        else:
            close(outcome, RUN([of_tensors(rows)])[0])


def test_a_part_of_many_rows_is_answered_in_json() -> None:
    rows = [{**ROW, "distance": float(i), "line": None, "Größe": None} for i in range(5)]
    whole = of_much_json(rows)
    assert RUN([whole[1:4]])[0] == RUN([whole])[0][1:4]


@settings(database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(usual_bodies(max_rows=1), min_size=MANY_ROWS, max_size=2 * MANY_ROWS))
def test_rows_that_come_unread_are_answered_or_refused_as_each_is_alone(bodies: list[bytes]) -> None:
    outcomes = RUN([Unread(body, READING) for body in bodies])
    for body, outcome in zip(bodies, outcomes, strict=True):
        if isinstance(outcome, RequestError):
            with pytest.raises(RequestError) as alone:
                DECODER.rows(body)
            assert (outcome.status, str(outcome)) == (alone.value.status, str(alone.value))
        else:
            assert len(outcome) == 1
            close(outcome, probabilities_of(RUN([one_by_one(body)])[0]))


def test_unread_rows_in_the_standard_form_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {**ROW, "line": None, "Größe": None}
    content = [{"rows": [{**row, "distance": float(i)}]} for i in range(MANY_ROWS)]
    bodies = [json.dumps(one, ensure_ascii=False).encode() for one in content]
    right = RUN([one_by_one(body) for body in bodies])
    monkeypatch.setattr(Decoder, "rows", None)  # what reads one by one
    COUNTED.clear()
    assert RUN([Unread(body, READING) for body in bodies]) == right
    assert [len(columns) for columns in COUNTED] == [MANY_ROWS]


@settings(database=None, deadline=None)
@given(ROWS, ROWS)
def test_in_a_run_of_one_shape_an_answer_is_the_same_bits_however_all_was_sent(
    rows: list[Row], more: list[Row]
) -> None:
    shape = [of_json(rows), of_json(more)]
    assert ENCODER.rows(RUN([of_tensors(rows), of_tensors(more)])[0]) == RUN(shape)[0]
    assert ENCODER.rows(RUN([shape[0], of_tensors(more)])[1]) == RUN(shape)[1]


def test_predictions_that_are_no_numbers_are_not_handed_out() -> None:
    run = Runner(Session(handmade.graph(handmade.REGRESSION), "cpu"), Layout(handmade.REGRESSION), COUNTED.append)
    columns = ColumnReader(handmade.REGRESSION, 9).read(tensors(handmade.REGRESSION, [ROW]))
    assert run([columns])[0].finite
    columns.blocks[0][0] = np.inf  # which no reader lets through
    with pytest.raises(NotFinite):
        run([columns])


Scenario = Callable[[Model], Coroutine[Any, Any, None]]


@asynccontextmanager
async def serving(root: Path, **options: Any) -> AsyncIterator[Model]:
    """The slow model at work: a negative distance makes a run fail."""
    publish_slow(root)
    serving = Registry(Settings(repository=root, device="cpu", **options))
    await serving.start()
    try:
        yield serving.find("flights")
    finally:
        serving.stop()


@pytest.fixture
def during(tmp_path: Path) -> Callable[..., None]:
    """Runs a scenario with the slow model."""

    def run(scenario: Scenario, **options: Any) -> None:
        async def whole() -> None:
            async with serving(tmp_path / "repository", **options) as served:
                await scenario(served)

        asyncio.run(whole())

    return run


def columns_of(served: Model, *rows: Row) -> Columns:
    return served.columns.read(tensors(served.signature, list(rows)))


def body_of(*rows: Row) -> bytes:
    return json.dumps({"rows": rows}).encode()


def late(predictions: Predictions) -> list[float]:
    assert predictions.probabilities is not None
    return list(predictions.probabilities[:, 1].tolist())


POISON = {**ROW, "distance": -1.0}
HOLD = {**ROW, "stops": 200_000}
"""Holds a run up for some time."""


def test_a_poisoned_request_takes_along_nobody_of_either_kind(during: Callable[..., None]) -> None:
    async def scenario(served: Model) -> None:
        rows = [{**ROW, "distance": float(i)} for i in range(6)]
        replies = [RowsEndpoint(served).answer(body_of(row)) for row in rows]
        replies.append(RowsEndpoint(served).answer(body_of(POISON)))
        answers = [served.answer_columns(columns_of(served, row)) for row in rows]
        answers.insert(3, served.answer_columns(columns_of(served, ROW, POISON)))
        outcomes = await asyncio.gather(*replies, *answers, return_exceptions=True)
        said, told = outcomes[:7], outcomes[7:]
        culprit = told.pop(3)
        assert isinstance(culprit, NoAnswer)
        assert (culprit.status, str(culprit)) == (500, "the model could not answer these rows")
        assert [reply.status for reply in said if isinstance(reply, Reply)] == [200] * 6 + [500]
        expected = pytest.approx([handmade.late(row) for row in rows], abs=1e-6)
        assert [late(predictions)[0] for predictions in told if isinstance(predictions, Predictions)] == expected

    during(scenario)


def test_columns_are_gathered_with_rows_of_json_in_one_run(during: Callable[..., None]) -> None:
    async def scenario(served: Model) -> None:
        def runs() -> float:
            served.meter.flush()
            return REGISTRY.get_sample_value("rowcast_batch_rows_count", {"model": "flights"}) or 0.0

        before = runs()
        reply, predictions = await asyncio.gather(
            RowsEndpoint(served).answer(body_of(ROW)), served.answer_columns(columns_of(served, ROW, ROW))
        )
        assert runs() == before + 1
        said = json.loads(reply.body)["predictions"][0]["probabilities"]["late"]
        assert late(predictions) == pytest.approx([said] * 2, abs=1e-6)

    during(scenario)


def test_columns_nobody_waits_for_any_more_are_not_computed(during: Callable[..., None]) -> None:
    async def scenario(served: Model) -> None:
        def rows_run() -> float:
            served.meter.flush()
            return REGISTRY.get_sample_value("rowcast_batch_rows_sum", {"model": "flights"}) or 0.0

        served.batcher._short_run_seconds = 0.0  # every run leaves the loop, however fast the machine is
        before = rows_run()
        held = asyncio.create_task(served.answer_columns(columns_of(served, *[HOLD] * 64)))
        for _ in range(4):  # turns of the loop until the run is on
            await asyncio.sleep(0)
        assert served.batcher.busy
        leaving = asyncio.create_task(served.answer_columns(columns_of(served, ROW)))
        staying = asyncio.create_task(served.answer_columns(columns_of(served, ROW, ROW)))
        told: list[Any] = []
        waiting = served.submit(columns_of(served, ROW), told.append)
        assert waiting is not None
        await asyncio.sleep(0)
        leaving.cancel()
        waiting.cancel()
        assert len(await staying) == 2
        assert len(await held) == 64
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert told == []
        assert rows_run() == before + 64 + 2

    during(scenario)


def test_columns_beyond_the_queue_are_refused_and_counted(during: Callable[..., None]) -> None:
    async def scenario(served: Model) -> None:
        def refused() -> float:
            return REGISTRY.get_sample_value("rowcast_refused_requests_total", {"model": "flights"}) or 0.0

        served.batcher._short_run_seconds = 0.0  # every run leaves the loop, however fast the machine is
        before = refused()
        held = asyncio.create_task(served.answer_columns(columns_of(served, *[HOLD] * 64)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = asyncio.create_task(served.answer_columns(columns_of(served, ROW, ROW)))
        await asyncio.sleep(0)
        served.admit(1, 0)
        told: list[Any] = []
        tell = lambda error: told.append(served.refusal_of(error))  # noqa: E731 - as an endpoint does
        assert served.submit(columns_of(served, ROW, ROW), tell) is None
        assert [(type(full), full.status, full.retry_after_seconds) for full in told] == [(QueueFull, 429, 1)]
        third = asyncio.create_task(served.answer_columns(columns_of(served, ROW)))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            served.admit(1, 0)
        with pytest.raises(QueueFull):
            await served.answer_columns(columns_of(served, ROW))
        assert refused() == before + 3
        assert list(map(len, await asyncio.gather(held, waiting, third))) == [64, 2, 1]

    during(scenario, max_queue=3)


def test_a_request_that_was_answered_is_let_go_without_the_garbage_collector(during: Callable[..., None]) -> None:
    async def scenario(served: Model) -> None:
        endpoint = RowsEndpoint(served)
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                replies: asyncio.Queue[Reply] = asyncio.Queue()
                endpoint.handle(body_of(ROW), replies.put_nowait)
                assert (await replies.get()).status == 200
            await asyncio.sleep(0)
            assert [one for one in gc.get_objects() if type(one) is QueuedRequest] == []
        finally:
            gc.enable()

    during(scenario)


def test_unseen_levels_of_columns_are_counted_once_they_are_queued(during: Callable[..., None]) -> None:
    async def scenario(served: Model) -> None:
        def unseen() -> float:
            labels = {"model": "flights", "column": "carrier"}
            return REGISTRY.get_sample_value("rowcast_unseen_levels_total", labels) or 0.0

        before = unseen()
        rows = [{**ROW, "carrier": carrier} for carrier in ("UA", "ZZ", None, "zz", "ZZ")]
        await served.answer_columns(columns_of(served, *rows))
        assert unseen() == before + 3

    during(scenario)


def test_a_model_is_found_by_its_name_and_version(tmp_path: Path) -> None:
    Repository(tmp_path).publish("flights", handmade.manifest(), {"model.onnx": handmade.graph()})
    Repository(tmp_path).publish("flights", handmade.manifest(), {"model.onnx": handmade.graph()})

    async def scenario() -> None:
        serving = Registry(Settings(repository=tmp_path, device="cpu", models="flights:1,flights:2"))
        with pytest.raises(RequestError) as loading:
            serving.find("flights")
        assert (loading.value.status, "still being loaded" in str(loading.value)) == (503, True)
        await serving.start()
        found = [serving.find("flights", version).version for version in ("", "1", "2")]
        for name, version in (("delay", ""), ("flights", "3"), ("flights", "01"), ("flights", "x"), ("../flights", "")):
            with pytest.raises(RequestError) as missing:
                serving.find(name, version)
            assert missing.value.status == 404
        serving.stop()
        assert found == [2, 1, 2]

    asyncio.run(scenario())
