"""Root without the power to read everything, so that what may not be read cannot be."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION_3 = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


@contextmanager
def bound_by_modes() -> Iterator[None]:
    """Have modes of files bind this thread, and those that it starts, though it is root's."""
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)  # of the calling thread
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; the lower 32 of them and the upper
    _call("capget", header, data)
    effective = data[0]
    data[0] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    _call("capset", header, data)
    try:
        yield
    finally:
        data[0] = effective
        _call("capset", header, data)


def _call(name: str, *arguments: ctypes.Array[ctypes.c_uint32]) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
