"""One file to its content, by its extension; standard input by how it begins."""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from rowcast.models.errors import TableError
from rowcast.models.plain_files import tell_of_pipe
from rowcast.training.data.files import spreadsheet
from rowcast.training.data.files.delimited import read_delimited
from rowcast.training.data.files.extensions import (
    ARROW,
    EXTENSIONS,
    JSON_LINES,
    PARQUET,
    SEPARATORS,
    kind_of,
    tables_among,
)
from rowcast.training.data.files.form import Content, FileForm
from rowcast.training.data.files.json_lines import read_json, read_json_lines
from rowcast.training.data.files.packed import PACKED, unpack
from rowcast.training.data.files.paths import partitions_of
from rowcast.training.data.index import pandas_metadata

_ARROW_FILE = b"ARROW1"
_MAGIC = (
    (b"PAR1", ".parquet"),
    (_ARROW_FILE, ".arrow"),
    (b"\xff\xff\xff\xff", ".arrow"),  # a stream of Arrow
    (b"\x1f\x8b", ".gz"),
    (b"BZh", ".bz2"),
    (b"\xfd7zXZ", ".xz"),
    (b"\x28\xb5\x2f\xfd", ".zst"),
    (b"\xd0\xcf\x11\xe0", ".xls"),
)


def read_file(path: Path, form: FileForm) -> Content:
    """Read a file by its extension, packed or not.

    Raises:
        TableError: there is no such file, or it is no table; names row, line, column and the way out.
    """
    extension, packed = kind_of(path.name)
    if extension not in EXTENSIONS and packed != ".zip":
        raise _unknown(path.name)
    tell_of_pipe(path)
    try:
        with path.open("rb") as stream:
            name = path.name
            if not packed:
                return _read(stream if extension in (*PARQUET, *ARROW) else stream.read(), extension, form, name)
            unpacked = unpack(stream, packed, path.stat().st_size, name, tables_among)
    except FileNotFoundError:
        raise TableError(f"there is no file {path}: check the path") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror or error}") from None
    if unpacked.name:
        extension, packed = kind_of(unpacked.name)
        if extension not in EXTENSIONS or packed:
            raise TableError(f"{name} must hold a table, got {unpacked.name!r}: unpack it first, or convert it")
    content = _read(unpacked.data, extension, form, name)
    return replace(content, notes=(*unpacked.notes, *content.notes))


def read_stdin(form: FileForm) -> tuple[Content, str]:
    """Read standard input, whatever kind of file comes there, and the SHA-256 of its bytes.

    Raises:
        TableError: it is no table.
    """
    data = sys.stdin.buffer.read()
    return read_input(data, form), hashlib.sha256(data).hexdigest()


def read_input(data: bytes, form: FileForm) -> Content:
    """Read what came from standard input.

    Raises:
        TableError: it is no table.
    """
    name = "standard input"
    extension, notes = kind_of_bytes(data), tuple[str, ...]()
    if extension in PACKED:
        unpacked = unpack(io.BytesIO(data), extension, len(data), name, tables_among)
        data, inside, notes = unpacked.data, unpacked.name, unpacked.notes
        extension = kind_of(inside)[0] if inside else kind_of_bytes(data)
        if extension not in EXTENSIONS:
            raise TableError(f"{name} must hold a table, got {inside or 'a package in a package'!r}: unpack it first")
    content = _read(data, extension, form, name)
    return replace(content, notes=(*notes, *content.notes))


def with_partitions(content: Content, file: Path, source: str | os.PathLike[str]) -> Content:
    """The content with the columns that folders on the way to the file name, unless it holds them itself."""
    if content.is_nameless:  # a folder tells nothing of columns that no row names
        return content
    named = {k: v for k, v in partitions_of(file, source).items() if k not in content.frame.columns}
    columns = [pl.lit(value, pl.String).alias(name) for name, value in named.items()]
    return replace(content, frame=content.frame.with_columns(columns)) if named else content


def kind_of_bytes(data: bytes) -> str:
    """The extension that a file with this content would have."""
    for magic, extension in _MAGIC:
        if data.startswith(magic):
            return extension
    if data.startswith(b"PK"):
        return ".xlsx" if b"[Content_Types].xml" in data or b"xl/workbook" in data else ".zip"
    begin = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return ".json" if begin in (b"[", b"{") else ".csv"


def _read(data: Any, extension: str, form: FileForm, source: str) -> Content:
    """Read the bytes of a file, or the open file where it is Arrow or Parquet."""
    if extension in (*PARQUET, *ARROW):
        return _read_arrow(io.BytesIO(data) if isinstance(data, bytes) else data, extension, source)
    if extension in SEPARATORS:
        return read_delimited(data, form, SEPARATORS[extension], source)
    if extension in spreadsheet.EXTENSIONS:
        return spreadsheet.read_spreadsheet(data, form, source)
    read = read_json_lines if extension in JSON_LINES else read_json
    return read(data, form.encoding, source)


def _read_arrow(stream: Any, extension: str, source: str) -> Content:
    try:
        if extension in ARROW:
            begins = stream.read(len(_ARROW_FILE))
            stream.seek(0)
            return Content(pl.read_ipc(stream) if begins == _ARROW_FILE else pl.read_ipc_stream(stream))
        written = pandas_metadata(pl.read_parquet_metadata(stream).get("pandas", ""))
        stream.seek(0)
        frame = pl.read_parquet(stream)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        said = re.sub(r"\s+", " ", str(error).partition("\n")[0])
        kind = "Parquet" if extension in PARQUET else "Arrow"
        raise TableError(f"{source} cannot be read as {kind} ({said}): write it anew, or use CSV") from None
    coded = [pl.col(name).cast(pl.String).cast(pl.Categorical()) for name in written.categories if name in frame]
    return Content(frame.with_columns(coded), written=written)


def _unknown(name: str) -> TableError:
    return TableError(
        f"a table's file name ends in {', '.join(EXTENSIONS)}, each also with {', '.join(PACKED)} behind it, got "
        f"{name!r}: convert it to one of these"
    )
