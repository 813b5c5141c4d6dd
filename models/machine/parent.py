"""The process that started this one: how to end with it, however it went."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with(parent: int, number: signal.Signals) -> bool:
    """Have the kernel send a signal to this process when its parent is gone, however it went; it holds across ``exec``.

    It may be called between a fork and an exec. Linux tells of the end of the thread that has forked.

    Args:
        parent: the process that is expected to be it.
        number: what is sent. A worker gets SIGKILL: SIGTERM does not end one that is stopped or hangs.

    Returns:
        Whether the parent is still there.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    return os.getppid() == parent
