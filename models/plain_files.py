"""Files of a store that others may write into: plain ones alone, of a bounded size, in the folder that was opened."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rowcast.models.errors import ModelError, ModelRefused

logger = logging.getLogger("rowcast.models")

_PIECE = 2**20
LOCK_SECONDS = 60.0
"""How long a lock is waited for. Whoever may read a file may lock it, and keep the lock."""
_LOCK_LOOK_SECONDS = 0.01


class UnreadableError(ModelRefused):
    """The system did not let it be read, at that moment: what it holds nobody knows."""


class NoFolderError(UnreadableError):
    """There is nothing where a folder was looked for, at that moment."""


class NoFileError(UnreadableError):
    """There is nothing where a file was looked for, at that moment."""


class Folder:
    """A folder held open: what is read in it is of this one, whatever is put in its place meanwhile.

    Args:
        path: of the folder, which must be none that a link leads to.

    Raises:
        NoFolderError: there is nothing at ``path``.
        UnreadableError: it is no folder, or a link, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            refused = NoFolderError if isinstance(error, FileNotFoundError) else UnreadableError
            raise refused(f"{path} cannot be read as a plain folder: {error.strerror}") from None

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def is_in_place(self) -> bool:
        """Whether the path still leads to this folder."""
        held = os.fstat(self._descriptor)
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)

    def names(self) -> list[str]:
        """What is in it."""
        return os.listdir(self._descriptor)

    def read(self, name: str, at_most: int) -> bytes:
        """The content of a file.

        Raises:
            NoFileError: it is absent.
            UnreadableError: it is a link, or cannot be opened or read.
            ModelRefused: it is no plain file, or longer than ``at_most`` bytes.
        """
        with self._open(name, at_most) as descriptor:
            content = bytearray()
            while piece := os.read(descriptor, _PIECE):
                content += piece
                if len(content) > at_most:  # it grows
                    raise self._too_long(name, at_most)
            return bytes(content)

    def sha256(self, name: str) -> str:
        """SHA-256 of a file of any size, which is not held.

        Raises:
            ModelRefused: it is absent or no plain file.
        """
        with self._open(name) as descriptor:
            digest = hashlib.sha256()
            while piece := os.read(descriptor, _PIECE):
                digest.update(piece)
            return digest.hexdigest()

    @contextmanager
    def _open(self, name: str, at_most: int | None = None) -> Iterator[int]:
        file = self.path / name
        try:  # without waiting for the other end of a pipe
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        except OSError as error:
            refused = NoFileError if isinstance(error, FileNotFoundError) else UnreadableError
            raise refused(f"{file} cannot be read as a plain file: {error.strerror}") from None
        try:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise ModelRefused(f"{file} is not a plain file")
            if at_most is not None and about.st_size > at_most:
                raise self._too_long(name, at_most)
            yield descriptor
        except OSError as error:
            raise UnreadableError(f"{file} cannot be read: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def _too_long(self, name: str, at_most: int) -> ModelRefused:
        return ModelRefused(f"{self.path / name} must hold at most {at_most:,} bytes, got more")


def read_plain(file: Path, at_most: int) -> bytes:
    """The content of a plain file that somebody named, or that a link leads to. A pipe is not waited for.

    Args:
        file: the file.
        at_most: bytes that it may hold; of a longer one, one byte more is read, and the caller tells.

    Raises:
        OSError: it is absent, no plain file, or cannot be read.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_plain(descriptor, file)
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read(at_most + 1)
    finally:
        os.close(descriptor)


def append_plain(file: Path, content: bytes) -> None:
    """Add to the end of a plain file, which is made when it is absent, in one write.

    Raises:
        OSError: it is no plain file, or cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(file, flags, 0o666)
    try:
        _check_plain(descriptor, file)
        with open(descriptor, "ab", closefd=False) as stream:
            stream.write(content)
    finally:
        os.close(descriptor)


def tell_of_pipe(file: Path) -> None:
    """Say that a pipe is waited for, where a file is one that somebody may have forgotten to write into."""
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.stat(file).st_mode) and not os.fspath(file).startswith(("/dev/", "/proc/")):
            logger.warning("%s is a pipe: what is written into it is waited for", file)


def _check_plain(descriptor: int, file: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "it is not a plain file", os.fspath(file))


def write_new(file: Path, content: bytes) -> None:
    """Write a file that must not exist, through to the disk."""
    with open(file, "xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_change(folder: Path, what: str) -> None:
    """Have a change of the names in a folder on the disk. Every reader sees it: what fails now does not undo it.

    Args:
        folder: in which something got its name.
        what: says so, in a warning where that fails.
    """
    try:
        flush_folder(folder)
    except OSError as error:
        logger.warning("%s, and may not be after a power failure: %s", what, error.strerror)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made when it is absent and whose content is left alone.

    Raises:
        ModelError: the file is a link, or no plain file; or somebody else holds its lock for a minute.
    """
    descriptor = _open_lock(file)
    try:
        try:
            take_lock(descriptor)
        except TimeoutError as error:
            raise ModelError(f"{file} must be free, got: {error.strerror}: `fuser {file}` says who") from None
        yield
    finally:
        os.close(descriptor)


def take_lock(descriptor: int) -> None:
    """Wait for the lock of an open file, and hold it until the file is closed.

    Raises:
        TimeoutError: somebody else has held it for :data:`LOCK_SECONDS`.
    """
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                words = f"it has been locked by another process for {LOCK_SECONDS:g} seconds"
                raise TimeoutError(errno.ETIMEDOUT, words) from None
        time.sleep(_LOCK_LOOK_SECONDS)


def check_lock(file: Path) -> None:
    """Make sure that a lock can be had, without waiting for it.

    Raises:
        ModelError: the file is a link, or no plain file.
    """
    os.close(_open_lock(file))


def _open_lock(file: Path) -> int:
    try:
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(file, flags, 0o666)
    except OSError as error:
        if not os.path.lexists(file):
            raise  # the folder is not writable, or the disk is full
        got = "a link" if file.is_symlink() else error.strerror
        raise ModelError(f"{file} must be a plain file that one may read, got: {got}; remove it") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelError(f"{file} must be a plain file, got something else; remove it")
    return descriptor
