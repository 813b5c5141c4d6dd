"""Rows to a file, a piece at a time: whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

import polars as pl
from polars.io.plugins import register_io_source

from rowcast.models.errors import TableError
from rowcast.training.stream.store import temporary_folder

STDOUT = "-"
_OPEN = "/proc/self/fd"
"""Where Linux shows the files that this process has open."""


def write_pieces(out: Path, pieces: Iterator[pl.DataFrame]) -> int:
    """Write a table so that nobody ever sees half of it.

    Args:
        out: a .csv, .jsonl, .ndjson or .parquet file, whose folder is made; ``-`` for CSV to standard output.
        pieces: of the table, one at least.

    Returns:
        how many rows there were.

    Raises:
        TableError: a column changes its type from piece to piece.
        OSError: the file cannot be written.
    """
    if os.fspath(out) == STDOUT:
        with tempfile.TemporaryFile(dir=temporary_folder()) as whole:
            rows = _write_text(whole, ".csv", pieces)
            whole.seek(0)
            sys.stdout.flush()
            shutil.copyfileobj(whole, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return rows
    if out.is_dir():  # told before the rows are computed
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    half, suffix = out.with_name(f".{out.name}.{os.getpid()}"), out.suffix.lower()
    with _called(half, out), _unnamed_file(out.parent) as descriptor:
        file = half if descriptor is None else Path(_OPEN) / str(descriptor)
        try:
            if suffix == ".parquet":
                rows = _write_parquet(file, pieces)
            else:
                with file.open("wb") as stream:
                    rows = _write_text(stream, suffix, pieces)
            if descriptor is not None:
                _name(file, half)
            half.replace(out)
        finally:
            _remove(half)
    return rows


@contextmanager
def _called(half: Path, out: Path) -> Iterator[None]:
    """Errors of ``half`` are told as those of ``out``, the file that a person named."""
    try:
        yield
    except OSError as error:
        if error.filename in (half, os.fspath(half)):
            error.filename, error.filename2 = os.fspath(out), None
        raise


@contextmanager
def _unnamed_file(folder: Path) -> Iterator[int | None]:
    """A file that has no name yet, so that a kill leaves nothing of it; None where the system has no such files."""
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666) if Path(_OPEN).is_dir() else None
    except (AttributeError, OSError):
        descriptor = None
    if descriptor is None:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _name(file: Path, name: Path) -> None:
    """Give a file of :func:`_unnamed_file` a name."""
    root = os.open("/", os.O_RDONLY)  # with a folder, Python asks for linkat(2), which follows the link to the file
    try:
        os.link(file, name, src_dir_fd=root, follow_symlinks=True)
    except OSError:  # some file systems make such files and cannot name them
        shutil.copyfile(file, name)
    finally:
        os.close(root)


def _write_text(stream: IO[bytes], suffix: str, pieces: Iterator[pl.DataFrame]) -> int:
    rows = 0
    for place, piece in enumerate(_alike(pieces)):
        if suffix == ".csv":
            piece.write_csv(stream, include_header=place == 0)
        elif piece.height:
            piece.write_ndjson(stream)
        rows += piece.height
    return rows


def _write_parquet(file: Path, pieces: Iterator[pl.DataFrame]) -> int:
    rows = 0
    alike = _alike(pieces)
    first = next(alike)

    def source(columns: Any, predicate: Any, n_rows: Any, batch_size: Any) -> Iterator[pl.DataFrame]:
        nonlocal rows
        for piece in chain([first], alike):
            rows += piece.height
            yield piece

    register_io_source(source, schema=first.schema).sink_parquet(file, maintain_order=True)
    return rows


def _alike(pieces: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Pieces in the types of the first one.

    Raises:
        TableError: one of them has others.
    """
    schema: pl.Schema | None = None
    for piece in pieces:
        schema = schema or piece.schema
        for name, dtype in piece.schema.items():
            if dtype not in (schema[name], pl.Null):
                raise TableError(
                    f"a column that is carried along must be of one type in all parts of a file, got {schema[name]} "
                    f"and then {dtype} in {name!r}: leave it out of --keep, or write the table as Parquet"
                )
        yield piece.cast(schema) if piece.schema != schema else piece


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except KeyboardInterrupt:  # polars raises it once more than it was sent
        file.unlink(missing_ok=True)
        raise
