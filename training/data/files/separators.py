"""What stands between two fields: said by a person or by Excel, or found by looking at the first rows."""

from __future__ import annotations

import re
from collections import Counter

from rowcast.models.errors import ConfigError, TableError
from rowcast.training.data.files.first_row import value_kind

SEPARATORS = (",", ";", "\t", "|")
"""Separators that are looked for."""
SAMPLE = 1 << 16
"""Bytes of a file that are looked at."""

_NO_FIT = (0.0, 0)
_NAMED = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "space": " "}
_SPOKEN = {"\t": "tabs", " ": "blanks"}
_QUOTED = re.compile(r'(?:(?<=[,;\t|\n])|\A)"(?:[^"]|"")*"(?=[,;\t|\r\n]|\Z)')
_BY_EXCEL = re.compile(rb'\A(?:\xef\xbb\xbf)?"?sep=([^\r\n])"?(?:\r\n|\n|\r)', re.IGNORECASE)


def check_separator(text: str) -> str:
    """The separator that ``--separator`` names: a character, or its name.

    Raises:
        ConfigError: it is none.
    """
    separator = _NAMED.get(text.lower(), text)
    if len(separator) == 1 and separator.isascii() and separator not in '"\r\n\0' and not separator.isalnum():
        return separator
    raise ConfigError(
        f"--separator must be one character, or comma, semicolon, tab, pipe or space, got {text!r}: "
        "name what stands between two fields"
    )


def spoken(separator: str) -> str:
    """How a separator is called in a sentence."""
    return _SPOKEN.get(separator, repr(separator))


def said_by_excel(data: bytes) -> tuple[str, int]:
    """The separator that a first line ``sep=;`` names, and the bytes of that line; "" and 0 where there is none."""
    found = _BY_EXCEL.match(data)
    return (found[1].decode("latin-1"), found.end()) if found else ("", 0)


def sniff(data: bytes, default: str) -> str:
    """The separator that splits the first rows into as many fields as the header.

    Args:
        data: the file, or its beginning.
        default: what stands between fields in most files of this extension; it is kept unless another fits better.
    """
    rows = _rows(data)
    fits = {separator: _fit(rows, separator) for separator in SEPARATORS}
    best = max(fits.values())[0]
    alike = [separator for separator in SEPARATORS if fits[separator][0] == best]
    if best == 0.0:
        return default
    # Of 5,1;3,5 both separators part every row alike: the one that leaves values between them is meant.
    return max(alike, key=lambda one: (_share_of_values(rows, one), fits[one][1], one == default))


def check_said(data: bytes, separator: str, source: str) -> None:
    """Make sure a separator that was named splits the header, where another would.

    Raises:
        TableError: it does not; names the one that does.
    """
    rows = _rows(data)
    other = sniff(data, ",")
    if _fit(rows, separator)[1] == 0 and _fit(rows, other) > (0.9, 0):
        raise TableError(
            f"{source}: the header holds no {spoken(separator)} to separate its fields, as --separator says, but "
            f"{spoken(other)}: leave --separator out, or name that"
        )


def _rows(data: bytes) -> list[str]:
    """The first rows without what stands in quotes there."""
    data = data[said_by_excel(data)[1] :]
    text = data[:SAMPLE].replace(b"\0", b"").decode("latin-1")
    if len(data) > SAMPLE:
        text = text[: text.rfind("\n") + 1] or text
    return [row for row in re.split(r"\r\n|\r|\n", _QUOTED.sub("", text))[:200] if row]


def _fit(rows: list[str], separator: str) -> tuple[float, int]:
    """The share of rows with as many separators as the header, and how many those are; nothing where it holds none."""
    counts = [row.count(separator) for row in rows]
    if not counts or not counts[0]:
        return _NO_FIT
    return Counter(counts)[counts[0]] / len(counts), counts[0]


def _share_of_values(rows: list[str], separator: str) -> float:
    """The share of fields below the header that are numbers, dates or true/false."""
    fields = [field for row in rows[1:] for field in row.split(separator)]
    return sum(bool(value_kind(field)) for field in fields) / max(len(fields), 1)
