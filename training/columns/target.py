"""What is to be predicted: the task, and each row's value or class."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError, TableError
from rowcast.models.reading import Reading
from rowcast.models.signature import Kind, Task
from rowcast.training.columns.infer import kind_of
from rowcast.training.columns.reading import BLANKS, NULL_SPELLINGS, PLAIN, level_texts, misfit, parse_numbers
from rowcast.training.data.table import Table

TASKS = ("auto", "regression", "binary", "multiclass")
MAX_WHOLE_CLASSES = 20
"""Whole numbers with more distinct values than this are quantities rather than classes."""
MAX_CLASSES = 1000
"""More classes than this are most likely a column that was not meant as the target."""

_LEFT_OUT = "or leave it empty, and the row is left out"
AS_CLASSES = "or read every value as a class with --task multiclass"
_AMOUNT = r"^[^0-9A-Za-z]{0,3}\s?[0-9][0-9.,' ]*\s?[^0-9]{0,4}$"
"""A number with a currency, a unit or a percent sign about it."""
_MOSTLY_AMOUNTS = 0.9
CANONICAL_WHOLE = r"^(?:0|-?[1-9][0-9]*)$"


class Unit(NamedTuple):
    """What the numbers of a trained network stand for, where a fit starts from it: its weights mean nothing in another
    unit."""

    transform: str
    """``none``, ``standardise`` or ``log``; or a loss that has a logarithm of its own."""
    centre: float
    deviation: float
    """Of a log link, the mean that answers are multiples of."""
    shift: float
    """What is added before a logarithm."""
    least: float
    most: float
    """What its answers lie between, in the target's own units."""


@dataclass(frozen=True)
class Target:
    """The target of some rows.

    ``values`` are float64 ``[rows]`` for regression, and an object array of class labels otherwise. ``classes`` are
    sorted, by number where all are whole numbers and by text otherwise; empty for regression.
    """

    name: str
    task: Task
    values: NDArray[Any]
    classes: tuple[str, ...] = ()
    reading: Reading = PLAIN
    """How its texts are read as numbers, where that is not the plain way."""
    weight: NDArray[np.float64] | None = None
    """How much each row counts, ``[rows]``, all above 0; None where every row counts the same."""
    unit: Unit | None = None
    """Of a model that the fit starts from, where its answers go on standing for what they stood for."""


def read_target(table: Table, name: str, *, task: str = "auto", null: Collection[str] = ()) -> Target:
    """Read the target and, unless it is given, decide the task.

    Text, booleans, and whole numbers with at most 20 distinct values are classes; anything else is regression.

    Args:
        task: ``auto``, ``regression``, ``binary`` or ``multiclass``.
        null: further texts that mean null; no row's target may be null.

    Raises:
        TableError: the column is absent or cannot be a target of that task; names row, value and the way out.
        ConfigError: there is no such task.
    """
    if task not in TASKS:
        raise ConfigError(f"a task is one of {', '.join(TASKS)}, got --task {named(task)}")
    table.require(name, "--target names")
    column = table.frame[name]
    _require_values(table, name, column, null)
    kind = kind_of_target(table, name, task, null)
    if kind == "timestamp":
        raise TableError(
            f"{table.source}: the target {name!r} holds dates, which cannot be predicted: "
            "derive a number from them, for example days until then, and name that column with --target"
        )
    if kind in ("number", "integer"):
        _require_values(table, name, column, {*null, *NULL_SPELLINGS})
    if task == "regression" or (task == "auto" and kind in ("number", "integer")):
        values = _finite(table, name)
        if task == "regression" or not _few_whole(values):
            return _regression(table, name, values)
    return _classes(table, name, kind, task)


def read_target_like(table: Table, target: Target, *, null: Collection[str] = ()) -> NDArray[Any]:
    """Read the target of a further table (validation, test) as ``target`` was read.

    Returns:
        float64 ``[rows]`` for regression, an object array of class labels ``[rows]`` otherwise.

    Raises:
        TableError: the column is absent, a row lacks it, or holds what is no number or none of the classes.
    """
    name = target.name
    table.require(name, "the model predicts")
    column = table.frame[name]
    _require_values(table, name, column, null)
    if target.task == "regression":
        _require_values(table, name, column, {*null, *NULL_SPELLINGS})
        return _finite(table, name)
    texts = level_texts(table, column)
    distinct = texts.unique()
    labels = {text: class_of(text, target.classes) for text in distinct}
    unknown = [text for text, label in labels.items() if label is None]
    if unknown:
        index = int(texts.is_in(unknown).to_numpy().argmax())
        raise TableError(
            f"{table.source}: the target {name!r} holds {texts[index]!r} in {table.where(index)}, "
            f"which is none of the classes of training: {_listed(target.classes)}; correct it, or take such rows out"
        )
    return _as_labels(texts, labels)


# --- the task ---------------------------------------------------------------------------------------------------------


def kind_of_target(table: Table, name: str, task: str, null: Collection[str]) -> Kind:
    """The kind of the target, whose advice is for targets.

    Raises:
        TableError: it holds an infinity, or is of a type that cannot be predicted.
    """
    column = table.frame[name]
    if isinstance(column.dtype, pl.Duration | pl.Time):
        raise TableError(
            f"{table.source}: the target {name!r} holds {column.dtype}, and what is predicted is a number or a class: "
            "write it as a number, for example of seconds, in the table"
        )
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise TableError(
            f"{table.source}: the target {name!r} holds {column.dtype}, and what is predicted is a number or a class: "
            "derive one from it, and name that column with --target"
        )
    if column.dtype.is_float() and column.is_infinite().any():
        index = int(column.is_infinite().fill_null(False).to_numpy().argmax())
        raise misfit(table, name, index, "a number", _LEFT_OUT)
    # Where classes were asked for, a value unlike the others is a class and no mistake.
    return kind_of(table, name, null=null, way_out=AS_CLASSES if task == "auto" else None)


def _few_whole(values: NDArray[np.float64]) -> bool:
    """Whether numbers are whole and few enough to be classes; typed and written decimals may be whole too."""
    distinct = np.unique(values)
    return len(distinct) <= MAX_WHOLE_CLASSES and bool(np.all(distinct == np.trunc(distinct)))


def _regression(table: Table, name: str, values: NDArray[np.float64]) -> Target:
    if values.min() == values.max():
        raise TableError(
            f"{table.source}: the target {name!r} is {values[0]:g} in every row, so there is nothing to learn: "
            "name another column with --target"
        )
    return Target(name, "regression", values)


def _finite(table: Table, name: str) -> NDArray[np.float64]:
    column = table.frame[name]
    if column.dtype == pl.String:
        values, fits = parse_numbers(column)
    elif column.dtype.is_numeric():
        values = column.cast(pl.Float64).to_numpy()
        fits = np.isfinite(values)
    else:
        values, fits = np.full(len(table), np.nan), np.zeros(len(table), dtype=bool)
    if not fits.all():
        raise misfit(table, name, int(fits.argmin()), "a number", AS_CLASSES)
    return values


def _require_values(table: Table, name: str, column: pl.Series, null: Collection[str]) -> None:
    if column.dtype == pl.String:
        column = column.set(column.str.strip_chars(BLANKS).is_in(["", *null]).fill_null(True), None)
    missing = column.is_null().to_numpy()
    if missing.any():
        index = int(missing.argmax())
        given = table.frame[name][index]
        holds = "no value" if given is None or not given.strip() else f"{given!r}, which means null,"
        others = int(missing.sum()) - 1
        rest = f" and {others} other row{'s' * (others > 1)}" if others else ""
        raise TableError(
            f"{table.source}: every row needs a target; {name!r} holds {holds} in {table.where(index)}{rest}; "
            "fill it in, or take such rows out"
        )


# --- classes ----------------------------------------------------------------------------------------------------------


def _classes(table: Table, name: str, kind: Kind, task: str) -> Target:
    texts = level_texts(table, table.frame[name])
    distinct = texts.unique()
    canonical = _canonical(distinct, kind)
    labels = {text: canonical(text) for text in distinct}
    found = sorted(set(labels.values()))
    if pl.Series(found).str.contains(CANONICAL_WHOLE).all():
        found.sort(key=int)
    if table.lines is None and table.frame[name].dtype == pl.String and table.typed.get(name, "text") == "text":
        spelled = _one_spelling(labels)
        labels = {text: spelled.get(label, label) for text, label in labels.items()}
        found = [spelled.get(label, label) for label in found]
    if len(found) == 1:
        raise TableError(
            f"{table.source}: the target {name!r} is {found[0]!r} in every row, so there is nothing to learn: "
            "name another column with --target"
        )
    if task == "binary" and len(found) > 2:
        raise TableError(
            f"{table.source}: a binary target holds 2 classes; {name!r} holds {len(found)}, {_listed(found)}; "
            "use --task multiclass"
        )
    if len(found) > MAX_CLASSES or (kind == "category" and len(found) > len(table) / 2):
        raise TableError(
            f"{table.source}: the target {name!r} holds {len(found):,} classes in {len(table):,} rows, which is too "
            f"many to learn ({MAX_CLASSES:,} at most, and half as many as there are rows): name another column with "
            f"--target, or group its values{_if_amounts(distinct, kind)}"
        )
    chosen: Task = "binary" if task == "binary" or (task == "auto" and len(found) == 2) else "multiclass"
    return Target(name, chosen, _as_labels(texts, labels), tuple(found))


def _if_amounts(distinct: pl.Series, kind: Kind) -> str:
    """What else to do with values that are most likely amounts."""
    if kind in ("number", "integer"):
        return "; if they are amounts, predict the number itself with --task regression"
    if distinct.str.contains(_AMOUNT).sum() >= _MOSTLY_AMOUNTS * len(distinct):
        return "; if they are amounts, write them as plain numbers (26 for 26%, 1234.5 for $1,234.50)"
    return ""


def _canonical(distinct: pl.Series, kind: Kind) -> Callable[[str], str]:
    """How a text becomes a label: 1 and 1.0 are one class, and so are True and TRUE; other text is as in the file."""
    if kind == "boolean":
        return lambda text: text.strip(BLANKS).lower()
    if kind in ("number", "integer"):
        values, _ = parse_numbers(distinct)
        return _whole_label if np.all(values == np.trunc(values)) else lambda text: text.strip(BLANKS)
    return lambda text: text


def _whole_label(text: str) -> str:
    """The label of a whole number, however it is written, as long as it is: ``+1`` and ``1.0`` are ``1``."""
    try:
        return str(int(text))
    except ValueError:
        return str(int(float(text)))


def _one_spelling(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels that texts of a frame all spell in one way, with that: whoever gives texts compares the answers to them.

    Args:
        labels: of each text.
    """
    spellings: dict[str, list[str]] = {}
    for text, label in labels.items():
        spellings.setdefault(label, []).append(text)
    return {label: texts[0] for label, texts in spellings.items() if len(texts) == 1 and texts[0].strip(BLANKS)}


def class_of(text: str, classes: tuple[str, ...]) -> str | None:
    """The class a text of a further table stands for."""
    bare = text.strip(BLANKS)
    return next((label for label in (text, bare) if label in classes), None) or _plainly(classes).get(_plain(bare))


@lru_cache(maxsize=8)
def _plainly(classes: tuple[str, ...]) -> dict[str, str]:
    """Classes by how they are written plainly."""
    return {_plain(label): label for label in reversed(classes)}


def _plain(text: str) -> str:
    """A text as a file's classes are written: 1 for ``1.0``, true for ``TRUE``, without blanks around it."""
    bare = text.strip(BLANKS)
    if bare.lower() in ("true", "false"):
        return bare.lower()
    values, fits = parse_numbers(pl.Series([bare]))
    return _whole_label(bare) if fits[0] and values[0].is_integer() else bare


def _as_labels(texts: pl.Series, labels: Mapping[str, str | None]) -> NDArray[Any]:
    named = texts.replace_strict(list(labels), list(labels.values()), return_dtype=pl.String)
    return named.to_numpy().astype(object)


def _listed(classes: Sequence[str]) -> str:
    shown = ", ".join(map(repr, classes[:10]))
    return shown if len(classes) <= 10 else f"{shown} and {len(classes) - 10} more"
