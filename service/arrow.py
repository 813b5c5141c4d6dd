"""Arrow's stream format on the wire: a request's record batches as columns, and predictions as record batches.

Columns go by their names. Null is missing, and so is NaN, which is what data frames have for it. Beyond what
:mod:`service.arrays` takes, a number may be a decimal, a timestamp a date or a timestamp of any unit, with a zone or
without one (then it is UTC), and any column may be dictionary-encoded, or hold nothing but nulls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from models.arrow import END, Array, Batch, Family, Field, Malformed, Schema, Stream, Values, head_of, schema_of
from models.arrow import Places as ArrayPlaces
from models.arrow import writer as arrow_writer
from models.errors import Fault, RequestError
from models.session import Predictions
from models.signature import Column, Kind, Signature
from models.values import FIRST_MOMENT, LAST_MOMENT
from service.arrow_columns import UsualBatches
from service.columns import ColumnReader, Columns
from service.faults import LEFT_OUT, SHOWN, brief, refuse, refused, unknown_column
from service.tensors import Places, Tensor

_MAX_BATCHES = 4096
"""Record batches of a request: to look at one takes as long as to read dozens of rows."""
_READ_ROWS = 1024
"""Rows that are read at once. The event loop does nothing else for that long, about a millisecond."""
_ROW_BYTES = 16
"""Bytes of a body for each row that it may hold: a column of nulls has any number of rows in none."""
_ANSWER_FACTOR = 4
"""How many times as large as a body the answer may be."""
_MAX_HEADS = 64
"""Heads of streams that are kept; then all are forgotten, and those in use soon known again."""
_MAX_HEAD_BYTES = 2**16
"""The longest of them: one of 20 columns takes 2 kB."""


class ArrowPlaces(Places):
    """How the places of a stream are named: ``columns.distance[3]``.

    Args:
        names: of the columns.
        first: the row of the stream that is read as row 0.
    """

    whole = "columns"

    def __init__(self, names: Sequence[str], first: int = 0) -> None:
        self._names = names
        self._first = first

    def tensor(self, i: int) -> str:
        """A column."""
        return f"columns.{self._names[i][:SHOWN]}"

    def element(self, i: int, row: int) -> str:
        """A row of it."""
        return f"{self.tensor(i)}[{self._first + row}]"


class ArrowReader:
    """Reads the streams that one model is sent.

    Args:
        signature: the model's.
        max_rows: rows that a request of any kind may hold.
        max_body: bytes that one may hold.
    """

    def __init__(self, signature: Signature, max_rows: int, max_body: int) -> None:
        self._signature = signature
        self._columns = {column.name: column for column in signature.columns}
        self._known: dict[bytes, _Known] = {}
        self._reader = ColumnReader(signature, _READ_ROWS)
        answer_bytes = 4 * len(signature.classes) or 8 * len(signature.outputs)
        self.max_rows = max(max_rows, max_body // max(_ROW_BYTES, answer_bytes // _ANSWER_FACTOR))
        """Rows that a stream may hold."""

    def open(self, body: bytes) -> OpenStream:
        """The stream of a request, looked at but for its values.

        Raises:
            RequestError: 400 where it is malformed or has columns that are none of the model's or of another type.
        """
        try:
            head = head_of(body)
            known = self._known.get(head) if len(head) <= _MAX_HEAD_BYTES else None
            if known is None:
                schema = schema_of(head, len(self._columns) + RequestError.MAX_FAULTS + 1)
                refuse(self._misfits(schema))
                known = self._learned(head, schema)
            return OpenStream(Stream(body, known.schema), known, self._reader, self.max_rows)
        except Malformed as error:
            raise _malformed(error) from None

    def _learned(self, head: bytes, schema: Schema) -> _Known:
        """What a head that fits the model says: whoever sends many streams begins each with the same."""
        try:
            usual = UsualBatches(self._signature, schema)
        except LookupError:
            usual = None
        names = [field.name for field in schema.fields]
        known = _Known(schema, names, [self._columns[name].kind for name in names], usual)
        if len(head) <= _MAX_HEAD_BYTES:
            if len(self._known) >= _MAX_HEADS:
                self._known.clear()
            self._known[head] = known
        return known

    def _misfits(self, schema: Schema) -> Iterator[Fault]:
        """The columns that are unknown, come twice, are of a type that cannot be read into the model's, or left out."""
        names = [field.name for field in schema.fields]
        places = ArrowPlaces(names)
        for i, field in enumerate(schema.fields):
            column = self._columns.get(field.name)
            if column is None:
                yield Fault(places.tensor(i), f"{brief(field.name)} {unknown_column(self._columns)}")
            elif names.index(field.name) < i:
                yield Fault(places.tensor(i), "appears more than once")
            elif field.type is None or field.type.family not in _taken(column):
                yield Fault(places.tensor(i), f"must be {_WANTED[column.kind]}, however: {field.came}")
        for name, column in self._columns.items():
            if not column.nullable and name not in names:
                yield Fault(places.whole, f"{name[:SHOWN]} {LEFT_OUT}")


class _Known(NamedTuple):
    """What the head of a stream says."""

    schema: Schema
    names: list[str]
    kinds: list[Kind]
    """Of the model's columns, in the order of the stream's."""
    usual: UsualBatches | None
    """None where its types are not as usual."""


class LookedAt:
    """A record batch whose buffers lie within it and are long enough.

    Raises:
        Malformed: they are not.
    """

    def __init__(self, batch: Batch, reader: UsualBatches | None) -> None:
        self.rows = batch.rows
        self._batch = batch
        self._reader = reader
        self._laid = None if reader is None else reader.lay(batch)
        self._columns = batch.columns() if self._laid is None else None

    def usual(self, rows: slice) -> Columns | None:
        """Some rows, if they are as usual."""
        if self._reader is None or self._laid is None:
            return None
        return self._reader.read(self._laid, rows.start, rows.stop)

    def columns(self) -> list[Array | ArrayPlaces]:
        """The columns one by one, of any type."""
        if self._columns is None:
            self._columns = self._batch.columns()
        return self._columns


class OpenStream:
    """A stream of columns that fit the model's; what their values are is still to be read."""

    def __init__(self, stream: Stream, known: _Known, reader: ColumnReader, max_rows: int) -> None:
        self._batches = stream.batches()
        self._known = known
        self._reader = reader
        self._max_rows = max_rows
        self.rows = 0
        """Rows of the batches that have been looked at."""

    def batches(self) -> Iterator[LookedAt]:
        """The record batches, each looked at when it is asked for.

        Raises:
            RequestError: 400 where one is malformed, 413 where they come to too much.
        """
        try:
            for n, batch in enumerate(self._batches):
                self.rows += batch.rows
                if self.rows > self._max_rows:
                    raise RequestError(
                        f"a stream holds at most {self._max_rows:,} rows; "
                        "send them in several requests, or raise ROWCAST_MAX_BODY",
                        status=413,
                    )
                if n >= _MAX_BATCHES:
                    raise RequestError(
                        f"a stream holds at most {_MAX_BATCHES:,} record batches; put more rows into each", status=413
                    )
                yield LookedAt(batch, self._known.usual)
        except Malformed as error:
            raise _malformed(error) from None

    def parts(self, batches: Sequence[LookedAt]) -> Iterator[Columns | RequestError]:
        """The rows, in parts of at most :data:`_READ_ROWS`; or what is wrong with such a part."""
        first = 0
        for batch in batches:
            for start in range(0, batch.rows, _READ_ROWS):
                rows = slice(start, min(start + _READ_ROWS, batch.rows))
                try:
                    yield self._read(batch, rows, first + start)
                except RequestError as error:
                    yield error
                except Malformed as error:
                    yield _malformed(error)
            first += batch.rows
        if first == 0:
            yield refused(Fault("columns", "must hold at least one row, however: none"))

    def _read(self, batch: LookedAt, rows: slice, first: int) -> Columns:
        columns = batch.usual(rows)
        if columns is not None:
            return columns
        places = ArrowPlaces(self._known.names, first)
        tensors, faults = [], []
        fields = self._known.schema.fields
        for i, (field, kind, array) in enumerate(zip(fields, self._known.kinds, batch.columns(), strict=True)):
            try:
                values = array[rows]
            except Malformed as error:
                raise refused(Fault(places.tensor(i), str(error))) from None
            if field.type is not None and field.type.family == "moment":
                values, wrong = _micros(values, field)
                faults += [Fault(places.element(i, row), _OUTSIDE) for row in wrong]
            elif field.type is not None and field.type.family == "null":
                values = _nulls(len(values.values), kind)
            tensors.append(Tensor(field.name, *values))
        if faults:
            raise refused(*faults)
        return self._reader.read(tensors, places)


class ArrowEncoder:
    """Writes the answers of one model as a stream: the columns of ``rowcast predict``.

    Classes are a ``label`` and for each class a ``probability_CLASS``; a regression has the outputs of its graph.
    """

    def __init__(self, name: str, version: int, signature: Signature) -> None:
        self._outputs = signature.outputs
        if signature.classes:
            fields = [("label", arrow_writer.UTF8)]
            fields += [(f"probability_{label}", arrow_writer.FLOAT32) for label in signature.classes]
        else:
            fields = [(output, arrow_writer.FLOAT64) for output in signature.outputs]
        self.head = arrow_writer.schema(fields, {"rowcast.model": name, "rowcast.version": str(version)})
        """What a stream begins with."""
        self.end = END
        """What it ends with."""

    def batch(self, answers: Sequence[Predictions]) -> list[bytes]:
        """The rows of some runs, in their order, as one record batch."""
        columns: list[arrow_writer.Written]
        if answers[0].labels is not None:
            labels = [label for answer in answers for label in answer.labels or ()]
            probabilities = np.concatenate([answer.probabilities for answer in answers])
            columns = [arrow_writer.texts(labels), *map(arrow_writer.numbers, probabilities.T)]
        else:
            columns = [
                arrow_writer.numbers(np.concatenate([getattr(answer, output) for answer in answers]))
                for output in self._outputs
            ]
        return arrow_writer.batch(sum(map(len, answers)), columns)


def _malformed(error: Malformed) -> RequestError:
    return refused(Fault("", f"the body is no Arrow stream that can be read: {error}"))


def _micros(values: Values, field: Field) -> tuple[Values, list[int]]:
    """Units since the epoch in microseconds; and the rows that lie outside of the years that there are."""
    assert field.type is not None
    units = np.asarray(values.values).astype(np.int64)
    if field.type.scale == 10**9:
        units, each = units // 1000, 1  # digits past the microsecond are cut off
    else:
        each = 10**6 // field.type.scale if field.type.scale else _DAY
    outside = (units > LAST_MOMENT // each) | (units < -(-FIRST_MOMENT // each))
    if values.missing is not None:
        outside &= ~values.missing
        units[values.missing] = 0
    return Values(units * each, values.missing), np.flatnonzero(outside)[: RequestError.MAX_FAULTS].tolist()


def _nulls(rows: int, kind: Kind) -> Values:
    """Nulls, in a form that a column of this kind takes."""
    if kind == "category":
        return Values([None] * rows)
    return Values(np.zeros(rows, np.int64), np.ones(rows, bool))


def _taken(column: Column) -> frozenset[Family]:
    return _TAKEN[column.kind] | {"integer", "float"} if column.whole_levels else _TAKEN[column.kind]


_DAY = 86_400_000_000
_OUTSIDE = "must be a moment of the years 0001 to 9999"
_TAKEN: dict[Kind, frozenset[Family]] = {
    "number": frozenset({"float", "integer", "decimal", "null"}),
    "integer": frozenset({"float", "integer", "decimal", "null"}),
    "boolean": frozenset({"boolean", "float", "integer", "null"}),
    "category": frozenset({"text", "null"}),
    "timestamp": frozenset({"moment", "text", "null"}),
}
_WANTED: dict[Kind, str] = {
    "number": "numbers",
    "integer": "whole numbers",
    "boolean": "booleans, or numbers that are 0 or 1",
    "category": "text",
    "timestamp": "timestamps, dates or ISO 8601 text",
}
