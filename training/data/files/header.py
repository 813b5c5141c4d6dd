"""The first line of a table: names that differ, and no row of data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import polars as pl

from rowcast.models.errors import TableError
from rowcast.training.data.files.first_row import counts_up, looks_like_row, value_kind
from rowcast.training.data.index import names_rows

_SET = "--set data.header"
_WAYS = (
    f"read it with {_SET}=false, which calls the columns column_1, column_2, ..., or with {_SET}=true where these are "
    "the names"
)


def numbered_names(n: int) -> list[str]:
    """Names of the columns of a table that has none: column_1, column_2, ..."""
    return [f"column_{i}" for i in range(1, n + 1)]


def check_header(header: Sequence[str], source: str, line: int, *, said: bool) -> None:
    """Make sure the first line can be column names; one without a name is left to :func:`filled_in`.

    Args:
        header: its fields.
        source: what errors call the file.
        line: where it stands.
        said: whether a person said that it holds the names, so that numbers may be names.

    Raises:
        TableError: it is blank, repeats a name, or holds only numbers.
    """
    if not any(name.strip() for name in header):
        raise TableError(f"{source}: the first line must hold the column names; it is blank")
    if all(value_kind(name) == "number" for name in header) and not counts_up(header) and not said:
        raise TableError(
            f"{source}: the first line must hold the column names; it holds only numbers, such as "
            f"{header[0]!r}; add a line of names above it, or {_WAYS}"
        )
    named = [name for name in header if name.strip()]
    if len(set(named)) < len(named):
        name = next(name for i, name in enumerate(named) if name in named[:i])
        places = " and ".join(str(i) for i, other in enumerate(header, 1) if other == name)
        raise TableError(
            f"{source}: column names must differ; the header (line {line}) holds {name!r} as columns "
            f"{places}; rename one of them in the file"
        )


def filled_in(header: Sequence[str]) -> tuple[list[str], list[int]]:
    """The header with a name for every column, and the 0-based places that had none."""
    names: list[str] = []
    blank = [place for place, name in enumerate(header) if not name.strip()]
    for place, name in enumerate(header):
        stem = name if name.strip() else f"Unnamed: {place}"  # as pandas calls it
        made, turn = stem, 0
        while place in blank and (made in header or made in names):
            turn += 1
            made = f"{stem}.{turn}"
        names.append(made)
    return names, blank


def settle_unnamed(
    frame: pl.DataFrame, header: Sequence[str], source: str, line: int
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Decide what the columns are that the header leaves without a name.

    One that holds nothing is left out; the first ones are the index of a data frame where they tell rows apart.

    Returns:
        the columns that are left, and the names of those that are an index.

    Raises:
        TableError: another one holds values.
    """
    _, blank = filled_in(header)
    empty = [place for place in blank if frame.to_series(place).null_count() == len(frame)]
    first = [place for place in takewhile(lambda place: place in blank, range(len(header))) if place not in empty]
    index = frame.select(frame.columns[place] for place in first)
    one = len(first) == 1 and names_rows(index.to_series(0))
    several = len(first) > 1 and not any(index.null_count().row(0)) and index.n_unique() == len(index)
    for place in blank:
        if place not in empty and not (place in first and (one or several)):
            raise TableError(
                f"{source}: every column needs a name; the header (line {line}) leaves column {place + 1} of "
                f"{len(header)} without one; name it there, or take the column out of the file"
            )
    return frame.drop(frame.columns[place] for place in empty), tuple(index.columns)


def refuse_row(header: Sequence[str], rows: Sequence[Sequence[str]], source: str, line: int) -> None:
    """Make sure the first line is no row of data.

    Raises:
        TableError: its fields are values like those below them; names the way out.
    """
    if looks_like_row(header, rows):
        shown = ", ".join(repr(field[:20]) for field in header[:4]) + (", ..." if len(header) > 4 else "")
        raise TableError(
            f"{source}: the first line must hold the column names, got what looks like a row (line {line}): {shown}; "
            f"add a line of names above it, or {_WAYS}"
        )
