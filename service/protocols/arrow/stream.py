"""Arrow's stream format on the wire: a request's record batches as columns, and predictions as record batches.

Columns go by their names. Null is missing, and so is NaN, which is what data frames have for it. Beyond what
:mod:`rowcast.service.columns.kinds` takes, a number may be a decimal, a timestamp a date or a timestamp of any unit,
with a zone or without one (then it is UTC), and any column may be dictionary-encoded, or hold nothing but nulls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rowcast.models.arrow import END, Array, Batch, DictionaryArray, Malformed, Schema, Stream, head_of, schema_of
from rowcast.models.arrow import types as arrow_types
from rowcast.models.arrow import writer as arrow_writer
from rowcast.models.arrow.arrays import REPEATED
from rowcast.models.errors import Fault, RequestError
from rowcast.models.session import Predictions
from rowcast.models.signature import Column, Signature
from rowcast.service.cache import BoundedCache
from rowcast.service.columns.blocks import blocks_of
from rowcast.service.columns.kinds.arrow_values import OUTSIDE, to_arrays
from rowcast.service.columns.kinds.rules import arrow_families, arrow_words
from rowcast.service.columns.named import ColumnReader, Columns
from rowcast.service.columns.tensors import ErrorPaths, Tensor
from rowcast.service.errors import LEFT_OUT, SHOWN, bad_request, brief, raise_faults, unknown_column
from rowcast.service.protocols.arrow.bounds import MAX_NAME_BYTES, MAX_ROW_TEXT, PART_ROWS, Bounds, RowCost
from rowcast.service.protocols.arrow.columns import UsualBatches

_MAX_MESSAGES = 4096
"""Record batches and dictionaries of a request: to look at one takes as long as to read dozens of rows."""
_ROW_BYTES = 16
"""Bytes of the longest body for each row that a stream may hold."""
_ANSWER_FACTOR = 4
"""How many times as large as a body the answer may be."""
_MAX_HEADS = 64
"""Heads of streams that are kept."""
_MAX_HEAD_BYTES = 2**16
"""The longest of them: one of 20 columns takes 2 kB."""


class ArrowPaths(ErrorPaths):
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
        self._blocks = blocks_of(signature)
        """Once for all schemas: a typed category of many levels takes megabytes, and milliseconds to build."""
        self._columns = {column.name: column for column in signature.columns}
        self._known: BoundedCache[bytes, _Known] = BoundedCache(_MAX_HEADS)
        self._reader = ColumnReader(signature, PART_ROWS)
        self._max_name = max([MAX_NAME_BYTES, *(len(name.encode()) for name in self._columns)])
        answer_bytes = 4 * len(signature.classes) or 8 * len(signature.outputs)
        self._max_rows = max_rows
        self._most_rows = max(max_rows, max_body // max(_ROW_BYTES, answer_bytes // _ANSWER_FACTOR))

    def max_rows(self, size: int) -> int:
        """Rows that a stream of so many bytes may hold: a column of nulls has any number of rows in none."""
        return min(self._most_rows, max(self._max_rows, size))

    def open(self, body: bytes) -> OpenStream:
        """The stream of a request, looked at but for its values.

        Raises:
            RequestError: 400 where it is malformed or has columns that are none of the model's or of another type.
        """
        try:
            head = head_of(body)
            known = self._known.get(bytes(head)) if len(head) <= _MAX_HEAD_BYTES else None
            if known is None:
                schema = schema_of(head, len(self._columns) + RequestError.MAX_FAULTS + 1, self._max_name)
                raise_faults(self._misfits(schema))
                known = self._learned(head, schema)
            bounds = Bounds.of(len(body), known.row)
            stream = Stream(body, known.schema, bounds.kept_bytes)
            return OpenStream(stream, known, self._reader, bounds, (self.max_rows(len(body)), self._most_rows))
        except Malformed as error:
            raise _malformed(error) from None

    def _learned(self, head: memoryview, schema: Schema) -> _Known:
        """What a head that fits the model says: whoever sends many streams begins each with the same."""
        try:
            usual = UsualBatches(self._signature, self._blocks, schema)
        except LookupError:
            usual = None
        names = [field.name for field in schema.fields]
        row = RowCost.of(schema.fields, self._signature.columns)
        in_text = [field.type is not None and field.type.family == "text" for field in schema.fields]
        known = _Known(schema, names, [self._columns[name] for name in names], usual, row, in_text)
        if len(head) <= _MAX_HEAD_BYTES:
            self._known[bytes(head)] = known
        return known

    def _misfits(self, schema: Schema) -> Iterator[Fault]:
        """The columns that are unknown, come twice, are of a type that cannot be read into the model's, or left out."""
        names: set[str] = set()
        places = ArrowPaths([field.name for field in schema.fields])
        for i, field in enumerate(schema.fields):
            column = self._columns.get(field.name)
            if column is None:
                yield Fault(places.tensor(i), f"{brief(field.name)} {unknown_column(self._columns)}")
            elif field.name in names:
                yield Fault(places.tensor(i), "appears more than once")
            elif field.type is None or field.type.family not in arrow_families(column):
                yield Fault(places.tensor(i), f"must be {arrow_words(column)}, got {field.came}")
            names.add(field.name)
        for name, column in self._columns.items():
            if not column.nullable and name not in names:
                yield Fault(places.whole, f"{name[:SHOWN]} {LEFT_OUT}")


class _Known(NamedTuple):
    """What the head of a stream says."""

    schema: Schema
    names: list[str]
    columns: list[Column]
    """The model's, in the order of the stream's."""
    usual: UsualBatches | None
    """None where its types are not in the standard form."""
    row: RowCost
    in_text: list[bool]
    """Of each column."""


class Part(NamedTuple):
    """Some rows of a stream that have been read."""

    columns: Columns
    text_bytes: int
    """What their texts took in the stream, each counted as often as a row has it."""


class LookedAt:
    """A record batch whose buffers lie within it and are long enough.

    Raises:
        Malformed: they are not.
    """

    def __init__(self, batch: Batch, reader: UsualBatches | None) -> None:
        self.rows = batch.rows
        self._batch = batch
        self._reader = reader
        self._layout = None if reader is None else reader.locate(batch)
        self._columns = batch.columns() if self._layout is None else None

    def usual(self, rows: slice, max_text: int) -> Part | None:
        """Some rows, if they are in the standard form and have no more bytes of text than this."""
        if self._reader is None or self._layout is None:
            return None
        read = self._reader.read(self._layout, rows.start, rows.stop, max_text)
        return None if read is None else Part(*read)

    def columns(self) -> list[Array | DictionaryArray]:
        """The columns one by one, of any type."""
        if self._columns is None:
            self._columns = self._batch.columns()
        return self._columns


class OpenStream:
    """A stream of columns that fit the model's; what their values are is still to be read."""

    def __init__(
        self, stream: Stream, known: _Known, reader: ColumnReader, bounds: Bounds, max_rows: tuple[int, int]
    ) -> None:
        self.bounds = bounds
        self.n_fields = len(known.names)
        self._stream = stream
        self._known = known
        self._reader = reader
        self._max_rows, self._most_rows = max_rows
        self.rows = 0
        """Rows of the batches that have been looked at."""

    def batches(self) -> Iterator[LookedAt | None]:
        """The record batches from the first on, each looked at when it is asked for; None for another message.

        Raises:
            RequestError: 400 where one is malformed, 413 where they come to too much.
        """
        self.rows = 0
        try:
            for n, batch in enumerate(self._stream.messages()):
                if n >= _MAX_MESSAGES:
                    raise RequestError(
                        f"a stream holds at most {_MAX_MESSAGES:,} record batches and dictionaries; put more rows "
                        "into each",
                        status=413,
                    )
                if batch is None:
                    yield None
                    continue
                self.rows += batch.rows
                if self.rows > self._max_rows:
                    raise self._too_many_rows()
                yield LookedAt(batch, self._known.usual)
        except Malformed as error:
            raise _malformed(error) from None

    def _too_many_rows(self) -> RequestError:
        if self.rows > self._most_rows:
            words, setting = f"a stream holds at most {self._most_rows:,} rows", "ROWCAST_MAX_BODY"
        else:
            words = f"a stream of {self.bounds.size:,} bytes holds at most {self._max_rows:,} rows"
            setting = "ROWCAST_MAX_ROWS"
        return RequestError(f"{words}; send them in several requests, or raise {setting}", status=413)

    def parts(self, batches: Iterable[LookedAt | None]) -> Iterator[Part | RequestError | None]:
        """The rows in parts, or what is wrong with such a part; None after what has no rows.

        Args:
            batches: all that there are, and there are as many rows as :attr:`rows` says.
        """
        first = text_bytes = 0
        for batch in batches:
            if batch is None or not batch.rows:
                yield None
                continue
            for start in range(0, batch.rows, self.bounds.part_rows):
                rows = slice(start, min(start + self.bounds.part_rows, batch.rows))
                part = batch.usual(rows, self.bounds.part_text)
                if part is not None:
                    yield part
                    continue
                try:
                    by_column = self._text_sizes(batch, rows)
                    part_text = sum([int(sizes.sum()) for sizes in by_column.values()])
                    text_bytes += part_text
                    if part_text <= self.bounds.part_text and text_bytes <= self.bounds.text_bytes(self.rows):
                        yield Part(self._read(batch, rows, first + start), part_text)
                        continue
                    sizes = sum(by_column.values(), np.zeros(rows.stop - rows.start, np.int64))
                    self._check_texts(by_column, sizes, text_bytes, first + start)
                    for some in self._cut(sizes):
                        read = slice(start + some.start, start + some.stop)
                        yield Part(self._read(batch, read, first + read.start), int(sizes[some].sum()))
                except RequestError as error:
                    yield error
                except Malformed as error:
                    yield _malformed(error)
            first += batch.rows
        if first == 0:
            yield bad_request(Fault("columns", "must hold at least one row, got none"))

    def _text_sizes(self, batch: LookedAt, rows: slice) -> dict[int, NDArray[np.int64]]:
        """Bytes of the text of each row, of each column of texts."""
        sizes = {}
        for i, array in enumerate(batch.columns()):
            if self._known.in_text[i]:
                try:
                    sizes[i] = array.sizes(rows)
                except Malformed as error:
                    raise bad_request(Fault(ArrowPaths(self._known.names).tensor(i), str(error))) from None
        return sizes

    def _check_texts(
        self, by_column: dict[int, NDArray[np.int64]], sizes: NDArray[np.int64], so_far: int, first: int
    ) -> None:
        """Refuse texts that are too long, or repeated too often."""
        places = ArrowPaths(self._known.names, first)
        row = int(sizes.argmax())
        if (longest := int(sizes[row])) > MAX_ROW_TEXT:
            widest = max(by_column, key=lambda i: int(by_column[i][row]))
            raise bad_request(
                Fault(
                    places.element(widest, row),
                    f"the texts of a row may have at most {MAX_ROW_TEXT:,} bytes together, got {longest:,}",
                )
            )
        most = self.bounds.text_bytes(self.rows)
        if so_far > most:
            widest = max(by_column, key=lambda i: int(by_column[i].sum()))
            raise bad_request(
                Fault(
                    places.tensor(widest),
                    f"{REPEATED}, or shorter texts; all of this stream may come to {most:,} bytes",
                )
            )

    def _cut(self, sizes: NDArray[np.int64]) -> Iterator[slice]:
        """Rows whose texts can be read at once: one at least."""
        ends = np.cumsum(sizes)
        start = 0
        while start < len(sizes):
            before = int(ends[start - 1]) if start else 0
            stop = int(np.searchsorted(ends, before + self.bounds.part_text, "right"))
            stop = max(start + 1, stop)
            yield slice(start, stop)
            start = stop

    def _read(self, batch: LookedAt, rows: slice, first: int) -> Columns:
        places = ArrowPaths(self._known.names, first)
        tensors, faults = [], []
        fields = self._known.schema.fields
        for i, (field, column, array) in enumerate(zip(fields, self._known.columns, batch.columns(), strict=True)):
            try:
                values = array[rows]
            except Malformed as error:
                raise bad_request(Fault(places.tensor(i), str(error))) from None
            if field.type is not None:
                values, wrong = to_arrays(values, field.type, column)
                faults += [Fault(places.element(i, row), OUTSIDE) for row in wrong]
            tensors.append(Tensor(field.name, *values))
        if faults:
            raise bad_request(*faults)
        return self._reader.read(tensors, places)


class ArrowEncoder:
    """Writes the answers of one model as a stream: the columns of ``rowcast predict``.

    Classes are a ``label`` and for each class a ``probability_CLASS``; a regression has the outputs of its graph.
    """

    def __init__(self, name: str, version: int, signature: Signature) -> None:
        self._outputs = signature.outputs
        if signature.classes:
            fields = [("label", arrow_types.UTF8)]
            fields += [(f"probability_{label}", arrow_types.FLOAT32) for label in signature.classes]
        else:
            fields = [(output, arrow_types.FLOAT64) for output in signature.outputs]
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
    return bad_request(Fault("", f"the body is no Arrow stream that can be read: {error}"))
