"""Whether a table is read into memory or in shards: by what it would take there, or as a person says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rowcast.models.errors import ConfigError, TableError
from rowcast.models.machine.limits import Limit, available_memory
from rowcast.training.data.config import DataConfig
from rowcast.training.data.files.paths import STDIN, files_of
from rowcast.training.data.shards.shards import Shards, open_shards, why_whole
from rowcast.training.data.shards.text import PIECE_BYTES

SHARE = 0.7
"""Of the free memory that a table may take: the fit and PyTorch need some as well."""
_FRAME_TIMES, _CELL_BYTES = 4, 16
"""What a row takes at the peak of a training: so many times what it takes as it was read, and so many bytes a column
(20 columns of flights, which take 150 bytes as they are read: 843 measured, by `make bench-cost`)."""
_MOST_TIMES_FILE = 100
"""No table takes more memory than so many times its files, so small files need no closer look."""
_LEAST_TIMES_FILE = 3
CONVERT = (
    'write it as Parquet first, for example with polars: pl.scan_csv("table.csv").sink_parquet("table.parquet") '
    "(scan_ndjson for JSON Lines)"
)
"""The way out for files that cannot be read in shards."""


def why_streamed(source: Any, data: DataConfig) -> str:
    """Why a table is read in shards, as the end of a sentence; "" if it is read into memory.

    Raises:
        ConfigError: shards were asked for of what has none.
        TableError: it is too large for the memory, and cannot be read in shards.
    """
    if data.in_memory is True:
        return ""
    if data.in_memory is False:
        why = why_whole(source, data.form(), json_lines=False)
        if why:
            raise ConfigError(
                f"'data.in_memory' may be false for files of Parquet, Arrow or delimited text that are not packed, "
                f"but {why}: {CONVERT}"
            )
        return "as data.in_memory says"
    if not isinstance(source, str | os.PathLike) or os.fspath(source) == STDIN:
        return ""
    size = _bytes_of(files_of(source))
    free = available_memory()
    if size * _MOST_TIMES_FILE <= SHARE * free.amount:
        return ""
    why = why_whole(source, data.form(), json_lines=False)
    if why:
        if size * _LEAST_TIMES_FILE > free.amount:
            raise TableError(
                f"{os.fspath(source)} must fit in memory, since {why}; it would take at least "
                f"{gib(_LEAST_TIMES_FILE * size)}, and {_free(free)}: {CONVERT}; or add --set data.in_memory=true to "
                "try"
            )
        return ""
    needed = memory_of(open_shards(source, data.form()))
    return "" if needed <= SHARE * free.amount else f"since whole it would take about {gib(needed)}, and {_free(free)}"


def refuse_streamed(source: Any, data: DataConfig, what: str) -> None:
    """Make sure that a table fits in memory, for what needs it there.

    Raises:
        TableError: it does not.
    """
    why = why_streamed(source, data)
    if why:
        raise TableError(
            f"{what} needs the table in memory, but it is to be read in shards, {why}: take a sample of its rows, "
            "add memory, or add --set data.in_memory=true to try"
        )


def memory_of(shards: Shards) -> float:
    """Bytes that a training on a table takes at its peak if it is read into memory, about."""
    head = shards.head
    n_head = len(head)
    rows = shards.rows
    if rows is None:
        rows = round(shards.bytes * n_head / min(shards.bytes, PIECE_BYTES * len(shards.files)))
    return rows * (_FRAME_TIMES * head.frame.estimated_size() / n_head + _CELL_BYTES * len(head.names))


def gib(n_bytes: float) -> str:
    """Bytes as a person reads them."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 / 10 else f"{n_bytes / 2**20:.1f} MiB"


def _free(limit: Limit) -> str:
    return f"{gib(limit.amount)} are free ({limit.source})"


def _bytes_of(files: list[Path]) -> int:
    """Of files; what is no file is refused where it is read."""
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except OSError:
            return 0
    return total
