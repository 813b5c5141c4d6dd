"""A table: columns as they were read, and where in its source each row stands, so that every error can say so."""

from __future__ import annotations

import difflib
import functools
import hashlib
import io
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.errors import TableError
from rowcast.training.data.beside import Beside, Column
from rowcast.training.data.files.first_row import may_be_row, value_kind
from rowcast.training.data.files.form import Content, FileForm
from rowcast.training.data.files.paths import STDIN, digest_of, files_of, left_out_of
from rowcast.training.data.files.reading import read_file, read_stdin, with_partitions
from rowcast.training.data.frames import plain, to_frame
from rowcast.training.data.index import index_columns

_SAMPLE_ROWS = 20
_OTHER_SEPARATOR = re.compile(r"[,;:|\t ^~]")


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
    typed: Mapping[str, str] = field(default_factory=dict)
    """What the levels of some of them are where they are no texts: ``number``, ``boolean`` or ``date``."""
    notes: tuple[str, ...] = ()
    """What was decided in reading, in sentences that hold no value of any row."""
    index: tuple[str, ...] = ()
    """Columns that number or name the rows of the frame the table was written from."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with columns that no model can take, by name; null in ``frame``, and no error until asked for."""
    files: tuple[str, ...] = ()
    """Names of the files, where the rows come from several."""
    file_of: NDArray[np.int64] | None = None
    """The 0-based place in ``files`` of the file each row stands in, ``[rows]``; ``rows`` and ``lines`` count in it."""
    mixed: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    """What each value was of columns of several kinds, by name, ``[rows]``; in ``frame`` they are texts. See
    :class:`rowcast.training.data.objects.Mixed`."""
    sha256: str = ""
    """Of what was read, where it cannot be read again."""
    array_columns: int | None = None
    """How many columns the array had that the table came as; None where it came with names."""

    def __len__(self) -> int:
        return self.frame.height

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Column names in order; kept, for a table of thousands of columns is asked for them by each."""
        return tuple(self.frame.columns)

    @functools.cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @property
    def keys(self) -> NDArray[np.int64]:
        """A number for each row, ``[rows]``, that is its alone in the source, and grows in its order."""
        return self.rows if self.file_of is None else self.file_of * 2**40 + self.rows

    def where(self, index: int) -> str:
        """Where the row at the 0-based position ``index`` stands in the source: ``row 5 (line 6)``, or ``row 5``."""
        row = f"row {self.rows[index]}"
        row = row if self.lines is None else f"{row} (line {self.lines[index]})"
        return row if self.file_of is None else f"{row} of {self.files[self.file_of[index]]}"

    def take(self, indices: NDArray[np.int64] | Sequence[int]) -> Table:
        """The rows at these 0-based positions, in this order."""
        positions = np.asarray(indices, np.int64)
        lines = None if self.lines is None else self.lines[positions]
        file_of = None if self.file_of is None else self.file_of[positions]
        mixed = {name: kinds[positions] for name, kinds in self.mixed.items()}
        frame, rows = self.frame[positions], self.rows[positions]
        return replace(self, frame=frame, rows=rows, lines=lines, file_of=file_of, mixed=mixed)

    def places_in(self, whole: Table) -> NDArray[np.int64]:
        """The 0-based positions of these rows in the table that they were taken from, ``[rows]``."""

        return np.searchsorted(whole.keys, self.keys)

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
            f"keep it with --keep {named(name)}"
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
                raise TableError(f"--rename {named(old)}= needs a new name after the equals sign")
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
        if name in self.unusable:
            raise TableError(self.unusable[name])

    def _with(self, frame: pl.DataFrame, names: Mapping[str, str]) -> Table:
        """With another frame; ``names`` maps the old names of its columns to those they have there."""
        return replace(
            self,
            frame=frame,
            declared=frozenset(new for old, new in names.items() if old in self.declared),
            typed={names[name]: of for name, of in self.typed.items() if name in names},
            index=tuple(names[name] for name in self.index if name in names),
            mixed={names[name]: kinds for name, kinds in self.mixed.items() if name in names},
            unusable={names[name]: why for name, why in self.unusable.items() if name in names},
        )

    def _find(self, name: str, who: str) -> None:
        if name in self._known:
            return
        close = difflib.get_close_matches(name, self.names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        shown = ", ".join(self.names[:20]) + (f" and {len(self.names) - 20} more" if len(self.names) > 20 else "")
        split = ""
        if len(self.names) == 1 and _OTHER_SEPARATOR.search(self.names[0]):
            split = "; say with --separator what stands between two fields, where that is one column by mistake"
        if who.startswith("--target") and "," in name and all(part.strip() in self._known for part in name.split(",")):
            split = "; a model predicts one target: train one for each, with the others left out by --drop"
        raise TableError(f"{self.source} has no column {name!r}, which {who}: {hint}its columns are {shown}{split}")


def read_table(
    source: str | os.PathLike[str] | Any,
    *,
    form: FileForm | None = None,
    encoding: str = "",
    may_be_empty: bool = False,
) -> Table:
    """Read a table from a file, from several of one kind, from standard input or from memory.

    Args:
        source: a path, a folder, a pattern such as ``data/*.csv``, ``-`` for standard input (see
            :data:`rowcast.training.data.files.extensions.EXTENSIONS`); or what
            :func:`rowcast.training.data.frames.to_frame` takes; or such a table with columns beside it.
        form: how a file is written, as far as it is known.
        encoding: of a text file; instead of the form's.
        may_be_empty: whether it may have no rows. JSON without rows has no columns either.

    Raises:
        TableError: it cannot be read as a table, or breaks a rule; names row, line, column and the way out.
        ConfigError: the form names a separator that is none.
    """
    form = form or FileForm()
    if encoding:
        form = replace(form, encoding=encoding)
    if isinstance(source, Beside):
        return _with_columns(read_table(source.table, form=form), source.columns)
    if not isinstance(source, str | os.PathLike):
        read = to_frame(source)
        content = Content(read.frame, written=read.written, mixed=read.mixed)
        called = "data frame" if read.array_columns is None else "array"
        table = table_of(content, called, may_be_empty=may_be_empty)
        return replace(table, unusable=read.unusable, typed=read.typed, array_columns=read.array_columns)
    if os.fspath(source) == STDIN:
        content, digest = read_stdin(form)
        return replace(table_of(content, "standard input", may_be_empty=may_be_empty), sha256=digest)
    files = files_of(source)
    contents = ((file.name, with_partitions(read_file(file, form), file, source)) for file in files)
    tables = [table_of(content, name, may_be_empty=may_be_empty) for name, content in contents]
    table = one_of(tables, os.fspath(source))
    beside = left_out_of(source, files)
    if not beside:
        return table
    shown = ", ".join(beside[:5]) + (", ..." if len(beside) > 5 else "")
    return replace(table, notes=(*table.notes, f"of the folder {table.source} what is no table is not read: {shown}"))


def _with_columns(table: Table, columns: Mapping[str, Column]) -> Table:
    """A table with columns that came beside it.

    Raises:
        TableError: one of them is not as long as the table, or bears the name of another.
    """
    for name, column in columns.items():
        if name in table.names:
            raise TableError(f"{table.source} has a column {name!r} already: give {column.argument}= another name")
        if len(column.values) != len(table):
            raise TableError(
                f"{column.argument}= must hold a value for each row of the table: it holds {len(column.values):,} and "
                f"the table {len(table):,} rows"
            )
        read = to_frame({name: column.values})
        other = table_of(Content(read.frame, mixed=read.mixed), table.source)
        table = replace(
            table,
            frame=table.frame.hstack(other.frame),
            declared=table.declared | other.declared,
            typed={**table.typed, **read.typed},
            unusable={**table.unusable, **read.unusable},
            mixed={**table.mixed, **other.mixed},
        )
    return table


def table_of(content: Content, source: str, *, may_be_empty: bool = False) -> Table:
    """What was read from a file, or came from memory, as a table.

    Args:
        content: which.
        source: what errors call it.
        may_be_empty: whether it may have no rows.

    Raises:
        TableError: it has no columns or no rows, or a column without a name.
    """
    frame = content.frame
    if content.is_nameless and not may_be_empty:
        raise TableError(f"{source} {content.without_rows}")
    if not frame.columns and not content.is_nameless:
        raise TableError(f"{source} is empty: a table needs at least one column")
    if not all(name.strip() for name in frame.columns):
        raise TableError(f"{source}: every column needs a name; one of them has none; name it first")
    if frame.height == 0 and not may_be_empty:
        raise TableError(f"{source} {content.without_rows}")
    declared = frozenset(name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Categorical | pl.Enum))
    frame = frame if content.is_text else plain(frame)
    index = index_columns(frame, content.written)
    rows = np.arange(1, frame.height + 1)
    notes = content.notes if content.is_text else (*content.notes, *_notes_on_names(frame))
    mixed = content.mixed
    return Table(frame, source, rows, content.lines, declared=declared, notes=notes, index=index, mixed=mixed)


def _notes_on_names(frame: pl.DataFrame) -> list[str]:
    """A sentence on names of a data frame that may be a row of the file it was read from; none is said aloud."""
    if not any(value_kind(name) for name in frame.columns):
        return []
    plainly = [
        column.cast(pl.String) if column.dtype.is_numeric() or column.dtype in (pl.String, pl.Date) else None
        for column in frame.head(_SAMPLE_ROWS).get_columns()
    ]
    width = min(len(frame), _SAMPLE_ROWS)
    columns = [[""] * width if texts is None else texts.fill_null("").to_list() for texts in plainly]
    if not may_be_row(frame.columns, [list(row) for row in zip(*columns, strict=True)]):
        return []
    note = "the names of the columns look like a row of values: if the data frame was read from a file without names, "
    return [f"{note}read that with header=None"]


def one_of(tables: Sequence[Table], source: str) -> Table:
    """The tables of one or several files as one; see :func:`joined`."""
    named = [table for table in tables if table.names] or tables[:1]  # JSON without rows names no columns
    return named[0] if len(named) == 1 else joined(named, source)


def joined(tables: Sequence[Table], source: str) -> Table:
    """The rows of several files, one after the other; each must have the columns of the first, in any order.

    Raises:
        TableError: they differ; names the files.
    """
    first = tables[0]
    for table in tables[1:]:
        lacks, more = sorted(set(first.names) - set(table.names)), sorted(set(table.names) - set(first.names))
        if lacks or more:
            differ = " and ".join(
                f"{verb} {', '.join(map(repr, names[:5]))}"
                for verb, names in (("lacks", lacks), ("adds", more))
                if names
            )
            raise TableError(
                f"{source}: its {len(tables)} files must have the same columns, but {table.source} {differ}, compared "
                f"with {first.source}: make them alike, or name one file"
            )
    for name in first.names:
        _check_alike(name, tables, source)
    held = [table for table in tables if len(table)] or tables[:1]  # no rows tell no types
    frame = pl.concat([table.frame.select(first.names) for table in held], how="vertical_relaxed")
    file_of = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    lines = [table.lines for table in tables if table.lines is not None]
    return Table(
        frame,
        f"{source} ({len(tables)} files)",
        np.concatenate([table.rows for table in tables]),
        np.concatenate(lines) if len(lines) == len(tables) else None,
        declared=frozenset.union(*(table.declared for table in tables)),
        notes=(f"the rows of {len(tables)} files stand one after the other, in the order of their names", *notes),
        index=tuple(name for name in first.names if any(name in table.index for table in tables)),
        files=tuple(table.source for table in tables),
        file_of=file_of,
        mixed={name: _kinds(name, tables) for name in first.names if any(name in table.mixed for table in tables)},
    )


def _kinds(name: str, tables: Sequence[Table]) -> NDArray[np.str_]:
    """What each value of a column of texts was, in all of several tables."""
    texts = [np.where(table.frame[name].is_null().to_numpy(), "", "text") for table in tables]
    return np.concatenate([table.mixed.get(name, plain) for table, plain in zip(tables, texts, strict=True)])


def _check_alike(name: str, tables: Sequence[Table], source: str) -> None:
    """Make sure a column is of one type in all files; numbers of any type are, and a column of nulls is of any."""
    seen: dict[str, Table] = {}
    for table in tables:
        dtype = table.frame.schema[name]
        if dtype != pl.Null and len(table):
            kind = "number" if dtype.is_numeric() else "date" if dtype in (pl.Date, pl.Datetime) else str(dtype)
            seen.setdefault(kind, table)
    if len(seen) > 1:
        one, other = list(seen.values())[:2]
        raise TableError(
            f"{source}: column {name!r} must be of one type in all files, got {one.frame.schema[name]} in {one.source} "
            f"and {other.frame.schema[name]} in {other.source}: write them alike"
        )


def sha256_of(source: Any, table: Table) -> str:
    """Of a table as it came."""
    if table.sha256:
        return table.sha256
    if isinstance(source, (str, os.PathLike)):
        return digest_of(files_of(source))
    buffer = io.BytesIO()
    table.frame.write_ipc(buffer)
    return hashlib.sha256(buffer.getvalue()).hexdigest()
