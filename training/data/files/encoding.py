"""The bytes of a text file to UTF-8, and a refusal of bytes that are no such text."""

from __future__ import annotations

import codecs

import numpy as np

from rowcast.models.arguments import named
from rowcast.models.errors import TableError
from rowcast.training.data.files.form import WHOLE, Before

_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32", "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF16_LE, "UTF-16", "utf-16"),
    (codecs.BOM_UTF16_BE, "UTF-16", "utf-16"),
)


def to_utf8(data: bytes, separator: str, encoding: str, source: str, before: Before = WHOLE) -> bytes:
    """The same text in UTF-8, without a byte order mark.

    Raises:
        TableError: the encoding is unknown, or the bytes are not valid in it; names byte, row and line.
    """
    try:
        codec = codecs.lookup(encoding).name
    except LookupError:
        raise TableError(
            f"--encoding takes a text encoding such as utf-8, latin-1 or utf-16, got {encoding!r}"
        ) from None
    if not codec.startswith(("utf-16", "utf-32")):
        _check_narrow(data, separator, source, before)
    data = data.removeprefix(codecs.BOM_UTF8)
    if codec in ("utf-8", "utf-8-sig") and data.isascii():
        return data
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        wide = codec.startswith(("utf-16", "utf-32"))
        place = f"{source}: offset {error.start}" if wide else _place(data[: error.start], separator, source, before)
        other = "--encoding utf-8" if wide else "--encoding latin-1, or cp1252 where Excel on Windows wrote it"
        raise TableError(
            f"{place} holds the byte 0x{data[error.start]:02x}, which is not valid {encoding}: "
            f"name the file's encoding, for example {other}"
        ) from None
    except (LookupError, UnicodeError, ValueError):
        raise TableError(
            f"{source} cannot be read with --encoding {named(encoding)}: name the encoding it is in"
        ) from None
    if codec in ("utf-8", "utf-8-sig"):
        return data
    data = text.removeprefix("\ufeff").encode()
    if b"\0" in data:
        _refuse_nul(data, separator, source, before)
    return data


def _check_narrow(data: bytes, separator: str, source: str, before: Before) -> None:
    """Refuse text of two or four bytes a character, and NUL bytes, which no text holds."""
    for mark, name, flag in _WIDE_MARKS:
        if data.startswith(mark):
            raise TableError(
                f"{source} is in {name}, not UTF-8: read it with --encoding {named(flag)}, or save it as UTF-8"
            )
    if b"\0" not in data:
        return
    head = np.frombuffer(data[:4096], np.uint8) == 0
    if head.mean() > 0.3:
        flag = "utf-16-le" if head[1::2].mean() > head[::2].mean() else "utf-16-be"
        raise TableError(
            f"{source} looks like UTF-16 without a byte order mark, not UTF-8: "
            f"read it with --encoding {named(flag)}, or save it as UTF-8"
        )
    _refuse_nul(data, separator, source, before)


def _refuse_nul(data: bytes, separator: str, source: str, before: Before) -> None:
    place = _place(data[: data.index(b"\0")], separator, source, before)
    raise TableError(f"{place} holds a NUL byte, which no text holds: the file is damaged or no text; save it anew")


def _place(text: bytes, separator: str, source: str, before: Before) -> str:
    """Where in the table a text that begins it ends: ``my.csv: row 5 (line 6), field 2``."""
    outside = b"".join(text.split(b'"')[::2])  # every other piece lies outside quotes
    row = outside.count(b"\n") + before.rows - text.lower().startswith((b"sep=", b'"sep=', codecs.BOM_UTF8 + b"sep="))
    field = outside[outside.rfind(b"\n") + 1 :].count(separator.encode()) + 1
    line = text.count(b"\n") + 1 + before.lines
    return f"{source}: {'the header' if row <= 0 else f'row {row}'} (line {line}), field {field},"
