"""When workers are given up and when they are replaced, without any process: times are those of a slow clock."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from rowcast.service.process import heartbeat, renewal, replacements
from rowcast.service.process.heartbeat import SILENT_SECONDS, START_SECONDS, Heartbeats, Pulse, Watch
from rowcast.service.process.renewal import Renewal
from rowcast.service.process.replacements import Replacements


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (heartbeat, renewal, replacements):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def looks_until_given_up(watch: Watch, clock: Clock, every: float, most: int = 1000) -> int | None:
    for look in range(most):
        clock.now += every
        if watch.look():
            return look + 1
    return None


def test_a_pulse_is_counted_by_the_supervisor() -> None:
    beats = Heartbeats(3)
    pulse = Pulse(beats.descriptor, 2)
    pulse.beat()
    pulse.beat()
    assert [beats.count(slot) for slot in range(3)] == [0, 0, 2]
    beats.clear(2)
    assert beats.count(2) == 0


def test_a_worker_that_has_served_is_given_up_after_its_silence(clock: Clock) -> None:
    counts = iter([1, 2])
    last = [2]
    watch = Watch(lambda: next(counts, last[0]), lambda: False)
    assert not watch.look()
    assert watch.has_served
    assert looks_until_given_up(watch, clock, 1.0) == 1 + SILENT_SECONDS + 1


def test_a_worker_that_starts_has_longer_unless_it_is_stopped(clock: Clock) -> None:
    assert looks_until_given_up(Watch(lambda: 0, lambda: False), clock, 1.0) == START_SECONDS + 1
    assert looks_until_given_up(Watch(lambda: 0, lambda: True), clock, 1.0) == SILENT_SECONDS + 1


def test_a_supervisor_that_did_not_look_for_an_hour_gives_nobody_up_at_once(clock: Clock) -> None:
    watch = Watch(lambda: 5, lambda: False)
    watch.look()
    clock.now += 3600
    assert not watch.look()
    clock.now += 1
    assert not watch.look()


class Loop:
    def __init__(self) -> None:
        self.later: list[float] = []

    def call_later(self, seconds: float, *_: Any) -> None:
        self.later.append(seconds)


class Watcher:
    """As much of circus' as is asked."""

    def __init__(self) -> None:
        self.hooks: dict[str, Any] = {}
        self.processes: dict[int, Any] = {}
        self.spawn_processes: Any = None
        self.arbiter = SimpleNamespace(loop=Loop())
        self.respawn = True
        self.numprocesses = 2

    def is_stopping(self) -> bool:
        return False


class Workers:
    """A watcher's only worker, which dies again and again."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.watcher = Watcher()
        self.beats = Heartbeats(2)
        self.looked_after = Replacements(self.watcher, self.beats)
        self.pid = 0

    def die(self, age: float, exit_code: int, served: bool) -> float:
        """The pause that follows."""
        self.pid += 1
        self.watcher.processes = {self.pid: SimpleNamespace(pid=self.pid, wid=1)}
        self.looked_after.forget_beats(1)
        self.looked_after.spawned(pid=self.pid)
        self.clock.now += age
        if served:
            Pulse(self.beats.descriptor, 1).beat()
        self.watcher.processes = {}
        self.looked_after.died(
            watcher=self.watcher, arbiter=self.watcher.arbiter, process_pid=self.pid, exit_code=exit_code
        )
        return max(0.0, self.looked_after._not_before - self.clock.now)


def test_healthy_workers_that_are_killed_are_replaced_at_once_each_time(clock: Clock) -> None:
    workers = Workers(clock)
    assert [workers.die(6, -signal.SIGKILL, served=True) for _ in range(20)] == [0] * 20
    assert workers.looked_after.accidents == 20


def test_workers_that_a_signal_ends_before_they_serve_are_slowed_down(clock: Clock) -> None:
    workers = Workers(clock)
    assert [workers.die(1, -signal.SIGBUS, served=False) for _ in range(7)] == [0, 2, 4, 8, 16, 30, 30]
    assert workers.watcher.respawn  # the service goes on trying
    assert workers.die(40, -signal.SIGKILL, served=True) == 0
    assert workers.die(1, -signal.SIGBUS, served=False) == 0


def test_young_workers_that_served_are_slowed_down_later(clock: Clock) -> None:
    workers = Workers(clock)
    assert [workers.die(2, -signal.SIGKILL, served=True) for _ in range(5)] == [0, 0, 0, 2, 4]


def test_the_last_worker_that_ends_with_an_error_soon_is_not_replaced(clock: Clock) -> None:
    workers = Workers(clock)
    workers.die(3, 78, served=False)
    assert not workers.watcher.respawn
    assert workers.looked_after.accidents == 0  # it served nobody


def test_a_worker_that_served_and_ends_with_an_error_is_replaced_however_young(clock: Clock) -> None:
    workers = Workers(clock)
    assert workers.die(10, 1, served=True) == 0
    assert workers.watcher.respawn
    assert [workers.die(2, 1, served=True) for _ in range(5)] == [0, 0, 0, 2, 4]
    assert workers.watcher.respawn


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (-9, "by SIGKILL"),
        (-7, "by SIGBUS (as happens when a disk is full: is there room for BENTOML_HOME?)"),
        (-40, "by signal 40"),
        (0, "with exit code 0"),
        (78, "with exit code 78"),
        (None, "in a way that is not known"),
    ],
)
def test_every_end_is_logged(clock: Clock, caplog: pytest.LogCaptureFixture, exit_code: int | None, words: str) -> None:
    workers = Workers(clock)
    workers.die(60, exit_code, served=True)  # type: ignore[arg-type]
    assert caplog.messages[0] == f"worker 1 ended {words} after 60.0 s"


def test_an_end_that_was_asked_for_is_not_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers(clock)
    workers.watcher.processes = {7: SimpleNamespace(pid=7, wid=1)}
    workers.looked_after.spawned(pid=7)
    assert workers.looked_after.may_be_signalled(pid=7, signum=signal.SIGTERM)
    assert not workers.looked_after.may_be_signalled(pid=7, signum=signal.SIGTERM)
    assert workers.looked_after.may_be_signalled(pid=7, signum=signal.SIGKILL)
    workers.looked_after.died(
        watcher=workers.watcher, arbiter=workers.watcher.arbiter, process_pid=7, exit_code=-signal.SIGTERM
    )
    assert caplog.messages == []
    assert workers.looked_after.accidents == 0


class Family:
    """Two workers that serve, and those that are to take their places."""

    def __init__(self) -> None:
        self.watcher = Watcher()
        self.beats = Heartbeats(6)
        self.looked_after = Replacements(self.watcher, self.beats)
        self.told: list[tuple[int, int]] = []
        self.start(1)
        self.start(2)
        self.serve(1, 2)

    def start(self, worker: int) -> None:
        """A new process, whose id and slot are the same number."""
        sent = self.told
        process = SimpleNamespace(
            pid=worker, wid=worker, started=worker, send_signal=lambda signum: sent.append((worker, signum))
        )
        self.watcher.processes[worker] = process
        self.looked_after.spawned(pid=worker)

    def serve(self, *workers: int) -> None:
        for worker in workers:
            Pulse(self.beats.descriptor, worker).beat()

    def replaced(self) -> list[bool]:
        """What each worker is told of why it is to end."""
        return [Pulse(self.beats.descriptor, slot).is_replaced() for slot in (1, 2, 3, 4)]


def test_workers_are_replaced_once_as_many_new_ones_serve(clock: Clock) -> None:
    family = Family()
    renewal = Renewal(family.watcher, family.looked_after)
    assert family.watcher.numprocesses == 4
    family.start(3)
    family.start(4)
    family.serve(3)
    assert not renewal.look()
    family.serve(4)
    assert renewal.look()
    assert family.watcher.numprocesses == 2
    for old in (1, 2):  # by circus, as there are more than there are to be
        assert family.looked_after.may_be_signalled(pid=old, signum=signal.SIGTERM)
    assert family.replaced() == [True, True, False, False]
    family.looked_after.stop()
    assert family.replaced() == [False] * 4


def test_new_workers_that_do_not_serve_in_time_are_given_up_and_old_ones_stay(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    family = Family()
    renewal = Renewal(family.watcher, family.looked_after)
    family.start(3)
    family.start(4)
    family.serve(4)
    clock.now += START_SECONDS + 1
    assert renewal.look()
    assert family.told == [(3, signal.SIGKILL)]
    assert list(family.watcher.processes) == [1, 2, 4]  # of which circus ends the oldest
    assert family.watcher.numprocesses == 2
    assert caplog.messages == [
        "1 of 2 new workers serve after 300 s: as many of those before them serve on as are missing",
        "worker 3 is killed: it does not serve",
    ]


def test_a_worker_is_not_replaced_by_one_that_does_not_serve_yet(clock: Clock) -> None:
    family = Family()
    renewal = Renewal(family.watcher, family.looked_after)
    family.start(3)
    family.start(4)
    del family.watcher.processes[1]  # it was killed, and has a successor already
    family.start(5)
    family.serve(3, 4)
    assert not renewal.look()  # circus would keep 4 and 5
    family.serve(5)
    assert renewal.look()


def test_a_worker_that_ends_with_the_service_is_not_told_that_it_was_replaced() -> None:
    family = Family()
    family.looked_after.stop()
    family.looked_after.stop_all()
    assert family.told == [(1, signal.SIGTERM), (2, signal.SIGTERM)]
    assert family.replaced() == [False] * 4
