"""Bodies made at random: the decoder reads what a second, slow reading reads, and refuses what that refuses."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.models.errors import RequestError
from rowcast.models.repository import Repository
from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.service.columns.many_json_rows import Unusual
from rowcast.service.columns.rows import GraphInputs
from rowcast.service.engine.registry import Registry
from rowcast.service.protocols.rows.decode import Decoder
from rowcast.service.router import Router
from rowcast.service.settings import Settings
from tests.abuse import mutations, oracle
from tests.abuse.mutations import MAX_ROWS, SIGNATURE, fuzzed
from tests.service.hostile_payloads import ACCEPTED, PAYLOADS, Payload
from tests.service.test_router import Caller, inner
from tests.support import handmade

DECODERS = Decoder(SIGNATURE, MAX_ROWS), Decoder(SIGNATURE, MAX_ROWS, many_rows=0)
"""One reads rows as few, the other as many."""
SMALL = [payload for payload in PAYLOADS if len(payload.body) < 2**20]
MISSING = {"category": "", "timestamp": MISSING_TIMESTAMP}


def decoded(decoder: Decoder, body: bytes) -> list[tuple[Any, ...]] | RequestError:
    """What the graph is given for each row, column by column."""
    inputs = GraphInputs(SIGNATURE)
    try:
        rows = decoder.read(body)
    except RequestError as error:
        return error
    columns = inputs.layout.inputs(rows.blocks)
    return list(zip(*(columns[name][:, 0].tolist() for name in SIGNATURE.names), strict=True))


def is_usual(body: bytes) -> bool:
    """Whether the quick way of many rows reads a body."""
    try:
        DECODERS[1].together([body])
    except Unusual:
        return False
    return True


def graph_value(value: Any, kind: str) -> Any:
    """The same for a value of the slow reading."""
    return MISSING.get(kind, math.nan) if value is None else value


def compare(body: bytes) -> bool:
    """Make sure that all readings agree; whether they accept."""
    some, many = (decoded(decoder, body) for decoder in DECODERS)
    try:
        expected = oracle.read(body, SIGNATURE, MAX_ROWS)
    except oracle.Refused:
        assert isinstance(some, RequestError), some
        assert some.status in {400, 413}
        assert isinstance(many, RequestError), many
        assert (many.status, str(many)) == (some.status, str(some))
        return False
    for got in (some, many):
        assert not isinstance(got, RequestError), f"refused: {got}"
        assert len(got) == len(expected)
        for row, wanted in zip(got, expected, strict=True):
            for value, column in zip(row, SIGNATURE.columns, strict=True):
                right = graph_value(wanted[column.name], column.kind)
                assert type(value) is type(right) or column.kind not in {"category", "timestamp"}
                assert value == right or (value != value and right != right), (column.name, value, right)
    return True


@pytest.mark.parametrize("payload", SMALL, ids=lambda payload: payload.name)
def test_the_slow_reading_refuses_every_hostile_payload(payload: Payload) -> None:
    with pytest.raises(oracle.Refused):
        oracle.read(payload.body, handmade.BINARY, 4096)


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_the_slow_reading_accepts_every_unusual_payload(body: bytes) -> None:
    assert oracle.read(body, handmade.BINARY, 4096)


@fuzzed
@given(st.binary(max_size=60))
def test_any_bytes_are_read_as_the_slow_reading_reads_them(body: bytes) -> None:
    compare(body)


@fuzzed
@given(mutations.documents)
def test_any_json_is_read_as_the_slow_reading_reads_it(body: bytes) -> None:
    compare(body)


@pytest.fixture(scope="module")
def status(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bytes], int]]:
    """The front's status for a body, with a model of ``SIGNATURE`` behind it."""
    root = tmp_path_factory.mktemp("fuzz")
    Repository(root).publish("any", handmade.manifest(SIGNATURE), {"model.onnx": handmade.graph(SIGNATURE)})
    loop = asyncio.new_event_loop()
    serving = Registry(Settings(repository=root, device="cpu", max_rows=MAX_ROWS))
    loop.run_until_complete(serving.start())
    front = Router(inner, serving, set())
    yield lambda body: loop.run_until_complete(Caller("POST", "/predict", body).answer(front))[0]
    serving.stop()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_bodies_nearly_valid_or_damaged_are_read_as_the_slow_reading_reads_them_and_the_front_never_fails(
    status: Callable[[bytes], int],
) -> None:
    accepted: list[bool] = []

    @fuzzed
    @given(mutations.bodies() | st.sampled_from([*ACCEPTED.values()][5:-1]), mutations.edits)
    def check(whole: bytes, edits: list[mutations.Edit]) -> None:
        accepted.append(compare(whole))
        damaged = mutations.damage(whole, edits)
        assert status(damaged) in ({200} if compare(damaged) else {400, 413})

    check()
    assert 0.2 < sum(accepted) / len(accepted) < 0.8  # else hardly anything would have been compared


def test_many_rows_in_the_standard_form_are_read_as_the_slow_reading_reads_them() -> None:
    at_once: list[bool] = []

    @fuzzed
    @given(mutations.usual_bodies())
    def check(body: bytes) -> None:
        at_once.append(compare(body) and is_usual(body))

    check()
    assert sum(at_once) / len(at_once) > 0.2  # else hardly any would have been read at once
