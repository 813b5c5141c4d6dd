"""Nobody is run after its deadline, and nobody is refused who could have been answered by it."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from rowcast.service.engine.batcher import Batcher
from rowcast.service.engine.deadlines import Deadlines
from rowcast.service.engine.queue import QueuedRequest
from rowcast.service.errors import DeadlineExceeded
from tests.service.test_batcher import Doubler, batching, busy, started
from tests.support.batching import submit

PACE = {"seconds_per_row": 0.003, "drain_seconds_per_row": 0.003}


def within(seconds: float) -> float:
    return time.perf_counter() + seconds


async def refused(answer: asyncio.Future[Any]) -> None:
    with pytest.raises(DeadlineExceeded) as told:
        await answer
    assert told.value.status == 504
    assert str(told.value).startswith("the rows cannot be answered by the request's deadline, and were not run")


def test_a_request_that_cannot_keep_its_deadline_is_refused_at_once_and_never_run() -> None:
    async def scenario() -> None:
        double = Doubler()
        async with batching(double, max_rows=8, **PACE) as batcher:
            for rows, seconds in (([1], 0.0), ([1], -5.0), ([1] * 8, 0.012), ([1] * 80, 0.12)):
                with pytest.raises(DeadlineExceeded):
                    submit(batcher, rows, deadline=within(seconds))
            assert batcher.queued_rows == 0
            assert await submit(batcher, [2], deadline=within(5)) == [4]
        assert double.runs == [[2]]

    asyncio.run(scenario())


def test_what_waits_before_it_counts_and_what_stands_behind_it_does_not() -> None:
    async def scenario() -> None:
        async with busy(max_rows=4, max_queue=1000, **PACE) as (double, batcher, first):
            waiting = [submit(batcher, [n]) for n in range(70)]  # 210 ms of rows
            with pytest.raises(DeadlineExceeded):
                submit(batcher, [2], deadline=within(0.1))
            urgent = submit(batcher, [3], deadline=within(0.1), priority=1)
            double.gate.set()
            assert await urgent == [6]
            await asyncio.gather(first, *waiting)
            assert double.runs[1][0] == 3

    asyncio.run(scenario())


def test_a_deadline_that_passes_in_the_queue_is_told_then_and_the_rows_are_not_run() -> None:
    async def scenario() -> None:
        async with busy(seconds_per_row=0.003) as (double, batcher, first):
            began = time.perf_counter()
            later = submit(batcher, [3], deadline=within(0.3))
            soon = submit(batcher, [1], deadline=within(0.1))
            patient = submit(batcher, [2])
            await refused(soon)
            assert 0.05 < time.perf_counter() - began < 0.3  # told while the run is still on
            assert not later.done()
            await refused(later)
            double.gate.set()
            assert await patient == [4]
            assert await first == [0]
        assert double.runs == [[0], [2]]

    asyncio.run(scenario())


def test_a_large_request_whose_deadline_passes_between_two_parts_is_run_no_further() -> None:
    async def scenario() -> None:
        double = Doubler()
        double.gate.clear()
        async with batching(double, max_rows=4, seconds_per_row=0.003) as batcher:
            large = submit(batcher, [1] * 12, deadline=within(0.15))
            await started(double)
            await refused(large)
            double.gate.set()
            assert await submit(batcher, [2]) == [4]
            assert batcher.queued_rows == 0
        assert double.runs == [[1] * 4, [2]]

    asyncio.run(scenario())


def test_a_request_in_the_run_is_answered_even_when_its_deadline_passes_meanwhile() -> None:
    async def scenario() -> None:
        double = Doubler()
        double.gate.clear()
        async with batching(double, seconds_per_row=0.003) as batcher:
            answer = submit(batcher, [1], deadline=within(0.05))
            await started(double)
            await asyncio.sleep(0.1)
            double.gate.set()
            assert await answer == [2]

    asyncio.run(scenario())


def test_who_has_left_is_told_nothing_when_the_deadline_passes() -> None:
    async def scenario() -> None:
        async with busy(seconds_per_row=0.003) as (double, batcher, first):
            told: list[Any] = []
            batcher.enqueue([1], told.append, deadline=within(0.05)).cancel()
            await asyncio.sleep(0.1)
            double.gate.set()
            await first
            assert told == []

    asyncio.run(scenario())


def test_deadlines_of_the_answered_do_not_pile_up() -> None:
    async def scenario() -> None:
        deadlines = Deadlines(lambda item: None)
        kept = QueuedRequest([1], lambda outcome: None, 0.0)
        kept.deadline = within(3600)
        deadlines.watch(kept)
        for _ in range(10_000):
            item = QueuedRequest([1], lambda outcome: None, 0.0)
            item.deadline = within(3600)
            deadlines.watch(item)
            item.cancel()
        assert len(deadlines) < 200

    asyncio.run(scenario())


def test_of_three_hundred_random_deadlines_none_is_run_too_late_and_none_is_refused_that_had_time() -> None:
    run_seconds, max_rows = 0.004, 8

    async def scenario() -> None:
        rng = random.Random(0)
        ran: dict[int, float] = {}
        due: dict[int, float] = {}
        told: dict[int, float] = {}

        def run(requests: list[list[int]]) -> list[list[int]]:
            decided = batcher._started  # how long the machine then takes to begin is not the batcher's
            ran.update(dict.fromkeys((row for request in requests for row in request), decided))
            time.sleep(run_seconds)
            return requests

        async with batching(run, max_rows=max_rows, seconds_per_row=run_seconds) as batcher:  # type: ignore[arg-type]
            assert isinstance(batcher, Batcher)

            async def ask(n: int) -> None:
                due[n] = within(rng.choice([0.0, 0.002, 0.01, 0.02, 0.05, 1.0]) * rng.uniform(0.5, 1.5))
                try:
                    assert await submit(batcher, [n], deadline=due[n]) == [n]
                except DeadlineExceeded:
                    told[n] = time.perf_counter()

            asks = []
            for n in range(300):
                asks.append(asyncio.create_task(ask(n)))
                if rng.random() < 0.2:
                    await asyncio.sleep(rng.uniform(0, 0.01))
            await asyncio.gather(*asks)
        assert not ran.keys() & told.keys()
        assert ran.keys() | told.keys() == set(range(300))
        assert [n for n, moment in ran.items() if moment > due[n]] == []
        assert len(told) > 20
        assert len(ran) > 100

    asyncio.run(scenario())
