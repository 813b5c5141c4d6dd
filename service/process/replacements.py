"""When a worker that died is replaced, and which ones are given up.

One that was killed is replaced at once. One that ends with an error before it has served would end so again: with other
workers left it is tried again after a while, and ever more seldom; without, the service ends, as it does when it cannot
start in the first place. Signals that end workers again and again before they have served are slowed down as well, but
the service goes on trying: a full disk is one reason, and it may have room again.

Each end is logged with the worker's process id, and its exit code or signal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

import psutil

from rowcast.service.process.heartbeat import Heartbeats, Watch

logger = logging.getLogger("rowcast.service")

BUSY_SECONDS = 0.05
"""How soon what could not be done is tried again, and a worker that is ending is looked at."""
_LAST_BREATH_SECONDS = 10.0
"""The longest that the threads of a worker may outlive its main thread before it is given up."""
_YOUNG_SECONDS = 30.0
"""A worker without a pulse that ends with an error at this age could not start; a later end is an accident."""
_SOON_SECONDS = 5.0
"""A worker that ends at this age counts towards a pause, even if it has served."""
_FREE_ENDS = 3
"""So many of those in a row are replaced at once; of workers that never served, the first one."""
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 300.0
_LONGEST_SIGNAL_PAUSE_SECONDS = 30.0
"""Between two tries when signals end the workers: how long they may take to notice that a disk has room again."""


@dataclass
class _Life:
    """What is known of a worker that was started."""

    born: float
    watch: Watch
    stopping: bool = False


class Replacements:
    """Looks after the workers of one of circus' watchers.

    Args:
        watcher: theirs.
        heartbeats: what they count in; None if these workers have no pulse.
        first_slot: the slot of the worker with id 0.
    """

    def __init__(self, watcher: Any, heartbeats: Heartbeats | None, first_slot: int = 0) -> None:
        watcher.respawn = True
        watcher.hooks["after_spawn"] = self.spawned
        watcher.hooks["after_reap"] = self.died
        watcher.hooks["before_signal"] = self.may_be_signalled
        watcher.spawn_processes, self._spawn = self.spawn, watcher.spawn_processes
        watcher.forget_beats = self.forget_beats
        self.stopping = False
        """Whether the supervisor was told to stop."""
        self.accidents = 0
        """How many workers ended that served, and that nobody had told to stop. Any thread may look."""
        self._watcher = watcher
        self._heartbeats = heartbeats
        self._first_slot = first_slot
        self.told_to_stop: set[int] = set()
        """The process ids of workers that were told to stop, of those that have ended too. Any thread may look."""
        self._lives: dict[int, _Life] = {}
        self._pause = _FIRST_PAUSE_SECONDS
        self._early_ends = 0
        """How many workers in a row ended too soon, and not for being unable to start."""
        self._not_before = 0.0
        """Until when no worker is started."""

    def forget_beats(self, worker: int) -> None:
        """Clear the count of a worker's predecessor; before it is started."""
        if self._heartbeats is not None:
            self._heartbeats.clear(self._first_slot + worker)

    def spawned(self, *, pid: int, **_: Any) -> bool:
        """Take note of a worker that was started."""
        process = self._watcher.processes[pid]
        slot, beats = self._first_slot + process.wid, self._heartbeats
        watch = Watch(lambda: 0 if beats is None else beats.count(slot), lambda: _is_stopped(pid))
        self._lives[pid] = _Life(time.monotonic(), watch)
        self.told_to_stop.discard(pid)
        return True

    def may_be_signalled(self, *, pid: int, signum: int, **_: Any) -> bool:
        """Tell a worker to stop once only: a second SIGTERM would have it skip its grace."""
        life = self._lives.get(pid)
        if life is None or signum != signal.SIGTERM:
            return True
        already, life.stopping = life.stopping, True
        self.told_to_stop.add(pid)
        if not already and not self.stopping:  # there are more than there are to be
            self._say_replaced(pid, True)
        return not already

    def look(self) -> None:
        """Kill the workers that have been silent for too long; their deaths are then noticed as any other."""
        for process in list(self._watcher.processes.values()):
            life = self._lives.get(process.pid)
            if self._heartbeats is None or life is None or life.watch.killed or not life.watch.look():
                continue
            life.watch.killed = True
            logger.error(
                "worker %d is killed: it showed no sign of life for %d s", process.pid, life.watch.silent_seconds
            )
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def serving(self) -> dict[int, int]:
        """The process id of each worker that serves and has not been told to stop, by its slot. Any thread may ask."""
        found = {}
        if self._heartbeats is not None:
            for pid, process in list(self._watcher.processes.items()):
                life, slot = self._lives.get(pid), self._first_slot + process.wid
                if life is not None and not life.stopping and self._heartbeats.count(slot):
                    found[slot] = pid
        return found

    @property
    def have_pulse(self) -> bool:
        """Whether the workers say that they serve."""
        return self._heartbeats is not None

    def give_up(self, workers: set[int]) -> None:
        """Kill workers that do not serve, by process id; nobody takes their places."""
        for pid in workers & set(self._watcher.processes):
            logger.error("worker %d is killed: it does not serve", pid)
            if pid in self._lives:
                self._lives[pid].stopping = True
            process = self._watcher.processes.pop(pid)
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                process.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """Take note that the supervisor was told to stop: whoever ends from now on has no successor."""
        self.stopping = True
        for pid in self._watcher.processes:
            self._say_replaced(pid, False)

    def stop_all(self) -> None:
        """Tell all workers to stop."""
        for pid, process in list(self._watcher.processes.items()):
            if self.may_be_signalled(pid=pid, signum=signal.SIGTERM):
                with contextlib.suppress(psutil.Error, ProcessLookupError):
                    process.send_signal(signal.SIGTERM)

    def _say_replaced(self, pid: int, replaced: bool) -> None:
        if self._heartbeats is not None:
            self._heartbeats.say_replaced(self._first_slot + self._watcher.processes[pid].wid, replaced)

    def kill(self) -> None:
        """Kill all workers."""
        for process in list(self._watcher.processes.values()):
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                process.send_signal(signal.SIGKILL)

    async def spawn(self) -> None:
        """Start the workers that are missing, unless they had better be tried later.

        When the main thread of a worker has ended, circus already drops it, without a word while other threads of it
        are still at their end. So whoever is missing here was not told of.
        """
        for pid in self._lives.keys() - self._watcher.processes.keys():
            exit_code = await _end(pid)
            self.died(watcher=self._watcher, arbiter=self._watcher.arbiter, process_pid=pid, exit_code=exit_code)
        while (left := self._not_before - time.monotonic()) > 0 and not self.stopping:
            if self._watcher.processes:
                return
            await asyncio.sleep(min(left, BUSY_SECONDS))  # without any worker, circus would end the service
        if self._watcher.respawn and not self.stopping:
            await self._spawn()

    def died(self, *, watcher: Any, arbiter: Any, process_pid: int, exit_code: int | None, **_: Any) -> None:
        """Have a worker replaced at once, or later."""
        life = self._lives.pop(process_pid, None)
        if life is None or life.stopping or self.stopping or watcher.is_stopping():
            return
        age = time.monotonic() - life.born
        life.watch.look()  # it may have served since the last time
        logger.error("worker %d ended %s after %.1f s", process_pid, _how(exit_code), age)
        served = life.watch.has_served
        self.accidents += served
        if exit_code is not None and exit_code > 0 and not served and (self._heartbeats or age <= _YOUNG_SECONDS):
            self._could_not_start(watcher, arbiter)
        elif exit_code is not None and exit_code != 0 and (age <= _SOON_SECONDS or not served):
            self._ended_too_soon(served)
        else:
            self._pause = _FIRST_PAUSE_SECONDS
            self._early_ends = 0

    def _could_not_start(self, watcher: Any, arbiter: Any) -> None:
        watcher.respawn = False  # without any worker left, the supervisor ends
        if watcher.processes:
            logger.error("a worker could not start; trying again in %g seconds", self._pause)
            arbiter.loop.call_later(self._pause, setattr, watcher, "respawn", True)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    def _ended_too_soon(self, has_served: bool) -> None:
        self._early_ends += 1
        beyond = self._early_ends - (_FREE_ENDS if has_served else 1)
        if beyond > 0:
            pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** (beyond - 1), _LONGEST_SIGNAL_PAUSE_SECONDS)
            self._not_before = time.monotonic() + pause
            logger.error("workers end soon after their start; trying again in %g seconds", pause)


def _how(exit_code: int | None) -> str:
    """How a worker ended, in words."""
    if exit_code is None:
        return "in a way that is not known"
    if exit_code >= 0:
        return f"with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:  # a real-time signal
        name = f"signal {-exit_code}"
    if -exit_code == signal.SIGBUS:
        return f"by {name} (as happens when a disk is full: is there room for BENTOML_HOME?)"
    return f"by {name}"


def _is_stopped(pid: int) -> bool:
    """Whether a signal stopped a process, and not a debugger."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


async def _end(pid: int) -> int | None:
    """The exit code of a child that is at its end, negative for a signal; None if it is not known."""
    given_up = time.monotonic() + _LAST_BREATH_SECONDS
    while time.monotonic() < given_up:
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - told not to wait
        except ChildProcessError:
            return None
        if ended:
            return os.waitstatus_to_exitcode(status)
        await asyncio.sleep(BUSY_SECONDS)
    return None
