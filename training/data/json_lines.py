"""JSON Lines to a frame: one flat object a line, and a refusal that names the line of what is not."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import TableError
from training.data.encoding import to_utf8
from training.data.frames import to_frame
from training.data.objects import describe_half, half_character


def read_json_lines(data: bytes, encoding: str, source: str) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Read JSON Lines. Blank lines are skipped; a key that a line lacks is null there.

    Args:
        data: of the file.
        encoding: of the file.
        source: how errors call it.

    Returns:
        the columns with their own types, and the line of each row, ``[rows]``.

    Raises:
        TableError: a line is no flat JSON object, repeats a key, or mixes types in a column; names the line.
    """
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(to_utf8(data, ",", encoding, source).split(b"\n"), 1):
        if line.strip():
            objects.append(_object(line, number, source))
            lines.append(number)
    if not objects:
        raise TableError(f"{source} is empty: it needs one JSON object a line")
    names = dict.fromkeys(name for row in objects for name in row)
    for name in names:
        _check_types(name, [row.get(name) for row in objects], lines, source)
    return to_frame({name: [row.get(name) for row in objects] for name in names}).frame, np.array(lines, np.int64)


def _object(line: bytes, number: int, source: str) -> dict[str, Any]:
    def refuse(what: str) -> NoReturn:
        raise TableError(f"{source}, line {number}: a line holds one flat JSON object, however: {what}; correct it")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(found)
        if len(row) < len(found):
            names = [name for name, _ in found]
            refuse(f"the key {max(names, key=names.count)!r} comes twice")
        return row

    try:
        row = json.loads(line, object_pairs_hook=pairs, parse_constant=lambda text: refuse(f"{text} is no JSON number"))
    except (ValueError, RecursionError) as error:
        refuse(str(error))
    if not isinstance(row, dict):
        refuse(f"a {type(row).__name__}")
    for name, value in row.items():
        for text in (name, value):
            if isinstance(text, str) and not text.isascii() and half_character(text):
                refuse(f"{name!r} holds {describe_half(text)}")
        if isinstance(value, dict | list):
            refuse(f"{name!r} holds {'an object' if isinstance(value, dict) else 'a list'}")
    return row


def _check_types(name: str, values: list[Any], lines: list[int], source: str) -> None:
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "text"}
    first: tuple[str, int] | None = None
    for value, line in zip(values, lines, strict=True):
        if value is None:
            continue
        kind = kinds[type(value)]
        first = first or (kind, line)
        if kind != first[0]:
            raise TableError(
                f"{source}, line {line}: {name!r} holds {kind} here and {first[0]} in line {first[1]}; "
                "write all of a column's values alike"
            )
