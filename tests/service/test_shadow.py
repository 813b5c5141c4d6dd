"""What a shadow repeats of the runs that it is told of, when, and what is counted of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from rowcast.models.session import Predictions
from rowcast.service.rollout.compare import SHORT_SECONDS, Blocks, Shadow
from rowcast.service.rollout.tally import Tally

BAD, NOTHING, HARD = -1.0, -2.0, -3.0
HARD_SECONDS = 0.06
FAST = SHORT_SECONDS / 1000
SLOW = 100 * SHORT_SECONDS


class Version:
    """One that answers each row with what it holds, and more: but nothing good for what is bad."""

    def __init__(self, more: float = 0.0, seconds: float = 0.0) -> None:
        self.watch: Callable[[Blocks, Predictions], None] | None = None
        self.more = more
        self.seconds = seconds
        self.rows: list[int] = []
        self.threads: list[int] = []
        self.log: list[Version] = []

    def predict(self, blocks: Blocks) -> Predictions:
        values = blocks[0][0, :, 0]
        self.rows.append(len(values))
        self.threads.append(threading.get_ident())
        self.log.append(self)
        until = time.thread_time() + (HARD_SECONDS if self.more and HARD in values else self.seconds)
        while time.thread_time() < until:
            pass
        if self.more and BAD in values:
            raise ValueError("bad")
        return Predictions(prediction=np.where(values == NOTHING, np.nan if self.more else values, values + self.more))

    def answer(self, values: list[float], predictions: list[float] | None = None) -> None:
        """Tell of a run on these rows."""
        assert self.watch is not None
        given = values if predictions is None else predictions
        self.watch([np.array([values])[:, :, None]], Predictions(prediction=np.array(given)))


async def until(condition: Callable[[], object]) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + 30
        await asyncio.sleep(0.005)


def shadow(live: Version, new: Version, tally: Tally, *, live_row: float = FAST, new_row: float = FAST) -> Shadow:
    costs = {live: live_row, new: new_row}
    return Shadow(live, new, 1.0, tally, costs, lambda: True, is_new=True)


def test_runs_that_wait_are_repeated_as_one_and_each_is_compared() -> None:
    live, new, tally = Version(), Version(0.5), Tally()

    async def scenario() -> None:
        watch = shadow(live, new, tally)
        for i in range(20):
            live.answer([float(i), 2.0])
        await until(lambda: tally.rows == 40)
        watch.end()

    asyncio.run(scenario())
    assert (new.rows, tally.runs, tally.dropped, tally.run_failed) == ([40], 20, 0, 0)
    assert (tally.difference, tally.largest) == (20.0, 0.5)
    assert (tally.old_runs.count, tally.new_runs.count) == (1, 1)


def test_a_run_is_compared_or_counted_as_dropped() -> None:
    live, new, tally = Version(), Version(0.5), Tally()

    async def scenario() -> None:
        watch = shadow(live, new, tally)
        for i in range(200):
            live.answer([float(i)])
        await until(lambda: tally.runs + tally.dropped == 200)
        watch.end()

    asyncio.run(scenario())
    assert (tally.runs, tally.rows, tally.dropped) == (64, 64, 136)


def test_after_a_turn_it_rests_two_hundred_times_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    live, new, tally = Version(), Version(0.5, seconds=0.0002), Tally()
    waits: list[float] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        watch = shadow(live, new, tally)
        live.answer([1.0])
        call_later = loop.call_later

        def noted(seconds: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
            if callback == watch._look:
                waits.append(seconds)
            return call_later(seconds, callback, *args)

        monkeypatch.setattr(loop, "call_later", noted)
        await until(lambda: tally.runs)
        watch.end()

    asyncio.run(scenario())
    assert len(waits) == 2
    assert waits[1] > 199 * 0.0002


def test_a_run_that_fails_takes_none_with_it_that_was_repeated_beside_it() -> None:
    live, new, tally = Version(), Version(0.5), Tally()

    async def scenario() -> None:
        watch = shadow(live, new, tally)
        for i in range(5):
            live.answer([float(i), BAD] if i == 3 else [float(i)])
        await until(lambda: tally.runs + tally.run_failed == 5)
        watch.end()

    asyncio.run(scenario())
    assert (tally.runs, tally.rows, tally.run_failed) == (4, 4, 1)
    assert new.rows == [5 + 1, 1, 1, 1, 2, 1]


def test_an_answer_that_is_no_number_is_a_failure_of_its_own_run_and_version() -> None:
    live, new, tally = Version(), Version(0.5), Tally()

    async def scenario() -> None:
        watch = shadow(live, new, tally)
        live.answer([1.0])
        live.answer([NOTHING, 3.0])
        live.answer([4.0, 5.0], [float("nan"), 5.0])
        live.answer([6.0])
        await until(lambda: tally.runs + tally.run_failed == 3)
        watch.end()

    asyncio.run(scenario())
    assert (tally.runs, tally.rows, tally.run_failed, tally.difference) == (2, 2, 1, 1.0)


def test_either_version_is_as_often_timed_first() -> None:
    live, new, tally = Version(), Version(0.5), Tally()
    ran: list[list[Version]] = []

    async def scenario() -> None:
        watch = shadow(live, new, tally)
        for turn in range(48):
            live.log = new.log = []
            live.answer([float(turn)])
            await until(lambda turn=turn: tally.runs > turn)
            ran.append(live.log)
        watch.end()

    asyncio.run(scenario())
    assert [len(versions) for versions in ran] == [2] * 32 + [2, 1] * 8
    timed = [versions for versions in ran if len(versions) == 2]
    assert timed == [[new, live], [live, new]] * 20
    assert tally.old_runs.count == tally.new_runs.count == 40


def test_a_slow_canary_is_not_timed_on_the_event_loop() -> None:
    live, canary, tally = Version(), Version(0.5), Tally()

    async def scenario() -> None:
        costs = {live: FAST, canary: SLOW}
        watch = Shadow(canary, live, 1.0, tally, costs, lambda: True, is_new=False)
        canary.answer([1.0])
        await until(lambda: tally.runs)
        watch.end()

    asyncio.run(scenario())
    assert (tally.rows, canary.rows) == (1, [1])
    assert threading.get_ident() not in canary.threads


def test_a_version_that_has_held_the_event_loop_for_long_once_is_run_by_the_thread_from_then_on() -> None:
    live, new, tally = Version(), Version(0.5), Tally()

    async def scenario() -> None:
        watch = shadow(live, new, tally)
        for turn, value in enumerate([1.0, HARD, 2.0, HARD, 3.0]):
            live.answer([value])
            await until(lambda turn=turn: tally.runs > turn)
        live.answer([HARD])
        live.answer([HARD])
        await until(lambda: tally.runs == 7)
        watch.end()

    asyncio.run(scenario())
    assert (tally.rows, tally.dropped, new.rows) == (7, 0, [1] * 7)  # none with another that may take as long
    assert [thread == threading.get_ident() for thread in new.threads] == [True] * 2 + [False] * 5
