"""A worker's budget of bytes: counted as they come, let go of once, whatever becomes of a request."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rowcast.models.errors import RequestError
from rowcast.service.columns.named import Columns
from rowcast.service.engine.registry import Registry
from rowcast.service.errors import QueueFull
from rowcast.service.http.body import BodyReader
from rowcast.service.http.endpoint import SteppedEndpoint
from rowcast.service.limits.byte_budget import ByteBudget, Hold, NoRoom
from rowcast.service.protocols.rows.endpoint import RowsEndpoint
from rowcast.service.protocols.v2.endpoint import InferEndpoint
from rowcast.service.router import Router
from rowcast.service.settings import Settings
from tests.service.hostile_payloads import GOOD, ROW
from tests.service.open_inference import body, request
from tests.service.test_router import Caller, serve


def test_a_body_is_counted_as_it_comes_and_forgotten_once() -> None:
    budget = ByteBudget(100)
    hold = budget.hold()
    hold.grow(30)
    hold.grow(40)
    assert budget.used == 70
    hold.release()
    hold.release()
    assert budget.used == 0


def test_beyond_the_limit_a_body_is_refused_with_429_and_when_to_come_back() -> None:
    budget = ByteBudget(100)
    budget.hold(60)
    with pytest.raises(NoRoom) as raised:
        budget.hold(41)
    assert (raised.value.status, raised.value.retry_after_seconds) == (429, 1)
    assert budget.used == 60
    budget.hold(40)


def test_a_body_that_is_alone_finds_room_however_large() -> None:
    budget = ByteBudget(100)
    hold = budget.hold(90)
    hold.grow(500)
    assert budget.used == 590
    with pytest.raises(NoRoom):
        budget.hold(1)


def test_what_others_count_themselves_counts_too() -> None:
    class Seventy:
        bytes = 70

    budget, others = ByteBudget(100), Seventy()
    budget.count(others)
    assert budget.used == 70
    assert budget.has_room(30)
    assert not budget.has_room(31)
    with pytest.raises(NoRoom):
        budget.hold(31)
    del others
    assert (budget.used, budget.has_room(100)) == (0, True)


def stopped(hold: Hold, seconds: float) -> None:
    hold.kept_up = time.monotonic() - seconds


def test_who_has_nearly_stopped_sending_lets_go_for_others_the_slowest_first() -> None:
    budget = ByteBudget(100)
    gone: list[str] = []
    holds = {name: budget.hold(give_up=lambda name=name: gone.append(name)) for name in ("slow", "slower", "quick")}  # type: ignore[misc]
    for hold in holds.values():
        hold.grow(30)
    stopped(holds["slow"], 3)
    stopped(holds["slower"], 5)
    budget.hold(40)
    assert gone == ["slower"]
    budget.hold(30)
    assert gone == ["slower", "slow"]
    with pytest.raises(NoRoom):  # who sends as quickly as it should stays
        budget.hold(1)
    assert budget.used == 100


def test_who_keeps_up_earns_no_credit_for_later() -> None:
    budget = ByteBudget(2**30)
    hold = budget.hold()
    hold.grow(2**24)
    assert hold.kept_up <= time.monotonic()
    stopped(hold, 5)
    hold.grow(200_000)  # two seconds' worth
    assert 2.5 < time.monotonic() - hold.kept_up <= 3.5


def test_one_long_body_is_decoded_at_a_time_and_all_that_wait_are_counted() -> None:
    async def scenario() -> None:
        budget = ByteBudget(100)
        seen: list[int] = []

        async def decode() -> None:
            async with budget.decoding(40):
                seen.append(budget.used)
                await asyncio.sleep(0.01)

        tasks = [asyncio.ensure_future(decode()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(NoRoom):
            await decode()
        tasks[1].cancel()
        await asyncio.wait(tasks)
        assert seen == [80] or seen == [40]
        assert budget.used == 0
        with pytest.raises(ValueError, match="broken"):
            async with budget.decoding(200):
                raise ValueError("broken")
        assert budget.used == 0

    asyncio.run(scenario())


def test_a_body_whose_turn_comes_when_the_queue_is_full_is_not_decoded() -> None:
    async def scenario() -> None:
        budget, decoded = ByteBudget(100), []

        def admit() -> None:
            if decoded:
                raise QueueFull(1.0)

        async def decode(name: str) -> None:
            async with budget.decoding(40, admit):
                decoded.append(name)

        outcomes = await asyncio.gather(decode("first"), decode("second"), return_exceptions=True)
        assert decoded == ["first"]
        assert isinstance(outcomes[1], QueueFull)
        assert budget.used == 0

    asyncio.run(scenario())


ROWS = b'{"rows":[' + b",".join([json.dumps(ROW).encode()] * 600) + b"]}"
MANY_ROWS = b'{"rows":[' + b",".join([json.dumps(ROW).encode()] * 1500) + b"]}"
TENSORS = body(request(*[ROW] * 1500))
ARROW_HEADERS = [(b"content-type", b"application/vnd.apache.arrow.stream")]


def test_after_any_mix_of_requests_refusals_cancels_and_hang_ups_nothing_is_counted(one_model: Path) -> None:
    def halves(content: bytes) -> list[bytes]:
        return [content[: len(content) // 2], content[len(content) // 2 :]]

    def callers() -> dict[str, Caller]:
        return {
            "rows": Caller("POST", "/predict", *halves(ROWS)),
            "tensors": Caller("POST", "/v2/models/flights/infer", *halves(TENSORS)),
            "one row": Caller("POST", "/predict", GOOD),
            "refused rows": Caller("POST", "/predict", *halves(ROWS[:-2])),
            "refused tensors": Caller("POST", "/v2/models/flights/infer", *halves(TENSORS[:-2])),
            "too long": Caller("POST", "/predict", *[bytes(2**20)] * 3),
            "a stream that is none": Caller("POST", "/predict", *halves(bytes(2**17)), headers=ARROW_HEADERS),
        }

    async def scenario(front: Router, serving: Registry) -> None:
        statuses: dict[str, set[int]] = {}
        most = 0
        chance = random.Random(1)
        for _ in range(12):
            tasks = {}
            for name, caller in callers().items():
                tasks[name] = asyncio.ensure_future(caller.answer(front))
                leaves = chance.random()
                if leaves < 0.2:
                    caller.hangs_up.set()
                elif leaves < 0.4:
                    asyncio.get_running_loop().call_later(chance.random() / 50, tasks[name].cancel)
                await asyncio.sleep(0)
                most = max(most, serving.budget.used)
            await asyncio.wait(tasks.values())
            for name, task in tasks.items():
                if not task.cancelled() and task.exception() is None:
                    statuses.setdefault(name, set()).add(task.result()[0])
            for _ in range(200):  # runs end whose callers are gone
                if serving.budget.used:
                    await asyncio.sleep(0.01)
            assert serving.budget.used == 0
        assert most > 100_000
        assert 200 in statuses["rows"]
        assert 200 in statuses["tensors"]
        assert statuses["too long"] <= {413, 429}
        assert statuses["refused rows"] <= {400, 429}

    serve(one_model, scenario, device="cpu", max_body=2**21, max_bytes=2**20)


def test_a_refused_body_is_not_kept_by_what_refused_it() -> None:
    async def scenario() -> None:
        reader = BodyReader(ByteBudget(2**30))
        chunks = iter([bytes(2**20)] * 8)

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": next(chunks), "more_body": True}

        tracemalloc.start()
        try:
            with pytest.raises(RequestError) as raised:
                await reader.read(receive, 6 * 2**20)
            assert raised.value.status == 413
            assert tracemalloc.get_traced_memory()[0] < 3 * 2**20  # a chunk or two, of seven
        finally:
            tracemalloc.stop()

    asyncio.run(scenario())


def test_a_body_whose_sender_has_nearly_stopped_lets_go_for_another(one_model: Path) -> None:
    async def scenario(front: Router, serving: Registry) -> None:
        first = Caller("POST", "/predict", bytes(900_000), b"")
        gate = asyncio.Event()
        receive = first.receive

        async def slowly() -> Any:
            if first.read:
                await gate.wait()
            return await receive()

        first.receive = slowly  # type: ignore[method-assign]
        stalled = asyncio.ensure_future(first.answer(front))
        await asyncio.sleep(0.01)
        assert serving.budget.used == 900_000
        (hold,) = serving.budget._arriving
        hold.kept_up -= 3
        status, _, _ = await Caller("POST", "/predict", *[ROWS[:70_000], ROWS[70_000:]]).answer(front)
        assert status == 200
        gate.set()
        status, headers, answer = await stalled
        assert (status, headers[b"retry-after"]) == (429, b"1")
        assert answer["error"].startswith("bodies that arrive and wait take all the memory")
        assert serving.budget.used == 0

    serve(one_model, scenario, device="cpu", max_bytes=950_000)


@pytest.mark.parametrize(("endpoint_class", "content"), [(RowsEndpoint, MANY_ROWS), (InferEndpoint, TENSORS)])
def test_of_long_bodies_that_come_together_only_those_are_decoded_that_can_be_queued(
    one_model: Path, monkeypatch: pytest.MonkeyPatch, endpoint_class: type[SteppedEndpoint], content: bytes
) -> None:
    decoded: list[int] = []
    decode_steps = endpoint_class.decode_steps

    def counted(self: SteppedEndpoint, body: bytes, form: Any) -> Any:
        decoded.append(len(body))
        return decode_steps(self, body, form)

    monkeypatch.setattr(endpoint_class, "decode_steps", counted)

    async def scenario(_: Router, serving: Registry) -> None:
        model = serving.models["flights"]
        model.batcher._short_run_seconds = 0.0  # none stays on the loop
        gate = threading.Event()
        serving.thread.submit(gate.wait, 30)
        endpoint = endpoint_class(model)
        running = asyncio.ensure_future(endpoint.answer(content))
        async with asyncio.timeout(20):
            while not model.batcher.busy:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        others = [asyncio.ensure_future(endpoint.answer(content)) for _ in range(5)]
        async with asyncio.timeout(20):
            while sum(other.done() for other in others) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert decoded == [len(content)] * 2
        gate.set()
        replies = [await running, *[await other for other in others]]
        assert sorted(reply.status for reply in replies) == [200, 200, 429, 429, 429, 429]

    serve(one_model, scenario, device="cpu", max_queue=1600)


def test_what_a_long_body_claims_is_its_rows_and_the_highest_priority_that_it_may_have(one_model: Path) -> None:
    model = Registry(Settings(repository=one_model, device="cpu")).models["flights"]
    assert RowsEndpoint(model).claims(MANY_ROWS, None) == (1500, 0)
    infer = InferEndpoint(model)
    assert infer.claims(TENSORS, None) == (1500, 0)
    assert infer.claims(TENSORS.replace(b"{", b'{"parameters":{"priority":3},', 1), None) == (1500, 1)
    assert infer.claims(TENSORS[:-1] + b',"parameters":{"priority":3}}', None) == (1500, 1)
    assert infer.claims(b'{"inputs":[{"data":[', None) == (1, 0)
    assert infer.claims(b'{"inputs":[]}"priority"', 13) == (1, 0)
    far = b"y" * 70_000  # the whole of a long body is never searched: that alone would hold up others
    assert infer.claims(b'{"a":"%b","priority":"%b"}' % (far, far), None) == (1, 0)


def test_columns_tell_the_bytes_that_their_texts_take_and_one_wide_character_widens_no_other_text() -> None:
    numbers = np.zeros((1, 3))
    for texts in (["late", "", "AA"], ["x" * 1000, "\U0001f600", "\u00e9"]):
        block = np.array([texts], dtype=object)
        assert Columns([numbers, block]).bytes == numbers.nbytes + block.nbytes + sum(map(sys.getsizeof, texts))
