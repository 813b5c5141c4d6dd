"""The messages of a stream."""

from __future__ import annotations

from collections.abc import Iterator

from rowcast.models.arrow.batch import Batch, RecordBatch
from rowcast.models.arrow.dictionaries import Dictionary, Kept
from rowcast.models.arrow.flatbuffer import Malformed, Table
from rowcast.models.arrow.types import Schema, Type, read_schema

CONTINUES = b"\xff\xff\xff\xff"
"""What every message begins with."""
END = CONTINUES + bytes(4)
"""What a stream ends with."""
MAX_DICTIONARY = 2**20
"""Values of a dictionary."""

_MAX_METADATA, _MAX_METADATA_BYTES = 64, 2**12

SCHEMA, DICTIONARY_BATCH, RECORD_BATCH = 1, 2, 3
_VERSIONS = {3, 4}
_FILE_MAGIC = b"ARROW1"


def head_of(body: bytes) -> memoryview:
    """The message that a stream begins with, which holds its schema; what it says is not looked at.

    Whoever sends many streams begins each with the same bytes, so what they say may be kept by them.

    Raises:
        Malformed: it does not begin with a message.
    """
    if body.startswith(_FILE_MAGIC):
        raise Malformed("this is Arrow's file format: write the stream format")
    return memoryview(body)[: _metadata(body, 0)[1]]


def schema_of(head: bytes | memoryview, max_fields: int = 10_000, max_name: int = 2**16) -> Schema:
    """What the head of a stream says.

    Args:
        head: the message.
        max_fields: columns to be read; where there are more, only as many are looked at.
        max_name: bytes that the name of a column may have.

    Raises:
        Malformed: it is no schema.
    """
    start, end = _metadata(head, 0)
    if start == end:
        raise Malformed("a stream begins with a schema")
    kind, header, body_bytes = _parsed(memoryview(head)[start:end])
    if kind != SCHEMA:
        raise Malformed("a stream begins with a schema")
    if body_bytes:
        raise Malformed("a schema has no body, got one that says it has")
    return read_schema(header, max_fields, max_name, end - start)


def metadata_of(head: bytes | memoryview) -> dict[str, str]:
    """What the head of a stream says beside its schema, as the writer's ``metadata`` has it.

    Args:
        head: the message.

    Raises:
        Malformed: it is no schema, or says more than this is for.
    """
    start, end = _metadata(head, 0)
    kind, header, _ = _parsed(memoryview(head)[start:end])
    if kind != SCHEMA:
        raise Malformed("a stream begins with a schema")
    pairs = header.tables(2, _MAX_METADATA)
    return {pair.text(0, _MAX_METADATA_BYTES): pair.text(1, _MAX_METADATA_BYTES) for pair in pairs}


class Stream:
    """A stream whose schema has been read.

    Args:
        body: all of it.
        schema: what its head says, where that is known.
        kept_bytes: of texts that its dictionaries keep decoded; unless told otherwise, as many as the stream has.

    Raises:
        Malformed: it does not begin with a schema.
    """

    def __init__(self, body: bytes, schema: Schema | None = None, kept_bytes: int | None = None) -> None:
        self.schema = schema_of(head_of(body)) if schema is None else schema
        self._body = memoryview(body)
        self._after_schema = _metadata(body, 0)[1]
        self._kept_bytes = len(body) if kept_bytes is None else kept_bytes

    def batches(self) -> Iterator[Batch]:
        """The record batches from the first on, read as they are asked for.

        Raises:
            Malformed: one cannot be read, or the stream does not end as it should.
        """
        return (batch for batch in self.messages() if batch is not None)

    def messages(self) -> Iterator[Batch | None]:
        """The messages behind the schema from the first on, read as they are asked for; None for a dictionary.

        To read one takes tens of microseconds whatever it holds, so who reads many counts them all.

        Raises:
            Malformed: one cannot be read, or the stream does not end as it should.
        """
        fields = self.schema.fields
        if self.schema.n_fields > len(fields) or any(field.type is None for field in fields):
            raise Malformed("a column has a type that is not read")
        types: dict[int, Type | None] = {}
        for field in fields:
            if field.dictionary is not None and types.setdefault(field.dictionary, field.type) != field.type:
                raise Malformed("columns of different types share a dictionary")
        dictionaries: dict[int, Dictionary] = {}
        kept = Kept(self._kept_bytes)
        place = self._after_schema
        while True:
            kind, header, body, place = _message(self._body, place)
            if header is None:
                break
            if kind == DICTIONARY_BATCH:
                number, data = header.number(0, "q"), header.table(1)
                if header.number(2, "?"):
                    raise Malformed("dictionary deltas are not read: send each dictionary whole")
                if data is None:
                    raise Malformed("a dictionary holds no values")
                value_type = types.get(number)
                if value_type is not None:
                    (values,) = RecordBatch(data, body).arrays([value_type])
                    if len(values) > MAX_DICTIONARY:
                        raise Malformed(f"a dictionary holds at most {MAX_DICTIONARY:,} values")
                    if (replaced := dictionaries.get(number)) is not None:
                        replaced.forget()
                    dictionaries = {**dictionaries, number: Dictionary(values, kept)}
                yield None
            elif kind == RECORD_BATCH:
                yield Batch(RecordBatch(header, body), fields, dictionaries)
            else:
                raise Malformed("a message is neither a dictionary nor a record batch")
        if place != len(self._body):
            raise Malformed("there are bytes behind the end of the stream")


def _metadata(body: bytes | memoryview, place: int) -> tuple[int, int]:
    """Where the flatbuffer of the message at a place begins, and where it ends."""
    head = body[place : place + 8]
    if len(head) < 8 or head[:4] != CONTINUES:
        raise Malformed("the stream is cut off, or is none of Arrow's stream format since version 0.15")
    size = int.from_bytes(head[4:], "little", signed=True)
    start = place + 8
    if size < 0 or start + size > len(body):
        raise Malformed("the stream is cut off")
    return start, start + size


def _message(stream: memoryview, place: int) -> tuple[int, Table | None, memoryview, int]:
    """The message at a place: its kind, its header (None: the end), its body, and the place behind it."""
    start, end = _metadata(stream, place)
    if start == end:
        return 0, None, stream[:0], start
    kind, header, length = _parsed(stream[start:end])
    if length < 0 or end + length > len(stream):
        raise Malformed("the stream is cut off")
    return kind, header, stream[end : end + length], end + length


def _parsed(metadata: memoryview) -> tuple[int, Table, int]:
    """What the flatbuffer of a message says: its kind, its header, and the bytes of its body."""
    message = Table.root(metadata)
    if message.number(0, "h") not in _VERSIONS:
        raise Malformed("a message is of another version of the format than 1.0")
    header = message.table(2)
    if header is None:
        raise Malformed("a message has no header")
    return message.number(1, "B"), header, message.number(3, "q")
