"""A client that nothing holds up: at real-time priority it has its core as soon as there is something to send or read.

What other programs do on that core for some milliseconds, a machine's own agents among them, would be taken for latency
of the service: on two quiet cores it made p99 at half the load 2.5 ms instead of 1.4.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_REAL_TIME = (1, 2)
"""SCHED_FIFO and SCHED_RR, as Linux counts its policies."""
_USUAL = 0
_LOWEST = 1
"""Of the real-time priorities: it comes before whatever has none, and after all else that has one."""


@contextmanager
def at_real_time_priority(*, cores: int) -> Iterator[None]:
    """Give this thread the lowest real-time priority, where the system allows it (Linux: root, or CAP_SYS_NICE).

    Processes that are started meanwhile do not inherit it. Whoever has chosen another priority for this process, with
    ``nice`` or ``chrt``, keeps it.

    Args:
        cores: that this thread and the service may use between them. Of a single one the service would get what this
            thread leaves, so there it stays as it is.
    """
    if cores < 2 or not _is_usual() or not _raised():
        yield
        return
    try:
        yield
    finally:
        _lower()


def has_real_time_priority() -> bool:
    """Whether this thread has one."""
    return _policy() in _REAL_TIME


def _policy() -> int | None:
    """Of the scheduler, for this thread; None on other systems than Linux."""
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK if hasattr(os, "SCHED_RESET_ON_FORK") else None


def _is_usual() -> bool:
    return _policy() == _USUAL and os.getpriority(os.PRIO_PROCESS, 0) <= 0


def _raised() -> bool:
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(_LOWEST))
    return has_real_time_priority()


def _lower() -> None:
    try:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except PermissionError:  # a user with no right but that to real-time priority may not take the flag back
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
