"""Packed files to the bytes in them, within a bound: a small file must not fill the memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, Any, BinaryIO

from rowcast.models.errors import TableError


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


@dataclass(frozen=True)
class Unpacked:
    """What was packed: its bytes, its name there ("" where it has none), and what was left out, in sentences."""

    data: bytes
    name: str = ""
    notes: tuple[str, ...] = ()


def unpack(
    stream: BinaryIO, extension: str, size: int, source: str, tables_among: Callable[[list[str]], list[str]] = list
) -> Unpacked:
    """Unpack a file.

    Args:
        stream: the packed file.
        extension: one of :data:`PACKED`.
        size: bytes of the packed file.
        source: what errors call it.
        tables_among: which of the files of a zip are tables, by their names.

    Raises:
        TableError: it is damaged, holds more than :data:`MAX_RATIO` allows, or not exactly one table.
    """
    most = max(ALWAYS_UNPACKED, MAX_RATIO * size)
    try:
        if extension == ".zip":
            return _only_member(stream, most, source, tables_among)
        with STREAMS[extension](stream) as unpacked:
            return Unpacked(_bounded(unpacked, most, source))
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


def _only_member(stream: BinaryIO, most: int, source: str, tables_among: Callable[[list[str]], list[str]]) -> Unpacked:
    with zipfile.ZipFile(stream) as archive:
        names = [member.filename for member in archive.infolist() if not member.is_dir()]
        names = [name for name in names if not _is_beside(name)]
        tables = tables_among(names)
        if len(tables) != 1:
            raise TableError(
                f"{source} must hold one table, got {len(tables)}{f' ({_shown(tables)})' if tables else ''}: unpack "
                "it, and name the one to read"
            )
        left_out = [name for name in names if name != tables[0]]
        notes = (f"of the files in {source} {tables[0]} is read, and not {_shown(left_out)}",) if left_out else ()
        try:
            with archive.open(tables[0]) as member:
                return Unpacked(_bounded(member, most, source), PurePath(tables[0]).name, notes)
        except (RuntimeError, NotImplementedError) as error:  # a password, or a method of packing unknown here
            raise TableError(f"{source} cannot be unpacked ({error}): unpack it first") from None


def _shown(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _is_beside(name: str) -> bool:
    """Whether a member is what systems put beside files, and no file of the person's."""
    return name.startswith("__MACOSX/") or PurePath(name).name.startswith(".")
