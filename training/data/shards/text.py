"""Delimited text and JSON Lines a piece at a time: each ends where a row ends, and is read as the whole would be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from rowcast.models.errors import ConfigError, TableError
from rowcast.training.data.files.delimited import Record, read_delimited, walk
from rowcast.training.data.files.form import Before, Content, FileForm
from rowcast.training.data.files.json_lines import read_json_lines
from rowcast.training.data.files.rows import scan_rows
from rowcast.training.data.files.separators import SAMPLE, check_separator, said_by_excel, sniff

PIECE_BYTES = 1 << 23
MOST_BYTES = 1 << 28
"""Of one row: text without an end of a line is no table."""
_LF, _QUOTE = 10, 34


def pieces_of_delimited(
    stream: BinaryIO, form: FileForm, default: str, source: str, piece_bytes: int = PIECE_BYTES
) -> Iterator[Content]:
    """The rows of delimited text in their order, as :func:`read_delimited` reads the whole; a header alone is a piece.

    Args:
        stream: of the file.
        form: what is known about it; of an encoding in which a line ends in the byte 10.
        default: the separator of most files of its extension.
        source: what errors call the file.
        piece_bytes: of a piece, about.

    Raises:
        TableError: the text breaks a rule; names row, line, column and the way out.
        ConfigError: the separator that was named is none.
    """
    pieces = _Cut(stream, source, piece_bytes)
    first = pieces.beginning()
    separator = check_separator(form.separator) if form.separator else said_by_excel(first)[0] or sniff(first, default)
    pieces.separator = separator
    text = pieces.next()
    while not _has_rows(text, separator, source) and (more := pieces.next()):
        text += more
    content = read_delimited(text, form, default, source)
    yield content
    first_row = _first_row(text, separator, source)
    header = b"" if form.header is False else first_row.text.encode("latin-1")
    later = replace(form, separator=separator, header=form.header is not False)
    rows, lines = content.frame.height, text.count(b"\n") - header.count(b"\n")
    while text := pieces.next():
        if not text.strip() and len(first_row.fields) > 1:  # blank lines at the end
            return
        content = read_delimited(header + text, later, default, source, Before(rows, lines))
        yield content
        rows += content.frame.height
        lines += text.count(b"\n")


def pieces_of_json_lines(
    stream: BinaryIO, encoding: str, source: str, piece_bytes: int = PIECE_BYTES
) -> Iterator[Content]:
    """The rows of JSON Lines in their order, as :func:`read_json_lines` reads the whole; of none there is a piece.

    Args:
        stream: of the file.
        encoding: in which a line ends in the byte 10.
        source: what errors call the file.
        piece_bytes: of a piece, about.

    Raises:
        TableError: a line is no flat JSON object, or repeats a key; names the line.
    """
    pieces = _Cut(stream, source, piece_bytes)
    rows = lines = 0
    while text := pieces.next():
        if text.strip():
            content = read_json_lines(text, encoding, source, Before(rows, lines))
            yield content
            rows += content.frame.height
        lines += text.count(b"\n")
    if rows == 0:
        yield read_json_lines(b"", encoding, source)


class _Cut:
    """Cuts text behind ends of rows. Blank lines go with the rows after them, since at the end they are none."""

    def __init__(self, stream: BinaryIO, source: str, piece_bytes: int) -> None:
        self._stream, self._source, self._bytes = stream, source, piece_bytes
        self._left = b""
        self._cut = 0
        self.separator: str | None = None
        """Of fields, which may be quoted and hold ends of lines; None where no line holds one."""

    def beginning(self) -> bytes:
        """The first bytes, which stay to be cut."""
        self._fill(SAMPLE + 1)
        return self._left

    def next(self) -> bytes:
        """The next rows; nothing at the end."""
        window = self._bytes
        while True:
            self._fill(window + 1)
            if len(self._left) <= window:
                text, self._left = self._left, b""
                return text
            end = self._end(self._left[:window])
            if end:
                text, self._left = self._left[:end], self._left[end:]
                self._cut += end
                return text
            if window > MOST_BYTES:
                raise TableError(
                    f"{self._source}: a row must end within {MOST_BYTES >> 20} MiB, and none does from byte "
                    f"{self._cut:,} on: close what opens a quote there, or write each row "
                    "on a line of its own"
                )
            window *= 2

    def _fill(self, n_bytes: int) -> None:
        """Have so many bytes, unless the text is over."""
        pieces, held = [self._left], len(self._left)
        while held < n_bytes and (piece := self._stream.read(max(n_bytes - held, self._bytes))):
            pieces.append(piece)
            held += len(piece)
        self._left = b"".join(pieces) if len(pieces) > 1 else self._left

    def _end(self, data: bytes) -> int:
        """Where the last row ends of which that can be said, at the end of a line; 0 where there is none."""
        lines = data.rfind(b"\n") + 1
        if self.separator is None or b'"' not in data:
            return _without_blank(data, lines)
        text = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(text == _LF)
        outside = ends[np.searchsorted(np.flatnonzero(text == _QUOTE), ends) % 2 == 0]
        end = _without_blank(data, int(outside[-1]) + 1 if len(outside) else 0)
        if end and scan_rows(data[:end], self.separator) is not None:
            return end
        return self._walked(data[:lines])

    def _walked(self, data: bytes) -> int:
        """The end of the last row but one, field by field: where quotes stand in odd places."""
        assert self.separator is not None
        done = before = 0
        with suppress(TableError):  # a quote that is not closed yet
            for record in walk(data.decode("latin-1"), self.separator, self._source, ()):  # a byte a character
                done, before = done + len(record.text), done
        return _without_blank(data, before)


def _without_blank(data: bytes, end: int) -> int:
    """The end of the last line that is not blank, up to one end of a line."""
    held = len(data[:end].rstrip(b"\r\n"))
    return data.find(b"\n", held) + 1 if held else 0


def _has_rows(text: bytes, separator: str, source: str) -> bool:
    """Whether more stands there than the first row, which may be a header."""
    body = text[said_by_excel(text)[1] :].removeprefix(b"\xef\xbb\xbf")
    try:
        return len(_first_row(text, separator, source).text) < len(body.rstrip(b"\r\n"))
    except TableError:
        return True  # it is told where the text is read


def names_in(beginning: bytes, form: FileForm, default: str) -> list[str]:
    """The names that delimited text seems to begin with."""
    separator = form.separator or said_by_excel(beginning)[0] or sniff(beginning, default)
    try:
        fields = _first_row(beginning, check_separator(separator), "").fields
        return [field.encode("latin-1").decode(form.encoding, "replace") for field in fields]
    except (TableError, ConfigError, LookupError, UnicodeError):  # which is told where the text is read
        return []


def _first_row(text: bytes, separator: str, source: str) -> Record:
    """The first row as it stands in the file, without a mark of its encoding and a line that names the separator."""
    text = text[said_by_excel(text)[1] :].removeprefix(b"\xef\xbb\xbf")
    return next(walk(text.decode("latin-1"), separator, source, ()))
