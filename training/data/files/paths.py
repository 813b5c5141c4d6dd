"""What a person names as a table: a file, a folder or a pattern of files of one kind, or ``-`` for standard input."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from rowcast.models.errors import TableError
from rowcast.training.data.files.extensions import tables_among

STDIN = "-"

_PACKED = re.compile(r"\.(?:gz|bz2|xz|zst|zip)$", re.IGNORECASE)
_PARTITION = re.compile(r"([^=/]+)=([^/]*)")


def files_of(source: str | os.PathLike[str]) -> list[Path]:
    """The files that a path, a folder or a pattern such as ``data/*.csv`` means, sorted by name.

    Raises:
        TableError: there is none.
    """
    text = os.fspath(source)
    path = Path(source)
    if re.match(r"[a-z0-9+]+:/", text):
        raise TableError(f"a table is a file of this machine, got {text}: download it first")
    if path.is_dir():
        return _files_below(path)
    if not path.exists() and glob.has_magic(text):
        found = sorted(Path(name) for name in glob.glob(text, recursive=True) if Path(name).is_file())
        if not found:
            raise TableError(f"no file is named like {text}: check the pattern")
        return found
    return [path]


def partitions_of(file: Path, source: str | os.PathLike[str]) -> dict[str, str | None]:
    """Columns told by the names of folders on the way to a file: ``year=2024/part.parquet`` holds ``year``."""
    below = Path(source)
    if not below.is_dir():
        return {}
    folders = file.relative_to(below).parts[:-1]
    pairs = [match.groups() for folder in folders if (match := _PARTITION.fullmatch(folder))]
    return {unquote(k): None if v == "__HIVE_DEFAULT_PARTITION__" else unquote(v) for k, v in pairs}


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 of a file, or of the names and digests of several, in hexadecimal."""
    if len(files) == 1:
        with files[0].open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.name} {digest_of([file])}\n".encode())
    return whole.hexdigest()


def stem_of(source: str | os.PathLike[str]) -> str:
    """What a table is called: a file's name without its extensions, the fixed part of a pattern, a folder's name."""
    text = os.fspath(source)
    if text == STDIN:
        return "table"
    path = Path(text.rstrip("/"))
    name = path.name if not _PACKED.search(path.name) else path.stem
    stem = re.sub(r"[*?]|\[[^]]*\]", "", Path(name).stem).strip("_-. ")
    return stem or path.resolve().parent.name or "table"


def _files_below(folder: Path) -> list[Path]:
    """The tables of a folder and of those in it; not what stands beside them (``_SUCCESS``, ``.crc``, a README)."""
    found = _visible_files(folder)
    if not found:
        raise TableError(f"{folder} is a folder without a table: name a file, or a folder of files of one kind")
    tables = set(tables_among([file.name for file in found]))
    return sorted(file for file in found if file.name in tables)


def left_out_of(source: str | os.PathLike[str], files: Sequence[Path]) -> list[str]:
    """Names of the files of a folder that are no tables, and are not read."""
    if not Path(source).is_dir():
        return []
    return sorted(file.name for file in _visible_files(Path(source)) if file not in files)


def _visible_files(folder: Path) -> list[Path]:
    return [
        file
        for file in folder.rglob("*")
        if file.is_file() and not any(part.startswith(("_", ".")) for part in file.relative_to(folder).parts)
    ]
