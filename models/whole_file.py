"""A file that is there whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rowcast.models.errors import ConfigError


def check_file(out: Path, flag: str) -> None:
    """Make sure that a file can be written, before the work whose result it is to hold.

    Args:
        out: the file; folders above it that are not there yet will be made.
        flag: that it came by.

    Raises:
        ConfigError: it is a folder, or lies where nothing can be written.
    """
    if out.is_dir():
        raise ConfigError(f"{flag} must name a file, got the folder {out}: name a file in it")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir():
        raise ConfigError(f"{flag} must name a file in a folder, got {out}, and {above} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ConfigError(f"{flag} must name a file in a folder that can be written, got {out}")


@contextmanager
def whole_file(out: Path) -> Iterator[Path]:
    """Under which name to write a file that nobody is to see half of: it gets its own at the end.

    Raises:
        OSError: it cannot be written; the error names ``out``.
    """
    half = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(out))
        out.parent.mkdir(parents=True, exist_ok=True)
        yield half
        half.replace(out)
    except OSError as error:
        if error.filename in (half, os.fspath(half)):
            error.filename, error.filename2 = os.fspath(out), None
        raise
    finally:
        half.unlink(missing_ok=True)
