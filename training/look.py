"""A table looked at before anything is trained: what each column is and why, what is odd in it, what will be left out.

Every kind, every drop and every suspicion comes from the functions that training decides with, asked about the same
training rows; only what is counted (missing, distinct, range) is counted on all rows. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from rowcast.models.errors import TableError
from rowcast.models.kinds import KINDS, MISSING_STRING, MISSING_TIMESTAMP, Kind
from rowcast.models.seeds import checked_seed
from rowcast.training.columns.infer import ColumnRule, check_names, read_column
from rowcast.training.columns.levels import count_levels
from rowcast.training.columns.target import MAX_WHOLE_CLASSES, Target, kind_of_target
from rowcast.training.data.config import DataConfig, TableConfig
from rowcast.training.data.table import Table
from rowcast.training.features.config import FeaturesConfig
from rowcast.training.parts import check_roles, split_table
from rowcast.training.prepare import (
    Understood,
    as_configured,
    decide_columns,
    fitted_target,
    open_source,
    suspicions,
    target_of,
)
from rowcast.training.settings import explain
from rowcast.training.stream.choose import why_streamed
from rowcast.training.stream.sample import sample_of

SHOWN_LEVELS = 3
FAR_OUT = 100.0
"""So many times as far from the median as 98% of the values: more is told as suspicious."""
MIN_FAR_ROWS = 20
"""Fewer values have no ordinary range."""


@dataclass(frozen=True)
class LookConfig:
    """A config for a look at a table; see :class:`rowcast.training.data.config.TableConfig`."""

    data: DataConfig = field(default_factory=DataConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    seed: int = 0

    @classmethod
    def of(cls, data: Mapping[str, Any], seed: int = 0) -> LookConfig:
        """From fields of :class:`~rowcast.training.data.config.DataConfig`.

        Raises:
            ConfigError: names the field, what came, and its valid values.
        """
        seed = checked_seed(seed)
        try:
            return cls(DataConfig(**data), seed=seed)
        except ValidationError as error:
            raise explain(error, DataConfig) from None


@dataclass(frozen=True)
class ColumnLook:
    """What is seen in one column."""

    name: str
    kind: str
    """One of :data:`rowcast.models.signature.Kind`; ``unknown`` where training would refuse the column."""
    why: str
    """What was decided about it and why, in sentences; empty where it is plain."""
    missing: float
    """Share of all rows without a value, 0 to 1."""
    distinct: int
    """Different values besides missing, of all rows."""
    dropped: bool
    values: str = ""
    """The range of numbers and dates, the commonest levels of a category: for the owner of the table to read."""


class Look(dict[str, Any]):
    """What a look at a table found: the JSON object of ``rowcast look --json``; printed, it is a table to read.

    ``rows``; ``columns``, a list of ``name kind why missing distinct dropped``; ``task``, None without a target or
    where it cannot be one; ``warnings``, sentences.
    """

    def __init__(self, rows: int, columns: Sequence[ColumnLook], task: str | None, warnings: Sequence[str]) -> None:
        names = ("name", "kind", "why", "missing", "distinct", "dropped")
        listed = [{name: getattr(column, name) for name in names} for column in columns]
        super().__init__(rows=rows, columns=listed, task=task, warnings=list(warnings))
        self.seen = tuple(columns)

    def reworded(self, reword: Callable[[str], str]) -> Look:
        """With every sentence said in other words: with arguments of Python instead of flags, say."""
        columns = [replace(column, why=reword(column.why)) for column in self.seen]
        return Look(self["rows"], columns, self["task"], [reword(warning) for warning in self["warnings"]])

    def __str__(self) -> str:
        from rowcast.training.look_table import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from rowcast.training.look_table import as_html

        return as_html(self)


def look(source: Any, config: TableConfig) -> Look:
    """Look at a table as training would; nothing is trained.

    Args:
        source: a file or a data frame, see :func:`rowcast.training.data.table.read_table`.
        config: what is read, and how. Without ``config.data.target`` every row counts as a training row.

    Raises:
        TableError: the table cannot be read, or lacks a column that an option names. What else training would refuse
            is a warning.
    """
    data = config.data
    why = why_streamed(source, data)
    if why:
        some, n_rows = sample_of(source, data, config.seed)
        table = as_configured(some, config)
    else:
        table = open_source(source, config)
        n_rows = len(table)
    check_roles(data)
    for flag, name in data.roles.items():
        if name:
            table.require(name, f"{flag} names")
    warnings = list(table.notes)
    if len(table) < n_rows:
        warnings.append(f"what is seen is that of {len(table):,} of {n_rows:,} rows, drawn at random, {why}")
    whole, target, train = _training_rows(table, config, warnings)
    seen: list[ColumnLook] = []
    rules: list[ColumnRule] = []
    columns: dict[str, NDArray[Any]] = {}
    for name in table.names:
        if name == data.target:
            seen.append(_look_at_target(table, whole, data, warnings))
            continue
        column, rule, values = _look_at(table, train, target, name, config, warnings)
        seen.append(column)
        if rule is not None:
            rules.append(rule)
            columns[name] = values
    if target is not None:
        try:
            check_names(table, data.target, drop=data.no_inputs)
        except TableError as error:
            warnings.append(f"{_REFUSED}{error}")
        warnings += suspicions(Understood(target, tuple(rules), (), columns), config)
        if not rules:
            warnings.append(f"no column is left to learn {data.target!r} from")
    return Look(n_rows, seen, None if target is None else target.task, warnings)


def _training_rows(
    table: Table, config: TableConfig, warnings: list[str]
) -> tuple[Target | None, Target | None, Table]:
    """The target of all rows and of the training rows, and these; no target and all rows where none is named or it is
    refused.
    """
    data = config.data
    if not data.target:
        return None, None, table
    try:
        rows, target = target_of(table, data)
        split = split_table(rows, target, config)
        warnings += rows.notes[len(table.notes) :]
        return target, fitted_target(target, split.train), rows.take(split.train)
    except TableError as error:
        warnings.append(f"{_REFUSED}{error}")
        return None, None, table


def _look_at_target(table: Table, target: Target | None, data: DataConfig, warnings: list[str]) -> ColumnLook:
    name = data.target
    if target is None:
        why = "the target, which cannot be predicted as it is: see the warnings"
        return ColumnLook(name, "unknown", why, *_unread(table, name), dropped=False)
    why = f"the target of a {target.task} task"
    if target.task == "regression":
        whole = bool(np.all(target.values == np.trunc(target.values)))
        kind: Kind = "integer" if whole else "number"
        values = np.full(len(table), np.nan)
    else:
        kind = kind_of_target(table, name, data.task, data.null)
        values = np.full(len(table), MISSING_STRING, object)
        if data.task == "auto" and kind in ("number", "integer"):
            few = f"at most {MAX_WHOLE_CLASSES} different whole numbers"
            why += f", since it holds {few}: --task regression takes them as quantities"
    values[: len(target.values)] = target.values  # rows without one are left out
    seen = _described(name, kind if target.task == "regression" else "category", why, values, warnings=warnings)
    return replace(seen, kind=kind)


def _look_at(
    table: Table, train: Table, target: Target | None, name: str, config: TableConfig, warnings: list[str]
) -> tuple[ColumnLook, ColumnRule | None, NDArray[Any]]:
    """One input: what is seen in it, and its rule and training rows where training keeps it."""
    nothing = np.zeros(0)
    try:
        kept, columns, decisions = decide_columns(train, target, config, only=name)
        rule = kept[0] if kept else decide_columns(train, target, config, only=name, keep=True)[0][0]
        values = columns[name] if kept and train is table else read_column(table, rule)
    except TableError as error:
        warnings.append(f"{_REFUSED}{error}")
        why = "training would stop at a value that does not fit: see the warnings"
        return ColumnLook(name, "unknown", why, *_unread(table, name), dropped=False), None, nothing
    is_input = bool(kept) and name not in config.data.no_inputs
    if name in config.data.no_inputs:
        flag = next(flag for flag, named in config.data.roles.items() if named == name)
        decisions = [_NO_INPUT[flag]]
    why = "; ".join(_about(name, decision) for decision in decisions)
    seen = _described(name, rule.kind, why, values, dropped=not is_input, warnings=warnings)
    return (seen, rule, columns[name]) if is_input else (seen, None, nothing)


# --- words and counts -------------------------------------------------------------------------------------------------

_REFUSED = "training would refuse this: "
_NO_INPUT = {
    "--group": "rows that share a value here stay on one side of the split; it is no input",
    "--split": "which rows are training, validation and test rows; it is no input",
    "--fold": "rows that share a value here are held out together; it is no input",
    "--weight": "how much each row counts; it is no input",
}
"""Of a column that says something about the rows, by the flag that names it."""


def _unread(table: Table, name: str) -> tuple[float, int]:
    """Missing share and distinct values of a column as it stands in the table."""
    column = table.frame[name]
    return column.null_count() / len(column), column.drop_nulls().n_unique()


def _about(name: str, decision: str) -> str:
    """A decision about a column, in the column's own line: without its name."""
    for start in (f"{name!r} is ", f"{name!r}: ", f"{name!r} "):
        if decision.startswith(start):
            return decision.removeprefix(start)
    return decision


def _described(
    name: str, kind: Kind, why: str, values: NDArray[Any], *, dropped: bool = False, warnings: list[str]
) -> ColumnLook:
    if kind == "category":
        present = values[values != MISSING_STRING]
        levels, rows = count_levels(present)
        shown = [levels[i] for i in np.argsort(-rows, kind="stable")[:SHOWN_LEVELS]]
        shown_values = ", ".join(map(repr, shown)) + (", ..." if len(levels) > len(shown) else "")
        distinct = len(levels)
    elif kind == "text":
        present = values[values != MISSING_STRING]
        distinct, shown_values = len(set(present)), ""  # a text may be about a person
    else:
        present = values[values != MISSING_TIMESTAMP if values.dtype == np.int64 else ~np.isnan(values)]
        distinct = len(np.unique(present))
        shown_values = _range(kind, present)
        if KINDS[kind].is_quantity and (far := _far_out(name, present)):
            warnings.append(far)
    missing = (len(values) - len(present)) / len(values)
    return ColumnLook(name, kind, why, missing, distinct, dropped, shown_values)


def _range(kind: Kind, present: NDArray[Any]) -> str:
    if len(present) == 0:
        return ""
    low, high = present.min(), present.max()
    shown = KINDS[kind].shown
    if isinstance(shown(low), str):
        return f"{shown(low)} to {shown(high)}"
    if kind == "boolean":
        return f"{present.mean():.1%} true"
    return f"{low:.6g} to {high:.6g}, median {np.median(present):.6g}"


def _far_out(name: str, present: NDArray[np.float64]) -> str:
    """A sentence about values far beyond all others; nothing where there are none."""
    if len(present) < MIN_FAR_ROWS:
        return ""
    low, middle, high = np.quantile(present, [0.01, 0.5, 0.99])
    spread = max(high - middle, middle - low)
    distance = np.abs(present - middle)
    far = distance > FAR_OUT * spread
    if spread == 0 or not far.any():
        return ""
    farthest = present[int(distance.argmax())]
    rows = f"{int(far.sum()):,} row{'s' * (int(far.sum()) > 1)}"
    return (
        f"{name!r} holds values far beyond all others in {rows}, the farthest is {farthest:g}: "
        "if it stands for something else, such as missing, name it with --null"
    )
