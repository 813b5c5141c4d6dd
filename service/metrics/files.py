"""Metrics when the disk is full: their files have their room before anything is written to it, or are not used.

BentoML's workers count in files that are mapped into memory. Such a file is longer than what it takes on the disk, and
a worker that counts into a page for which the disk has no room is ended by SIGBUS. So the room is taken first, which
fails with an error instead; then the worker goes on counting in its own memory, which ``/metrics`` does not show.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import struct
from pathlib import Path
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

logger = logging.getLogger("rowcast.service")

_FIRST_BYTES = 32 * 1024
"""Room for the metrics of two models or so; it doubles as it needs to."""
_HEAD_BYTES = 8
_ENTRY_BYTES = 4 + 8 + 16
"""What an entry takes beside its key: its length, the padding, the value and its time."""


class _Told:
    """Whether this process has said that its metrics are not shown."""

    yet = False


class ReservedDict(MmapedDict):
    """prometheus_client's dictionary of numbers in a file, whose room on the disk is taken before it is written to.

    Args:
        filename: of the file.
        read_mode: whether it is only read.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        try:
            if not read_mode and not Path(filename).exists():
                _make(filename)
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]
        except OSError as error:
            if read_mode:
                raise
            _warn(filename, error)
            self._f: Any = None
            self._fname = filename
            self._capacity = _FIRST_BYTES
            self._m = mmap.mmap(-1, self._capacity)
            self._positions: dict[str, int] = {}
            self._used = _HEAD_BYTES
            self._m[:4] = struct.pack("i", self._used)

    def _init_value(self, key: str) -> None:
        """Add an entry, after its room."""
        needed = self._used + _ENTRY_BYTES + len(key.encode("utf-8"))
        if needed > self._capacity:
            self._grow(needed)
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self, needed: int) -> None:
        capacity = self._capacity
        while capacity < needed:
            capacity *= 2
        if self._f is not None:
            try:
                _reserve(self._f.fileno(), capacity)
            except OSError as error:
                _warn(self._fname, error)
                self._f.close()
                self._f = None
        grown = mmap.mmap(-1 if self._f is None else self._f.fileno(), capacity)
        if self._f is None:
            grown[: self._used] = self._m[: self._used]
        self._m, self._capacity = grown, capacity


def count_in_reserved_files() -> None:
    """Have prometheus_client count so in this process; before its first metric."""
    module: Any = values
    module.MmapedDict = ReservedDict


def _make(filename: str) -> None:
    """Make a file with room, or none at all: whoever reads all files would stumble over an empty one."""
    descriptor = os.open(filename, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        _reserve(descriptor, _FIRST_BYTES)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(filename)
        raise
    finally:
        os.close(descriptor)


def _reserve(descriptor: int, size: int) -> None:
    """Give a file this size, all of it on the disk.

    Raises:
        OSError: there is no room.
    """
    if not hasattr(os, "posix_fallocate"):
        os.truncate(descriptor, size)
        return
    before = os.fstat(descriptor).st_size
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that cannot say
            os.truncate(descriptor, size)
            return
        with contextlib.suppress(OSError):
            os.truncate(descriptor, before)
        raise


def _warn(filename: str, error: OSError) -> None:
    if not _Told.yet:
        _Told.yet = True
        folder = Path(filename).parent
        logger.warning(
            "no room for metrics in %s (%s): serving goes on, but /metrics leaves out what this worker counts until it "
            "is started again",
            folder,
            error.strerror,
        )
