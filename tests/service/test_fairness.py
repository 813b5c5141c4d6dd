"""Large requests are cut and let small ones in; priority overtakes, and does not starve."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import rowcast.service.engine.queue
from rowcast.service.engine.batcher import Batcher
from rowcast.service.errors import QueueFull
from tests.service.test_batcher import Doubler, batching, busy, started
from tests.support.batching import submit

ROW_SECONDS = 0.0005


class Slow:
    """Doubles rows, and takes its time for each of them; remembers the rows of every run."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    def __call__(self, requests: list[list[int]]) -> list[list[int]]:
        rows = sum(map(len, requests))
        self.runs.append(rows)
        time.sleep(rows * ROW_SECONDS)
        return [[2 * row for row in request] for request in requests]


def test_a_large_request_is_cut_into_full_runs_and_answered_as_one() -> None:
    async def scenario() -> None:
        double = Doubler()
        async with batching(double, max_rows=32) as batcher:
            assert await submit(batcher, range(100)) == [2 * n for n in range(100)]
        assert [len(run) for run in double.runs] == [32, 32, 32, 4]

    asyncio.run(scenario())


def test_a_small_request_that_comes_during_a_large_one_is_in_the_next_run_and_shares_it() -> None:
    async def scenario() -> None:
        double = Doubler()
        double.gate.clear()
        async with batching(double, max_rows=8) as batcher:
            large = submit(batcher, [1] * 24)
            await started(double)
            small = submit(batcher, [5])
            double.gate.set()
            assert await small == [10]
            assert not large.done()
            assert await large == [2] * 24
        assert double.runs == [[1] * 8, [5, 1, 1, 1], [1] * 4, [1] * 4, [1] * 4, [1]]

    asyncio.run(scenario())


def test_large_requests_have_whole_runs_again_once_small_ones_stay_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowcast.service.engine.queue, "QUIET_SECONDS", 0.1)

    async def scenario() -> None:
        double = Doubler()
        async with batching(double, max_rows=8) as batcher:
            await asyncio.gather(submit(batcher, [1] * 8), submit(batcher, [5]))
            await asyncio.sleep(0.2)
            await submit(batcher, [2] * 16)
        assert double.runs == [[5, 1, 1, 1], [1] * 4, [1], [2] * 8, [2] * 8]

    asyncio.run(scenario())


def test_small_requests_leave_a_quarter_of_each_run_to_the_large_ones() -> None:
    async def scenario() -> None:
        double = Doubler()
        async with batching(double, max_rows=8) as batcher:
            answers = [submit(batcher, [0]) for _ in range(24)]
            large = submit(batcher, [1] * 8)
            await asyncio.gather(large, *answers)
        assert double.runs == [[*[0] * 6, 1, 1]] * 4

    asyncio.run(scenario())


def test_a_large_request_is_overtaken_by_smaller_ones_only_while_its_own_work_could_not_be_done() -> None:
    async def scenario() -> None:
        async with busy(max_rows=8, drain_seconds_per_row=0.001, max_queue=1000) as (double, batcher, first):
            largest = submit(batcher, [1] * 100)
            larger = submit(batcher, [2] * 20)  # came 80 rows' time too soon to let the largest go first
            await asyncio.sleep(0.15)
            late = submit(batcher, [3] * 20)
            double.gate.set()
            await asyncio.gather(first, largest, larger, late)
            order = [row for run in double.runs for row in run]
            assert order == [0, *[2] * 20, *[1] * 100, *[3] * 20]

    asyncio.run(scenario())


def test_when_a_part_fails_the_large_request_fails_and_its_rest_is_not_run() -> None:
    async def scenario() -> None:
        double = Doubler()
        async with batching(double, max_rows=4) as batcher:
            large, small = submit(batcher, [1, 1, 1, 1, -1, *[1] * 100]), submit(batcher, [2])
            with pytest.raises(ArithmeticError):
                await large
            assert await small == [4]
            assert await submit(batcher, [3]) == [6]
            assert batcher.queued_rows == 0
        assert sum(map(len, double.runs)) < 20

    asyncio.run(scenario())


def test_a_large_request_whose_caller_is_gone_is_run_no_further() -> None:
    async def scenario() -> None:
        double = Doubler()
        double.gate.clear()
        async with batching(double, max_rows=4) as batcher:
            large = submit(batcher, [1] * 100)
            await started(double)
            large.cancel()
            last = submit(batcher, [2])
            double.gate.set()
            assert await last == [4]
            assert batcher.queued_rows == 0
        assert double.runs == [[1] * 4, [2]]

    asyncio.run(scenario())


def test_a_client_of_4096_rows_delays_one_of_single_rows_by_two_full_runs_at_most() -> None:
    async def latencies(*, beside: bool) -> list[float]:
        slow, taken = Slow(), []
        with ThreadPoolExecutor(1) as thread:
            guess = {"seconds_per_row": ROW_SECONDS, "drain_seconds_per_row": ROW_SECONDS}
            batcher = Batcher(slow, thread, max_rows=64, **guess)

            async def in_a_loop() -> None:
                while True:
                    assert len(await submit(batcher, [1] * 4096)) == 4096

            loop = asyncio.create_task(in_a_loop()) if beside else None
            for _ in range(40):
                await asyncio.sleep(0.005)
                began = time.perf_counter()
                await submit(batcher, [1])
                taken.append(time.perf_counter() - began)
            if loop is not None:
                assert max(slow.runs) == 64
                loop.cancel()
                await asyncio.wait([loop])
        return taken

    alone = np.quantile(asyncio.run(latencies(beside=False)), 0.9)
    beside = np.quantile(asyncio.run(latencies(beside=True)), 0.9)
    # the rest of the run that is on, and the share of a full one; timed on a machine that may be busy
    assert beside - alone < 2.5 * 64 * ROW_SECONDS


def test_a_higher_priority_overtakes_what_waits_and_none_is_the_second() -> None:
    async def scenario() -> None:
        async with busy(max_rows=2) as (double, batcher, first):
            answers = [submit(batcher, [n], priority=p) for n, p in enumerate([3, 0, 2, 1, 99, 1], start=1)]
            double.gate.set()
            await asyncio.gather(first, *answers)
            assert [row for run in double.runs for row in run] == [0, 4, 6, 2, 3, 1, 5]

    asyncio.run(scenario())


def test_a_large_request_of_a_higher_priority_goes_before_small_ones_of_a_lower() -> None:
    async def scenario() -> None:
        async with busy(max_rows=4) as (double, batcher, first):
            answers = [submit(batcher, [2]), submit(batcher, [1] * 6, priority=1), submit(batcher, [3], priority=1)]
            double.gate.set()
            await asyncio.gather(first, *answers)
            assert double.runs == [[0], [3, 1, 2], [1, 1], [1, 1], [1]]

    asyncio.run(scenario())


def test_who_has_waited_long_enough_is_overtaken_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowcast.service.engine.queue, "AGING_SECONDS", 0.05)

    async def scenario() -> None:
        async with busy(max_rows=1) as (double, batcher, first):
            low = submit(batcher, [1], priority=3)
            await asyncio.sleep(0.15)
            answers = [submit(batcher, [2], priority=2), submit(batcher, [3], priority=1)]
            double.gate.set()
            await asyncio.gather(first, low, *answers)
            assert double.runs == [[0], [1], [3], [2]]

    asyncio.run(scenario())


def test_a_flood_of_a_high_priority_does_not_starve_a_low_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowcast.service.engine.queue, "AGING_SECONDS", 0.02)

    async def scenario() -> None:
        with ThreadPoolExecutor(1) as thread:
            slow = Slow()
            batcher = Batcher(slow, thread, max_rows=4, seconds_per_row=1.0)

            async def high() -> None:
                while True:
                    await submit(batcher, [1, 1], priority=1)

            flood = [asyncio.create_task(high()) for _ in range(8)]
            await asyncio.sleep(0.02)
            async with asyncio.timeout(10):
                assert await submit(batcher, [5], priority=8) == [10]
            for task in flood:
                task.cancel()
            await asyncio.wait(flood)

    asyncio.run(scenario())


def test_bytes_beyond_the_queue_are_refused_and_an_empty_one_takes_any() -> None:
    async def scenario() -> None:
        async with busy(max_bytes=1000) as (double, batcher, first):
            accepted = [submit(batcher, [1], size=5000)]
            with pytest.raises(QueueFull):
                submit(batcher, [2], size=1)
            double.gate.set()
            await asyncio.gather(first, *accepted)
        async with busy(max_bytes=1000) as (double, batcher, first):
            accepted = [submit(batcher, [1], size=500), submit(batcher, [1], size=500)]
            accepted[0].cancel()
            kept = submit(batcher, [3], size=500)
            with pytest.raises(QueueFull):
                submit(batcher, [2], size=1)
            double.gate.set()
            assert await asyncio.gather(first, accepted[1], kept) == [[0], [2], [6]]

    asyncio.run(scenario())
