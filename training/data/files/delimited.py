"""Delimited text (CSV, TSV) to a frame of strings, by RFC 4180, and a refusal of everything that bends it.

A CSV reader that pads a short row or guesses at a stray quote moves values into the wrong column without a word. Here
the whole text is checked first, with arrays and not row by row: quotes split it into inside and outside, and every row
must hold as many fields as the header. Text whose quotes do not stand where quotes may stand, or whose lines end in a
bare carriage return, is read field by field instead: slow, exact, and with a precise refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import polars as pl

from rowcast.models.errors import TableError
from rowcast.training.data.files.encoding import to_utf8
from rowcast.training.data.files.form import HEADER_ALONE, WHOLE, Before, Content, FileForm
from rowcast.training.data.files.header import check_header, filled_in, numbered_names, refuse_row, settle_unnamed
from rowcast.training.data.files.rows import Scan, scan_rows
from rowcast.training.data.files.separators import SAMPLE, check_said, check_separator, said_by_excel, sniff, spoken
from rowcast.training.data.index import PandasMetadata

_SAMPLE_ROWS = 100


def read_delimited(data: bytes, form: FileForm, default: str, source: str, before: Before = WHOLE) -> Content:
    """Read delimited text. A field that is empty, quoted or not, is null. A header alone is a table of no rows.

    Args:
        data: the whole file.
        form: what is known about it.
        default: the separator of most files of its extension.
        source: what errors call the file.
        before: what of the file stands between the header and these rows, which are read as if they followed it.

    Returns:
        the columns, all strings, and for each row the physical line it begins on, ``[rows]``, the first being 1.

    Raises:
        TableError: the text breaks a rule; names row, line, column and the way out.
        ConfigError: the separator that was named is none.
    """
    wide = form.encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32", "utf16", "utf32"))
    said = check_separator(form.separator) if form.separator else ""
    guessed = said or (default if wide else said_by_excel(data)[0] or sniff(data, default))
    data = to_utf8(data, guessed, form.encoding, source, before)
    by_excel, begin = said_by_excel(data)
    separator = said or by_excel or (sniff(data, default) if wide else guessed)
    if said:
        check_said(data, said, source)
    data = data[begin:] if begin else data
    if not data.strip():
        raise TableError(f"{source} is empty: a table begins with a line of column names")
    first_line = (2 if begin else 1) + before.lines
    if form.header is False:
        n_fields = len(next(walk(_beginning(data), separator, source, ())).fields)
        data = separator.join(numbered_names(n_fields)).encode() + b"\n" + data
        first_line -= 1
    content = _read(data, separator, source, first_line, before.rows, said_header=form.header is not None)
    notes = (f"fields are separated by {spoken(separator)}",) if separator != default else ()
    return replace(content, notes=(*notes, *content.notes))


def _read(data: bytes, separator: str, source: str, first_line: int, before: int, *, said_header: bool) -> Content:
    """Read UTF-8 text whose first line holds the names."""
    scan = scan_rows(data, separator)
    if scan is None:
        return _read_by_field(data, separator, source, first_line, before, said_header=said_header)
    scan = replace(scan, lines=scan.lines + (first_line - 1))
    header_end = int(scan.ends[0])
    header = next(walk(data[:header_end].decode(), separator, source, (), first_line)).fields
    names, notes = _names(header, data, separator, source, first_line, said_header=said_header)
    rows = _count_rows(data, scan, names, source, before)
    if rows == 0:
        return _without_rows(names, header, notes, source, first_line)
    body = data[header_end : int(scan.ends[rows])]
    try:
        frame = pl.read_csv(
            body, separator=separator, has_header=False, infer_schema=False, schema=dict.fromkeys(names, pl.String)
        )
    except pl.exceptions.PolarsError:
        return _read_by_field(data, separator, source, first_line, before, said_header=said_header)
    if frame.height != rows:  # the two readers disagree, so the slow and strict one decides
        return _read_by_field(data, separator, source, first_line, before, said_header=said_header)
    frame, index = settle_unnamed(_empty_to_null(frame), header, source, first_line)
    return Content(frame, scan.lines[1 : rows + 1], notes, PandasMetadata(index), is_text=True)


def _names(
    header: Sequence[str], data: bytes, separator: str, source: str, line: int, *, said_header: bool
) -> tuple[list[str], tuple[str, ...]]:
    """The names of the columns, and what is to be told about them."""
    if not said_header:
        refuse_row(header, _first_rows(data, separator, source), source, line)
    check_header(header, source, line, said=said_header)
    is_counted = not said_header and len(header) > 1 and all(name.isdecimal() for name in header)
    notes = ("the first line holds numbers that count up, which are taken for the column names",) if is_counted else ()
    return filled_in(header)[0], notes


def _without_rows(
    names: Sequence[str], header: Sequence[str], notes: tuple[str, ...], source: str, first_line: int
) -> Content:
    """A header alone."""
    frame, index = settle_unnamed(pl.DataFrame(schema=dict.fromkeys(names, pl.String)), header, source, first_line)
    lines, written = np.zeros(0, np.int64), PandasMetadata(index)
    return Content(frame, lines, notes, written, is_text=True, without_rows=HEADER_ALONE)


def _beginning(data: bytes) -> str:
    """The first lines of the text; the last of them may be cut."""
    return data[:SAMPLE].decode(errors="ignore")


def _first_rows(data: bytes, separator: str, source: str) -> list[list[str]]:
    text = _beginning(data)
    rows: list[list[str]] = []
    with suppress(TableError):  # the whole text is read later, and refused there with its place
        rows.extend(record.fields for record in islice(walk(text, separator, source, ()), 1, _SAMPLE_ROWS + 1))
    return rows


def _empty_to_null(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


# --- whole columns at once -------------------------------------------------------------------------------------------


def _count_rows(data: bytes, scan: Scan, header: Sequence[str], source: str, before: int) -> int:
    """Rows after the header, once each holds as many fields as the header; blank lines at the end are no rows."""
    total = len(scan.ends)
    if len(header) > 1:  # in a table of one column a blank line is a row that holds null
        while total > 1 and not data[scan.ends[total - 2] : scan.ends[total - 1]].strip(b"\r\n"):
            total -= 1
    wrong = np.flatnonzero(scan.n_fields[1:total] != len(header))
    if len(wrong):
        row = int(wrong[0]) + 1
        line = data[scan.ends[row - 1] : scan.ends[row]]
        raise TableError(
            _ragged(source, before + row, int(scan.lines[row]), int(scan.n_fields[row]), header, line.decode())
        )
    return total - 1


# --- field by field ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    fields: list[str]
    line: int
    text: str


def _read_by_field(
    data: bytes, separator: str, source: str, first_line: int, before: int, *, said_header: bool
) -> Content:
    records = walk(data.decode(), separator, source, (), first_line)
    header = next(records).fields
    names, notes = _names(header, data, separator, source, first_line, said_header=said_header)
    kept = list(walk(data.decode(), separator, source, names, first_line, before))
    while len(header) > 1 and not kept[-1].text.strip("\r\n"):
        kept.pop()
    for row, record in enumerate(kept[1:], before + 1):
        if len(record.fields) != len(header):
            raise TableError(_ragged(source, row, record.line, len(record.fields), names, record.text))
    if len(kept) == 1:
        return _without_rows(names, header, notes, source, first_line)
    columns = zip(*(record.fields for record in kept[1:]), strict=True)
    frame = pl.DataFrame([pl.Series(name, column, pl.String) for name, column in zip(names, columns, strict=True)])
    frame, index = settle_unnamed(_empty_to_null(frame), header, source, first_line)
    lines = np.array([record.line for record in kept[1:]], np.int64)
    return Content(frame, lines, notes, PandasMetadata(index), is_text=True)


def walk(
    text: str, separator: str, source: str, header: Sequence[str], first_line: int = 1, before: int = 0
) -> Iterator[Record]:
    """Read one row after the other. A bare carriage return ends a row too; a quote inside a bare field is itself."""
    sep = re.escape(separator)
    field = re.compile(rf'(?:"(?P<quoted>[^"]*(?:""[^"]*)*)"|(?P<bare>(?!")[^{sep}\r\n]*))(?P<end>{sep}|\r\n|\r|\n|\Z)')
    at, line, row = 0, first_line, 0
    while at < len(text) or row == 0:
        began_at, began_line, end = at, line, separator
        fields: list[str] = []
        while end == separator:
            match = field.match(text, at)
            if match is None:
                where = "the header" if row == 0 else f"row {before + row}"
                named = f"column {header[len(fields)]!r}" if len(fields) < len(header) else f"field {len(fields) + 1}"
                raise TableError(
                    f"{source}: {where} (line {line}), {named} opens a quote that is not closed where the field ends: "
                    'add the closing quote, or write a quote inside quotes twice ("")'
                )
            quoted, bare, end = match.group("quoted", "bare", "end")
            fields.append(bare if quoted is None else quoted.replace('""', '"'))
            line += 0 if quoted is None else quoted.count("\n")
            at = match.end()
        line += 1
        yield Record(fields, began_line, text[began_at:at])
        row += 1


# --- what is refused --------------------------------------------------------------------------------------------------


def _ragged(source: str, row: int, line: int, n_fields: int, header: Sequence[str], text: str) -> str:
    where = f"{source}: row {row} (line {line})"
    if not text.strip("\r\n"):
        return f"{where} is blank: take the line out of the file"
    count = "1 field" if n_fields == 1 else f"{n_fields} fields"
    if n_fields < len(header):
        missing = f"column {header[n_fields]!r} is missing"
        return f"{where} has {count}, but the header has {len(header)}: {missing}; fill the row in, or take it out"
    if len(header) == 1:
        return (
            f"{where} has {count}, but the header has 1: take a title or a comment above the column names out of the "
            "file, or say with --separator what stands between two fields"
        )
    return (
        f"{where} has {count}, but the header has {len(header)}: nothing may follow column {header[-1]!r}; "
        "put a value that holds the separator in quotes, or take the row out"
    )
