"""Arrow streams built to stretch each bound of the reader, and the parts to build more of them.

Whoever finds another way to make a short stream long, or a quick one slow, adds it to :data:`STREAMS`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rowcast.models.arrow import END
from rowcast.models.arrow.flatbuffer import Longs, Pairs, Scalar, Table, Tables, build
from rowcast.models.arrow.stream import CONTINUES, DICTIONARY_BATCH, RECORD_BATCH, SCHEMA

MIB = 2**20
NULL: tuple[int, dict[int, Any]] = (1, {})
INT64: tuple[int, dict[int, Any]] = (2, {0: Scalar("i", 64), 1: Scalar("?", 1)})
FLOAT64: tuple[int, dict[int, Any]] = (3, {0: Scalar("h", 2)})
UTF8: tuple[int, dict[int, Any]] = (5, {})
VIEWS: tuple[int, dict[int, Any]] = (24, {})
DECIMAL256: tuple[int, dict[int, Any]] = (7, {0: Scalar("i", 70), 1: Scalar("i", 30), 2: Scalar("i", 256)})
COLUMNS = ("distance", "stops", "night", "carrier", "departs")
"""Of :data:`tests.support.handmade.BINARY`: two of numbers, a boolean, a text, a moment."""
WIDE = "\N{GRINNING FACE}"
"""A letter of four bytes: in one text with it every other letter takes as many."""


class Body:
    """The body of a message, and where its buffers are."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.buffers: list[tuple[int, int]] = []

    def add(self, data: bytes) -> tuple[int, int]:
        """Put a buffer behind the others."""
        self.data += bytes(-len(self.data) % 8)
        self.again((len(self.data), len(data)))
        self.data += data
        return self.buffers[-1]

    def again(self, *buffers: tuple[int, int]) -> None:
        """Name buffers that may have been named before."""
        self.buffers += buffers


def message(kind: int, header: dict[int, Any], body: bytes = b"") -> bytes:
    """A message, its body padded."""
    body += bytes(-len(body) % 8)
    metadata = build({0: Scalar("h", 4), 1: Scalar("B", kind), 2: header, 3: Scalar("q", len(body))})
    return CONTINUES + struct.pack("<i", len(metadata)) + metadata + body


def field(name: str, kind: tuple[int, dict[int, Any]], dictionary: int | None = None) -> dict[int, Any]:
    """A column; dictionary-encoded, its places are of one byte, or of four."""
    made: dict[int, Any] = {0: name, 1: Scalar("?", 1), 2: Scalar("B", kind[0]), 3: kind[1], 5: Tables()}
    if dictionary is not None:
        made[4] = {0: Scalar("q", dictionary), 1: {0: Scalar("i", 32), 1: Scalar("?", 1)}}
    return made


def schema(*fields: dict[int, Any], metadata: str = "") -> bytes:
    """A schema of some columns; those of the model that are none of them are null."""
    named = {made[0] for made in fields}
    rest = [field(name, NULL) for name in COLUMNS if name not in named]
    pairs = Tables([{0: "padding", 1: metadata}] if metadata else [])
    return message(SCHEMA, {1: Tables([*fields, *rest]), 2: pairs})


def batch(rows: int, body: Body, columns: int = 1, counts: Sequence[int] = ()) -> bytes:
    """A record batch: of some columns with values, and as many of nulls as the model has others."""
    nodes = [(rows, 0)] * columns + [(rows, rows)] * (len(COLUMNS) - columns)
    header = {0: Scalar("q", rows), 1: Pairs(nodes), 2: Pairs(body.buffers), 4: Longs(counts)}
    return message(RECORD_BATCH, header, bytes(body.data))


def dictionary(number: int, rows: int, body: Body, counts: Sequence[int] = ()) -> bytes:
    """A dictionary."""
    data = {0: Scalar("q", rows), 1: Pairs([(rows, 0)]), 2: Pairs(body.buffers), 4: Longs(counts)}
    return message(DICTIONARY_BATCH, {0: Scalar("q", number), 1: data}, bytes(body.data))


def texts(body: Body, lengths: Sequence[int], data: bytes) -> None:
    """Add a column of texts, cut out of some bytes."""
    body.add(b"")
    body.add(np.concatenate([[0], np.cumsum(lengths)]).astype("<i4").tobytes())
    body.add(data)


def numbers(body: Body, values: bytes) -> None:
    """Add a column of numbers."""
    body.add(b"")
    body.add(values)


def places(body: Body, values: Any) -> None:
    """Add a column of places in a dictionary."""
    numbers(body, np.asarray(values, "<i4").tobytes())


def views(body: Body, rows: int, size: int, block: int, data: Sequence[tuple[int, int]]) -> None:
    """Add a column whose every row is the beginning of one and the same buffer."""
    body.add(b"")
    body.add(struct.pack("<i4sii", size, b"xxxx", block, 0) * rows)
    body.again(*data)


def stream(*messages: bytes) -> bytes:
    """A whole stream."""
    return b"".join([*messages, END])


# --- refused


def one_buffer_of_views_many_times(size: int) -> bytes:
    """Rows of views into one buffer that is named again and again."""
    body = Body()
    data = body.add(b"x" * (size - 8) + WIDE.encode() * 2)
    body.buffers.clear()
    views(body, 256, size, 7, [data] * 300)
    return stream(schema(field("carrier", VIEWS)), batch(256, body, 1, [300]))


def two_columns_over_the_same_texts(size: int) -> bytes:
    """Two columns of texts whose offsets and bytes are the same."""
    body = Body()
    texts(body, [size // 8] * 8, b"x" * (size // 8 * 8))
    body.again(*body.buffers)
    return stream(schema(field("carrier", UTF8), field("departs", UTF8)), batch(8, body, 2))


def numbers_within_numbers(size: int) -> bytes:
    """Two columns of numbers, one of which begins in the midst of the other."""
    rows, body = size // 12, Body()
    numbers(body, bytes(size))
    start, _ = body.buffers[1]
    body.buffers[1] = (start, 8 * rows)
    body.again((0, 0), (start + 4 * rows // 8 * 8, 8 * rows))
    return stream(schema(field("distance", FLOAT64), field("stops", FLOAT64)), batch(rows, body, 2))


def offsets_that_are_the_texts(size: int) -> bytes:
    """A dictionary whose texts are the bytes of its own offsets."""
    body = Body()
    texts(body, [0] * (size // 4 - 1), b"")
    body.buffers[2] = body.buffers[1]
    picked = Body()
    places(picked, [0] * 8)
    return stream(schema(field("carrier", UTF8, 0)), dictionary(0, size // 4 - 1, body), batch(8, picked))


def one_long_name_for_all(size: int) -> bytes:
    """Fields that all have the same name, which is as long as the stream."""
    made = bytearray(
        build({0: Scalar("h", 4), 1: Scalar("B", SCHEMA), 2: {1: Tables(field("x", NULL) for _ in range(70))}})
    )
    header = Table.root(bytes(made)).table(2)
    assert header is not None
    slots = [table._at(0) or 0 for table in header.tables(1, 70)]
    end, name = len(made), b"n" * (size - 4) + WIDE.encode()
    made += struct.pack("<I", len(name)) + name + b"\0"
    made += bytes(-len(made) % 8)
    for at in slots:
        struct.pack_into("<I", made, at, end - at)
    return CONTINUES + struct.pack("<i", len(made)) + bytes(made) + END


def one_field_many_times(size: int) -> bytes:
    """A schema whose every field is the last one, which has a name as long as one may be."""
    n = size // 128
    fields = Tables([*(field("x", NULL) for _ in range(n)), field("n" * 1020 + WIDE, NULL)])
    made = bytearray(build({0: Scalar("h", 4), 1: Scalar("B", SCHEMA), 2: {1: fields}, 3: Scalar("q", 0)}))
    header = Table.root(bytes(made)).table(2)
    assert header is not None
    at = header._at(1) or 0
    first, _ = header._vector(at, 4)
    *_, last = header.tables(1, n + 1)
    for place in range(first, first + 4 * n, 4):
        struct.pack_into("<I", made, place, last._position - place)
    return CONTINUES + struct.pack("<i", len(made)) + bytes(made) + END


def dictionaries_and_nothing_else(size: int) -> bytes:
    """Empty dictionaries, one after the other."""
    body = Body()
    texts(body, [], b"")
    one = dictionary(0, 0, body)
    return stream(schema(field("carrier", UTF8, 0)), one * (size // len(one)))


def batches_of_no_rows(size: int) -> bytes:
    """Record batches without a row."""
    one = batch(0, Body(), 0)
    return stream(schema(), one * (size // len(one)))


def rows_without_bytes(size: int) -> bytes:
    """More rows of nulls than the stream has bytes."""
    return stream(schema(), batch(10**6, Body(), 0))


def a_row_of_one_long_text(size: int) -> bytes:
    """One text as long as the stream, with a letter at its end that makes it four times as long."""
    body = Body()
    texts(body, [size], b"x" * (size - 4) + WIDE.encode())
    return stream(schema(field("carrier", UTF8)), batch(1, body))


def one_text_picked_by_every_row(size: int) -> bytes:
    """A dictionary of one long text, that all rows pick."""
    body, picked = Body(), Body()
    length = min(size // 2, MIB // 2)
    texts(body, [length], b"x" * length)
    places(picked, [0] * (size // 8))
    return stream(schema(field("carrier", UTF8, 0)), dictionary(0, 1, body), batch(size // 8, picked))


def one_text_viewed_by_every_row(size: int) -> bytes:
    """Views of one long text, in all rows."""
    body, rows, length = Body(), size // 32, min(size // 2, MIB // 2)
    data = body.add(b"x" * length)
    body.buffers.clear()
    views(body, rows, length, 0, [data])
    return stream(schema(field("carrier", VIEWS)), batch(rows, body, 1, [1]))


def more_buffers_than_texts(size: int) -> bytes:
    """Views that have as many buffers as can be named, all of them empty."""
    body = Body()
    views(body, 8, 4, 0, [(0, 0)] * (size // 16))
    return stream(schema(field("carrier", VIEWS)), batch(8, body, 1, [size // 16]))


# --- answered


def texts_of_one_letter(size: int) -> bytes:
    """Texts of one wide letter each: an object of 80 bytes for 8 of the stream."""
    body, rows = Body(), size // 8 - 64
    texts(body, [4] * rows, WIDE.encode() * rows)
    return stream(schema(field("carrier", UTF8)), batch(rows, body))


def texts_of_two_letters(size: int) -> bytes:
    """Texts of two letters, of which Python keeps none in common."""
    body, rows = Body(), size // 6 - 64
    texts(body, [2] * rows, b"xy" * rows)
    return stream(schema(field("carrier", UTF8)), batch(rows, body))


def long_texts_in_few_rows(size: int) -> bytes:
    """As many rows as are answered in one go, as long together as the stream, each four times as long once decoded."""
    body, length = Body(), size // 256 - 8
    texts(body, [length] * 256, (b"x" * (length - 4) + WIDE.encode()) * 256)
    return stream(schema(field("carrier", UTF8)), batch(256, body))


def a_large_dictionary_of_nothing(size: int) -> bytes:
    """A dictionary of as many empty texts as there may be, of which a few are used."""
    body, picked, n = Body(), Body(), min(size // 4 - 64, MIB)
    texts(body, [0] * n, b"")
    places(picked, [0, n - 1] * 4)
    return stream(schema(field("carrier", UTF8, 0)), dictionary(0, n, body), batch(8, picked))


def a_large_dictionary_picked_at_random(size: int) -> bytes:
    """A dictionary of texts of one letter, all of which are picked, in no order."""
    body, picked, n = Body(), Body(), size // 12 - 64
    texts(body, [4] * n, WIDE.encode() * n)
    places(picked, np.random.default_rng(1).permutation(n))
    return stream(schema(field("carrier", UTF8, 0)), dictionary(0, n, body), batch(n, picked))


def a_dictionary_of_long_texts(size: int) -> bytes:
    """A dictionary that is longer decoded than may be kept, picked from again and again."""
    body, picked, n = Body(), Body(), size // 2**13
    length = size // n - 64
    texts(body, [length] * n, (b"x" * (length - 4) + WIDE.encode()) * n)
    places(picked, list(range(n)) * 5)
    return stream(schema(field("carrier", UTF8, 0)), dictionary(0, n, body), batch(5 * n, picked))


def a_dictionary_for_every_batch(size: int) -> bytes:
    """Dictionaries that are replaced before they have been used twice."""
    parts = []
    n_batches = min(1000, size // 1024)
    each = size // n_batches
    for _ in range(n_batches):
        body, picked = Body(), Body()
        n = max(1, each // 8 - 100)
        texts(body, [2] * n, b"xy" * n)
        places(picked, [n - 1])
        parts += [dictionary(0, n, body), batch(1, picked)]
    return stream(schema(field("carrier", UTF8, 0)), *parts)


def batches_of_one_row(size: int) -> bytes:
    """As many record batches as there may be."""
    one = batch(1, Body(), 0)
    return stream(schema(), one * min(4096, size // len(one)))


def wide_decimals(size: int) -> bytes:
    """Decimals of 256 bits beyond what is exact, each of which Python has to divide."""
    body, rows = Body(), size // 32 - 64
    numbers(body, bytes(range(1, 17)) * 2 * rows)
    return stream(schema(field("distance", DECIMAL256)), batch(rows, body))


def moments_written_as_hardly_anybody_does(size: int) -> bytes:
    """Dates in text, all different, that take the long way."""
    rows = size // 34 - 64
    text = b"".join(b"2013-07-01 08:%02d:%02d.%06d+0100" % (i // 60 % 60, i % 60, i) for i in range(rows))
    body = Body()
    texts(body, [len(text) // rows] * rows, text)
    return stream(schema(field("departs", UTF8)), batch(rows, body))


def what_no_date_is(size: int) -> bytes:
    """Texts for dates, none of which is one, all different."""
    rows = size // 12 - 64
    body = Body()
    texts(body, [8] * rows, b"".join(b"%08d" % i for i in range(rows)))
    return stream(schema(field("departs", UTF8)), batch(rows, body))


def metadata_and_little_else(size: int) -> bytes:
    """A schema with metadata as long as the stream."""
    body = Body()
    numbers(body, bytes(64))
    return stream(schema(field("distance", FLOAT64), metadata="x" * size), batch(8, body))


def buffers_out_of_order(size: int) -> bytes:
    """Columns whose buffers lie apart, the last one first."""
    rows, body = size // 24, Body()
    for _ in range(3):
        numbers(body, bytes(8 * rows))
    kept = body.buffers
    body.buffers = [*kept[4:6], *kept[2:4], *kept[:2]]
    fields = [field("distance", FLOAT64), field("stops", INT64), field("departs", (10, {0: Scalar("h", 2)}))]
    return stream(schema(*fields), batch(rows, body, 3))


class Hostile(NamedTuple):
    """A kind of stream, and how it is answered."""

    build: Callable[[int], bytes]
    """Makes one of about so many bytes."""
    status: int
    words: str = ""
    """In the refusal."""


_SHARED = "the buffers of a record batch must not share bytes of its body"
_REPEATED = "a text column holds the same long texts again and again"
STREAMS = [
    Hostile(one_buffer_of_views_many_times, 400, _SHARED),
    Hostile(two_columns_over_the_same_texts, 400, _SHARED),
    Hostile(numbers_within_numbers, 400, _SHARED),
    Hostile(offsets_that_are_the_texts, 400, _SHARED),
    Hostile(one_long_name_for_all, 400, "a name may have at most 1,024 bytes, got "),
    Hostile(dictionaries_and_nothing_else, 413, "a stream holds at most 4,096 record batches and dictionaries"),
    Hostile(batches_of_no_rows, 413, "a stream holds at most 4,096 record batches and dictionaries"),
    Hostile(rows_without_bytes, 413, "holds at most 4,096 rows"),
    Hostile(a_row_of_one_long_text, 400, "columns.carrier[0]: the texts of a row may have at most 1,048,576 bytes"),
    Hostile(one_text_picked_by_every_row, 400, _REPEATED),
    Hostile(one_text_viewed_by_every_row, 400, _REPEATED),
    Hostile(more_buffers_than_texts, 400, "a column of views has at most 65,536 buffers"),
    Hostile(what_no_date_is, 400, "is not an ISO 8601 date"),
    Hostile(texts_of_one_letter, 200),
    Hostile(texts_of_two_letters, 200),
    Hostile(long_texts_in_few_rows, 200),
    Hostile(a_large_dictionary_of_nothing, 200),
    Hostile(a_large_dictionary_picked_at_random, 200),
    Hostile(a_dictionary_of_long_texts, 200),
    Hostile(a_dictionary_for_every_batch, 200),
    Hostile(batches_of_one_row, 200),
    Hostile(wide_decimals, 200),
    Hostile(moments_written_as_hardly_anybody_does, 200),
    Hostile(metadata_and_little_else, 200),
    Hostile(buffers_out_of_order, 200),
]
