"""Requests that come in steps share runs; nobody waits for a slow one, or for company that never comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rowcast.service.engine import arrivals as module
from rowcast.service.engine.arrivals import LOOKS, Arrivals
from rowcast.service.engine.batcher import Batcher
from tests.support.batching import submit

Scenario = Callable[[Arrivals, Batcher, list[list[str]]], Coroutine[Any, Any, None]]


def during(scenario: Scenario, **options: Any) -> None:
    """Run a scenario with a batcher whose runs are written down."""

    async def whole() -> None:
        runs: list[list[str]] = []

        def run(requests: list[Any]) -> list[Any]:
            runs.append(["".join(rows) for rows in requests])
            return requests

        arrivals = Arrivals()
        with ThreadPoolExecutor(1) as thread:
            await scenario(arrivals, Batcher(run, thread, arrivals=arrivals, **options), runs)

    asyncio.run(whole())


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, what is to come is waited for; a test that wants it otherwise says so."""
    monkeypatch.setattr(module, "MAX_COMING_SECONDS", 60.0)
    monkeypatch.setattr(module, "MAX_GATHER_SECONDS", 60.0)


async def come(arrivals: Arrivals, batcher: Batcher, name: str, turns: int) -> None:
    """A request that begins now, and has come after some turns of the event loop."""
    token = arrivals.begin()
    for _ in range(turns):
        await asyncio.sleep(0)
    arrivals.end(token)
    await submit(batcher, [name])


def test_a_run_waits_for_requests_that_have_begun() -> None:
    async def scenario(arrivals: Arrivals, batcher: Batcher, runs: list[list[str]]) -> None:
        await asyncio.gather(
            *(come(arrivals, batcher, name, turns) for name, turns in {"a": 1, "b": 30, "c": 100}.items())
        )
        assert runs == [["a", "b", "c"]]

    during(scenario)


def test_a_request_that_begins_soon_after_joins() -> None:
    async def scenario(arrivals: Arrivals, batcher: Batcher, runs: list[list[str]]) -> None:
        first = asyncio.ensure_future(come(arrivals, batcher, "a", 0))
        for _ in range(LOOKS):  # its last look is yet to come
            await asyncio.sleep(0)
        await come(arrivals, batcher, "b", 5)
        await first
        assert runs == [["a", "b"]]

    during(scenario)


def test_one_that_is_refused_is_not_waited_for_any_more() -> None:
    async def scenario(arrivals: Arrivals, batcher: Batcher, runs: list[list[str]]) -> None:
        token = arrivals.begin()
        first = asyncio.ensure_future(come(arrivals, batcher, "a", 0))
        for _ in range(50):
            await asyncio.sleep(0)
        assert runs == []
        arrivals.end(token)
        arrivals.settle(time.perf_counter())
        await first
        assert runs == [["a"]]

    during(scenario)


def test_a_full_run_waits_for_nobody() -> None:
    async def scenario(arrivals: Arrivals, batcher: Batcher, runs: list[list[str]]) -> None:
        arrivals.begin()
        await asyncio.gather(*(come(arrivals, batcher, name, 0) for name in "abcd"))
        assert runs == [["a", "b"], ["c", "d"]]

    during(scenario, max_rows=2)


def test_a_slow_one_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COMING_SECONDS", 0.001)

    async def scenario(arrivals: Arrivals, batcher: Batcher, runs: list[list[str]]) -> None:
        arrivals.begin()  # and never ends
        await come(arrivals, batcher, "a", 0)
        await asyncio.sleep(0.002)
        await come(arrivals, batcher, "b", 0)
        assert runs == [["a"], ["b"]]

    during(scenario)


def test_a_run_waits_for_a_while_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COMING_SECONDS", 0.001)
    monkeypatch.setattr(module, "MAX_GATHER_SECONDS", 0.005)

    async def scenario(arrivals: Arrivals, batcher: Batcher, runs: list[list[str]]) -> None:
        answer = asyncio.ensure_future(come(arrivals, batcher, "a", 0))
        while not answer.done():  # others begin all the time, and none of them comes
            arrivals.begin()
            await asyncio.sleep(0)
        assert runs == [["a"]]

    during(scenario)


def test_who_is_alone_is_looked_for_company_ever_less_often() -> None:
    async def scenario(arrivals: Arrivals, batcher: Batcher, runs: list[list[str]]) -> None:
        looked: list[bool] = []
        gather = arrivals.gather

        def watched(*options: Any) -> bool:
            looked.append(gather(*options))
            return looked[-1]

        arrivals.gather = watched  # type: ignore[method-assign]
        for _ in range(100):
            await come(arrivals, batcher, "a", 0)
        assert looked[0]
        assert sum(looked) < 10
        for _ in range(40):
            await asyncio.gather(*(come(arrivals, batcher, name, 3) for name in "bcd"))
        looked.clear()
        await asyncio.gather(*(come(arrivals, batcher, name, 3) for name in "bcd"))
        assert looked == [True]  # in company again

    during(scenario)


def test_requests_in_one_step_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(arrivals: Arrivals, batcher: Batcher, runs: list[list[str]]) -> None:
        assert not arrivals.gather(lambda: None, lambda: False, time.perf_counter() + 120)
        await submit(batcher, ["a"])
        assert runs == [["a"]]

    during(scenario)
