"""A worker's budget of bytes: counted as they come, let go of once, whatever becomes of a request."""

from __future__ import annotations

import asyncio
import time

import pytest

from service.byte_budget import ByteBudget, Hold, NoRoom


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
    budget = ByteBudget(100)
    budget.count(lambda: 70)
    assert budget.used == 70
    assert budget.has_room(30)
    assert not budget.has_room(31)
    with pytest.raises(NoRoom):
        budget.hold(31)


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
