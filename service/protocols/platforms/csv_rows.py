"""Rows in CSV: a line each, with the names of columns in the first or without.

A cell is read by its column's kind, as a cell of a training table is: an empty one is missing, and so are ``NA``,
``NaN`` and ``null`` among numbers and dates; blanks may stand around a number, a boolean or a date. What does not fit
is handed on as the text that it is, and refused by the rule of its column.
"""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from rowcast.models.errors import Fault
from rowcast.models.signature import Column
from rowcast.models.texts.columns import text_reader
from rowcast.service.columns.kinds.rules import RULES
from rowcast.service.errors import SHOWN, bad_request, raise_faults
from rowcast.service.protocols.platforms.json_reader import MAX_VALUE_BYTES
from rowcast.service.protocols.platforms.rows import ErrorPaths, RowSink, misnamed

_BOM = b"\xef\xbb\xbf"
_PIECE_ROWS = 256
_PIECE_BYTES = 2**15
_MAX_LINES = 1000
"""Lines that one row may go over, in the texts of its cells."""
_NULLS = frozenset({"", "NA", "NaN", "null"})
"""As training reads them."""
_BLANKS = " \t"
_NUMBER = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?", re.ASCII)
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?", re.ASCII)

Cell = Callable[[str], Any]


async def read_csv(body: bytes, sink: RowSink, *, header: bool | None = None) -> None:
    """Give the rows of a body to a sink.

    Args:
        body: CSV in UTF-8, separated by commas, quoted as in RFC 4180.
        sink: for the rows.
        header: whether the first line holds the names of columns; None to see for oneself: it does when at least half
            of its cells are such names.

    Raises:
        RequestError: a line breaks a rule.
    """
    places = sink.places = CsvPaths()
    columns = {column.name: column for column in sink.columns}
    lines = _Lines(body)
    records = csv.reader(lines, strict=True)
    cells: list[Cell] | None = None
    names = list(columns)
    rows: list[Any] = []
    size = 0
    while True:
        line = lines.begin()
        try:
            record = next(records, None)
        except csv.Error as error:
            raise bad_request(Fault(f"csv line {line}", f"must be CSV, got none: {error}")) from None
        if record is None:
            break
        if not record:
            raise bad_request(Fault(f"csv line {line}", f"must hold {len(names)} cells, got an empty line"))
        if cells is None:
            if header or (header is None and _is_header(record, columns)):
                names = record
                raise_faults(misnamed(names, sink, f"csv line {line}", f"csv line {line} cell {{i}}"))
                sink.set_order(names)
                cells = [_cell_of(columns[name]) for name in names]
                continue
            cells = [_cell_of(column) for column in sink.columns]
        if len(record) != len(names):
            raise bad_request(Fault(f"csv line {line}", f"must hold {len(names)} cells, got {len(record)}"))
        places.lines.append(line)
        rows.append(dict(zip(names, [read(text) for read, text in zip(cells, record, strict=True)], strict=True)))
        if len(rows) >= _PIECE_ROWS or lines.offset - size >= _PIECE_BYTES:
            size = lines.offset
            sink.add(rows)
            rows = []
            await asyncio.sleep(0)
    sink.add(rows)


class CsvPaths(ErrorPaths):
    """Cells by their line and column: ``csv line 3 column "distance"``."""

    def __init__(self) -> None:
        super().__init__("csv")
        self.lines: list[int] = []
        """The line on which each row begins; the first is 1."""

    def row(self, i: int) -> str:
        """A row."""
        return f"csv line {self.lines[i]}"

    def fault(self, i: int, name: str, message: str) -> Fault:
        """A fault of a cell."""
        return Fault(f"{self.row(i)} column {json.dumps(name[:SHOWN], ensure_ascii=False)}", message)


class _Lines(Iterator[str]):
    """The lines of a body as text, one at a time; empty ones at its end are left out."""

    def __init__(self, body: bytes) -> None:
        self.count = 0
        """Lines that have been taken."""
        self.offset = len(_BOM) if body.startswith(_BOM) else 0
        """Bytes that have been."""
        self._body = body
        self._end = len(body.rstrip(b"\r\n"))
        self._row = 0
        self._row_offset = self.offset

    def begin(self) -> int:
        """Begin a row; the number of its first line."""
        self._row = self.count
        self._row_offset = self.offset
        return self.count + 1

    def __next__(self) -> str:
        if self.offset >= self._end:
            raise StopIteration
        found = self._body.find(b"\n", self.offset, self.offset + MAX_VALUE_BYTES + 1)
        stop = found + 1 if found >= 0 else min(self._end, self.offset + MAX_VALUE_BYTES + 1)
        line = self._body[self.offset : stop]
        self.count += 1
        self.offset += len(line)
        where = f"csv line {self.count}"
        if self.count - self._row > _MAX_LINES:
            raise bad_request(
                Fault(f"csv line {self._row + 1}", f"must go over at most {_MAX_LINES:,} lines, got more")
            )
        if len(line) > MAX_VALUE_BYTES:
            raise bad_request(Fault(where, f"must be at most {MAX_VALUE_BYTES:,} bytes long, got a longer one"))
        if self.offset - self._row_offset > MAX_VALUE_BYTES:  # it is read in one go
            words = f"must be a row of at most {MAX_VALUE_BYTES:,} bytes, got a longer one"
            raise bad_request(Fault(f"csv line {self._row + 1}", words))
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise bad_request(Fault(where, "must be text in UTF-8, got bytes that are not")) from None


def _is_header(record: list[str], columns: dict[str, Column]) -> bool:
    return 2 * sum(cell in columns for cell in record) >= len(record)


def _cell_of(column: Column) -> Cell:
    """What reads the cells of a column."""
    types = RULES[column.kind].json_types
    if text_reader(column) is not None or column.dtype == object:  # the rule of its texts is the decoder's
        return _level
    return _timestamp if str in types else _boolean if bool in types else _number


def _number(text: str) -> Any:
    text = text.strip(_BLANKS)
    if text in _NULLS:
        return None
    if _JSON_NUMBER.fullmatch(text):
        return orjson.Fragment(text)
    if _NUMBER.fullmatch(text):  # +1, 007, 5. and .5 are numbers here, and none in JSON
        return _plain(text)
    return text


def _plain(text: str) -> orjson.Fragment:
    """A number without what JSON does not take."""
    sign = "-" if text[0] == "-" else ""
    digits, mark, exponent = re.split("([eE])", text.lstrip("+-")) if re.search("[eE]", text) else (text, "", "")
    whole, _, decimals = digits.lstrip("+-").partition(".")
    fraction = f".{decimals}" if decimals else ""
    return orjson.Fragment(f"{sign}{whole.lstrip('0') or '0'}{fraction}{mark}{exponent}")


def _boolean(text: str) -> Any:
    text = text.strip(_BLANKS)
    return {"": None, "true": True, "false": False}.get(text.lower(), text)


def _timestamp(text: str) -> Any:
    text = text.strip(_BLANKS)
    return None if text in _NULLS else text


def _level(text: str) -> Any:
    return text or None
