"""No process of the service outlives the one that started it, at whatever moment that one ends.

The kernel is told what to send when the parent is gone (Linux). It tells only of an end that is still to come, so the
parent is looked at afterwards. A thread looks every second, too: for systems whose kernel does not tell.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from rowcast.models.machine.parent import end_with

LAUNCHED_BY = "ROWCAST_LAUNCHED_BY"
"""Variable that tells a supervisor which process not to outlive; no setting."""
LAUNCHERS_HOME = "ROWCAST_LAUNCHERS_HOME"
"""Variable that names the folder that the launcher made; if it is killed, the supervisor removes it. No setting."""
SUPERVISED_BY = "ROWCAST_SUPERVISED_BY"
"""Variable that tells a worker its supervisor, the descriptor of the heartbeats, and its first slot; no setting."""
_LOOK_SECONDS = 1.0
_LAST_THREADS_SECONDS = 0.25
"""How long a supervisor that is told to end waits to see whether its launcher is gone."""


@functools.cache
def stay_with_parent() -> None:
    """End with the process that started this one; call it as soon as there is a chance to.

    In a worker that is its supervisor. In a supervisor it is ``rowcast serve``, if that started it.
    """
    if SUPERVISED_BY in os.environ:
        supervisor = int(os.environ[SUPERVISED_BY].partition(":")[0])
        if not end_with(supervisor, signal.SIGKILL):
            os._exit(1)
        _watch(supervisor, lambda: os._exit(1))
    elif LAUNCHED_BY in os.environ:
        launcher = int(os.environ[LAUNCHED_BY])
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _end_early)  # until there are workers to be told
        if not end_with(launcher, signal.SIGTERM):
            remove_what_the_launcher_left()
            os._exit(1)
        _watch(launcher, lambda: os.kill(os.getpid(), signal.SIGTERM))


def remove_what_the_launcher_left() -> None:
    """Remove the folder that ``rowcast serve`` made for this service, if it was killed and cannot."""
    if LAUNCHERS_HOME in os.environ and os.getppid() != int(os.environ.get(LAUNCHED_BY, "0")):
        shutil.rmtree(os.environ[LAUNCHERS_HOME], ignore_errors=True)


def _end_early(number: int, _: FrameType | None) -> None:
    # The kernel tells of a thread's end, and of the others of a killed launcher some may still be at theirs.
    give_up = time.monotonic() + _LAST_THREADS_SECONDS
    while os.getppid() == int(os.environ.get(LAUNCHED_BY, "0")) and time.monotonic() < give_up:
        time.sleep(_LAST_THREADS_SECONDS / 100)
    remove_what_the_launcher_left()
    os._exit(128 + number)


def _watch(parent: int, end: Callable[[], None]) -> None:
    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        end()

    threading.Thread(target=look, name="parent", daemon=True).start()
