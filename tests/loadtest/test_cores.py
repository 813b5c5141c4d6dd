from __future__ import annotations

import math

import pytest

from rowcast.loadtest.plan.cores import TICK_S, Cores


def pass_time(cores: Cores, seconds: float) -> None:
    cores.now += seconds
    for process in cores.running:
        if process is not None:
            cores.used[process] += seconds


def to_tick(cores: Cores) -> None:
    at, core = cores.next_tick()
    pass_time(cores, at - cores.now)
    cores.tick(core)


def test_two_processes_that_always_have_work_take_turns_of_a_tick():
    cores = Cores(2, 1)
    cores.wake(0)
    cores.wake(1)
    ran = []
    for _ in range(6):
        ran.append(cores.running[0])
        to_tick(cores)
    assert ran == [0, 1, 0, 1, 0, 1]
    assert cores.used == pytest.approx([3 * TICK_S, 3 * TICK_S])


def test_there_is_no_tick_where_nobody_waits():
    cores = Cores(2, 2)
    cores.wake(0)
    cores.wake(1)
    assert cores.next_tick() == (math.inf, -1)


def test_who_has_used_less_takes_the_core_at_once_and_gives_it_back():
    cores = Cores(2, 1)
    cores.wake(0)
    pass_time(cores, 0.001)
    cores.wake(1)
    assert cores.running == [1]
    pass_time(cores, 0.0005)
    cores.sleep(1)
    assert cores.running == [0]


def test_a_long_sleep_is_credited_with_a_tick_at_most():
    cores = Cores(2, 1)
    cores.wake(0)
    pass_time(cores, 1.0)
    cores.wake(1)
    assert cores.used == [1.0, 1.0 - TICK_S]


def test_the_client_has_a_core_to_itself_and_workers_share_the_others():
    assert Cores(3, 2).core == [0, 1, 1]
    assert Cores(4, 3).core == [0, 2, 1, 2]
    assert Cores(3, 8).core == [0, 2, 1]
    assert Cores(3, 1).core == [0, 0, 0]


def test_a_worker_waits_for_its_core_even_while_that_of_the_client_idles():
    cores = Cores(3, 2)
    cores.wake(1)
    cores.wake(2)
    assert cores.running == [None, 1]
    to_tick(cores)
    assert cores.running == [None, 2]
    cores.sleep(2)
    assert cores.running == [None, 1]
