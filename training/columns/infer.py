"""What each column is, decided on training rows alone: its kind, what means null in it, and whether it is of use."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.errors import TableError
from rowcast.models.kinds import KINDS, Kind
from rowcast.models.levels import LevelType, canonical_level, type_of_levels
from rowcast.models.reading import NumberForm
from rowcast.models.signature import RESERVED_NAMES
from rowcast.models.values import EXACT_WHOLE
from rowcast.training.columns.declared import NOTHING_DECLARED, Declared, DeclaredKind
from rowcast.training.columns.kinds import (
    NOT_ALL,
    Finding,
    Levels,
    Look,
    declared_kind,
    kind_of_texts,
    kind_of_type,
    percent,
)
from rowcast.training.columns.levels import WORTH_KNOWING_ROWS, LevelRows
from rowcast.training.columns.mixed import first_of_other_kind, kinds_taken
from rowcast.training.columns.plain import read_plain_numbers
from rowcast.training.columns.reading import (
    NULL_SPELLINGS,
    ColumnRule,
    digits_in,
    level_texts,
    levels_of_column,
    misfit,
    read_column,
    unusable,
    without_nulls,
)
from rowcast.training.columns.texts import MOSTLY_LEVELS, WordLimits, Words, look_at_words
from rowcast.training.columns.trend import share_of_order
from rowcast.training.data.table import Table

if TYPE_CHECKING:
    from rowcast.training.columns.target import Target

DEFAULT_LEVEL_ROWS = LevelRows()
NO_WORDS = WordLimits()
__all__ = ["NULL_SPELLINGS", "ColumnRule", "check_names", "infer_columns", "kind_of", "read_column"]

DISTINCT = 0.99
"""From this share of distinct values on, a text identifies rows rather than describes them."""
MIN_ID_ROWS = 3
"""Fewer values tell nothing about whether a column identifies its rows."""

_LEVELS: dict[LevelType, str] = {
    "whole": "whole numbers",
    "number": "numbers",
    "boolean": "booleans",
    "date": "dates",
    "timestamp": "timestamps",
}
_ALIKE: dict[LevelType, str] = {
    "whole": "3 and 3.0",
    "number": "1.5 and 1.50",
    "boolean": "true and TRUE",
    "date": "2013-07-01 and 2013-07-01T00:00:00Z",
    "timestamp": "2013-07-01 and 2013-07-01T00:00:00Z",
}


def infer_columns(
    train: Table,
    *,
    exclude: Collection[str] = (),
    category: Collection[str] = (),
    null: Collection[str] = (),
    keep: bool = False,
    declared: Declared = NOTHING_DECLARED,
    target: Target | None = None,
    level_rows: LevelRows = DEFAULT_LEVEL_ROWS,
    words: WordLimits = NO_WORDS,
    read: dict[str, NDArray[Any]] | None = None,
) -> tuple[tuple[ColumnRule, ...], list[str]]:
    """Decide how each column is read, and which are of no use.

    Args:
        train: training rows and no others.
        exclude: columns that are no inputs: the target, say.
        category: columns to read as categories whatever they hold.
        null: further texts that mean null, in every column.
        keep: drop nothing.
        declared: what a person says about single columns.
        target: of the same rows: whole numbers that count up are kept where their order tells it.
        level_rows: training rows of a level that the model is to know.
        words: which words of a text it is to know.
        read: gets the values ``[rows]`` of the columns that had to be read to decide.

    Returns:
        the rules of the kept columns in the table's order; and what was decided, in sentences that name the column and
        hold no value of any row.

    Raises:
        TableError: a value does not fit the kind of all the others, or a column has a type no model takes; names
            column, row and the way out.
    """
    for name in category:
        train.require(name, "--category names")
    declared_as: dict[str, DeclaredKind] = {**dict.fromkeys(category, "category"), **declared.kinds}
    rules: list[ColumnRule] = []
    decisions: list[str] = []
    for name in train.names:
        if name in exclude:
            continue
        inferred = _infer(train, name, declared_as.get(name), null=frozenset(null) - {""}, declared=declared)
        wanted = name in category or declared.is_kept(name)
        notes = list(inferred.notes)
        needed = level_rows.of(declared=inferred.rule.declared)
        why_dropped = _why_dropped(inferred, needed, wanted=wanted)
        if why_dropped == _COUNTS_UP and target is not None:
            share = _share_of_order(inferred, target)
            if share:
                why_dropped = ""
                notes.append(
                    f" only counts up from row to row, and is kept as a number: its order tells {percent(share)} of "
                    f"{target.name!r}; rows beyond its end are answered as the last ones are, so leave it out with "
                    f"--drop {named(name)} if all new rows are"
                )
        by_word = None if keep else _words(train, inferred, declared_as.get(name), why_dropped, needed, words)
        if by_word is not None and not by_word.why_not:
            rules.append(replace(inferred.rule, kind="text", reason=""))
            decisions.append(f"{name!r}{by_word.sentence}; leave it out with --drop {named(name)}")
            continue
        if why_dropped and not keep:
            is_id = why_dropped == _COUNTS_UP or why_dropped.startswith(_LIKE_ID)
            ways = f"; keep it with --keep {named(name)}" if is_id else ""
            also = f" ({inferred.rule.reason})" if inferred.rule.reason else ""
            also += "".join(f"; it{tail}" for tail in inferred.notes if tail.startswith(NOT_ALL))
            if by_word is not None:
                also += f"; nor are its words read: {by_word.why_not}"
                also += "" if declared_as.get(name) == "text" else f", which --text {named(name)} overrules"
            decisions.append(f"{name!r} is dropped: {why_dropped}{also}{ways}")
            continue
        rules.append(inferred.rule)
        if read is not None and inferred.values is not None:
            read[name] = inferred.values
        if inferred.rule.reason:
            decisions.append(f"{name!r} is kept as text: {inferred.rule.reason}")
        if inferred.without_levels(needed):
            what = "only whether there is a value" if inferred.rule.nullable else "nothing"
            notes.append(f": {_no_level(needed)}, so it tells {what}")
        decisions += [f"{name!r}{tail}" for tail in notes]
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
    column = table.frame[name]
    if column.dtype != pl.String:
        return _infer(table, name, None, null=frozenset(null) - {""}).rule.kind
    levels = Levels.of(without_nulls(column, frozenset(null) - {""}))
    return kind_of_texts(Look(table, name, levels, plain_only=True), way_out).kind


def check_names(table: Table, target: str, drop: Collection[str] = (), also: Collection[str] = ()) -> None:
    """Make sure no input bears the name of a graph output. The target may: it is no input.

    Args:
        table: with the inputs.
        target: of the model.
        drop: columns that are no inputs.
        also: further outputs of the graph.

    Raises:
        TableError: one does; names ``--drop`` and ``--rename``.
    """
    for name in table.names:
        if name in (*RESERVED_NAMES, *also) and name != target and name not in drop:
            names = ", ".join((*sorted(RESERVED_NAMES), *also))
            raise TableError(
                f"{table.source}: no input may be named {names}, which are the model's outputs, got {name!r}; leave it "
                f"out with --drop {named(name)}, or call it something else with --rename {named(name)}={name}_in"
            )


_COUNTS_UP = "it looks like an identifier, whole numbers that only count up from row to row"
_LIKE_ID = "it looks like an identifier, with"


@dataclass(frozen=True)
class _Inferred:
    rule: ColumnRule
    n_present: int
    n_distinct: int
    notes: tuple[str, ...] = ()
    """Ends of sentences that begin with the column's name."""
    most_rows: int = 0
    """Category: rows of its commonest level."""
    values: NDArray[Any] | None = None
    """``[rows]``, where they were read: not of a category."""
    texts: pl.Series | None = None
    """Category: null where missing."""
    rows: NDArray[np.int64] | None = None
    """Category: of each level."""

    def without_levels(self, needed: int) -> bool:
        """Whether it is a category of which the model would know no level, though rows enough hold one.

        Of a table too small for two such levels, :func:`rowcast.training.columns.disclosure.notes_on_levels` says it.
        """
        return self.rule.kind == "category" and self.n_present >= 2 * needed and self.most_rows < needed


def _infer(
    train: Table,
    name: str,
    declared_as: DeclaredKind | None,
    *,
    null: frozenset[str],
    declared: Declared = NOTHING_DECLARED,
) -> _Inferred:
    column = train.frame[name]
    if declared_as in ("category", "text") or (declared_as is None and name in train.declared):
        notes = (" is a category, as its source declares it",) if declared_as is None else ()
        return _category(train, column, null, notes=notes, declared_as=declared_as)
    if column.dtype != pl.String:
        column = _as_declared(train, column, declared_as)
    if column.dtype != pl.String:
        found = _by_type(train, column)
        rule = ColumnRule(name, found.kind, nullable=False, nulls=null | NULL_SPELLINGS, reading=found.reading)
        if found.kind == "integer" and _beyond_exact(column) and declared_as is None:
            return _category(train, column, null, "whole numbers beyond 2**53 do not fit a double")
        return _measured(train, rule, found.notes)
    if declared_as is None and not null and name not in train.mixed:
        numbers = read_plain_numbers(train, name, declared.decimal)
        if numbers is not None:
            nulls = NULL_SPELLINGS | numbers.finding.markers
            rule = ColumnRule(name, numbers.finding.kind, nullable=False, nulls=nulls)
            return _measured(train, rule, numbers.finding.notes, numbers.values)
    look = Look(train, name, Levels.of(without_nulls(column, null)), decimal=declared.decimal)
    found = (
        kind_of_texts(look, "") if declared_as is None else declared_kind(look, declared_as, declared.orders.get(name))
    )
    if found.kind == "category":
        return _category(train, column, null, found.reason, found.notes)
    nulls = null | KINDS[found.kind].null_spellings | found.markers
    rule = ColumnRule(name, found.kind, nullable=False, nulls=nulls, reading=found.reading)
    if name in train.mixed and found.kind != "timestamp":
        rule, found = _of_several_types(rule, found)
    return _measured(train, rule, found.notes)


def _of_several_types(rule: ColumnRule, found: Finding) -> tuple[ColumnRule, Finding]:
    """The rule of numbers or booleans some of which came as text: such texts are read when the model is asked, too."""
    if (rule.signature_reading or rule.reading).of_texts:
        return rule, found
    update = {"words": True} if rule.kind == "boolean" else {"number": NumberForm()}
    reading = rule.reading.model_copy(update=update)
    what = "texts of true and false" if rule.kind == "boolean" else "texts of numbers"
    sentence = f" holds {what} beside typed ones, and they are read alike"
    return replace(rule, reading=reading), replace(found, notes=(*found.notes, sentence))


def _as_declared(train: Table, column: pl.Series, declared_as: DeclaredKind | None) -> pl.Series:
    """A typed column that was declared to be of a kind: it is of that kind, or of whole numbers that write a date.

    Raises:
        TableError: it is of another kind.
    """
    if declared_as is None or column.dtype == pl.Null:
        return column
    if declared_as == "date" and column.dtype.is_numeric():
        return digits_in(column)
    if (
        declared_as == "boolean"
        and column.dtype.is_numeric()
        and column.drop_nulls().cast(pl.Float64).is_in([0.0, 1.0]).all()
    ):
        return column.cast(pl.Int64).cast(pl.String)
    if KINDS[_by_type(train, column).kind].declared != declared_as:
        first = int(column.is_not_null().to_numpy().argmax())
        flag = {"number": "--number", "date": "--date", "boolean": "--boolean"}[declared_as]
        way_out = f"convert the column, or leave out {flag} {named(column.name)}"
        expected = {"number": "a number", "date": "a date", "boolean": "true or false"}[declared_as]
        raise misfit(train, column.name, first, expected, way_out)
    return column


def _by_type(train: Table, column: pl.Series) -> Finding:
    found = kind_of_type(column.dtype)
    if found is None:
        raise unusable(train, column)
    return found


def _beyond_exact(column: pl.Series) -> bool:
    low, high = column.min(), column.max()
    return isinstance(low, int) and isinstance(high, int) and (low < -EXACT_WHOLE or high > EXACT_WHOLE)


def _measured(
    train: Table, rule: ColumnRule, notes: tuple[str, ...] = (), values: NDArray[Any] | None = None
) -> _Inferred:
    values = read_column(train, rule) if values is None else values
    missing = rule.is_missing(values)
    present = values[~missing]
    n_distinct = 0 if len(present) == 0 else 1 if present.min() == present.max() else 2  # or more: all that is needed
    return _Inferred(replace(rule, nullable=bool(missing.any())), len(present), n_distinct, notes, values=values)


def _category(
    train: Table,
    column: pl.Series,
    null: frozenset[str],
    reason: str = "",
    notes: tuple[str, ...] = (),
    declared_as: DeclaredKind | None = None,
) -> _Inferred:
    texts = without_nulls(level_texts(train, column), null)
    distinct = texts.drop_nulls().unique()
    of = type_of_levels(distinct)
    if column.name in train.mixed:
        _check_one_type(train, column, declared_as, None if declared_as == "text" else of)
    if column.dtype == pl.String and (declared_as == "text" or (declared_as is None and _tells_apart(distinct, of))):
        of = None  # 1.10 is another version than 1.1
    if of is not None:  # 1.50 and 1.5 are one level, and so are a null's forms
        null |= {canonical_level(text, of) for text in null}
        texts = without_nulls(levels_of_column(train, texts, of), null)
        n_texts, distinct = len(distinct), texts.drop_nulls().unique()
        if len(distinct) < n_texts:
            notes += (f": its levels are {_LEVELS[of]}: texts that say the same, such as {_ALIKE[of]}, are one level",)
    level_type = None if of == "whole" else of
    rule = ColumnRule(
        column.name,
        "category",
        texts.null_count() > 0,
        null,
        of == "whole",
        reason,
        level_type=level_type,
        declared=declared_as == "category" or (declared_as is None and column.name in train.declared),
    )
    counted = Levels.of(texts).counts
    most = int(counted.max()) if len(counted) else 0
    present = len(texts) - texts.null_count()
    return _Inferred(rule, present, len(distinct), notes, most, texts=texts, rows=counted)


def _check_one_type(train: Table, column: pl.Series, declared_as: DeclaredKind | None, of: LevelType | None) -> None:
    """Make sure that what is no text in a category stands for a level for certain.

    Raises:
        TableError: it does not: a number beside texts such as 02139 may be one of them or not.
    """
    kinds = train.mixed[column.name]
    taken = kinds_taken("category", None, of)
    index = first_of_other_kind(column, kinds, taken)
    if index is None:
        return
    other = int(np.argmax(column.is_not_null().to_numpy() & (kinds != kinds[index])))
    (first, came), (second, also) = sorted([(index, kinds[index]), (other, kinds[other])])
    articles = {"text": "text", "time": "a time of day"}
    flags = {"boolean": "--boolean", "number": "--number", "date": "--date"}
    flag = next((flags[kind] for kind in (came, also) if kind in flags), "")
    declare = (
        f"say {flag} {named(column.name)} where its texts mean such values, " if flag and declared_as is None else ""
    )
    raise TableError(
        f"{train.source}: column {column.name!r} mixes types that are not of one kind, got "
        f"{articles.get(came, f'a {came}')} in {train.where(first)} and {articles.get(also, f'a {also}')} in "
        f"{train.where(second)}: make it one type, for example text with astype(str), {declare}or leave it out with "
        f"--drop {named(column.name)}"
    )


def _tells_apart(distinct: pl.Series, of: LevelType | None) -> bool:
    """Whether texts of one value are several levels."""
    return of is not None and len({canonical_level(text, of) for text in distinct}) < len(distinct)


def _no_level(needed: int) -> str:
    return f"none of its levels is held by {needed} training rows, and a rarer one could point at a person"


def _words(
    train: Table,
    inferred: _Inferred,
    declared_as: DeclaredKind | None,
    why_dropped: str,
    needed: int,
    limits: WordLimits,
) -> Words | None:
    """What a column would tell word by word; None where that is no question: its levels tell something."""
    rule, texts, rows = inferred.rule, inferred.texts, inferred.rows
    if texts is None or rows is None or inferred.n_distinct < 2 or train.frame[rule.name].dtype != pl.String:
        return None
    if rule.levels_of is not None or rule.reason or declared_as == "category" or rule.declared:
        return None
    declared = declared_as == "text"
    if declared and not why_dropped and rows[rows >= needed].sum() >= MOSTLY_LEVELS * inferred.n_present:
        return None
    if not declared and not why_dropped and not inferred.without_levels(needed):
        return None
    return look_at_words(texts, limits, declared=declared)


def _share_of_order(inferred: _Inferred, target: Target) -> float:
    assert inferred.values is not None
    present = ~np.isnan(inferred.values)
    return share_of_order(inferred.rule.name, replace(target, values=target.values[present]))


def _why_dropped(inferred: _Inferred, needed: int, *, wanted: bool) -> str:
    rule = inferred.rule
    if inferred.n_distinct == 0:
        return "no training row holds a value in it"
    if inferred.n_distinct == 1 and not rule.nullable:
        return "it is constant in the training rows"
    if wanted or inferred.n_present < MIN_ID_ROWS:
        return ""
    if rule.kind == "category" and inferred.n_distinct >= DISTINCT * inferred.n_present:
        return f"{_LIKE_ID} {inferred.n_distinct:,} distinct texts in {inferred.n_present:,} training rows"
    if inferred.without_levels(needed) and not rule.nullable:
        ways = "group its values in the table, such as the first letters of a code"
        if inferred.most_rows >= WORTH_KNOWING_ROWS:
            ways += (
                f", or where its levels may be known, --category {named(rule.name)} and "
                f"--set features.declared_level_rows={WORTH_KNOWING_ROWS}"
            )
        return f"{_no_level(needed)}: {ways}"
    if rule.kind == "integer":
        values = inferred.values
        assert values is not None
        if np.all(np.diff(values[~np.isnan(values)]) > 0):
            return _COUNTS_UP
    return ""
