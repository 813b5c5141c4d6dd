"""Who keeps the service waiting is given up in time; who is cancelled by somebody else is not taken for late."""

from __future__ import annotations

import asyncio
import time

import pytest

from rowcast.service.limits.timeouts import Timeouts


def never() -> asyncio.Future[int]:
    return asyncio.get_running_loop().create_future()


def in_seconds(seconds: float) -> float:
    return time.monotonic() + seconds


def test_what_comes_in_time_is_passed_on() -> None:
    async def scenario() -> None:
        patience = Timeouts(0.01)
        assert await patience.wait(asyncio.sleep(0.05, 7), lambda: in_seconds(60)) == 7
        assert not patience._until

    asyncio.run(scenario())


def test_who_is_late_is_given_up_and_the_others_are_not() -> None:
    async def scenario() -> None:
        patience = Timeouts(0.01)
        until = in_seconds(0.05)
        late = asyncio.create_task(patience.wait(never(), lambda: until))
        other = asyncio.create_task(patience.wait(asyncio.sleep(0.2, 7), lambda: in_seconds(60)))
        with pytest.raises(TimeoutError):
            await late
        assert not late.cancelled()
        assert not other.done()
        assert await other == 7
        await asyncio.sleep(0.03)
        assert not patience._looks  # nobody is left to look after

    asyncio.run(scenario())


def test_of_more_than_may_take_their_time_those_who_came_first_are_late() -> None:
    async def scenario() -> None:
        patience = Timeouts(0.01, most=3)
        waiting = [asyncio.create_task(patience.wait(never(), lambda: in_seconds(60))) for _ in range(5)]
        await asyncio.wait(waiting[:2], timeout=10)
        assert [type(task.exception()) for task in waiting[:2]] == [TimeoutError, TimeoutError]
        await asyncio.sleep(0.03)
        assert [task.done() for task in waiting[2:]] == [False, False, False]
        for task in waiting[2:]:
            task.cancel()

    asyncio.run(scenario())


def test_until_is_asked_again_while_more_comes() -> None:
    async def scenario() -> None:
        patience = Timeouts(0.01)
        asked = []

        def until() -> float:
            asked.append(1)
            return in_seconds(60 if len(asked) < 3 else -1)

        with pytest.raises(TimeoutError):
            await patience.wait(never(), until)
        assert len(asked) == 3

    asyncio.run(scenario())


def test_who_takes_no_notice_of_being_late_may_be_late_again() -> None:
    async def stubborn() -> int:
        try:
            return await never()
        except asyncio.CancelledError:
            return 7

    async def scenario() -> None:
        patience = Timeouts(0.01)
        assert await patience.wait(stubborn(), lambda: in_seconds(-1)) == 7
        with pytest.raises(TimeoutError):
            await patience.wait(never(), lambda: in_seconds(-1))
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(scenario())


def test_a_task_that_somebody_else_cancels_is_cancelled() -> None:
    async def scenario() -> None:
        patience = Timeouts(0.01)
        task = asyncio.create_task(patience.wait(never(), lambda: in_seconds(60)))
        await asyncio.sleep(0.03)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        late = asyncio.create_task(patience.wait(never(), lambda: in_seconds(-1)))
        await asyncio.sleep(0)
        patience._look(asyncio.get_running_loop())  # gives it up, and in the same turn somebody cancels it
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late

    asyncio.run(scenario())
