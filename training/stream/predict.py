"""Predictions for a table of any size: read, answered and written a piece at a time."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.repository import Manifest, StoredModel
from rowcast.models.signature import Signature
from rowcast.training.data.files.extensions import JSON_LINES, SEPARATORS, kind_of
from rowcast.training.data.files.form import FileForm
from rowcast.training.data.files.paths import STDIN, files_of
from rowcast.training.data.files.reading import kind_of_bytes, read_input
from rowcast.training.data.shards.shards import is_narrow, open_shards, why_whole
from rowcast.training.data.shards.text import names_in, pieces_of_delimited, pieces_of_json_lines
from rowcast.training.data.table import Table, read_table, table_of
from rowcast.training.predict import (
    CHUNK_ROWS,
    answers_of,
    as_sent,
    beside,
    bulk_session,
    check_columns,
    check_kept,
    columns_for,
    form_for,
    kept_of,
    label_type_in,
    nulls_of,
    predict_columns,
    renaming,
    unknown_kept,
)
from rowcast.training.stream.write import write_pieces

PIECE_ROWS = 8 * CHUNK_ROWS
"""Rows that are answered at a time: of a size that runs of the graph divide, so that answers are those of a table in
memory to the last bit."""
_HEAD_BYTES = 1 << 16

Answer = Callable[[dict[str, NDArray[Any]], int], Mapping[str, Any]]
"""Answers by name to so many rows, given the model's columns ``[rows]`` each."""


def predict_file(
    model: StoredModel,
    source: str | os.PathLike[str],
    out: Path,
    *,
    keep: Sequence[str] = (),
    encoding: str | None = None,
    separator: str | None = None,
) -> int:
    """Write predictions for each row of a table, as :func:`rowcast.training.predict.predict_table` gives them.

    Args:
        model: see :meth:`rowcast.models.repository.Repository.open`.
        source: a file, a folder or a pattern of files, or ``-`` for standard input. What is no Parquet, Arrow,
            delimited text or JSON Lines, or is packed, is read into memory. Without rows there are no predictions, and
            their columns are written all the same.
        out: see :func:`rowcast.training.stream.write.write_pieces`.
        keep: columns of the table to carry along, before the predictions.
        encoding: of a text file; the one of the training table when not given.
        separator: of its fields; found when neither this nor the training named one.

    Returns:
        how many rows there were.

    Raises:
        TableError: the table lacks a column or holds a value that does not fit; nothing is written.
        OSError: the file cannot be written.
    """
    manifest, session = model.manifest, bulk_session(model)
    signature, labels = manifest.signature, label_type_in(manifest)

    def answer(columns: dict[str, NDArray[Any]], rows: int) -> Mapping[str, Any]:
        return answers_of(predict_columns(session, columns), signature, labels)

    rename = manifest.config.get("data", {}).get("rename", {})

    tables = _tables(source, form_for(manifest, encoding, separator), manifest)
    renamed = ((_renamed(table, manifest), may_lack) for table, may_lack in tables)
    asked = _Asked(signature, manifest.name, keep, rename, nulls_of(manifest))
    return write_pieces(out, _answered(renamed, asked, answer))


def predict_file_elsewhere(
    ask: Callable[[dict[str, Any], int], Mapping[str, Any]],
    signature: Signature,
    name: str,
    source: str | os.PathLike[str],
    out: Path,
    *,
    keep: Sequence[str] = (),
    encoding: str | None = None,
    separator: str | None = None,
) -> int:
    """Write predictions of somebody else for each row of a table, as :func:`predict_file` does.

    Args:
        ask: predicts: given columns by name and how many rows they have. NaN, NaT and "" are missing.
        signature: the model's.
        name: the model's.
        source: as for :func:`predict_file`; its columns have the model's names.
        out: likewise.
        keep: likewise.
        encoding: of a text file; UTF-8 when not given.
        separator: of its fields; found when not given.
    """
    tables = _tables(source, FileForm(encoding or "utf-8", separator or ""), None)

    def answer(columns: dict[str, NDArray[Any]], rows: int) -> Mapping[str, Any]:
        return as_sent(ask, signature, columns, rows)

    return write_pieces(out, _answered(tables, _Asked(signature, name, keep, {}, frozenset()), answer))


def _renamed(table: Table, manifest: Manifest) -> Table:
    present = renaming(table.names, manifest)
    return table.rename(present) if present else table


# ─── the pieces of a table ───────────────────────────────────────────────────────────────────────────────────────────


def _tables(source: str | os.PathLike[str], form: FileForm, manifest: Manifest | None) -> Iterator[tuple[Table, bool]]:
    """A table in pieces, or as a whole where its files have none; and whether a piece may lack a column that others
    have, as a line of JSON may."""
    if os.fspath(source) == STDIN:
        yield from _of_stdin(form, manifest)
        return
    if why_whole(source, form):
        yield _whole(read_table(source, form=form, may_be_empty=True))
        return
    file = files_of(source)[0]
    extension, _ = kind_of(file.name)
    if extension in SEPARATORS and file.is_file():
        with file.open("rb") as stream:
            form = _named(form, stream.read(_HEAD_BYTES), SEPARATORS[extension], manifest)
    shards, has_rows = open_shards(source, form, may_be_empty=True), False
    for table in shards.pieces():
        yield table, extension in JSON_LINES
        has_rows = True
    if not has_rows:
        yield _whole(shards.head)


def _whole(table: Table) -> tuple[Table, bool]:
    """A table in one piece. One of no rows may name no column, and then lacks none."""
    return table, not table.names


def _of_stdin(form: FileForm, manifest: Manifest | None) -> Iterator[tuple[Table, bool]]:
    """Standard input: text as it comes, all else as a whole."""
    stream, name = cast(BinaryIO, sys.stdin.buffer), "standard input"
    beginning = stream.read(_HEAD_BYTES)
    text = cast(BinaryIO, io.BufferedReader(_Again(beginning, stream)))
    kind = kind_of_bytes(beginning) if is_narrow(form.encoding) else ""
    if kind == ".csv":
        contents = pieces_of_delimited(text, _named(form, beginning, ",", manifest), ",", name)
    elif kind == ".json" and not beginning.lstrip().startswith(b"["):
        contents = pieces_of_json_lines(text, form.encoding, name)
    else:
        yield _whole(table_of(read_input(text.read(), form), name, may_be_empty=True))
        return
    before = 0
    for content in contents:
        table = table_of(content, name, may_be_empty=True)
        yield replace(table, rows=table.rows + before), kind == ".json"
        before += len(table)


class _Again(io.RawIOBase):
    """A stream whose first bytes were read already."""

    def __init__(self, first: bytes, stream: BinaryIO) -> None:
        self._first, self._stream = first, stream

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        data, self._first = self._first[: len(into)], self._first[len(into) :]
        data = data or self._stream.read(len(into))
        into[: len(data)] = data
        return len(data)


def _named(form: FileForm, beginning: bytes, default: str, manifest: Manifest | None) -> FileForm:
    """How delimited text is written whose first line holds the names of a model, even where they look like a row."""
    if form.header is not None or manifest is None:
        return form
    names = names_in(beginning, form, default)
    present = renaming(names, manifest)
    known = {present.get(name, name) for name in names}
    return replace(form, header=True) if known.issuperset(manifest.signature.names) else form


# ─── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Asked:
    """What is read of a table, and how."""

    signature: Signature
    name: str
    keep: Sequence[str]
    rename: Mapping[str, str]
    nulls: frozenset[str]


def _answered(tables: Iterator[tuple[Table, bool]], asked: _Asked, answer: Answer) -> Iterator[pl.DataFrame]:
    """The kept columns and the answers, a piece at a time."""
    seen: dict[str, None] = {}
    for kept, columns, rows in _in_steps(_read(tables, asked, seen), PIECE_ROWS):
        yield beside(kept, answer(columns, rows))
    if not seen:  # JSON without rows, of which nothing can be lacking
        return
    check_columns(seen, "the table", asked.signature, asked.name)  # some line of JSON has to hold each
    unknown = [one for one in asked.keep if one not in seen and asked.rename.get(one, one) not in seen]
    if unknown:
        raise unknown_kept(unknown, seen)


_Read = tuple[pl.DataFrame, dict[str, NDArray[Any]], int]


def _read(tables: Iterator[tuple[Table, bool]], asked: _Asked, seen: dict[str, None]) -> Iterator[_Read]:
    """The kept columns of each piece, and the model's; ``seen`` gets the names of all columns."""
    for piece, may_lack in tables:
        seen.update(dict.fromkeys(piece.names))
        table = _with_nulls(piece, [*asked.signature.names, *asked.keep]) if may_lack else piece
        kept = {one: one if one in table.names else asked.rename.get(one, one) for one in asked.keep}
        check_kept(table, kept)
        yield kept_of(table, kept), columns_for(table, asked.signature, asked.name, asked.nulls), len(table)


def _with_nulls(table: Table, names: Sequence[str]) -> Table:
    """With a column of nulls for each name that is not there."""
    absent = [name for name in dict.fromkeys(names) if name not in table.names]
    nulls = pl.repeat(None, len(table), dtype=pl.Null)  # a literal would make a row where there are none
    return replace(table, frame=table.frame.with_columns(nulls.alias(name) for name in absent))


def _in_steps(read: Iterator[_Read], step: int) -> Iterator[_Read]:
    """The same rows in pieces of a multiple of ``step`` rows, but for the last one."""
    held: list[_Read] = []
    for one in read:
        held.append(one)
        rows = sum(n for _, _, n in held)
        if rows < step:
            continue
        kept, columns, _ = _joined(held)
        for start in range(0, rows - rows % step, step):
            yield _slice(kept, columns, start, start + step)
        held = [_slice(kept, columns, rows - rows % step, rows)] if rows % step else []
    if held:
        yield _joined(held)


def _slice(kept: pl.DataFrame, columns: dict[str, NDArray[Any]], start: int, stop: int) -> _Read:
    part = kept.slice(start, stop - start) if kept.width else kept
    return part, {name: values[start:stop] for name, values in columns.items()}, stop - start


def _joined(held: Sequence[_Read]) -> _Read:
    if len(held) == 1:
        return held[0]
    return (
        pl.concat([kept for kept, _, _ in held], how="vertical_relaxed") if held[0][0].width else held[0][0],
        {name: np.concatenate([columns[name] for _, columns, _ in held]) for name in held[0][1]},
        sum(rows for _, _, rows in held),
    )
