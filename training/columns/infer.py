"""What each column is, decided on training rows alone: its kind, what means null in it, and whether it is of use."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import TableError
from models.levels import LevelType, canonical_level, type_of_levels
from models.signature import MISSING_TIMESTAMP, RESERVED_NAMES, Kind
from models.values import EXACT_WHOLE
from training.columns.moments import parse_moments
from training.columns.reading import (
    BLANKS,
    NOT_FINITE,
    NULL_SPELLINGS,
    ColumnRule,
    is_whole_text,
    level_texts,
    levels_of_column,
    misfit,
    parse_numbers,
    read_column,
    unusable,
    without_nulls,
)
from training.data.table import Table

__all__ = ["NULL_SPELLINGS", "ColumnRule", "check_names", "infer_columns", "kind_of", "read_column"]

MOSTLY = 0.9
"""From this share on, the values that do not fit are taken for mistakes in a column of that kind, and refused."""
DISTINCT = 0.99
"""From this share of distinct values on, a text identifies rows rather than describes them."""
MIN_ID_ROWS = 3
"""Fewer values tell nothing about whether a column identifies its rows."""

_LEADING_ZERO = r"^[+-]?0[0-9]+$"
_WITH_COMMA = r"^[+-]?[0-9]+(?:,[0-9]+)+(?:\.[0-9]+)?$|^[+-]?[0-9]{1,3}(?:\.[0-9]{3})*,[0-9]+$"
_LEVELS: dict[LevelType, str] = {
    "whole": "whole numbers",
    "number": "numbers",
    "boolean": "booleans",
    "date": "dates",
    "timestamp": "moments",
}
_ALIKE: dict[LevelType, str] = {
    "whole": "3 and 3.0",
    "number": "1.5 and 1.50",
    "boolean": "true and TRUE",
    "date": "2013-07-01 and 2013-07-01T00:00:00Z",
    "timestamp": "2013-07-01 and 2013-07-01T00:00:00Z",
}
_OTHER_DATE = (
    r"(?i)^(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{4}|[0-9]{2})"
    r"|[0-9]{1,2}[ -][a-z]{3,9}[ -][0-9]{2,4}|[a-z]{3,9} [0-9]{1,2},? [0-9]{4})(?:[t ,].*)?$"
)


def infer_columns(
    train: Table,
    *,
    exclude: Collection[str] = (),
    category: Collection[str] = (),
    null: Collection[str] = (),
    keep: bool = False,
) -> tuple[tuple[ColumnRule, ...], list[str]]:
    """Decide how each column is read, and which are of no use.

    Args:
        train: training rows and no others.
        exclude: columns that are no inputs: the target, say.
        category: columns to read as categories whatever they hold.
        null: further texts that mean null, in every column.
        keep: drop nothing.

    Returns:
        the rules of the kept columns in the table's order; and what was decided, in sentences that name the column and
        hold no value of any row.

    Raises:
        TableError: a value does not fit the kind of all the others, or a column has a type no model takes; names
            column, row and the way out.
    """
    for name in category:
        train.require(name, "--category names")
    rules: list[ColumnRule] = []
    decisions: list[str] = []
    for name in train.names:
        if name in exclude:
            continue
        inferred = _infer(train, name, as_category=name in category, null=frozenset(null) - {""})
        why_dropped = "" if keep else _why_dropped(train, inferred, named=name in category)
        if why_dropped:
            decisions.append(f"{name!r} is dropped: {why_dropped}")
            continue
        rules.append(inferred.rule)
        if inferred.rule.reason:
            decisions.append(f"{name!r} is kept as text: {inferred.rule.reason}")
        if inferred.remark:
            decisions.append(f"{name!r}: {inferred.remark}")
    return tuple(rules), decisions


def kind_of(table: Table, name: str, *, null: Collection[str] = (), way_out: str | None = None) -> Kind:
    """The kind a column is of by its values.

    Args:
        null: further texts that mean null.
        way_out: what to tell the person when nearly all values are of one kind and some are not; where None, such a
            column is a category.

    Raises:
        TableError: nearly all values are of one kind and some are not, or no model takes the column's type.
    """
    return _infer(table, name, as_category=False, null=frozenset(null) - {""}, way_out=way_out).rule.kind


def check_names(table: Table, target: str, drop: Collection[str] = ()) -> None:
    """Make sure no input bears the name of a graph output. The target may: it is no input.

    Raises:
        TableError: one does; names ``--drop`` and ``--rename``.
    """
    for name in table.names:
        if name in RESERVED_NAMES and name != target and name not in drop:
            raise TableError(
                f"{table.source}: no input may be named {', '.join(sorted(RESERVED_NAMES))}, which are the model's "
                f"outputs, however: {name!r}; leave it out with --drop {name}, or call it something else with "
                f"--rename {name}={name}_in"
            )


@dataclass(frozen=True)
class _Inferred:
    rule: ColumnRule
    n_present: int
    n_distinct: int
    remark: str = ""


@dataclass(frozen=True)
class _Levels:
    """The distinct texts of a column, none of them null for sure, and how many rows hold each, ``[distinct]``."""

    texts: pl.Series
    counts: NDArray[np.int64]

    def rows(self, which: NDArray[np.bool_]) -> int:
        return int(self.counts[which].sum())


def _infer(train: Table, name: str, *, as_category: bool, null: frozenset[str], way_out: str | None = "") -> _Inferred:
    column = train.frame[name]
    dtype = column.dtype
    if not as_category and dtype != pl.String:
        kind = _kind_of_type(train, column)
        rule = ColumnRule(name, kind, nullable=False, nulls=null | NULL_SPELLINGS)
        if kind == "integer" and _beyond_exact(column):
            return _category(train, column, null, "whole numbers beyond 2**53 do not fit a double")
        return _measured(train, rule)
    levels = _levels(without_nulls(level_texts(train, column), null))
    if as_category:
        return _category(train, column, null)
    kind, reason, remark = _kind_of_texts(train, name, levels, way_out)
    if kind == "category":
        return _category(train, column, null, reason, remark)
    nulls = null if kind == "boolean" else null | NULL_SPELLINGS
    return _measured(train, ColumnRule(name, kind, nullable=False, nulls=nulls), remark)


def _kind_of_type(train: Table, column: pl.Series) -> Kind:
    dtype = column.dtype
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric() or dtype == pl.Null:
        return "number"
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return "timestamp"
    raise unusable(train, column)


def _beyond_exact(column: pl.Series) -> bool:
    low, high = column.min(), column.max()
    return isinstance(low, int) and isinstance(high, int) and (low < -EXACT_WHOLE or high > EXACT_WHOLE)


def _levels(texts: pl.Series) -> _Levels:
    counted = texts.drop_nulls().alias("text").value_counts(name="rows")
    return _Levels(counted["text"], counted["rows"].to_numpy().astype(np.int64))


def _measured(train: Table, rule: ColumnRule, remark: str = "") -> _Inferred:
    values = read_column(train, rule)
    missing = values == MISSING_TIMESTAMP if rule.kind == "timestamp" else np.isnan(values)
    present = values[~missing]
    n_distinct = 0 if len(present) == 0 else 1 if present.min() == present.max() else 2  # or more: all that is asked
    rule = ColumnRule(rule.name, rule.kind, bool(missing.any()), rule.nulls)
    return _Inferred(rule, len(present), n_distinct, remark)


def _category(train: Table, column: pl.Series, null: frozenset[str], reason: str = "", remark: str = "") -> _Inferred:
    texts = without_nulls(level_texts(train, column), null)
    distinct = texts.drop_nulls().unique()
    of = type_of_levels(distinct)
    if of is not None:  # 1.50 and 1.5 are one level, and so are a null's forms
        null |= {canonical_level(text, of) for text in null}
        texts = without_nulls(levels_of_column(train, texts, of), null)
        n_texts, distinct = len(distinct), texts.drop_nulls().unique()
        if len(distinct) < n_texts and not remark:
            remark = f"its levels are {_LEVELS[of]}: texts that say the same, such as {_ALIKE[of]}, are one level"
    level_type = None if of == "whole" else of
    rule = ColumnRule(
        column.name, "category", texts.null_count() > 0, null, of == "whole", reason, level_type=level_type
    )
    return _Inferred(rule, len(texts) - texts.null_count(), len(distinct), remark)


def _kind_of_texts(train: Table, name: str, levels: _Levels, way_out: str | None) -> tuple[Kind, str, str]:
    """The kind of a column of texts, why it is a category where that is not plain, and what else is worth saying.

    Raises:
        TableError: nearly all of them are of one kind, or dates of several forms; names the first that is not.
    """
    texts = levels.texts.str.strip_chars(BLANKS)
    counts_as_null = texts.is_in([*NULL_SPELLINGS, ""]).to_numpy()
    said = ~counts_as_null
    n_said = levels.rows(said)
    if n_said == 0:
        return "number", "", ""  # all null, whatever it might have been

    _, numbers = parse_numbers(texts)
    leading_zero = texts.str.contains(_LEADING_ZERO).to_numpy()
    whole = is_whole_text(texts)
    number_like = numbers | texts.str.contains(_WITH_COMMA).to_numpy()
    if number_like.any():
        number_like |= texts.str.contains(NOT_FINITE).to_numpy()
        number_like |= np.isinf(parse_numbers(texts)[0])
    mostly_numbers = levels.rows(number_like & said) >= MOSTLY * n_said
    if mostly_numbers and leading_zero.any() and np.all(whole | ~numbers):
        return "category", "a number would lose its leading zeros", ""
    if np.all(numbers | ~said):
        if not np.all(whole | ~said):
            return "number", "", ""
        long = texts.filter(pl.Series(said) & (texts.str.len_bytes() > 15))
        if any(abs(int(text)) > EXACT_WHOLE for text in long):
            return "category", "whole numbers beyond 2**53 do not fit a double", ""
        return "integer", "", ""
    if mostly_numbers and way_out is not None:
        raise _first_misfit(train, name, levels, said & ~numbers, "a number", way_out)

    booleans = texts.str.to_lowercase().is_in(["true", "false"]).to_numpy()
    blank = (texts == "").to_numpy()
    if np.all(booleans | blank):
        return "boolean", "", ""
    if way_out is not None and levels.rows(booleans) >= MOSTLY * levels.rows(~blank):
        raise _first_misfit(train, name, levels, ~booleans & ~blank, "true or false", way_out)
    return _dates_or_category(train, name, levels, said, way_out)


def _dates_or_category(
    train: Table, name: str, levels: _Levels, said: NDArray[np.bool_], way_out: str | None
) -> tuple[Kind, str, str]:
    texts = levels.texts.str.strip_chars(BLANKS)
    _, dates = parse_moments(texts)
    n_said = levels.rows(said)
    if np.all(dates | ~said):
        zoned = texts.str.contains(r"(?i)(?:z|:.*[+-][0-9:]{2,})$").to_numpy()
        timed = texts.str.contains(":", literal=True).to_numpy()
        mixed = bool((zoned & said).any() and (timed & ~zoned & said).any())
        return "timestamp", "", "some of its values name no zone and are read as UTC" if mixed else ""
    date_like = dates | texts.str.contains(_OTHER_DATE).to_numpy()
    if way_out is None or levels.rows(date_like & said) < MOSTLY * n_said:
        return "category", "", ""
    if not dates.any():
        return "category", "its dates are not ISO 8601 (2013-07-01T08:30:00Z), so they are levels without an order", ""
    raise _first_misfit(
        train, name, levels, said & ~dates, "an ISO 8601 date or date-time, as others in it are", way_out
    )


def _first_misfit(
    train: Table, name: str, levels: _Levels, which: NDArray[np.bool_], expected: str, way_out: str
) -> TableError:
    unfit = train.frame[name].is_in(levels.texts.filter(pl.Series(which)).to_list()).fill_null(False)
    return misfit(train, name, int(unfit.to_numpy().argmax()), expected, way_out)


def _why_dropped(train: Table, inferred: _Inferred, *, named: bool) -> str:
    rule = inferred.rule
    if inferred.n_distinct == 0:
        return "no training row holds a value in it"
    if inferred.n_distinct == 1 and not rule.nullable:
        return "it is constant in the training rows"
    if named or inferred.n_present < MIN_ID_ROWS:
        return ""
    if rule.kind == "category" and inferred.n_distinct >= DISTINCT * inferred.n_present:
        return (
            f"it looks like an identifier, with {inferred.n_distinct:,} distinct texts in {inferred.n_present:,} "
            f"training rows; keep it with --category {rule.name}"
        )
    if rule.kind == "integer":
        values = read_column(train, rule)
        if np.all(np.diff(values[~np.isnan(values)]) > 0):
            return (
                "it looks like an identifier, whole numbers that only count up from row to row; "
                f"keep it with --category {rule.name}"
            )
    return ""
