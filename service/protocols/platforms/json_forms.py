"""The forms in which platforms put rows into JSON: ``instances``, ``inputs``, ``dataframe_records``,
``dataframe_split``. Which of them a route takes is for the platform's own module to say.

Rows are handed on as they are read, piece by piece. Columns (``inputs`` as an object of lists) and rows that come
before their column names are kept as JSON until they can be.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from rowcast.models.errors import Fault, RequestError
from rowcast.service.errors import SHOWN, bad_request, raise_faults
from rowcast.service.limits.steps import holds, in_turns
from rowcast.service.protocols.platforms.json_reader import Limits, Open, plain_json, read_json
from rowcast.service.protocols.platforms.rows import ErrorPaths, RowSink, misnamed, shown

SPLIT = "dataframe_split"
_SPLIT_MEMBERS = {"columns", "index", "data"}
_COLUMNS = "inputs"
"""The form that may be an object of columns."""
_SLACK = 1000
"""Values that a body may hold beyond those of its rows."""
_BLOCK_ROWS = 64
"""Values of a column that are kept together, and read again in one go."""
_OPENS = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*("[a-z_]{1,32}")[ \t\r\n]*:[ \t\r\n]*\[[ \t\r\n]*\{')
_CLOSES = re.compile(rb"\}[ \t\r\n]*\][ \t\r\n]*\}[ \t\r\n]*\Z")
_ROWS = b'"rows"'
_LONGEST_END = 64


class JsonForm(NamedTuple):
    """What the JSON bodies of a route hold.

    Its members name lists of rows, of which a body has one.
    """

    lists: tuple[str, ...]
    """Members that may hold the rows, as a list."""
    empty: tuple[str, ...] = ()
    """Members that are for other models: they may be there, without anything in them."""
    fixed: tuple[tuple[str, str], ...] = ()
    """Members that may be there with one value."""
    split: bool = False
    """Whether rows may come as ``dataframe_split``."""
    bare: bool = False
    """Whether a body may be a list of rows without a name."""
    nan_is_null: bool = False
    """Whether ``NaN`` means missing, and the text ``NaT`` in a column of timestamps."""

    @property
    def forms(self) -> tuple[str, ...]:
        """The members that may hold the rows."""
        return (*self.lists, SPLIT) if self.split else self.lists

    async def renamed(self, body: bytes) -> tuple[str, bytes] | None:
        """The same body as ``{"rows": [...]}``, where it looks like objects in one of the lists, and nothing else.

        What follows the name stays at its place, so that errors of JSON name the right one.
        """
        opens = _OPENS.match(body)
        if opens is None or not _CLOSES.search(body, max(0, len(body) - _LONGEST_END)):
            return None
        name = opens[1].decode()[1:-1]
        if name not in self.lists:
            return None
        if self.nan_is_null and (await in_turns(holds(body, b"NaN")) or await in_turns(holds(body, b'"NaT"'))):
            return None
        whole = memoryview(body)
        return name, b"".join([whole[: opens.start(1)], _ROWS.ljust(len(opens[1])), whole[opens.end(1) :]])

    async def read(self, body: bytes, sink: RowSink) -> None:
        """Give the rows of a body to a sink.

        Raises:
            RequestError: the body breaks a rule of the form, or a row one of its own.
        """
        width, rows = len(sink.columns) + 1, sink.max_rows
        limits = Limits(containers=2 * rows + _SLACK, values=width * (rows + 1) + _SLACK)
        reading = _Reading(self, sink)
        content = await read_json(body, limits, reading.drain, nan_is_null=self.nan_is_null)
        await reading.finish(content)


class _Reading:
    """One body that is being read."""

    def __init__(self, form: JsonForm, sink: RowSink) -> None:
        self._form = form
        self._sink = sink
        self._columns: dict[str, _Column] = {}
        self._early: list[bytes] = []
        """Rows of a frame that came before the names of its columns."""
        self._ordered = False

    def drain(self, content: Any, still_open: Open) -> None:
        """Take away what is complete."""
        if type(content) is list and self._form.bare:
            self._sink.places.base = ""
            self._sink.add(_taken(content, still_open))
        if type(content) is not dict:
            return
        for name in self._form.lists:
            rows = content.get(name)
            if type(rows) is list:
                self._sink.places.base = name
                self._sink.add(_taken(rows, still_open))
            elif type(rows) is dict and name == _COLUMNS:
                for column, values in rows.items():
                    if type(values) is list:
                        self._columns.setdefault(column, _Column()).add(_taken(values, still_open))
        if self._form.split and type(frame := content.get(SPLIT)) is dict:
            self._drain_frame(frame, still_open)

    def _drain_frame(self, frame: dict[str, Any], still_open: Open) -> None:
        names = frame.get("columns")
        if not self._ordered and type(names) is list and not any(names is inner for inner in still_open):
            raise_faults(misnamed(names, self._sink, f"{SPLIT}.columns", SPLIT + ".columns[{i}]"))
            self._sink.set_order(names)
            self._ordered = True
        if type(rows := frame.get("data")) is not list:
            return
        self._sink.places.base = f"{SPLIT}.data"
        taken = _taken(rows, still_open)
        if self._ordered and not self._early:
            self._sink.add(_lists(taken, self._sink))
        elif taken:
            self._early.append(_kept(taken))

    async def finish(self, content: Any) -> None:
        """Take the rest, when all of the body has been read."""
        if type(content) is list and self._form.bare:
            return
        if type(content) is not dict:
            raise bad_request(Fault("", f"the body must be an object of {self._wanted()}, got {shown(content)}"))
        raise_faults(self._misfits(content))
        form = next(name for name in self._form.forms if name in content)
        value = content[form]
        if form == SPLIT:
            await self._finish_frame(value)
        elif form == _COLUMNS and type(value) is dict:
            await self._finish_columns(value)
        elif type(value) is not list:
            raise bad_request(Fault(form, f"must be a list of rows, got {shown(value)}"))
        else:
            self._sink.places.base = form

    def _wanted(self) -> str:
        *names, last = (f'"{name}"' for name in self._form.forms)
        return f"{', '.join(names)} or {last}" if names else last

    def _misfits(self, content: dict[str, Any]) -> Iterator[Fault]:
        form = self._form
        fixed = dict(form.fixed)
        named = [name for name in form.forms if name in content]
        if len(named) != 1:
            came = " and ".join(named) or "none of them"
            yield Fault("", f"the body must hold {self._wanted()}, one of them, got {came}")
        for name, value in content.items():
            if name in form.empty and value is not None and value not in ({}, []):
                yield Fault(name, f"must be empty: this model takes none, got {shown(value)}")
            elif name in fixed and value is not None and value != fixed[name]:
                yield Fault(name, f'must be "{fixed[name]}", got {shown(value)}')
            elif name not in form.forms and name not in form.empty and name not in fixed:
                yield Fault(name[:SHOWN], f"is unknown: a body holds {self._wanted()}")

    async def _finish_frame(self, frame: Any) -> None:
        if type(frame) is not dict:
            raise bad_request(Fault(SPLIT, f'must be an object of "columns" and "data", got {shown(frame)}'))
        for name, value in frame.items():
            if name not in _SPLIT_MEMBERS:
                raise bad_request(
                    Fault(f"{SPLIT}.{name[:SHOWN]}", 'is unknown: it holds "columns", "index" and "data"')
                )
            if name != "index" and type(value) is not list:
                raise bad_request(Fault(f"{SPLIT}.{name}", f"must be a list, got {shown(value)}"))
        if missing := _SPLIT_MEMBERS - {"index"} - frame.keys():
            raise bad_request(Fault(f"{SPLIT}.{min(missing)}", "is missing"))
        for rows in self._early:
            self._sink.add(_lists(plain_json(rows), self._sink))
            await asyncio.sleep(0)

    async def _finish_columns(self, content: dict[str, Any]) -> None:
        """Hand on columns, a row of each at a time; values that are no lists are one row."""
        raise_faults(misnamed(list(content), self._sink, _COLUMNS, _COLUMNS + ".{name}"))
        if not any(type(value) is list for value in content.values()):
            self._sink.places = _OneRow(_COLUMNS)
            self._sink.add([content])
            return
        names = list(content)
        first = self._columns.get(names[0])
        for name in names:
            column = self._columns.get(name)
            if column is None or first is None:
                raise bad_request(Fault(f"{_COLUMNS}.{name}", "must be a list, as other columns are"))
            if column.count != first.count:
                words = f"must hold {first.count:,} values as {names[0]} does, got {column.count:,}"
                raise bad_request(Fault(f"{_COLUMNS}.{name}", words))
        self._sink.places = _ColumnPaths(_COLUMNS)
        columns = [self._columns[name].blocks() for name in names]
        for blocks in zip(*columns, strict=True):
            values = zip(*map(plain_json, blocks), strict=True)
            self._sink.add([dict(zip(names, row, strict=True)) for row in values])
            await asyncio.sleep(0)


class _Column:
    """The values of a column that have come, as JSON."""

    def __init__(self) -> None:
        self.count = 0
        self._blocks: list[bytes] = []
        self._rest: list[Any] = []

    def add(self, values: list[Any]) -> None:
        """Take some values."""
        self.count += len(values)
        self._rest += values
        while len(self._rest) >= _BLOCK_ROWS:
            self._blocks.append(_kept(self._rest[:_BLOCK_ROWS]))
            del self._rest[:_BLOCK_ROWS]

    def blocks(self) -> list[bytes]:
        """All of them, in lists of :data:`_BLOCK_ROWS`."""
        return [*self._blocks, _kept(self._rest)] if self._rest else self._blocks


class _ColumnPaths(ErrorPaths):
    """Values of named columns: ``inputs.distance[3]``."""

    def fault(self, i: int, name: str, message: str) -> Fault:
        """A fault of a column's value."""
        return Fault(f"{self.base}.{name}[{i}]", message)


class _OneRow(ErrorPaths):
    """Columns of one value each: ``inputs.distance``."""

    def row(self, i: int) -> str:
        """The row."""
        return self.base


def _taken(values: list[Any], still_open: Open) -> list[Any]:
    """The values of a list that have come whole, taken away from it."""
    count = still_open.complete(values)
    taken = values[:count]
    del values[:count]
    return taken


def _lists(rows: list[Any], sink: RowSink) -> list[Any]:
    """Rows of a frame, which are lists and nothing else."""
    for i, row in enumerate(rows, sink.count):
        if type(row) is not list:
            raise bad_request(Fault(sink.places.row(i), f"must be a list of values, got {shown(row)}"))
    return rows


def _kept(values: list[Any]) -> bytes:
    try:
        return orjson.dumps(values)
    except TypeError as error:
        raise RequestError(f"the body must hold text in UTF-8, got none ({error})") from None
