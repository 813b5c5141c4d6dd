"""Requests share runs, and nobody pays for a neighbour."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

import rowcast.service.engine.latency
from rowcast.models.errors import RequestError
from rowcast.service.engine.batcher import Batcher, run_apart
from rowcast.service.errors import QueueFull
from rowcast.service.metrics.counts import RunReport
from tests.support.batching import submit

LONG = 1.0
"""Seconds a row that send every run to the thread."""


class Doubler:
    """Doubles rows, remembers every run, and can be held up; -1 is a row it cannot do."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []
        self.threads: list[str] = []
        self.started = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, requests: list[list[int]]) -> list[list[int]]:
        rows = [row for request in requests for row in request]
        self.runs.append(rows)
        self.threads.append(threading.current_thread().name)
        self.started.release()
        assert self.gate.wait(30)
        if -1 in rows:
            raise ArithmeticError("-1 cannot be doubled")
        return [[2 * row for row in request] for request in requests]


@asynccontextmanager
async def batching(
    run: Callable[[list[list[int]]], list[list[int]]],
    max_rows: int = 256,
    seconds_per_row: float = LONG,
    report: Callable[[RunReport], None] | None = None,
    **options: Any,
) -> AsyncIterator[Batcher]:
    with ThreadPoolExecutor(1, thread_name_prefix="run") as thread:
        yield Batcher(run, thread, max_rows=max_rows, seconds_per_row=seconds_per_row, report=report, **options)


async def started(double: Doubler) -> None:
    await asyncio.to_thread(double.started.acquire)


def test_an_idle_batcher_runs_a_request_at_once_and_alone() -> None:
    async def scenario() -> None:
        double = Doubler()
        async with batching(double) as batcher:
            assert await submit(batcher, [1, 2]) == [2, 4]
            assert await submit(batcher, [3]) == [6]
        assert double.runs == [[1, 2], [3]]

    asyncio.run(scenario())


def test_requests_gather_while_a_run_is_on_and_are_the_next_batch() -> None:
    async def scenario() -> None:
        double = Doubler()
        double.gate.clear()
        async with batching(double) as batcher:
            first = submit(batcher, [0])
            await started(double)
            assert batcher.busy
            gathered = [submit(batcher, [n, n + 100]) for n in range(1, 6)]
            double.gate.set()
            assert await asyncio.gather(first, *gathered) == [[0], *([2 * n, 2 * n + 200] for n in range(1, 6))]
            assert not batcher.busy
        assert double.runs == [[0], [1, 101, 2, 102, 3, 103, 4, 104, 5, 105]]

    asyncio.run(scenario())


def test_requests_that_arrive_together_share_the_first_run() -> None:
    async def scenario() -> None:
        double = Doubler()
        async with batching(double) as batcher:
            assert await asyncio.gather(*(submit(batcher, [n]) for n in range(4))) == [[0], [2], [4], [6]]
        assert double.runs == [[0, 1, 2, 3]]

    asyncio.run(scenario())


def test_a_run_is_filled_up_to_the_cap_and_a_large_request_is_cut_into_what_the_small_ones_leave() -> None:
    async def scenario() -> None:
        double = Doubler()
        async with batching(double, max_rows=8) as batcher:
            requests = [[1, 1], [2], [3, 3], [4] * 12, [5], [6, 6], [7]]
            answers = await asyncio.gather(*map(partial(submit, batcher), requests))
        assert answers == [[2 * row for row in rows] for rows in requests]
        assert double.runs == [[1, 1, 2, 3, 3, 5, 4, 4], [6, 6, 7, 4, 4], [4] * 4, [4] * 4]

    asyncio.run(scenario())


def test_order_is_kept_among_a_thousand_small_requests_and_nothing_is_lost_of_large_ones() -> None:
    async def scenario() -> None:
        double = Doubler()
        requests = [list(range(n, n + 1 + n % 7)) for n in range(1000)]
        async with batching(double, max_rows=64) as batcher:
            answers = await asyncio.gather(*map(partial(submit, batcher), requests))
        assert answers == [[2 * row for row in rows] for rows in requests]
        assert max(map(len, double.runs)) <= 64
        assert [row for run in double.runs for row in run] == [row for rows in requests for row in rows]
        double = Doubler()
        requests = [[n] * (1 + n % 50) for n in range(300)]
        async with batching(double, max_rows=32) as batcher:
            answers = await asyncio.gather(*map(partial(submit, batcher), requests))
        assert answers == [[2 * row for row in rows] for rows in requests]
        assert {len(run) for run in double.runs[:-1]} <= set(range(16, 33))

    asyncio.run(scenario())


@pytest.mark.parametrize("seconds_per_row", [0.0, LONG], ids=["in place", "in the thread"])
def test_among_a_thousand_requests_only_the_culprits_fail(seconds_per_row: float) -> None:
    culprits = {0, 17, 500, 501, 999}

    async def scenario() -> None:
        double = Doubler()
        requests = [[n, -1] if n in culprits else [n, n] for n in range(1000)]
        async with batching(double, seconds_per_row=seconds_per_row) as batcher:
            answers = await asyncio.gather(*map(partial(submit, batcher), requests), return_exceptions=True)
        assert {n for n, answer in enumerate(answers) if isinstance(answer, ArithmeticError)} == culprits
        assert all(answers[n] == [2 * n, 2 * n] for n in range(1000) if n not in culprits)
        assert len(double.runs) < 100

    asyncio.run(scenario())


def test_halving_runs_a_good_request_no_more_often_than_the_batch_can_be_halved() -> None:
    double = Doubler()
    outcomes = run_apart(double, [[n] if n != 5 else [-1] for n in range(16)])
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, ArithmeticError)] == [5]
    assert [len(run) for run in double.runs] == [16, 8, 4, 4, 2, 1, 1, 2, 8]


def test_rows_nobody_waits_for_any_more_are_not_computed() -> None:
    async def scenario() -> None:
        double = Doubler()
        double.gate.clear()
        async with batching(double) as batcher:
            first = submit(batcher, [0])
            await started(double)
            waiting = [submit(batcher, [n]) for n in (1, 2, 3)]
            waiting[1].cancel()
            double.gate.set()
            answers = await asyncio.gather(first, *waiting, return_exceptions=True)
        assert [answer for answer in answers if isinstance(answer, list)] == [[0], [2], [6]]
        assert double.runs == [[0], [1, 3]]

    asyncio.run(scenario())


def test_a_queue_of_which_everybody_has_left_is_cleared_without_a_run() -> None:
    async def scenario() -> None:
        double = Doubler()
        double.gate.clear()
        async with batching(double) as batcher:
            first = submit(batcher, [0])
            await started(double)
            submit(batcher, [1]).cancel()
            double.gate.set()
            await first
            await asyncio.sleep(0)
            assert await submit(batcher, [2]) == [4]
        assert double.runs == [[0], [2]]

    asyncio.run(scenario())


def test_bytes_of_rows_whose_callers_all_left_before_a_run_are_counted_no_more() -> None:
    async def scenario() -> None:
        double = Doubler()
        async with batching(double) as batcher:
            callers = [submit(batcher, [n], size=1_000) for n in range(3)]
            assert batcher.bytes == 3_000
            for caller in callers:
                caller.cancel()
            for _ in range(3):  # the turns of the loop that a run takes to start
                await asyncio.sleep(0)
            assert batcher.bytes == 0
        assert double.runs == []

    asyncio.run(scenario())


def test_a_caller_who_leaves_during_the_run_harms_nobody() -> None:
    async def scenario() -> None:
        double = Doubler()
        double.gate.clear()
        async with batching(double) as batcher:
            leaving, staying = submit(batcher, [1]), submit(batcher, [2])
            await started(double)
            leaving.cancel()
            double.gate.set()
            assert await staying == [4]
        assert double.runs == [[1, 2]]

    asyncio.run(scenario())


def test_short_runs_stay_on_the_loop_and_long_ones_go_to_the_thread() -> None:
    async def scenario() -> None:
        double = Doubler()
        async with batching(double, seconds_per_row=0.0) as batcher:
            await submit(batcher, [1])
        async with batching(double, seconds_per_row=LONG) as batcher:
            await submit(batcher, [1])
        assert double.threads == [threading.current_thread().name, "run_0"]

    asyncio.run(scenario())


def test_what_counts_as_short_is_learned_from_the_runs() -> None:
    async def scenario() -> None:
        double = Doubler()
        async with batching(double, seconds_per_row=LONG) as batcher:
            for _ in range(2000):
                await submit(batcher, [1])
                if double.threads[-1] != "run_0":
                    break
        assert double.threads[0] == "run_0"
        assert double.threads[-1] == threading.current_thread().name

    asyncio.run(scenario())


def test_every_run_is_reported_once_with_the_wait_of_each_request() -> None:
    async def scenario() -> None:
        reports: list[RunReport] = []
        async with batching(Doubler(), max_rows=8, report=reports.append) as batcher:
            await asyncio.gather(*map(partial(submit, batcher), ([1], [2, 2], [3, 3], [4, 4], [5, 5])))
        assert [(report.rows, len(report.waits)) for report in reports] == [(7, 4), (2, 1)]
        assert all(report.seconds > 0 and min(report.waits) >= 0 for report in reports)

    asyncio.run(scenario())


def test_what_a_run_finds_to_be_no_rows_is_not_reported() -> None:
    def run(requests: list[list[int]]) -> list[Any]:
        return [RequestError("no rows") if rows == [0] else rows for rows in requests]

    async def scenario() -> None:
        reports: list[RunReport] = []
        with ThreadPoolExecutor(1) as thread:
            batcher = Batcher(run, thread, report=reports.append)
            mixed = await asyncio.gather(*map(partial(submit, batcher), ([1], [0], [2, 2])), return_exceptions=True)
            (alone,) = await asyncio.gather(submit(batcher, [0]), return_exceptions=True)
        assert [type(outcome) for outcome in [*mixed, alone]] == [list, RequestError, list, RequestError]
        assert [(report.rows, len(report.waits)) for report in reports] == [(3, 2)]

    asyncio.run(scenario())


@asynccontextmanager
async def busy(**options: Any) -> AsyncIterator[tuple[Doubler, Batcher, asyncio.Future[list[int]]]]:
    """A batcher that is held up in its first run, of one row."""
    double = Doubler()
    double.gate.clear()
    try:
        async with batching(double, **options) as batcher:
            first = submit(batcher, [0])
            await started(double)
            try:
                yield double, batcher, first
            finally:
                double.gate.set()
    finally:
        double.gate.set()


def test_rows_beyond_the_queue_are_refused_at_once_and_the_accepted_are_answered() -> None:
    async def scenario() -> None:
        async with busy(max_queue=5) as (double, batcher, first):
            accepted = [submit(batcher, [1, 1]), submit(batcher, [2, 2, 2])]
            for rows in ([3], [3, 3, 3]):
                with pytest.raises(QueueFull) as refused:
                    submit(batcher, rows)
            assert (refused.value.status, refused.value.retry_after_seconds) == (429, 1)
            double.gate.set()
            assert await asyncio.gather(first, *accepted) == [[0], [2, 2], [4, 4, 4]]
            assert await submit(batcher, [4]) == [8]
        assert double.runs == [[0], [1, 1, 2, 2, 2], [4]]

    asyncio.run(scenario())


def test_an_empty_queue_takes_a_request_of_any_size() -> None:
    async def scenario() -> None:
        async with busy(max_queue=5) as (double, batcher, _):
            large = submit(batcher, [1] * 100)
            with pytest.raises(QueueFull):
                submit(batcher, [2])
            double.gate.set()
            assert await large == [2] * 100

    asyncio.run(scenario())


def accepted_until_refused(batcher: Batcher) -> tuple[list[asyncio.Future[list[int]]], QueueFull]:
    answers: list[asyncio.Future[list[int]]] = []
    while True:
        try:
            answers.append(submit(batcher, [len(answers)]))
        except QueueFull as refused:
            return answers, refused


def test_a_request_that_would_wait_too_long_is_refused_and_told_when_to_come_back() -> None:
    async def scenario() -> None:
        async with busy(max_rows=4, seconds_per_row=0.01, drain_seconds_per_row=0.01) as (double, batcher, first):
            answers, refused = accepted_until_refused(batcher)
            assert len(answers) in {25, 26}  # a quarter of a second, with what is left of the run
            assert refused.retry_after_seconds == 1
            double.gate.set()
            await asyncio.gather(first, *answers)
        async with busy(max_rows=4, seconds_per_row=1.0, drain_seconds_per_row=1.0) as (double, batcher, first):
            answers, refused = accepted_until_refused(batcher)
            assert len(answers) in {8, 9}  # two full runs
            assert refused.retry_after_seconds in {8, 9, 10}
            double.gate.set()
            await asyncio.gather(first, *answers)

    asyncio.run(scenario())


def test_once_somebody_was_refused_the_queue_is_kept_short_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowcast.service.engine.latency, "PRESSED_SECONDS", 0.5)

    async def scenario() -> None:
        double = Doubler()
        lengths = []
        async with batching(double, max_rows=4, seconds_per_row=0.01, drain_seconds_per_row=0.01) as batcher:
            for patience in (0.0, 0.0, 0.6):
                await asyncio.sleep(patience)
                double.gate.clear()
                first = submit(batcher, [0])
                await started(double)
                answers, _ = accepted_until_refused(batcher)
                double.gate.set()
                await asyncio.gather(first, *answers)
                lengths.append(len(answers))
                while double.started.acquire(blocking=False):
                    pass
        assert lengths[0] in {25, 26}
        assert 4 <= lengths[1] < 12  # the next run, and hardly more
        assert lengths[2] > 20

    asyncio.run(scenario())


def test_one_hundred_and_twenty_eight_callers_who_wait_for_their_answers_are_never_refused() -> None:
    """Even after a burst that was, and with runs that take a hundred times what was expected."""

    async def scenario() -> None:
        double = Doubler()
        async with batching(double, seconds_per_row=0.0002, drain_seconds_per_row=0.00005) as batcher:
            batcher._latency.press(time.perf_counter())

            async def caller(n: int) -> None:
                for _ in range(20):
                    assert await submit(batcher, [n]) == [2 * n]

            await asyncio.gather(*map(caller, range(128)))

    asyncio.run(scenario())


def test_a_large_request_may_wait_for_as_long_as_a_few_of_its_own_runs() -> None:
    async def scenario() -> None:
        pace = {"seconds_per_row": 0.1, "drain_seconds_per_row": 0.1}
        async with busy(max_rows=16, max_queue=10_000, **pace) as (double, batcher, first):
            accepted = [submit(batcher, [1] * 100) for _ in range(4)]  # 40 s of rows
            with pytest.raises(QueueFull):
                accepted.extend(submit(batcher, [1] * 100) for _ in range(2))
            accepted.append(submit(batcher, [2] * 90))  # goes before them
            double.gate.set()
            answers = await asyncio.gather(first, *accepted)
            assert {len(answer) for answer in answers} == {1, 90, 100}

    asyncio.run(scenario())


def test_a_queue_that_does_not_move_takes_one_run_and_no_more_whatever_was_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rowcast.service.engine.latency, "MAX_WAIT_SECONDS", 0.05)

    async def scenario() -> None:
        async with busy(max_rows=4, seconds_per_row=0.003) as (double, batcher, _):
            waiting = submit(batcher, [1])
            await asyncio.sleep(0.1)
            last = submit(batcher, [2, 2, 2])
            with pytest.raises(QueueFull):
                submit(batcher, [3])
            double.gate.set()
            assert await asyncio.gather(waiting, last) == [[2], [4, 4, 4]]

    asyncio.run(scenario())


def test_who_has_left_the_queue_takes_no_room_in_it() -> None:
    async def scenario() -> None:
        async with busy(max_queue=4) as (double, batcher, _):
            leaving, staying = submit(batcher, [1, 1, 1]), submit(batcher, [2])
            leaving.cancel()
            late = submit(batcher, [3, 3, 3])
            with pytest.raises(QueueFull):
                submit(batcher, [4])
            double.gate.set()
            assert await asyncio.gather(staying, late) == [[4], [6, 6, 6]]
        assert double.runs == [[0], [2, 3, 3, 3]]

    asyncio.run(scenario())


def test_a_queue_that_everybody_left_before_its_first_run_starts_anew() -> None:
    async def scenario() -> None:
        double = Doubler()
        async with batching(double, max_queue=1) as batcher:
            submit(batcher, [1]).cancel()
            second = submit(batcher, [2])
            with pytest.raises(QueueFull):
                submit(batcher, [3])
            assert await second == [4]
            assert await submit(batcher, [4]) == [8]
        assert double.runs == [[2], [4]]

    asyncio.run(scenario())


def test_the_queue_is_counted_right_after_ten_thousand_requests_some_of_which_left() -> None:
    async def scenario() -> None:
        double = Doubler()
        async with batching(double, max_rows=64, max_queue=100) as batcher:
            accepted: list[asyncio.Future[list[int]]] = []
            refused = 0
            for n in range(10_000):
                try:
                    answer = submit(batcher, [n] * (1 + n % 3))
                except QueueFull:
                    refused += 1
                    await asyncio.sleep(0)
                else:
                    accepted.append(answer)
                    if n % 5 == 0:
                        answer.cancel()
            await asyncio.gather(*accepted, return_exceptions=True)
            assert (len(accepted) + refused, refused > 0) == (10_000, True)
            assert (batcher.queued_rows, batcher.bytes) == (0, 0)
            full = submit(batcher, [1] * 100)
            with pytest.raises(QueueFull):
                submit(batcher, [1])
            assert len(await full) == 100

    asyncio.run(scenario())
