"""How BentoML's supervisor looks after the workers: it has no settings for it, so its parts are told here.

Each worker that dies is replaced within a second or two; in a container, too, where BentoML would leave it to whoever
runs the container, and one crash would take every request down with it. But a worker that ends with an error soon after
its start would end so again: with other workers left it is tried again after a while, and ever more seldom; without,
the service ends, as it does when it cannot start in the first place.

Told to stop, it stops. Circus refuses a command while another one runs, and one that came by a signal is then
forgotten: the service would run on after a SIGTERM that met its start or its look at the workers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from typing import Any, NoReturn

from bentoml._internal.utils.circus import Arbiter
from bentoml.exceptions import BentoMLException
from circus.sighandler import SysHandler

logger = logging.getLogger("rowcast.service")

_CHECK_SECONDS = 1.0
"""How often the supervisor looks whether a worker is gone. BentoML's ten seconds are a long time without one."""
_BUSY_SECONDS = 0.05
"""How soon a supervisor that could not stop for being busy is asked again, and a worker that is ending looked at."""
_LAST_BREATH_SECONDS = 10.0
"""The longest that the threads of a worker may outlive its main thread before it is given up."""
_YOUNG_SECONDS = 30.0
"""A worker that ends with an error at this age could not start; a later end is an accident."""
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 300.0
_REFUSED_EXIT_CODE = 78
"""EX_CONFIG of sysexits.h."""


class StartRefused(BentoMLException):
    """The service cannot start; the text says why. BentoML's command line shows its own exceptions without a trace."""


class _Replacements:
    """Decides for the watcher of the workers when one that died is replaced."""

    def __init__(self, watcher: Any) -> None:
        watcher.respawn = True
        watcher.hooks["after_spawn"] = self.spawned
        watcher.hooks["after_reap"] = self.died
        watcher.spawn_processes, self._spawn = self.spawn, watcher.spawn_processes
        self._watcher = watcher
        self._born: dict[int, float] = {}
        self._pause = _FIRST_PAUSE_SECONDS

    def spawned(self, *, pid: int, **_: Any) -> bool:
        """Remember when a worker was started."""
        self._born[pid] = time.monotonic()
        return True

    async def spawn(self) -> None:
        """Start the workers that are missing, unless one of them had better be tried later.

        When the main thread of a worker has ended, circus already drops it, without a word while other threads of it
        are still at their end. So whoever is missing here was not told of.
        """
        for pid in self._born.keys() - self._watcher.processes.keys():
            exit_code = await _end(pid)
            self.died(watcher=self._watcher, arbiter=self._watcher.arbiter, process_pid=pid, exit_code=exit_code)
        if self._watcher.respawn:
            await self._spawn()

    def died(self, *, watcher: Any, arbiter: Any, process_pid: int, exit_code: int | None, **_: Any) -> None:
        """Have a worker replaced at once, or later if it could not start."""
        age = time.monotonic() - self._born.pop(process_pid, 0.0)
        if not exit_code or exit_code < 0 or age > _YOUNG_SECONDS:  # a signal, or an accident
            self._pause = _FIRST_PAUSE_SECONDS
            return
        watcher.respawn = False  # without any worker left, the supervisor ends
        if watcher.processes and not watcher.is_stopping():
            logger.error("a worker could not start; trying again in %g seconds", self._pause)
            arbiter.loop.call_later(self._pause, setattr, watcher, "respawn", True)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)


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
        await asyncio.sleep(_BUSY_SECONDS)
    return None


def look_after_workers() -> None:
    """Change BentoML's supervisor in this process; before it is made."""
    construct, begin = Arbiter.__init__, Arbiter.start

    def careful(self: Any, *args: Any, **options: Any) -> None:
        construct(self, *args, **{**options, "check_delay": _CHECK_SECONDS})
        for watcher in self.watchers:
            _Replacements(watcher)

    def start(self: Any, *args: Any, **options: Any) -> None:
        for wanted in self.sockets.values():
            _check_free(wanted)
        try:
            begin(self, *args, **options)
        except RuntimeError as error:
            if "No active process" not in str(error):
                raise
            raise StartRefused("no worker is left and none could start, so the service ends; see above why") from None

    def quit_when_free(handler: Any) -> None:
        handler.controller.loop.add_callback_from_signal(_stop_when_free, handler.controller.arbiter)

    SysHandler.quit = quit_when_free
    Arbiter.__init__ = careful  # type: ignore[method-assign]
    Arbiter.start = start  # type: ignore[method-assign]


def _stop_when_free(arbiter: Any) -> None:
    """Stop a supervisor as soon as it does nothing else; on its loop."""
    if arbiter._exclusive_running_command is None:  # it says so nowhere else
        arbiter.stop()
    elif not arbiter._stopping:
        arbiter.loop.call_later(_BUSY_SECONDS, _stop_when_free, arbiter)


def _check_free(wanted: Any) -> None:
    """Make sure that circus can listen on the address of a socket it has made.

    Raises:
        StartRefused: it cannot.
    """
    if wanted.is_unix:
        return
    with socket.socket(wanted.family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((wanted.host, wanted.port))
        except OSError as error:
            raise StartRefused(
                f"cannot listen on {wanted.host}:{wanted.port} ({error.strerror}): choose another --port or --host"
            ) from None


def refuse_to_start(error: Exception) -> NoReturn:
    """End a start that cannot be: in a worker with one line, elsewhere with an exception that BentoML shows as one.

    Raises:
        StartRefused: this is no worker.
    """
    if _is_worker():
        logger.error("a worker cannot start: %s", error)
        logging.shutdown()
        os._exit(_REFUSED_EXIT_CODE)  # nothing was served yet, and on any other way out BentoML prints a trace
    raise StartRefused(str(error)) from None


def _is_worker() -> bool:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return getattr(spec, "name", None) == "_bentoml_impl.worker.service"
