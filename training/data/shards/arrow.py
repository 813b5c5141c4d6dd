"""Parquet and Arrow files a piece at a time: rows of a range, whose other row groups are not even read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from rowcast.models.errors import TableError
from rowcast.training.data.files.extensions import PARQUET
from rowcast.training.data.files.form import Content
from rowcast.training.data.index import NOTHING_WRITTEN, PandasMetadata, pandas_metadata

MOST_ROWS = 65_536
"""Of a piece."""
LEAST_ROWS = 1_024
_PIECE_BYTES = 1 << 26
_CELL_BYTES = 16
_ARROW_FILE = b"ARROW1"


def is_arrow_file(file: Path) -> bool:
    """Whether it is Arrow in the form of a file: a stream can only be read from its beginning."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(_ARROW_FILE)) == _ARROW_FILE
    except OSError:
        return False


def rows_in(file: Path, extension: str) -> int:
    """How many rows a file says that it holds.

    Raises:
        TableError: it cannot be read.
    """
    try:
        return int(_scan(file, extension).select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(file, extension, error) from None


def pieces_of_arrow(file: Path, extension: str, columns: Sequence[str] | None = None) -> Iterator[Content]:
    """The rows of a file in their order.

    Args:
        file: which.
        extension: of its name.
        columns: to read; all where there are none.

    Raises:
        TableError: it cannot be read.
    """
    try:
        scan, rows = _scan(file, extension), rows_in(file, extension)
        names = scan.collect_schema().names()
        if columns is not None:
            scan = scan.select([name for name in names if name in set(columns)] or names[:1])
        written = _written(file) if extension in PARQUET else NOTHING_WRITTEN
        wide = len(names) if columns is None else max(1, len(columns))
        step = max(LEAST_ROWS, min(MOST_ROWS, _PIECE_BYTES // (_CELL_BYTES * max(1, wide))))
        coded = [
            pl.col(name).cast(pl.String).cast(pl.Categorical())
            for name in written.categories
            if name in scan.collect_schema()
        ]
        for start in range(0, max(rows, 1), step):
            yield Content(scan.slice(start, step).collect().with_columns(coded), written=written)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(file, extension, error) from None


def _scan(file: Path, extension: str) -> pl.LazyFrame:
    # A name is no pattern, and folders on the way are read elsewhere.
    if extension in PARQUET:
        return pl.scan_parquet(file, glob=False, hive_partitioning=False)
    return pl.scan_ipc(file, glob=False, hive_partitioning=False)


def _written(file: Path) -> PandasMetadata:
    return pandas_metadata(pl.read_parquet_metadata(file).get("pandas", ""))


def _unreadable(file: Path, extension: str, error: BaseException) -> TableError:
    if isinstance(error, FileNotFoundError):
        return TableError(f"there is no file {file}: check the path")
    said = re.sub(r"\s+", " ", str(error).partition("\n")[0])
    kind = "Parquet" if extension in PARQUET else "Arrow"
    return TableError(f"{file.name} cannot be read as {kind} ({said}): write it anew, or use CSV")
