"""A sheet of a spreadsheet (Excel, OpenDocument) to a frame; dates, booleans and numbers keep their types."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from rowcast.models.errors import TableError
from rowcast.models.values import EXACT_WHOLE
from rowcast.training.data.files.form import HEADER_ALONE, Content, FileForm
from rowcast.training.data.files.header import check_header, filled_in, numbered_names, refuse_row, settle_unnamed
from rowcast.training.data.files.packed import check_zip
from rowcast.training.data.index import PandasMetadata
from rowcast.training.data.objects import Mixed, Unusable, series_of

EXTENSIONS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")

_SAMPLE_ROWS = 100
_KINDS = {
    str: "text",
    bool: "true and false",
    int: "numbers",
    float: "numbers",
    dt.date: "dates",
    dt.datetime: "dates",
    dt.time: "times",
    dt.timedelta: "durations",
}


def read_spreadsheet(data: bytes, form: FileForm, source: str) -> Content:
    """Read one sheet, whose first row that holds anything is the header. Rows are those of the sheet, from 1.

    Args:
        data: the whole file.
        form: may name the sheet; else the first that holds anything is read, and a note says which.
        source: what errors call the file.

    Raises:
        TableError: there is no such sheet, or it is no table; names row, column and the way out.
    """
    book = _open(data, source)
    cells, begin, notes = _cells(book, form.sheet, source)
    while cells and not any(value is not None for value in cells[-1]):
        cells.pop()
    if form.header is False:
        cells = [list(numbered_names(len(cells[0]))), *cells]
        begin -= 1
    header = [_text(value) for value in cells[0]]
    if form.header is None:
        rows = [[_text(value) for value in row] for row in cells[1 : _SAMPLE_ROWS + 1]]
        refuse_row(header, rows, source, begin)
    check_header(header, source, begin, said=form.header is not None)
    for place, row in enumerate(cells[1:], 1):
        if all(value is None for value in row) and len(header) > 1:
            raise TableError(f"{source}: row {place} (line {begin + place}) is blank: take the line out of the file")
    names, _ = filled_in(header)
    columns = []
    below = list(zip(*cells[1:], strict=True)) or [()] * len(names)
    for name, values in zip(names, below, strict=True):
        column, kinds = _column(name, values)
        columns.append(column)
        if kinds:
            notes += (f"{name!r} holds cells of several types ({kinds}), and each is read as its text in a CSV file",)
    frame, index = settle_unnamed(pl.DataFrame(columns), header, source, begin)
    lines = np.arange(begin + 1, begin + len(cells), dtype=np.int64)
    return Content(frame, lines, notes, PandasMetadata(index), without_rows=HEADER_ALONE)


def _open(data: bytes, source: str) -> Any:
    from python_calamine import CalamineWorkbook, PasswordError

    stream = io.BytesIO(data)
    try:
        if data.startswith(b"PK"):
            check_zip(stream, len(data), source)
        return CalamineWorkbook.from_filelike(stream)
    except PasswordError:
        raise TableError(f"{source} is protected by a password: save it without one") from None
    except TableError:
        raise
    except Exception as error:  # noqa: BLE001 - it may be any file whatever
        said = str(error).partition("\n")[0]
        raise TableError(f"{source} cannot be read as a spreadsheet ({said}): save it anew, or as CSV") from None


def _cells(book: Any, named: str, source: str) -> tuple[list[list[Any]], int, tuple[str, ...]]:
    """The cells of the sheet, None where one is empty, and the row its first one is on, from 1."""
    names = list(book.sheet_names)
    if named and named not in names:
        raise TableError(f"{source} has no sheet {named!r}, which data.sheet names: its sheets are {', '.join(names)}")
    from python_calamine import CalamineError

    filled = []
    for name in [named] if named else names:
        try:
            sheet = book.get_sheet_by_name(name)
        except CalamineError:  # a sheet of nothing but a chart
            continue
        if sheet.start is not None:
            filled.append(sheet)
    if not filled:
        raise TableError(f"{source} is empty: a table begins with a row of column names")
    sheet = filled[0]
    cells = [[None if value == "" else value for value in row] for row in sheet.to_python()]
    notes = (f"of {len(filled)} sheets the first is read, {sheet.name!r}: name another with --set data.sheet=NAME",)
    return cells, sheet.start[0] + 1, notes if len(filled) > 1 else ()


def _column(name: str, values: Sequence[Any]) -> tuple[pl.Series, str]:
    """A column of cells; where they are of several types, of the texts that a CSV file would hold, and which types."""
    present = [value for value in values if value is not None]
    if present and all(type(value) in (int, float) for value in present):
        if all(float(value).is_integer() and abs(value) <= EXACT_WHOLE for value in present):
            values = [None if value is None else int(value) for value in values]  # Excel knows no whole numbers
    elif any(isinstance(value, dt.datetime) for value in present) or not _alike(present):
        midnight = all(not isinstance(value, dt.datetime) or value.time() == dt.time() for value in present)
        if all(isinstance(value, dt.date) for value in present) and not midnight:
            return series_of(name, values), ""
        if all(isinstance(value, dt.date) for value in present):
            values = [value.date() if isinstance(value, dt.datetime) else value for value in values]
        else:
            return _texts(name, values), _kinds(present)
    try:
        return series_of(name, values), ""
    except (Mixed, Unusable):
        return _texts(name, values), _kinds(present)


def _texts(name: str, values: Sequence[Any]) -> pl.Series:
    return pl.Series(name, [None if value is None else _text(value) for value in values], pl.String)


def _kinds(values: Sequence[Any]) -> str:
    """The types that cells are of, in the order in which they come."""
    return ", ".join(dict.fromkeys(_KINDS.get(type(value), "others") for value in values))


def _alike(values: Sequence[Any]) -> bool:
    return len({type(value) for value in values}) <= 1


def _text(value: Any) -> str:
    """A cell as a CSV file would hold it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_WHOLE:
        return str(int(value))
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, dt.datetime | dt.date | dt.time) else str(value)
