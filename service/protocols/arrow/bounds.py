"""What an Arrow stream may take while it is read: memory by its own length, and the event loop for one part at a time.

What is decoded of a stream, over all its columns, dictionaries and record batches together, is at any moment at most
:data:`DECODED_MULTIPLE` times as long as the stream, and :data:`DECODED_SPARE`. So rows are read in parts, and a part
has few rows where they are wide, their texts long or the stream short. Who reads a part gives the event loop back.

A text object of one letter beyond ASCII takes some 80 bytes, and a letter of four bytes makes every letter of its text
take four: that is why a text counts for so much more than it has bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rowcast.models.arrow import Field
from rowcast.models.signature import Column
from rowcast.models.texts.columns import text_reader
from rowcast.service.columns.kinds.rules import RULES

DECODED_MULTIPLE = 8
"""How many times as long as a stream what is decoded of it may be at any moment."""
DECODED_SPARE = 2**20
"""Bytes that it may take beside that, so that short streams can be read at all."""
MAX_NAME_BYTES = 1024
"""Of a column's name, unless the model has one that is longer."""
MAX_ROW_TEXT = 2**20
"""Bytes of all texts of a row: to decode them takes up to 6 ms."""
REPEATED_TEXT = 1024
"""Bytes a row that texts may come to in all of a stream, beyond its multiple: the same text may be in many rows."""

PART_ROWS = 1024
"""Rows that are read at once, at most: a millisecond for twenty columns of usual types."""
_PART_WORK = 2**15
"""Values that are read at once, at most: 30 ms where each of them is as slow to read as its type can be."""
_SLOWER_READINGS = 64
"""How many times as long as another value a text may take that is read by what training found out of its column: up to
25 us, and as much again for a machine that is busy."""
_SLOWER_LEVELS = 4
"""The same of a value of another type that is made the text of a level."""


class RowCost(NamedTuple):
    """What a row of a stream takes."""

    work: int
    """To read, in values of a usual type."""
    read_bytes: int
    """While it is read."""
    held_bytes: int
    """Once it is, beside its texts' own bytes."""

    @classmethod
    def of(cls, fields: Iterable[Field], columns: Iterable[Column]) -> RowCost:
        """Of the columns of a model, some of which are left out.

        Args:
            fields: of the stream; each is a column of the model.
            columns: of the model.
        """
        families = {field.name: field.type.family if field.type is not None else "null" for field in fields}
        work = read = held = 0
        for column in columns:
            in_text = families.get(column.name) == "text"
            if in_text and (column.levels_of is not None or text_reader(column) is not None):
                work += _SLOWER_READINGS
            elif in_text:
                work += RULES[column.kind].text_work
            else:
                work += _SLOWER_LEVELS if column.levels_of is not None else 1
            read += _TEXT_READ_BYTES if in_text else _READ_BYTES.get(families.get(column.name, "null"), 24)
            held += _TEXT_HELD_BYTES if in_text and column.dtype == object else 8
        return cls(work, read, held)


_TEXT_READ_BYTES = 192
_TEXT_HELD_BYTES = 88
_READ_BYTES = {"decimal": 96}


class Bounds(NamedTuple):
    """Of one stream."""

    decoded_bytes: int
    """All that may be decoded at any moment."""
    kept_bytes: int
    """Texts of its dictionaries that are kept for the rows to come."""
    part_rows: int
    """Rows that are read at once."""
    part_text: int
    """Bytes of text that are read at once, unless one row has more; and that wait for their run."""
    at_once_rows: int
    """Rows of a stream that is read whole before it is run."""
    waiting_rows: int
    """Rows that are read and wait for their run, or are in it."""
    size: int
    """The stream's own bytes."""

    @classmethod
    def of(cls, size: int, row: RowCost) -> Bounds:
        """Of a stream of so many bytes, whose rows take so much."""
        decoded = DECODED_MULTIPLE * size + DECODED_SPARE
        rows = min(PART_ROWS, _PART_WORK // row.work, decoded // 2 // row.read_bytes)
        return cls(
            decoded_bytes=decoded,
            kept_bytes=decoded // 4,
            part_rows=1 << max(1, rows).bit_length() - 1,
            part_text=min(MAX_ROW_TEXT, decoded // 32),
            at_once_rows=min(_PART_WORK // row.work, decoded // 2 // row.read_bytes),
            waiting_rows=max(1, decoded // 8 // row.held_bytes),
            size=size,
        )

    def text_bytes(self, rows: int) -> int:
        """What the texts of so many rows may come to, each counted as often as a row has it."""
        return self.decoded_bytes + REPEATED_TEXT * rows
