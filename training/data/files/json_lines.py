"""JSON to a frame: one flat object a line, or an array of them, and a refusal that names the line of what is not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import polars as pl

from rowcast.models.errors import TableError
from rowcast.training.data.files.encoding import to_utf8
from rowcast.training.data.files.form import WHOLE, Before, Content
from rowcast.training.data.frames import to_frame
from rowcast.training.data.objects import describe_half, half_character

_BLANK = re.compile(r"[ \t\r\n]*")


def read_json_lines(data: bytes, encoding: str, source: str, before: Before = WHOLE) -> Content:
    """Read JSON Lines. Blank lines are skipped; a key that a line lacks is null there. No line is no row.

    Args:
        data: of the file.
        encoding: of the file.
        source: how errors call it.
        before: what of the file comes before.

    Returns:
        the columns with their own types, and the line of each row.

    Raises:
        TableError: a line is no flat JSON object, or repeats a key; names the line.
    """
    data = to_utf8(data, ",", encoding, source, before)
    if data.lstrip()[:1] == b"[":
        line = before.lines + data[: data.index(b"[")].count(b"\n") + 1
        raise TableError(
            f"{source}, line {line}: a line holds one flat JSON object, got an array: name the file .json, which may "
            'hold an array of them, or write the rows with pandas by to_json(orient="records", lines=True)'
        )
    return _frame(_by_line(data, source, before.lines), "one JSON object a line")


def read_json(data: bytes, encoding: str, source: str) -> Content:
    """Read a ``.json`` file: an array of flat objects, or JSON Lines, which some call so too.

    Args, returns and raises: see :func:`read_json_lines`.
    """
    data = to_utf8(data, ",", encoding, source)
    begins = data.lstrip()[:1]
    if begins == b"[":
        return _frame(_by_element(data.decode(), source), "an array of JSON objects")
    if begins == b"{" and _is_one_object(data):
        raise TableError(
            f"{source} must hold an array of flat objects, one a row, got one object: write the rows as an array, with "
            'pandas by to_json(orient="records")'
        )
    return _frame(_by_line(data, source), "an array of JSON objects")


def _is_one_object(data: bytes) -> bool:
    """Whether the file is a single object that is no row: over several lines, or with objects or lists in it."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return b"\n" in data.strip() or any(isinstance(value, dict | list) for value in whole.values())


def _by_line(data: bytes, source: str, before: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(data.split(b"\n"), before + 1):
        if line.strip():
            yield number, _object(line.decode(), number, source, "a line holds one flat JSON object")


def _by_element(text: str, source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of an array, each with the line it begins on."""
    at = _after_blanks(text, text.index("[") + 1)
    line = text.count("\n", 0, at) + 1
    rule = "an array holds flat JSON objects, one a row"
    if text[at : at + 1] == "]":
        return
    while True:
        element, end = _decode(text, at, line, source, rule)
        yield line, element
        after = _after_blanks(text, end)
        line += text.count("\n", at, after)
        if text[after : after + 1] == "]":
            if text[after + 1 :].strip():
                raise TableError(f"{source}, line {line}: {rule}: more follows its end; take that out")
            return
        if text[after : after + 1] != ",":
            raise TableError(f"{source}, line {line}: {rule}: a comma is missing between two; correct it")
        at = _after_blanks(text, after + 1)
        line += text.count("\n", after, at)


def _frame(rows: Iterator[tuple[int, dict[str, Any]]], needs: str) -> Content:
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    for line, row in rows:
        objects.append(row)
        lines.append(line)
    if not objects:
        nothing = np.zeros(0, np.int64)
        return Content(pl.DataFrame(), nothing, without_rows=f"is empty: it needs {needs}", is_nameless=True)
    names = dict.fromkeys(name for row in objects for name in row)
    read = to_frame({name: [row.get(name) for row in objects] for name in names})
    return Content(read.frame, np.array(lines, np.int64), mixed=read.mixed)


def _object(text: str, line: int, source: str, rule: str) -> dict[str, Any]:
    begin = _after_blanks(text, 0)
    row, end = _decode(text, begin, line, source, rule)
    if text[end:].strip():
        raise TableError(f"{source}, line {line}: {rule}: more follows; correct it")
    return row


def _decode(text: str, at: int, line: int, source: str, rule: str) -> tuple[dict[str, Any], int]:
    """The object at a place of the text, and where it ends."""

    def fail(what: str) -> NoReturn:
        raise TableError(f"{source}, line {line}: {rule}: {what}; correct it")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(found)
        if len(row) < len(found):
            names = [name for name, _ in found]
            fail(f"the key {max(names, key=names.count)!r} comes twice")
        return row

    decoder = json.JSONDecoder(object_pairs_hook=pairs, parse_constant=lambda text: fail(f"{text} is no JSON number"))
    try:
        row, end = decoder.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        fail(str(error))
    if not isinstance(row, dict):
        fail(f"it is a {type(row).__name__}")
    for name, value in row.items():
        for said in (name, value):
            if isinstance(said, str) and not said.isascii() and half_character(said):
                fail(f"{name!r} holds {describe_half(said)}")
        if isinstance(value, dict | list):
            fail(f"{name!r} holds {'an object' if isinstance(value, dict) else 'a list'}")
    return row, end


def _after_blanks(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    assert match is not None  # it matches nothing as well
    return match.end()
