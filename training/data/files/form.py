"""How a file is written, as far as a person says so, and what was read from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.training.data.index import NOTHING_WRITTEN, PandasMetadata


@dataclass(frozen=True)
class FileForm:
    """How a file is written; what is empty or None is found out from the file."""

    encoding: str = "utf-8"
    separator: str = ""
    """What stands between two fields of delimited text."""
    header: bool | None = None
    """Whether the first line holds the column names."""
    sheet: str = ""
    """Name of a spreadsheet's sheet."""


@dataclass(frozen=True)
class Before:
    """What of a file comes before the part of it that is read, so that errors name places in the whole file."""

    rows: int = 0
    lines: int = 0


WHOLE = Before()
"""Nothing: the file is read from its beginning."""


@dataclass(frozen=True)
class Content:
    """What stands in one file.

    ``lines`` are the physical lines the rows begin on, ``[rows]``; None where a file has none. ``notes`` say what was
    decided in reading it.
    """

    frame: pl.DataFrame
    lines: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()
    written: PandasMetadata = NOTHING_WRITTEN
    is_text: bool = False
    """Whether every column is text in its plain form already, null where it is empty."""
    mixed: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    """What the values were of columns that hold several kinds, by name; see :class:`.objects.Mixed`."""
    without_rows: str = "has columns but no rows: a table needs at least one row"
    """What is said of it where it has no rows and needs some, behind the name of the file."""
    is_nameless: bool = False
    """Whether no row of it names a column: JSON without rows has no header that would."""


HEADER_ALONE = "has a header but no rows: a table needs at least one row below its column names"
"""For :attr:`Content.without_rows`."""
