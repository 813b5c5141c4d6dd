"""The rows that hold a target, and their numbers where a table writes them in a form of its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import polars as pl

from rowcast.models.errors import TableError
from rowcast.models.kinds import KINDS
from rowcast.models.reading import Reading
from rowcast.models.texts import is_marker
from rowcast.models.texts.columns import text_value
from rowcast.training.columns.kinds import Levels, Look, kind_of_texts
from rowcast.training.columns.reading import (
    BLANKS,
    NULL_SPELLINGS,
    PLAIN,
    ColumnRule,
    misfit,
    parse_numbers,
    read_column,
    without_nulls,
)
from rowcast.training.columns.target import AS_CLASSES, CANONICAL_WHOLE, MAX_WHOLE_CLASSES, Target, kind_of_target
from rowcast.training.data.table import Table


def with_target(
    table: Table, name: str, *, task: str = "auto", null: Collection[str] = (), reading: Reading = PLAIN
) -> Table:
    """The rows that hold a target, as numbers where it is written in a form; notes of the table say what was decided.

    Args:
        task: as for :func:`rowcast.training.columns.target.read_target`.
        null: further texts that mean null; of a target of numbers, the number however it is written.
        reading: from :func:`reading_of_target`.

    Raises:
        TableError: the column is absent, or no row holds a value in it.
    """
    table.require(name, "--target names")
    if reading != PLAIN:
        return _noted(table, _in_numbers(table, name, null, reading), name)
    held = _held(table, name, null)
    numbers = kind_of_target(held, name, task, null) in ("number", "integer")
    return _noted(table, _held(held, name, {*null, *NULL_SPELLINGS}, numbers=True) if numbers else held, name)


def with_target_like(table: Table, target: Target, *, null: Collection[str] = (), may_be_none: bool = False) -> Table:
    """The rows of a further table (validation, test) that hold a target, see :func:`with_target`.

    ``may_be_none``: of a piece of a table, in which no row may hold one.
    """
    if may_be_none and table.frame[target.name].null_count() == len(table):
        return table.take([])
    table.require(target.name, "the model predicts")
    null = {*null, *_markers(table.frame[target.name], target.classes)}
    if target.reading != PLAIN:
        held = _in_numbers(table, target.name, null, target.reading, may_be_none=may_be_none)
        return _noted(table, held, target.name)
    numbers = not target.classes or bool(pl.Series(target.classes).str.contains(CANONICAL_WHOLE).all())
    nulls = {*null, *NULL_SPELLINGS} if numbers else {*null}
    held = _held(table, target.name, nulls, numbers=numbers, may_be_none=may_be_none)
    return _noted(table, held, target.name)


def _markers(column: pl.Series, classes: Collection[str]) -> set[str]:
    """Texts of a further table that say that there is no value, and are no class."""
    if column.dtype != pl.String:
        return set()
    texts = column.drop_nulls().str.strip_chars(BLANKS).unique()
    return {text for text in texts if text not in classes and is_marker(text)}


def reading_of_target(
    table: Table, name: str, *, task: str = "auto", null: Collection[str] = ()
) -> tuple[Reading, list[str]]:
    """How a target writes its numbers, where that is not the plain way: 26%, $50.31, 08:30, or N/A for none.

    Few different texts stay the classes they are.

    Returns:
        the reading, and sentences about it.
    """
    table.require(name, "--target names")
    column = table.frame[name]
    if task not in ("auto", "regression"):
        return PLAIN, []
    if column.dtype == pl.Time or isinstance(column.dtype, pl.Duration):
        return Reading(duration=True), [f"the target {name!r} is read as seconds, of times of day or durations"]
    if column.dtype != pl.String:
        return PLAIN, []
    look = Look(table, name, Levels.of(without_nulls(column, frozenset(null) - {""})))
    if task == "auto" and int(look.content.sum()) <= MAX_WHOLE_CLASSES:
        return PLAIN, []
    try:
        found = kind_of_texts(look, None)
    except TableError:  # which speaks of dates, and of what helps with an input
        return PLAIN, []
    reading = found.reading.model_copy(update={"nulls": tuple(sorted(found.markers - NULL_SPELLINGS))})
    if not KINDS[found.kind].is_quantity or reading == PLAIN:
        return PLAIN, []
    notes = [f"the target {name!r}{tail}" for tail in found.notes if not tail.startswith(":")]
    notes += [f"{null!r} means null in the target {name!r}" for null in reading.nulls]
    return reading, notes


def _in_numbers(
    table: Table, name: str, null: Collection[str], reading: Reading, *, may_be_none: bool = False
) -> Table:
    """The rows that hold a target, as float64."""
    rule = ColumnRule(name, "number", True, frozenset({*null, *reading.nulls, *NULL_SPELLINGS}), reading=reading)
    held = _held(table, name, rule.nulls, may_be_none=may_be_none)
    if len(held) == 0:
        return held
    column = held.frame[name]
    if column.dtype == pl.String:
        texts = column.str.strip_chars(BLANKS)
        read = {text: text_value(text, "number", reading) for text in texts.unique()}
        unfit = texts.is_in([text for text, value in read.items() if value is None]).to_numpy()
        if unfit.any():
            raise misfit(held, name, int(unfit.argmax()), "a number", AS_CLASSES)
        values = texts.replace_strict(read, return_dtype=pl.Float64).to_numpy()
        values = np.where(np.isin(values, list(rule.missing_numbers)), np.nan, values)
    else:
        values = read_column(held, rule)
    numbers = replace(held, frame=held.frame.with_columns(pl.Series(name, values).fill_nan(None)))
    return _held(numbers, name, (), may_be_none=may_be_none)


def _held(
    table: Table, name: str, nulls: Collection[str], *, numbers: bool = False, may_be_none: bool = False
) -> Table:
    """The rows whose target is not null; ``numbers``: a text that means null may be a number, written in any way."""
    column = table.frame[name]
    missing = column.is_null().to_numpy()
    if column.dtype == pl.String:
        missing = missing | column.str.strip_chars(BLANKS).is_in(["", *nulls]).fill_null(True).to_numpy()
    if numbers:
        meant = list(ColumnRule(name, "number", True, frozenset(nulls)).missing_numbers)
        if column.dtype == pl.String:
            missing = missing | np.isin(parse_numbers(column)[0], meant)
        elif column.dtype.is_numeric():
            missing = missing | np.isin(column.cast(pl.Float64).fill_null(np.nan).to_numpy(), meant)
    if missing.all() and not may_be_none:
        raise TableError(
            f"{table.source}: no row holds a value of the target {name!r}, so there is nothing to learn: "
            "name another column with --target"
        )
    return table.take(np.flatnonzero(~missing)) if missing.any() else table


def _noted(table: Table, held: Table, name: str) -> Table:
    n = len(table) - len(held)
    if n == 0:
        return held
    are = "has no" if n == 1 else "have no"
    left_out = f"{n:,} of {len(table):,} rows {are} {name!r} and {'is' if n == 1 else 'are'} left out"
    return replace(held, notes=(*held.notes, left_out))
