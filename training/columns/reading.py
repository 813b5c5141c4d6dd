"""How a column is read once it is known what it is: the same rules for training rows and for any later table.

A table that was text and a data frame with native types read alike, so a model trained on the one takes the other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.errors import TableError
from rowcast.models.kinds import KINDS, MISSING_STRING, MISSING_TIMESTAMP, Kind
from rowcast.models.levels import LevelType, canonical_levels, number_level
from rowcast.models.reading import Reading
from rowcast.models.texts import MARKERS
from rowcast.models.texts import columns as column_texts
from rowcast.models.texts.numbers import BLANKS as SPACES
from rowcast.models.values import EXACT_WHOLE, format_timestamp
from rowcast.training.columns.mixed import LEVELS_COME_IN, first_of_other_kind, kinds_taken
from rowcast.training.columns.timestamps import parse_timestamps, typed_timestamps
from rowcast.training.columns.written.clocks import durations_of
from rowcast.training.columns.written.dates import timestamps_in_order, timestamps_since
from rowcast.training.columns.written.forms import each, numbers_in_form
from rowcast.training.data.table import Table

NULL_SPELLINGS = column_texts.NULL_SPELLINGS
PLAIN = Reading()
"""Nothing that was found out."""
BLANKS = " \t"
"""What may stand around a number, a boolean or a date."""
NOT_FINITE = r"(?i)^[+-]?(?:inf|infinity|nan)$"
"""Texts that some tools write for what is no finite number."""

_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
WHOLE = r"^[+-]?[0-9]+$"
"""A whole number without decimal point or exponent."""
_LEVEL_WORDS: dict[LevelType, str] = {
    "whole": "a whole number",
    "number": "a number",
    "boolean": "a boolean",
    "date": "a date",
    "timestamp": "a date or date-time",
}


@dataclass(frozen=True)
class ColumnRule:
    """How a column is read, decided on training rows alone."""

    name: str
    kind: Kind
    nullable: bool
    """A training row lacked it."""
    nulls: frozenset[str]
    """Texts that mean null in this column, besides the empty one."""
    whole_levels: bool = False
    """Category whose every level is a whole number."""
    reason: str = ""
    """Why it is a category, where its values would have said otherwise."""
    declared: bool = False
    """Category that a person or the source of the table declares one: whose levels these are is no secret."""
    reading: Reading = PLAIN
    """What else training found out about its texts and numbers; its ``nulls`` stand above."""
    level_type: Literal["number", "boolean", "date", "timestamp"] | None = None
    """Category whose every level is the text of such a value."""
    as_served: bool = False
    """Of a stored model: values are held to what a served row is. Validation rows of a training are not: that theirs
    are the first fractions of a column does not keep it from being learned."""

    @property
    def levels_of(self) -> LevelType | None:
        """What every level is the text of; None where levels are texts and nothing else."""
        return "whole" if self.whole_levels else self.level_type

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the column's values, as :func:`read_column` gives them."""
        return KINDS[self.kind].dtype

    @property
    def is_quantity(self) -> bool:
        """Whether it holds numbers of something."""
        return KINDS[self.kind].is_quantity

    def is_missing(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the column's values are missing, ``[rows]``."""
        missing = KINDS[self.kind].missing
        gone: NDArray[np.bool_] = np.isnan(values) if isinstance(missing, float) else values == missing
        return gone

    @property
    def signature_reading(self) -> Reading | None:
        """What the signature tells of the reading; None where there is nothing to tell."""
        nulls = self.nulls - KINDS[self.kind].null_spellings
        shared = self.reading.model_copy(
            update={"nulls": tuple(sorted(nulls)), "missing_numbers": tuple(sorted(self.missing_numbers))}
        )
        return None if shared == KINDS[self.kind].reading else shared

    @property
    def missing_numbers(self) -> frozenset[float]:
        """Numbers that mean null: those that were found out, and every text that means null and is one."""
        if self.kind in ("category", "text", "boolean"):
            return frozenset(self.reading.missing_numbers)
        meant = (column_texts.text_value(text, self.kind, self.reading) for text in self.nulls - NULL_SPELLINGS)
        return frozenset(self.reading.missing_numbers) | {float(value) for value in meant if value is not None}


def read_column(table: Table, rule: ColumnRule) -> NDArray[Any]:
    """Read a column by its rule.

    Returns:
        ``[rows]``: float64 with NaN where missing for number, integer and boolean (1/0); an object array of str with
        ``""`` where missing for category and text; int64 epoch microseconds with INT64_MIN where missing for timestamp.

    Raises:
        TableError: the table lacks the column, or a value does not fit; names column, value, row and the way out.
    """
    table.require(rule.name, "the model takes")
    column = table.frame[rule.name]
    if rule.kind in ("category", "text"):
        return read_levels(table, rule).to_numpy().astype(object)
    if rule.name in table.mixed:
        _check_kinds(table, rule)
    if column.dtype == pl.String:
        column = without_nulls(column.str.strip_chars(SPACES), {"", *rule.nulls})
    present = column.is_not_null().to_numpy() if column.null_count() else np.ones(len(column), dtype=bool)
    values: NDArray[Any]
    if rule.kind == "timestamp":
        values, fits = _timestamps(column, rule.reading)
        values = np.where(np.isin(values, [int(value) for value in rule.missing_numbers]), MISSING_TIMESTAMP, values)
    elif rule.kind == "boolean":
        values, fits = _booleans(column, rule.reading)
    else:
        values, fits = _numbers(column, rule.missing_numbers, rule.reading, table.mixed.get(rule.name))
        present &= ~np.isnan(values) | ~fits
        if rule.kind == "integer" or rule.as_served:  # 1e38 says how exact it is; 39 digits that it rounds do not
            fits = fits & ~_rounded(column, values)
    if np.any(unfit := present & ~fits):
        unfit &= ~_is_marker(column, unfit)  # none of them is a value of any kind
        if unfit.any():
            raise misfit(table, rule.name, int(np.argmax(unfit)), KINDS[rule.kind].noun)
    if rule.kind == "integer" and rule.as_served and np.count_nonzero(fractions := np.floor(values) < values):
        raise misfit(table, rule.name, int(np.argmax(fractions)), "a whole number", _way_out(rule.name))
    return values


def read_levels(table: Table, rule: ColumnRule) -> pl.Series:
    """A category by its rule, as :func:`read_column` reads it, as a series of texts."""
    texts = without_nulls(levels_of_column(table, table.frame[rule.name], rule.levels_of), rule.nulls)
    return texts.fill_null(MISSING_STRING)


def _is_marker(column: pl.Series, which: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a column of texts holds a common marker of a missing value, ``[rows]``, asked about these rows."""
    found = np.zeros(len(column), dtype=bool)
    if column.dtype == pl.String:
        found[which] = column.filter(pl.Series(which)).str.to_lowercase().is_in(list(MARKERS)).to_numpy()
    return found


def _check_kinds(table: Table, rule: ColumnRule) -> None:
    """Hold each value of a column of several Python types to what a served row may hold; in training, texts too.

    Raises:
        TableError: one is of another kind; names it, its row and the way out.
    """
    taken = kinds_taken(rule.kind, rule.signature_reading)
    column, kinds = table.frame[rule.name], table.mixed[rule.name]
    index = first_of_other_kind(column, kinds, taken if rule.as_served else taken | {"text"})
    if index is not None:
        came, value = kinds[index], _value(column, index)
        shown = repr(value) if came == "text" else value
        raise TableError(
            f"{table.source}: column {rule.name!r} must be {KINDS[rule.kind].noun} or null, got the {came} {shown} in "
            f"{table.where(index)}: correct it, or leave it empty"
        )


def without_nulls(texts: pl.Series, nulls: Collection[str]) -> pl.Series:
    """The texts, null where they are one of ``nulls``."""
    return texts.set(texts.is_in(list(nulls)).fill_null(False), None) if nulls else texts


def parse_numbers(texts: pl.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers of a column of texts: a sign, digits with one decimal point, an exponent; blanks around are tolerated.

    Returns:
        the numbers ``[rows]``, NaN where the text is null or none; and where it is one that a double can hold.
    """
    return parse_stripped(texts.str.strip_chars(BLANKS))


def parse_stripped(texts: pl.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """As :func:`parse_numbers`, of texts without blanks around."""
    written = texts.str.contains(_NUMBER).fill_null(False)
    texts = texts if written.all() else texts.set(~written, None)
    values = texts.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    return values, written.to_numpy() & np.isfinite(values)


def digits_in(numbers: pl.Series) -> pl.Series:
    """Numbers as the texts they stand for where dates are written in digits: 20241231 for 20241231.0."""
    if numbers.dtype.is_integer():
        return numbers.cast(pl.String)
    values = numbers.cast(pl.Float64).to_list()
    texts = [None if value is None or value != value else column_texts.digits_of(value) for value in values]
    return pl.Series(numbers.name, texts, pl.String)


def is_whole_text(texts: pl.Series) -> NDArray[np.bool_]:
    """Where a text is a whole number without decimal point or exponent, ``[rows]``."""
    return texts.str.strip_chars(BLANKS).str.contains(WHOLE).fill_null(False).to_numpy()


def level_texts(table: Table, column: pl.Series) -> pl.Series:
    """A column of any type as texts: as in the file, or 1 for 1.0, true for True, ISO 8601 for a date.

    Raises:
        TableError: the type has no such text (a list, say).
    """
    dtype = column.dtype
    if dtype == pl.String:
        return column
    if dtype in (pl.Boolean, pl.Null) or dtype.is_integer():
        return column.cast(pl.String)
    if dtype.is_float() or isinstance(dtype, pl.Decimal):
        return _replace_each(
            column.cast(pl.Float64), lambda value: number_level(value) if np.isfinite(value) else f"{value}"
        )
    if dtype == pl.Date:
        return column.dt.to_string("%Y-%m-%d")
    if isinstance(dtype, pl.Datetime):
        timestamps, ok = typed_timestamps(column)
        if not np.all(ok | column.is_null().to_numpy()):
            raise misfit(
                table, column.name, int(np.argmax(~ok & column.is_not_null().to_numpy())), KINDS["timestamp"].noun
            )
        return _replace_each(pl.Series(column.name, timestamps).set(pl.Series(~ok), None), format_timestamp)
    if dtype == pl.Time or isinstance(dtype, pl.Duration):
        what = "times of day" if dtype == pl.Time else "durations"
        raise TableError(
            f"{table.source}: the levels of a category, or the groups of a split, must be text, numbers, booleans or "
            f"dates; column {column.name!r} holds {what}: name it in no --category and no --group, and it is read as "
            "seconds; or turn it into text first"
        )
    raise unusable(table, column)


def levels_of_column(table: Table, column: pl.Series, of: LevelType | None) -> pl.Series:
    """The levels of a category whose every level is the text of such a value, or whose levels are texts and no more.

    Raises:
        TableError: a value came typed and is none that stands for a level for certain: 2139 may be 02139 or not.
    """
    texts = level_texts(table, column)
    if column.name in table.mixed:
        _check_levels(table, column, of)
    came = table.typed.get(column.name, "") if column.dtype == pl.String else _type_of(column)
    if came and column.dtype != pl.Null:
        present = column.is_not_null().to_numpy()
        fits = present & (of is not None and came in LEVELS_COME_IN[of])
        if of is not None and column.dtype.is_float():
            values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
            fits &= np.isfinite(values) & ((of != "whole") | (np.floor(values) == values))
        if not np.all(fits | ~present):
            raise _no_level(table, column, int(np.argmax(present & ~fits)), of, came)
    if of is None:
        return texts
    forms = canonical_levels(texts.drop_nulls().unique().to_list(), of)
    return texts.replace(list(forms), list(forms.values())) if forms else texts


def _check_levels(table: Table, column: pl.Series, of: LevelType | None) -> None:
    """Hold each value of a category of several Python types to what stands for a level for certain.

    Raises:
        TableError: one does not.
    """
    kinds = table.mixed[column.name]
    index = first_of_other_kind(column, kinds, kinds_taken("category", None, of))
    if index is None and of == "whole":
        fractions = (kinds == "number") & ~is_whole_text(column)
        index = int(np.argmax(fractions)) if fractions.any() else None
    if index is not None:
        raise _no_level(table, column, index, of, str(kinds[index]))


def _way_out(name: str) -> str:
    """Of a fraction among whole numbers."""
    return f"round it, leave it empty, or train with --number {named(name)}"


def _type_of(column: pl.Series) -> str:
    dtype = column.dtype
    return "number" if dtype.is_numeric() else "boolean" if dtype == pl.Boolean else "date"


def _no_level(table: Table, column: pl.Series, index: int, of: LevelType | None, came: str) -> TableError:
    """The refusal of a typed value in a category that it is no level of."""
    name, value = column.name, _value(column, index)
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    if of is not None and came in LEVELS_COME_IN[of]:
        return misfit(table, name, index, f"text or {_LEVEL_WORDS[of]}", "leave it empty, or send it as text")
    also = "" if of is None else f" or {_LEVEL_WORDS[of]}, whose texts its levels are"
    return TableError(
        f"{table.source}: column {name!r} must be text{also}, got the {came} {shown} in "
        f"{table.where(index)}: read the column as text, for example with dtype={{{name!r}: str}}"
    )


def unusable(table: Table, column: pl.Series) -> TableError:
    """The refusal of a column whose type no model takes."""
    if column.name in table.unusable:
        return TableError(table.unusable[column.name])
    return TableError(
        f"{table.source}: a column holds text, numbers, booleans, dates, times or durations; {column.name!r} holds "
        f"{column.dtype}; convert it, or leave it out with --drop {named(column.name)}"
    )


def misfit(table: Table, name: str, index: int, expected: str, way_out: str = "") -> TableError:
    """The refusal of the value in the row at 0-based position ``index``, which is not what was expected.

    ``way_out`` is what else to do than correct it; by default, what an input column allows.
    """
    value = _value(table.frame[name], index)
    shown = repr(value) if isinstance(value, str) else str(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    spelled = repr(value) if isinstance(value, str) else named(value)
    null = "" if "," in str(value) or len(shown) != len(spelled) else f" or --null {spelled}"
    if not way_out and isinstance(value, float) and math.isinf(value):
        way_out = "or leave it empty"
    way_out = way_out or f"leave it empty, or train with --category {named(name)}{null}"
    return TableError(
        f"{table.source}: column {name!r} holds {shown} in {table.where(index)}, which is not {expected}"
        f"{_hint(value, expected)}: correct it, {way_out}"
    )


def _value(column: pl.Series, index: int) -> Any:
    if isinstance(column.dtype, pl.Datetime):  # which may lie beyond the years of a Python date
        timestamps, ok = typed_timestamps(column.slice(index, 1))
        beyond = f"{column.to_physical()[index]} {column.dtype.time_unit} since 1970"
        return format_timestamp(int(timestamps[0])) if ok[0] else beyond
    return column[index]


def _hint(value: Any, expected: str) -> str:
    if expected not in ("a number", "a whole number") or isinstance(value, bool):
        return ""
    if isinstance(value, float):
        return " that is finite" if not np.isfinite(value) else ""
    if isinstance(value, int):
        return " that a double can hold"
    number, _ = parse_numbers(pl.Series([str(value)]))
    if np.isfinite(number[0]) and number[0] != np.floor(number[0]):
        return ""
    if not np.isnan(number[0]):
        return " that a double can hold"
    if re.search(NOT_FINITE, str(value).strip(BLANKS)):
        return " that is finite"
    if "," in str(value):
        return " (write 1,234 as 1234, and 3,14 as 3.14)"
    return ""


def _replace_each(column: pl.Series, text: Any) -> pl.Series:
    """``text`` of each distinct value."""
    distinct = column.drop_nulls().unique()
    return column.replace_strict(distinct, [text(value) for value in distinct], default=None, return_dtype=pl.String)


def _rounded(column: pl.Series, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a number is given digit by digit and lies beyond 2**53, ``[rows]``."""
    large = np.abs(values) >= EXACT_WHOLE
    if large.any():
        large &= is_whole_text(column) if column.dtype == pl.String else column.dtype.is_integer()
        for i in np.flatnonzero(large & (np.abs(values) == EXACT_WHOLE)).tolist():
            large[i] = abs(int(column[i])) > EXACT_WHOLE
    return large


def _numbers(
    column: pl.Series, missing: frozenset[float], reading: Reading, kinds: NDArray[np.str_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The numbers of a column; ``kinds`` says which of its texts were numbers before, where they were of several."""
    if kinds is not None:
        values, fits = _numbers(column.set(pl.Series(kinds == "number"), None), missing, reading)
        typed = parse_numbers(column.set(pl.Series(kinds != "number"), None))
        typed_values = np.where(np.isin(typed[0], list(missing)), np.nan, typed[0])
        return np.where(kinds == "number", typed_values, values), np.where(kinds == "number", typed[1], fits)
    is_text = column.dtype == pl.String
    if reading.duration and (is_text or column.dtype == pl.Time or isinstance(column.dtype, pl.Duration)):
        values, fits = durations_of(column)
    elif is_text and reading.number is not None:
        values, fits = numbers_in_form(column, reading.number)
    elif is_text:
        values, fits = parse_stripped(column)
    elif column.dtype.is_numeric() or column.dtype == pl.Null:
        values = column.cast(pl.Float64).to_numpy()  # null is NaN
        fits = ~np.isinf(values)
    else:
        return np.full(len(column), np.nan), np.zeros(len(column), dtype=bool)
    return np.where(np.isin(values, list(missing)), np.nan, values) if missing else values.copy(), fits


def _booleans(column: pl.Series, reading: Reading) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    if reading.words and column.dtype.is_numeric():  # 1 and 0
        values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
        return values, (values == 0) | (values == 1)
    if reading.words and column.dtype == pl.String:
        values = each(column, lambda text: column_texts.text_value(text, "boolean", reading), np.nan, pl.Float64)
        return values, ~np.isnan(values)
    if column.dtype == pl.String:
        lower = column.str.to_lowercase()
        column = lower.replace_strict(["true", "false"], [True, False], default=None, return_dtype=pl.Boolean)
    if column.dtype not in (pl.Boolean, pl.Null):
        return np.full(len(column), np.nan), np.zeros(len(column), dtype=bool)
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy(), column.is_not_null().to_numpy()


def _timestamps(column: pl.Series, reading: Reading) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    if KINDS["timestamp"].takes_digits(reading) and column.dtype.is_numeric():
        column = digits_in(column)
    if column.dtype == pl.String and reading.epoch is not None:
        return timestamps_since(column, reading.epoch)
    if column.dtype == pl.String:
        return timestamps_in_order(column, reading.date_order)
    if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
        return typed_timestamps(column)
    return parse_timestamps(pl.Series([None] * len(column), dtype=pl.String))
