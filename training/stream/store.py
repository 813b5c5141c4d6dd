"""Rows as the network's front takes them, in a temporary file without a name: nothing of it is left behind."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import TrainingError
from rowcast.training.stream.choose import gib

_ON_DISK = "/var/tmp"  # noqa: S108 - a file without a name cannot be guessed
_ROOM = 1.05
"""How much more than the rows may take has to be free."""


class Store:
    """Records of one type, written one after the other and read by their places; made by :func:`open_store`."""

    def __init__(self, descriptor: int, dtype: np.dtype[Any], folder: str) -> None:
        self.dtype = dtype
        self._descriptor, self._folder = descriptor, folder
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def append(self, records: NDArray[Any]) -> None:
        """Write records ``[rows]`` behind those that are there.

        Raises:
            TrainingError: the disk is full.
        """
        content = memoryview(np.ascontiguousarray(records).view(np.uint8).data)
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise _full(self._folder, gib(self._rows * self.dtype.itemsize), "no more") from None
        self._rows += len(records)

    def read(self, start: int, into: NDArray[Any]) -> None:
        """Read the records from a place on into an array of them, ``[rows]``, which says how many.

        Raises:
            TrainingError: the file is not as long as it was written.
        """
        content = memoryview(into.view(np.uint8).data)
        at = start * self.dtype.itemsize
        while content:
            n = os.preadv(self._descriptor, [content], at)
            if n == 0:
                raise TrainingError(f"the temporary file in {self._folder} is shorter than it was: train anew")
            content, at = content[n:], at + n


@contextmanager
def open_store(dtype: np.dtype[Any], rows: int) -> Iterator[Store]:
    """A file for records, in ``TMPDIR``, or in ``/var/tmp``, which unlike ``/tmp`` is seldom kept in memory.

    Args:
        dtype: of a record.
        rows: that are to be written, at most.

    Raises:
        TrainingError: there is no room for so many.
    """
    folder = temporary_folder()
    needed, free = rows * dtype.itemsize, shutil.disk_usage(folder).free
    if needed * _ROOM > free:
        raise _full(folder, gib(needed), gib(free))
    try:
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - the error is told
    except OSError as error:
        raise TrainingError(
            f"a table in shards needs a folder for a temporary file, got {folder}: {error.strerror}; name another in "
            "the environment variable TMPDIR"
        ) from None
    with file:
        yield Store(file.fileno(), dtype, folder)


def temporary_folder() -> str:
    """Where the file goes."""
    if os.environ.get("TMPDIR"):
        return tempfile.gettempdir()
    return _ON_DISK if os.access(_ON_DISK, os.W_OK) else tempfile.gettempdir()


def _full(folder: str, needed: str, free: str) -> TrainingError:
    return TrainingError(
        f"a table in shards needs {needed} in {folder} for its encoded training rows, and {free} is free there: name "
        "a folder of a larger disk in the environment variable TMPDIR"
    )
