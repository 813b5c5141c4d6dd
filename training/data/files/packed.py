"""Packed files to the bytes in them, within a bound: a small file must not fill the memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import PurePath
from typing import IO, Any, BinaryIO

from models.errors import TableError


def open_zstd(stream: Any) -> Any:
    """A stream packed by Zstandard, which Python 3.14 brings along."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.open(stream)


STREAMS: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": open_zstd,
}
PACKED = (*STREAMS, ".zip")
"""Extensions that may stand behind those of tables."""
ALWAYS_UNPACKED = 1 << 28
"""Bytes that any packed file may hold."""
MAX_RATIO = 200
"""A packed file may be this many times smaller than its content, which no real table comes near."""

_PIECE = 1 << 20


def unpack(stream: BinaryIO, extension: str, size: int, source: str) -> tuple[bytes, str]:
    """Unpack a file.

    Args:
        stream: the packed file.
        extension: one of :data:`PACKED`.
        size: bytes of the packed file.
        source: what errors call it.

    Returns:
        its content, and the name the content has inside; "" where it has none.

    Raises:
        TableError: it is damaged, holds more than :data:`MAX_RATIO` allows, or not exactly one file.
    """
    most = max(ALWAYS_UNPACKED, MAX_RATIO * size)
    try:
        if extension == ".zip":
            return _only_member(stream, most, source)
        with STREAMS[extension](stream) as unpacked:
            return _bounded(unpacked, most, source), ""
    except (TableError, ImportError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - each library has errors of its own for a damaged package
        raise TableError(f"{source} cannot be unpacked ({error}): pack it anew, or unpack it first") from None


def check_zip(stream: BinaryIO, size: int, source: str) -> None:
    """Make sure what a zip file says it holds is within the bound, before somebody else unpacks it.

    Raises:
        TableError: it is not.
    """
    with zipfile.ZipFile(stream) as archive:
        if sum(member.file_size for member in archive.infolist()) > max(ALWAYS_UNPACKED, MAX_RATIO * size):
            raise _too_large(max(ALWAYS_UNPACKED, MAX_RATIO * size), source)
    stream.seek(0)


def _bounded(stream: IO[bytes], most: int, source: str) -> bytes:
    pieces: list[bytes] = []
    held = 0
    while piece := stream.read(_PIECE):
        held += len(piece)
        if held > most:
            raise _too_large(most, source)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(most: int, source: str) -> TableError:
    return TableError(
        f"{source} must hold at most {most >> 20:,} MiB unpacked ({MAX_RATIO} times its size, or "
        f"{ALWAYS_UNPACKED >> 20} MiB), got more: unpack it yourself if it is what you think it is"
    )


def _only_member(stream: BinaryIO, most: int, source: str) -> tuple[bytes, str]:
    with zipfile.ZipFile(stream) as archive:
        members = [member for member in archive.infolist() if not member.is_dir() and not _is_beside(member.filename)]
        if len(members) != 1:
            shown = ", ".join(member.filename for member in members[:5]) + (", ..." if len(members) > 5 else "")
            raise TableError(
                f"{source} must hold one table, got {len(members)}{f' ({shown})' if members else ''}: unpack it, and "
                "name the one to read"
            )
        try:
            with archive.open(members[0]) as member:
                return _bounded(member, most, source), PurePath(members[0].filename).name
        except (RuntimeError, NotImplementedError) as error:  # a password, or a method of packing unknown here
            raise TableError(f"{source} cannot be unpacked ({error}): unpack it first") from None


def _is_beside(name: str) -> bool:
    """Whether a member is what systems put beside files, and no file of the person's."""
    return name.startswith("__MACOSX/") or PurePath(name).name.startswith(".")
