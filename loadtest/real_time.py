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
def at_real_time_priority() -> Iterator[None]:
    """Give this thread the lowest real-time priority, where the system allows it (Linux: root, or CAP_SYS_NICE).

    For a client that shares its core with no process of the service: one that wants that core would hardly get it, and
    Linux does not move either away. Processes and threads that are started meanwhile do not inherit it. Whoever has
    chosen another priority for this process, with ``nice`` or ``chrt``, keeps it.
    """
    before = _policy()
    if before is None or before & ~os.SCHED_RESET_ON_FORK != _USUAL or os.getpriority(os.PRIO_PROCESS, 0) > 0:
        yield
        return
    try:
        with suppress(OSError):  # it is not allowed
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(_LOWEST))
        yield
    finally:
        if has_real_time_priority():
            _return_to(before)


def has_real_time_priority() -> bool:
    """Whether this thread has one."""
    policy = _policy()
    return policy is not None and policy & ~os.SCHED_RESET_ON_FORK in _REAL_TIME


def _policy() -> int | None:
    """Of the scheduler, for this thread; None on other systems than Linux."""
    return os.sched_getscheduler(0) if hasattr(os, "SCHED_RESET_ON_FORK") else None


def _return_to(policy: int) -> None:
    try:
        os.sched_setscheduler(0, policy, os.sched_param(0))
    except PermissionError:  # a user with no right but that to real-time priority may not take the flag back
        os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, os.sched_param(0))
