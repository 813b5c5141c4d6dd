from __future__ import annotations

import math

import pytest

from rowcast.loadtest.plan.cores import COLD_S, TICK_S, Cores


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
    cores.wake(0, None)
    cores.wake(1, None)
    ran = []
    for _ in range(6):
        ran.append(cores.running[0])
        to_tick(cores)
    assert ran == [0, 1, 0, 1, 0, 1]
    assert cores.used == pytest.approx([3 * TICK_S, 3 * TICK_S])


def test_there_is_no_tick_where_nobody_waits():
    cores = Cores(2, 2)
    cores.wake(0, None)
    cores.wake(1, None)
    assert cores.next_tick() == (math.inf, -1)


def test_who_has_used_less_takes_the_core_at_once_and_gives_it_back():
    cores = Cores(2, 1)
    cores.wake(0, None)
    pass_time(cores, 0.001)
    cores.wake(1, None)
    assert cores.running == [1]
    pass_time(cores, 0.0005)
    cores.sleep(1)
    assert cores.running == [0]


def test_a_long_sleep_is_credited_with_a_tick_at_most():
    cores = Cores(2, 1)
    cores.wake(0, None)
    pass_time(cores, 1.0)
    cores.wake(1, None)
    assert cores.used == [1.0, 1.0 - TICK_S]


def test_a_process_waits_for_its_own_core_until_the_next_tick():
    cores = Cores(3, 2)  # the third has the first one's core
    cores.wake(0, None)
    cores.wake(2, None)
    assert cores.running == [0, None]
    to_tick(cores)
    assert cores.running == [0, 2]


def test_a_process_whose_core_is_taken_goes_to_the_one_of_who_wakes_it():
    cores = Cores(3, 2)
    cores.wake(0, None)
    cores.wake(2, by=1)
    assert cores.running == [0, 2]


@pytest.mark.parametrize(("ago", "taken"), [(2 * COLD_S, True), (0.5 * COLD_S, False)])
def test_a_core_that_goes_idle_takes_over_whose_caches_are_cold(ago, taken):
    cores = Cores(3, 2)
    for process in (0, 1):
        cores.wake(process, None)
    pass_time(cores, 0.001)
    cores.wake(2, None)  # takes the core of the first
    pass_time(cores, ago)
    cores.sleep(1)
    assert cores.running == [2, 0 if taken else None]
