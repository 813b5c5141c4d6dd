"""Delimited text (CSV, TSV) to a frame of strings, by RFC 4180, and a refusal of everything that bends it.

A CSV reader that pads a short row or guesses at a stray quote moves values into the wrong column without a word. Here
the whole text is checked first, with arrays and not row by row: quotes split it into inside and outside, and every row
must hold as many fields as the header. Text whose quotes do not stand where quotes may stand, or whose lines end in a
bare carriage return, is read field by field instead: slow, exact, and with a precise refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import TableError
from training.data.encoding import to_utf8

CHUNK = 1 << 23
"""Bytes checked at a time: bounds the memory of the check, whatever the size of the file."""

_LF, _CR, _QUOTE = 10, 13, 34
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def read_delimited(data: bytes, separator: str, encoding: str, source: str) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Read delimited text whose first line is the header. A field that is empty, quoted or not, is null.

    Args:
        data: the whole file.
        separator: ``","`` or a tab.
        encoding: any text encoding Python knows.
        source: what errors call the file.

    Returns:
        the columns, all strings, and for each row the physical line it begins on, ``[rows]``, the header's being 1.

    Raises:
        TableError: the text breaks a rule; names row, line, column and the way out.
    """
    data = to_utf8(data, separator, encoding, source)
    if not data.strip():
        raise TableError(f"{source} is empty: a table begins with a line of column names")
    scan = _scan(data, separator) if _QUOTE in data or _CR in data else _scan_plain(data, separator)
    if scan is None:
        return _read_by_field(data, separator, source)
    header_end = int(scan.ends[0])
    header = next(_walk(data[:header_end].decode(), separator, source, ())).fields
    _check_header(header, source)
    rows = _count_rows(data, scan, header, source)
    if rows == 0:
        raise TableError(_headed_but_empty(source))
    body = data[header_end : int(scan.ends[rows])]
    try:
        frame = pl.read_csv(
            body, separator=separator, has_header=False, infer_schema=False, schema=dict.fromkeys(header, pl.String)
        )
    except pl.exceptions.PolarsError:
        return _read_by_field(data, separator, source)
    if frame.height != rows:  # the two readers disagree, so the slow and strict one decides
        return _read_by_field(data, separator, source)
    return _empty_to_null(frame), scan.lines[1 : rows + 1]


def _empty_to_null(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


# --- structure --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scan:
    """Every row of the text, the header being the first.

    ``ends`` are the byte offsets where rows end, their line end included; ``n_fields`` how many fields each has;
    ``lines`` the physical line each begins on. All ``[rows]`` int64.
    """

    ends: NDArray[np.int64]
    n_fields: NDArray[np.int64]
    lines: NDArray[np.int64]


def _scan_plain(data: bytes, separator: str) -> _Scan:
    """Find the rows of text without quotes and carriage returns."""
    bytes_ = np.frombuffer(data, np.uint8)
    ends, n_separators, pending = [], [], 0
    for start in range(0, len(data), CHUNK):
        chunk = bytes_[start : start + CHUNK]
        newlines = np.flatnonzero(chunk == _LF)
        counts, pending = _count_between(np.flatnonzero(chunk == ord(separator)), newlines, pending)
        ends.append(newlines + start + 1)
        n_separators.append(counts)
    return _close(data, ends, n_separators, pending, None)


def _scan(data: bytes, separator: str) -> _Scan | None:
    """Find the rows of any text, or None where a quote or a carriage return stands where none may."""
    bytes_ = np.frombuffer(data, np.uint8)
    ends, n_separators, lines, pending = [], [], [], 0
    inside_before, line = 0, 0
    for start in range(0, len(data), CHUNK):
        chunk = bytes_[start : start + CHUNK]
        inside = np.bitwise_xor.accumulate((chunk == _QUOTE).view(np.uint8)) ^ np.uint8(inside_before)
        outside = inside == 0
        if not _quotes_in_order(bytes_, np.flatnonzero(chunk == _QUOTE), start, inside, ord(separator)):
            return None
        returns = np.flatnonzero((chunk == _CR) & outside) + start + 1
        if np.any(bytes_[np.minimum(returns, len(data) - 1)] != _LF):
            return None
        newlines = np.flatnonzero(chunk == _LF)
        row_ends = newlines[outside[newlines]]
        counts, pending = _count_between(np.flatnonzero((chunk == ord(separator)) & outside), row_ends, pending)
        ends.append(row_ends + start + 1)
        n_separators.append(counts)
        lines.append(np.searchsorted(newlines, row_ends, side="right") + line)
        line += len(newlines)
        inside_before = int(inside[-1])
    if inside_before:
        return None
    return _close(data, ends, n_separators, pending, np.concatenate(lines))


def _quotes_in_order(
    data: NDArray[np.uint8], quotes: NDArray[np.int64], start: int, inside: NDArray[np.uint8], separator: int
) -> bool:
    """Whether each quote opens a field at its beginning, closes it at its end, or is half of a doubled quote."""
    opening = inside[quotes] == 1
    at = quotes + start
    before = data[np.maximum(at - 1, 0)]
    before[at == 0] = _LF
    after = data[np.minimum(at + 1, len(data) - 1)]
    after[at == len(data) - 1] = _LF
    may_precede = (before == separator) | (before == _LF) | (before == _QUOTE)
    may_follow = (after == separator) | (after == _LF) | (after == _QUOTE) | (after == _CR)
    return bool(np.all(np.where(opening, may_precede, may_follow)))


def _count_between(
    separators: NDArray[np.int64], row_ends: NDArray[np.int64], pending: int
) -> tuple[NDArray[np.int64], int]:
    """Separators of each row that ends in this chunk, and those of the row that is still open."""
    passed = np.searchsorted(separators, row_ends)
    counts = np.diff(passed, prepend=0)
    if len(counts) == 0:
        return counts, pending + len(separators)
    counts[0] += pending
    return counts, len(separators) - int(passed[-1])


def _close(
    data: bytes,
    ends: list[NDArray[np.int64]],
    n_separators: list[NDArray[np.int64]],
    pending: int,
    lines_after: NDArray[np.int64] | None,
) -> _Scan:
    """Join the chunks, with the last row where it lacks its line end."""
    all_ends, counts = np.concatenate(ends), np.concatenate(n_separators)
    after = np.arange(2, len(all_ends) + 2) if lines_after is None else lines_after + 1
    lines = np.concatenate([[1], after])
    if len(all_ends) == 0 or all_ends[-1] < len(data):
        all_ends, counts = np.append(all_ends, len(data)), np.append(counts, pending)
    return _Scan(all_ends, counts + 1, lines[: len(all_ends)])


def _count_rows(data: bytes, scan: _Scan, header: Sequence[str], source: str) -> int:
    """Rows after the header, once each holds as many fields as the header; blank lines at the end are no rows."""
    total = len(scan.ends)
    if len(header) > 1:  # in a table of one column a blank line is a row that holds null
        while total > 1 and not data[scan.ends[total - 2] : scan.ends[total - 1]].strip(b"\r\n"):
            total -= 1
    wrong = np.flatnonzero(scan.n_fields[1:total] != len(header))
    if len(wrong):
        row = int(wrong[0]) + 1
        line = data[scan.ends[row - 1] : scan.ends[row]]
        raise TableError(_ragged(source, row, int(scan.lines[row]), int(scan.n_fields[row]), header, line.decode()))
    return total - 1


# --- field by field ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Record:
    fields: list[str]
    line: int
    text: str


def _read_by_field(data: bytes, separator: str, source: str) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    records = _walk(data.decode(), separator, source, ())
    header = next(records).fields
    _check_header(header, source)
    kept = list(_walk(data.decode(), separator, source, header))
    while len(header) > 1 and not kept[-1].text.strip("\r\n"):
        kept.pop()
    for row, record in enumerate(kept[1:], 1):
        if len(record.fields) != len(header):
            raise TableError(_ragged(source, row, record.line, len(record.fields), header, record.text))
    if len(kept) == 1:
        raise TableError(_headed_but_empty(source))
    columns = zip(*(record.fields for record in kept[1:]), strict=True)
    frame = pl.DataFrame([pl.Series(name, column, pl.String) for name, column in zip(header, columns, strict=True)])
    return _empty_to_null(frame), np.array([record.line for record in kept[1:]], np.int64)


def _walk(text: str, separator: str, source: str, header: Sequence[str]) -> Iterator[_Record]:
    """Read one row after the other. A bare carriage return ends a row too; a quote inside a bare field is itself."""
    field = re.compile(
        rf'(?:"(?P<quoted>[^"]*(?:""[^"]*)*)"|(?P<bare>(?!")[^{separator}\r\n]*))(?P<end>{separator}|\r\n|\r|\n|\Z)'
    )
    at, line, row = 0, 1, 0
    while at < len(text) or row == 0:
        began_at, began_line, end = at, line, separator
        fields: list[str] = []
        while end == separator:
            match = field.match(text, at)
            if match is None:
                where = "the header" if row == 0 else f"row {row}"
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
        yield _Record(fields, began_line, text[began_at:at])
        row += 1


# --- what is refused --------------------------------------------------------------------------------------------------


def _check_header(header: Sequence[str], source: str) -> None:
    if not any(name.strip() for name in header):
        raise TableError(f"{source}: the first line must hold the column names, however: it is blank")
    for position, name in enumerate(header, 1):
        if not name.strip():
            raise TableError(
                f"{source}: every column needs a name, however: the header (line 1) leaves column {position} of "
                f"{len(header)} without one; name it there, or take the column out of the file"
            )
    if len(set(header)) < len(header):
        name = next(name for i, name in enumerate(header) if name in header[:i])
        places = " and ".join(str(i) for i, other in enumerate(header, 1) if other == name)
        raise TableError(
            f"{source}: column names must differ, however: the header (line 1) holds {name!r} as columns {places}; "
            "rename one of them in the file"
        )
    if all(_NUMBER.fullmatch(name) for name in header) and not _counts_up(header):
        raise TableError(
            f"{source}: the first line must hold the column names, however: it holds only numbers, such as "
            f"{header[0]!r}; add a line of names above it"
        )


def _counts_up(header: Sequence[str]) -> bool:
    """Whether the names are 0, 1, 2, ... or 1, 2, 3, ..., as tools name columns that have no names."""
    return any(list(header) == [str(i) for i in range(start, start + len(header))] for start in (0, 1))


def _ragged(source: str, row: int, line: int, n_fields: int, header: Sequence[str], text: str) -> str:
    where = f"{source}: row {row} (line {line})"
    if not text.strip("\r\n"):
        return f"{where} is blank: take the line out of the file"
    count = "1 field" if n_fields == 1 else f"{n_fields} fields"
    if n_fields < len(header):
        missing = f"column {header[n_fields]!r} is missing"
        return f"{where} has {count}, but the header has {len(header)}: {missing}; fill the row in, or take it out"
    return (
        f"{where} has {count}, but the header has {len(header)}: nothing may follow column {header[-1]!r}; "
        "put a value that holds the separator in quotes, or take the row out"
    )


def _headed_but_empty(source: str) -> str:
    return f"{source} has a header but no rows: a table needs at least one row below its column names"
