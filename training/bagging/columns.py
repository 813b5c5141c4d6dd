"""The columns of all folds: one way to read each, whatever the training rows of each fold say of it.

A fold decides by its own training rows which columns are of use and what is missing in them. What a column is and how
its texts are read must be the same for all, since the graph has one input for it: where a fold alone would read it
otherwise (its rows may hold whole numbers only, where others hold words), it is read as all training rows say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rowcast.training.columns.infer import ColumnRule, read_column
from rowcast.training.config import Config
from rowcast.training.data.split import Split
from rowcast.training.data.table import Table
from rowcast.training.prepare import Understood, decide_columns


def common_columns(
    table: Table, plan: Sequence[Split], understood: Sequence[Understood], config: Config
) -> tuple[tuple[ColumnRule, ...], list[Understood], list[str]]:
    """One rule for each column that a fold has a use for.

    Args:
        table: all training rows.
        plan: rows of each fold.
        understood: what its training rows say.
        config: of the run.

    Returns:
        the rules in the table's order: by them all rows are read that no fold learns from, as a served row is; the
        folds, with columns read anew where theirs were read otherwise; and what was decided.
    """
    of_folds = [{rule.name: rule for rule in fold.rules} for fold in understood]
    names = [name for name in table.names if any(name in rules for rules in of_folds)]
    others = [name for name in table.names if name not in names]
    whole = {rule.name: rule for rule in decide_columns(table, None, config, keep=True, exclude=others)[0]}
    folds, notes, common = list(understood), [], []
    for name in names:
        by_word = all(rules[name].kind == "text" for rules in of_folds if name in rules)
        rule = replace(whole[name], kind="text") if by_word and whole[name].kind == "category" else whole[name]
        unlike = [number for number, rules in enumerate(of_folds) if name in rules and not _alike(rules[name], rule)]
        for number in unlike:
            fold = folds[number]
            columns = {**fold.columns, name: read_column(table.take(plan[number].train), rule)}
            folds[number] = replace(
                fold, rules=tuple(rule if one.name == name else one for one in fold.rules), columns=columns
            )
            of_folds[number][name] = rule
        if unlike:
            notes.append(
                f"{name!r} is read in every fold as all training rows say, as {_an(rule.kind)}: those of "
                f"{_listed(unlike)} alone say otherwise"
            )
        common.append(_common(rule, [rules[name] for rules in of_folds if name in rules]))
    return tuple(common), folds, notes


def _alike(rule: ColumnRule, whole: ColumnRule) -> bool:
    """Whether a fold reads a text or a number as all training rows say, but for what it takes for missing."""
    if rule.dtype == object:
        return whole.dtype == object and (rule.kind == "text" or rule.levels_of == whole.levels_of)
    numbers = {"number", "integer"}
    same = rule.kind == whole.kind or {rule.kind, whole.kind} == numbers
    nothing = {"missing_numbers": (), "nulls": ()}
    read, plain = rule.reading.model_copy(update=nothing), type(rule.reading)()
    return same and read in (whole.reading.model_copy(update=nothing), plain)


def _common(whole: ColumnRule, rules: Sequence[ColumnRule]) -> ColumnRule:
    """The rule of all rows: missing is what every fold takes for missing; each front sees to what else its own does."""
    missing = frozenset.intersection(*(rule.missing_numbers for rule in rules))
    reading = whole.reading.model_copy(update={"missing_numbers": tuple(sorted(missing))})
    nulls = whole.nulls
    if whole.dtype == object:
        nulls = frozenset.intersection(nulls, *(rule.nulls for rule in rules))
    return replace(whole, reading=reading, nulls=nulls)


def _an(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _listed(numbers: Sequence[int]) -> str:
    return f"fold{'s' * (len(numbers) > 1)} {', '.join(str(number + 1) for number in numbers)}"
