"""A table: columns as they were read, and where in its source each row stands, so that every error can say so."""

from __future__ import annotations

import difflib
import gzip
import os
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import TableError
from training.data.delimited import read_delimited
from training.data.frames import plain, to_frame
from training.data.index import NOTHING_WRITTEN, PandasMetadata, index_columns
from training.data.json_lines import read_json_lines

SEPARATORS = {".csv": ",", ".txt": ",", ".tsv": "\t", ".tab": "\t"}
"""Extensions read as text, and what stands between two fields there."""
JSON_LINES = (".jsonl", ".ndjson")
BINARY: dict[str, Callable[[BinaryIO], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".arrow": pl.read_ipc,
    ".feather": pl.read_ipc,
}
EXTENSIONS = (*SEPARATORS, *JSON_LINES, *BINARY)


@dataclass(frozen=True)
class Table:
    """Columns of equal length, none of them interpreted yet.

    ``frame`` holds strings where the source was text, native types otherwise; null is null in both. ``rows`` are the
    1-based numbers of the rows in their source, ``[rows]``, and survive :meth:`take`. ``lines`` are the physical lines
    the rows begin on, ``[rows]``, of a text source; None otherwise.
    """

    frame: pl.DataFrame
    source: str
    rows: NDArray[np.int64]
    lines: NDArray[np.int64] | None = None
    declared: frozenset[str] = frozenset()
    """Columns whose source says that they are categories: pandas ``category``, polars ``Categorical`` and ``Enum``."""
    notes: tuple[str, ...] = ()
    """What was decided in reading, in sentences that hold no value of any row."""
    index: tuple[str, ...] = ()
    """Columns that number or name the rows of the frame the table was written from."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with columns that no model can take, by name; null in ``frame``, and no error until asked for."""

    def __len__(self) -> int:
        return self.frame.height

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(self.frame.columns)

    def where(self, index: int) -> str:
        """Where the row at the 0-based position ``index`` stands in the source: ``row 5 (line 6)``, or ``row 5``."""
        row = f"row {self.rows[index]}"
        return row if self.lines is None else f"{row} (line {self.lines[index]})"

    def take(self, indices: NDArray[np.int64] | Sequence[int]) -> Table:
        """The rows at these 0-based positions, in this order."""
        positions = np.asarray(indices, np.int64)
        lines = None if self.lines is None else self.lines[positions]
        return replace(self, frame=self.frame[positions], rows=self.rows[positions], lines=lines)

    def drop(self, names: Collection[str]) -> Table:
        """Without these columns.

        Raises:
            TableError: there is no such column.
        """
        for name in names:
            self._find(name, "--drop names")
        return self._with(self.frame.drop(list(names)), {name: name for name in self.names if name not in names})

    def without_index(self, keep: Collection[str] = ()) -> Table:
        """Without the columns that are an index, except those of ``keep``; a note says which."""
        left_out = [name for name in self.index if name not in keep]
        notes = tuple(
            f"{name!r} is left out: it is the index of the data frame that the table was written from; "
            f"keep it with --keep {name!r}"
            for name in left_out
        )
        kept = replace(self, index=tuple(name for name in self.index if name in keep), notes=(*self.notes, *notes))
        return kept.drop(left_out)

    def rename(self, mapping: Mapping[str, str]) -> Table:
        """With columns renamed, old name to new.

        Raises:
            TableError: there is no such column, or the new name is empty or taken.
        """
        for old, new in mapping.items():
            self._find(old, "--rename names")
            if not new.strip():
                raise TableError(f"--rename {old}= needs a new name after the equals sign")
        names = [mapping.get(name, name) for name in self.names]
        for name in mapping.values():
            if names.count(name) > 1:
                raise TableError(f"{self.source}: --rename would give two columns the name {name!r}; choose another")
        return self._with(self.frame.rename(dict(mapping)), {name: mapping.get(name, name) for name in self.names})

    def require(self, name: str, who: str) -> None:
        """Make sure there is a column ``name``; ``who`` asks for it: ``--drop names``, say.

        Raises:
            TableError: there is none, or it is one that no model can take; names the closest, and what there is.
        """
        self._find(name, who)
        if name in self.refused:
            raise TableError(self.refused[name])

    def _with(self, frame: pl.DataFrame, names: Mapping[str, str]) -> Table:
        """With another frame; ``names`` maps the old names of its columns to those they have there."""
        return replace(
            self,
            frame=frame,
            declared=frozenset(new for old, new in names.items() if old in self.declared),
            index=tuple(names[name] for name in self.index if name in names),
            refused={names[name]: why for name, why in self.refused.items() if name in names},
        )

    def _find(self, name: str, who: str) -> None:
        if name in self.names:
            return
        close = difflib.get_close_matches(name, self.names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        shown = ", ".join(self.names[:20]) + (f" and {len(self.names) - 20} more" if len(self.names) > 20 else "")
        raise TableError(f"{self.source} has no column {name!r}, which {who}: {hint}its columns are {shown}")


def read_table(source: str | os.PathLike[str] | Any, *, encoding: str = "utf-8") -> Table:
    """Read a table from a file (by its extension, see :data:`EXTENSIONS`) or from memory.

    Args:
        source: a path, a polars or pandas data frame, or a dict of columns.
        encoding: of a text file.

    Raises:
        TableError: it cannot be read as a table, or breaks a rule; names row, line, column and the way out.
    """
    if not isinstance(source, str | os.PathLike):
        read = to_frame(source)
        return replace(_from_frame(read.frame, "data frame", read.written), refused=read.refused)
    path = Path(source)
    packed = path.suffix.lower() == ".gz"
    extension = Path(path.stem if packed else path.name).suffix.lower()
    if extension not in EXTENSIONS or (packed and extension in BINARY):
        known = f"{', '.join(EXTENSIONS)}, text also with .gz behind it"
        raise TableError(f"a table's file name ends in {known}, however: {path.name!r}; convert it to one of these")
    if path.is_dir():
        raise TableError(f"{path} is a folder: name a file in it")
    try:
        if extension in BINARY:
            with path.open("rb") as stream:
                return _from_frame(BINARY[extension](stream), path.name)
        data = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    except FileNotFoundError:
        raise TableError(f"there is no file {path}: check the path") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TableError(f"{path.name} cannot be unpacked ({error}): pack it anew, or unpack it first") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror or error}") from None
    except pl.exceptions.PolarsError as error:
        first_line = str(error).partition("\n")[0]
        kind = "Parquet" if extension == ".parquet" else "Arrow"
        raise TableError(f"{path.name} cannot be read as {kind} ({first_line}): write it anew, or use CSV") from None
    if extension in JSON_LINES:
        frame, lines = read_json_lines(data, encoding, path.name)
        return replace(_from_frame(frame, path.name), lines=lines)
    frame, lines = read_delimited(data, SEPARATORS[extension], encoding, path.name)
    return Table(frame, path.name, np.arange(1, frame.height + 1), lines)


def _from_frame(frame: pl.DataFrame, source: str, written: PandasMetadata = NOTHING_WRITTEN) -> Table:
    if not frame.columns:
        raise TableError(f"{source} is empty: a table needs at least one column")
    if not all(name.strip() for name in frame.columns):
        raise TableError(f"{source}: every column needs a name, however: one of them has none; name it first")
    if frame.height == 0:
        raise TableError(f"{source} has columns but no rows: a table needs at least one row")
    declared = frozenset(name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Categorical | pl.Enum))
    frame = plain(frame)
    index = index_columns(frame, written)
    return Table(frame, source, np.arange(1, frame.height + 1), declared=declared, index=index)
