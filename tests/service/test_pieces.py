"""A long body is read in pieces, and means what it means as one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rowcast.service.protocols.rows.pieces
from rowcast.service.engine.registry import Registry
from rowcast.service.limits.byte_rule import SMALL_BODY
from rowcast.service.protocols.rows.endpoint import RowsEndpoint
from rowcast.service.protocols.rows.pieces import PIECE_BYTES, pieces
from rowcast.service.settings import Settings
from tests.service.hostile_payloads import ROW, rows

MANY = [{**ROW, "distance": float(n), "carrier": "},{" + str(n)} for n in range(2000)]


def test_the_pieces_of_a_body_hold_its_rows_in_order() -> None:
    plain = [{**ROW, "distance": float(n)} for n in range(2000)]
    for body in (json.dumps({"rows": plain}).encode(), json.dumps({"rows": plain}, indent=1).encode()):
        assert len(body) > SMALL_BODY
        cut = list(pieces(body))
        assert len(cut) > 2
        assert max(map(len, cut)) < PIECE_BYTES + 1000
        assert [row for piece in cut for row in json.loads(piece)["rows"]] == plain


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"rows":', b'{"rows":{}}', b'{"more":1,"rows":[{}]}', b'{"rows":[{}]}x', b'{"rows":[{}],"a":1}'],
)
def test_what_does_not_open_and_close_as_rows_do_is_not_cut(body: bytes) -> None:
    assert list(pieces(body)) == []


@given(st.text(alphabet='{}[],:"rows1 \\\n', max_size=60), st.integers(1, 20))
def test_pieces_that_are_all_valid_are_the_whole_body(text: str, size: int) -> None:
    body = b'{"rows":[%b]}' % text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rowcast.service.protocols.rows.pieces, "PIECE_BYTES", size)
        cut = list(pieces(body))
    try:
        found = [row for piece in cut for row in json.loads(piece)["rows"]]
    except (ValueError, TypeError, KeyError):
        return
    if all(len(json.loads(piece)) == 1 and json.loads(piece)["rows"] for piece in cut) and cut:
        assert json.loads(body) == {"rows": found}


def test_long_bodies_are_answered_and_refused_as_if_they_were_read_at_once(one_model: Path) -> None:
    async def scenario() -> None:
        serving = Registry(Settings(repository=one_model, max_rows=3000))
        await serving.start()
        served = serving.models["flights"]
        endpoint = RowsEndpoint(served)
        try:
            plain = [{**ROW, "distance": float(n % 500)} for n in range(2000)]
            halves = [json.loads((await endpoint.answer(rows(*part))).body) for part in (plain[:1000], plain[1000:])]
            whole = json.loads((await endpoint.answer(rows(*plain))).body)
            assert len(whole["predictions"]) == 2000
            late = [p["probabilities"]["late"] for half in halves for p in half["predictions"]]
            assert [p["probabilities"]["late"] for p in whole["predictions"]] == pytest.approx(late, abs=1e-6)
            assert (await endpoint.answer(rows(*MANY))).status == 200  # braces in its texts
            wrong = await endpoint.answer(rows(*plain[:1500], {**ROW, "distance": "far"}))
            assert wrong.status == 400
            assert json.loads(wrong.body)["errors"][0]["path"] == "rows[1500].distance"
            assert (await endpoint.answer(rows(*plain, *plain))).status == 413
            assert (await endpoint.answer(rows(*plain)[:-1] + b',"rows":[]}')).status == 400
            assert (await endpoint.answer(rows(*plain)[:-2])).status == 400
        finally:
            serving.stop()

    asyncio.run(scenario())


def test_a_row_that_no_parser_should_read_in_one_call_is_refused(one_model: Path) -> None:
    async def scenario() -> None:
        serving = Registry(Settings(repository=one_model))
        await serving.start()
        try:
            spread = [{**ROW, "carrier": "x" * 2_000_000}] * 4
            assert (await RowsEndpoint(serving.models["flights"]).answer(rows(*spread) + b" " * 1000)).status == 200
            row = b'{"rows":[{"carrier":"UA"' + b" " * 3_000_000 + b"}]}"
            refusal = await RowsEndpoint(serving.models["flights"]).answer(row)
            assert refusal.status == 413
            assert b"a row in JSON holds at most 2,097,152 bytes" in refusal.body
        finally:
            serving.stop()

    asyncio.run(scenario())


def test_small_requests_are_answered_while_a_long_body_is_read(one_model: Path) -> None:
    async def scenario() -> None:
        serving = Registry(Settings(repository=one_model))
        await serving.start()
        served = serving.models["flights"]
        endpoint = RowsEndpoint(served)
        try:
            long = asyncio.create_task(endpoint.answer(rows(*[ROW] * 4096)))
            small = 0
            while served.batcher.queued_rows == 0 and not served.batcher.busy and not long.done():
                assert (await endpoint.answer(rows(ROW))).status == 200
                small += 1
            assert small > 3
            assert (await long).status == 200
        finally:
            serving.stop()

    asyncio.run(scenario())
