"""A table of one file or of several, read a piece at a time and as often as is needed."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from rowcast.models.errors import TableError
from rowcast.training.data.files.extensions import ARROW, JSON_LINES, PARQUET, SEPARATORS, kind_of
from rowcast.training.data.files.form import Content, FileForm
from rowcast.training.data.files.paths import STDIN, digest_of, files_of, left_out_of
from rowcast.training.data.files.reading import with_partitions
from rowcast.training.data.shards.arrow import is_arrow_file, pieces_of_arrow, rows_in
from rowcast.training.data.shards.text import pieces_of_delimited, pieces_of_json_lines
from rowcast.training.data.table import Table, one_of, table_of


@dataclass(frozen=True)
class Shards:
    """Files of one table, of whose rows only a piece is in memory at a time.

    ``head`` are the first rows of the first file; what is said of its columns holds for all: their names, their types
    and which of them are an index.
    """

    files: tuple[Path, ...]
    source: str | os.PathLike[str]
    form: FileForm
    head: Table

    @property
    def rows(self) -> int | None:
        """How many there are, where the files say so."""
        kinds = [kind_of(file.name)[0] for file in self.files]
        if not all(kind in (*PARQUET, *ARROW) for kind in kinds):
            return None
        return sum(rows_in(file, kind) for file, kind in zip(self.files, kinds, strict=True))

    @property
    def sha256(self) -> str:
        """Of the file, or of the names and digests of several."""
        return digest_of(self.files)

    @property
    def bytes(self) -> int:
        """Of the files."""
        return sum(file.stat().st_size for file in self.files)

    def pieces(self, columns: Sequence[str] | None = None) -> Iterator[Table]:
        """The rows in the order of the files and of the rows in them, a few ten thousand at a time.

        Args:
            columns: names of columns that are needed; all where there are none.

        Raises:
            TableError: a file cannot be read; names row, line, column and the way out.
        """
        names = [name for name in self.head.names if columns is None or name in columns]
        for place, file in enumerate(self.files):
            before = 0
            for content in _pieces_of(file, self.form, names):
                if content.frame.height == 0:
                    continue
                table = table_of(with_partitions(content, file, self.source), file.name)
                if kind_of(file.name)[0] not in JSON_LINES:  # a line may lack a column that others have
                    table = self._like_head(table, names)
                table = replace(table, rows=table.rows + before)
                before += len(table)
                yield table if len(self.files) == 1 else self._of_several(table, place)

    def _like_head(self, table: Table, names: Sequence[str]) -> Table:
        """A piece with the columns of the first rows, in their order and types; one that it lacks is null there."""
        schema, frame = self.head.frame.schema, table.frame
        columns = [
            pl.lit(None, schema[name]).alias(name)
            if name not in frame.columns
            else pl.col(name)
            if frame.schema[name] == schema[name]
            else pl.col(name).cast(schema[name])
            for name in names
        ]
        index = tuple(name for name in self.head.index if name in names)
        return replace(table, frame=frame.select(columns), declared=self.head.declared, index=index, notes=())

    def _of_several(self, table: Table, place: int) -> Table:
        file_of = np.full(len(table), place, np.int64)
        return replace(table, source=self.head.source, files=tuple(f.name for f in self.files), file_of=file_of)


def why_whole(source: object, form: FileForm, *, json_lines: bool = True) -> str:
    """Why a source can only be read as a whole, in words that follow "it is read a piece at a time, but"; "" if not.

    Args:
        source: what a person named as a table.
        form: how its files are written.
        json_lines: whether they may be JSON Lines.
    """
    if not isinstance(source, str | os.PathLike):
        return "a data frame is in memory already"
    if os.fspath(source) == STDIN:
        return "standard input can be read but once"
    for file in files_of(source):
        extension, packed = kind_of(file.name)
        if packed:
            return f"{file.name} is packed"
        if extension in ARROW and not is_arrow_file(file):
            return f"{file.name} is no Arrow file but a stream"
        if extension not in (*PARQUET, *ARROW, *SEPARATORS, *(JSON_LINES if json_lines else ())):
            return f"{file.name} is none of Parquet, Arrow and delimited text"
        if extension in (*SEPARATORS, *JSON_LINES) and not is_narrow(form.encoding):
            return f"a character of {form.encoding} takes several bytes"
    return ""


def open_shards(source: str | os.PathLike[str], form: FileForm, *, may_be_empty: bool = False) -> Shards:
    """The table of a file, a folder or a pattern of files; see :func:`why_whole`.

    Args:
        source: which.
        form: how the files are written.
        may_be_empty: whether a file may have no rows; else each has some.

    Raises:
        TableError: there is no such file, or the files are not alike; names row, line, column and the way out.
    """
    files = tuple(files_of(source))
    heads = [_head(file, form, source, may_be_empty=may_be_empty) for file in files]
    head = one_of(heads, os.fspath(source))
    beside = left_out_of(source, list(files))
    if beside:
        shown = ", ".join(beside[:5]) + (", ..." if len(beside) > 5 else "")
        note = f"of the folder {head.source} what is no table is not read: {shown}"
        head = replace(head, notes=(*head.notes, note))
    return Shards(files, source, form, head)


def one_after_the_other(tables: Sequence[Table]) -> Table:
    """The rows of pieces of one table."""
    first = tables[0]
    lines = [table.lines for table in tables if table.lines is not None]
    file_of = [table.file_of for table in tables if table.file_of is not None]
    return replace(
        first,
        frame=pl.concat([table.frame for table in tables], rechunk=True),
        rows=np.concatenate([table.rows for table in tables]),
        lines=np.concatenate(lines) if len(lines) == len(tables) else None,
        file_of=np.concatenate(file_of) if len(file_of) == len(tables) else None,
    )


def _head(file: Path, form: FileForm, source: str | os.PathLike[str], *, may_be_empty: bool) -> Table:
    content = next(_pieces_of(file, form, None))  # there is one at least
    return table_of(with_partitions(content, file, source), file.name, may_be_empty=may_be_empty)


def _pieces_of(file: Path, form: FileForm, columns: Sequence[str] | None) -> Iterator[Content]:
    extension, _ = kind_of(file.name)
    if extension in (*PARQUET, *ARROW):
        yield from pieces_of_arrow(file, extension, columns)
        return
    try:
        with file.open("rb") as stream:
            if extension in JSON_LINES:
                yield from pieces_of_json_lines(stream, form.encoding, file.name)
            else:
                yield from pieces_of_delimited(stream, form, SEPARATORS[extension], file.name)
    except FileNotFoundError:
        raise TableError(f"there is no file {file}: check the path") from None
    except OSError as error:
        raise TableError(f"{file} cannot be read: {error.strerror or error}") from None


def is_narrow(encoding: str) -> bool:
    """Whether a line ends in the byte 10, and nothing else is one."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        return True  # which is refused when it is read
    return not name.startswith(("utf-16", "utf-32", "utf-7", "utf_16", "utf_32"))
