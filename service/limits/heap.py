"""The worker's heap: what was let go of goes back to the machine, where the C library is glibc."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_ALONE_BYTES = 2**20
"""What is as large gets pages of its own, which go back the moment it is freed. glibc raises that to 32 MiB as soon as
something large was freed, and keeps what is smaller."""
_TOP_BYTES = 8 * 2**20
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_SECONDS = 0.01
_WINDOW_SECONDS = 5.0


def _glibc(name: str) -> Callable[..., int] | None:
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return function


def give_back_large_blocks() -> None:
    """Have large blocks given back to the machine when they are freed, in this process."""
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _ALONE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TOP_BYTES)


def trim() -> None:
    """Give back all pages that hold nothing; it may take a tenth of a second, and holds no lock of Python's."""
    malloc_trim = _glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def resident_bytes() -> int:
    """Memory that the process has; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
    except OSError:
        return 0


class Growth:
    """By how much the process has grown within the last seconds.

    Args:
        resident: tells what it has.
    """

    def __init__(self, resident: Callable[[], int] = resident_bytes) -> None:
        self._resident = resident
        self._sampled = -_WINDOW_SECONDS * 3
        self._bytes = 0
        self._begun = 0.0
        self._least = self._least_before = 0

    def bytes(self) -> int:
        """Since it had least, five to ten seconds ago at most."""
        now = time.monotonic()
        if now > self._sampled + _SAMPLE_SECONDS:
            resident = self._resident()
            if now > self._sampled + 2 * _WINDOW_SECONDS:
                self._least = self._least_before = resident
                self._begun = now
            elif now > self._begun + _WINDOW_SECONDS:
                self._least_before, self._least, self._begun = self._least, resident, now
            self._sampled = now
            self._least = min(self._least, resident)
            self._bytes = resident - min(self._least, self._least_before)
        return self._bytes
