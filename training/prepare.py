"""A table read, split and understood: what training works on, fitted on training rows and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import TableError
from rowcast.models.labels import LABEL_TYPE
from rowcast.models.signature import MAX_COLUMNS
from rowcast.models.warnings import Caution, TooFewRowsWarning
from rowcast.training.columns.declared import Declared
from rowcast.training.columns.disclosure import NOTHING_COUNTED, notes_on_classes, notes_on_levels
from rowcast.training.columns.infer import ColumnRule, check_names, infer_columns, read_column
from rowcast.training.columns.label_type import label_type
from rowcast.training.columns.leakage import suspected_leaks
from rowcast.training.columns.levels import CountedLevels
from rowcast.training.columns.row_weights import with_weights, with_weights_like
from rowcast.training.columns.sentinels import notes_on_target, with_sentinels
from rowcast.training.columns.target import Target, read_target, read_target_like
from rowcast.training.columns.target_rows import reading_of_target, with_target, with_target_like
from rowcast.training.data.config import DataConfig, TableConfig
from rowcast.training.data.fingerprint import fingerprints
from rowcast.training.data.split import Split
from rowcast.training.data.table import Table, read_table, sha256_of
from rowcast.training.features.vary import keep_what_varies
from rowcast.training.parts import check_roles, order_in_time, split_table

if TYPE_CHECKING:
    from rowcast.training.config import Config
    from rowcast.training.features.encoder import FeatureEncoder
    from rowcast.training.start.begin import Begun
    from rowcast.training.start.columns import Carried
    from rowcast.training.start.start import Start
    from rowcast.training.stream.convert import Converted

MIN_TELLING_ROWS = 10
"""Metrics of fewer validation or test rows say more of these rows than of the model: a table of about 60 rows has so
many of either."""
_NAMING = ("keep", "category", "text", "number", "date", "boolean")
"""Lists of columns of ``config.data`` that a person wants as inputs."""


Count = Callable[[Sequence[ColumnRule], Target], Mapping[str, CountedLevels]]
"""The levels of each category of these, and how many training rows hold them."""


@dataclass(frozen=True)
class Part:
    """Training, validation or test rows: columns ``[rows]`` by name, and the target's values ``[rows]``."""

    columns: Mapping[str, NDArray[Any]]
    target: NDArray[Any]
    weight: NDArray[np.float64] | None = None
    """How much each row counts, ``[rows]``, all above 0; None where every row counts the same."""
    taught: NDArray[np.float64] | None = None
    """What a student is to answer instead of the target: shares of the classes ``[rows, classes]``, or numbers
    ``[rows]`` in the target's own units; None without a teacher. See :mod:`rowcast.training.distil`."""

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class Understood:
    """What the training rows say of a table, before anything is fitted."""

    target: Target
    rules: tuple[ColumnRule, ...]
    decisions: tuple[str, ...]
    columns: Mapping[str, NDArray[Any]]
    """Of the training rows ``[rows]``, by name."""
    carried: Carried | None = None
    """Columns of the model that the fit starts from."""


@dataclass(frozen=True)
class Whole:
    """A table as it was given, with the rows and columns that are not learned from, and its parts."""

    table: Table
    split: Split
    """Positions in ``table``."""


@dataclass(frozen=True)
class Prepared:
    """A table read, split and understood; of statistics it holds only what training rows gave.

    After a split by time the validation rows are in its order.
    """

    target: Target
    rules: tuple[ColumnRule, ...]
    decisions: tuple[str, ...]
    encoder: FeatureEncoder
    train: Part
    validation: Part
    test: Part
    data: dict[str, Any]
    begun: Begun | None = None
    """What the fit starts from; None for fresh weights."""
    seconds: float = 0.0
    """Wall clock that splitting, understanding and fitting the encoder took: of what is not reading the table."""
    stored: Converted | None = None
    """Of a table in shards: all of its training rows, of which ``train`` are a sample."""
    whole: Whole | None = None
    """The table as it was given, for a teacher; None where nobody asked for it."""

    @property
    def n_train(self) -> int:
        """Rows that a fit learns."""
        return len(self.train) if self.stored is None else len(self.stored)


def prepare(
    source: Any,
    config: Config,
    *,
    validation: Any = None,
    test: Any = None,
    start: Start | None = None,
    keep_whole: bool = False,
) -> Prepared:
    """Read, split and understand a table. Whatever is fitted here is fitted on training rows.

    Args:
        source: a file or a data frame, see :func:`rowcast.training.data.table.read_table`.
        config: ``config.data`` says what to read, and how to split.
        validation: a table of validation rows, instead of a share of ``source``.
        test: a table of test rows, instead of a share of ``source``.
        start: the model that the fit starts from.
        keep_whole: keep the table as it was given, too.

    Raises:
        TableError: the table cannot be used; names row, column and the way out.
    """
    given = read_source(source, config)
    table, target = target_of(as_configured(given, config), config.data)
    whole = given.rename(config.data.rename) if keep_whole else None
    del given
    started = time.monotonic()
    split = split_table(table, target, config, own_validation=validation is not None, own_test=test is not None)
    prepared = prepare_split(table, target, split, config, validation=validation, test=test, start=start)
    seconds = time.monotonic() - started
    parts = {"validation": (validation, prepared.validation), "test": (test, prepared.test)}
    apart = {name: part.target for name, (own, part) in parts.items() if own is not None}
    data = prepared.data | {"sha256": sha256_of(source, table)} | ({"apart": list(apart)} if apart else {})
    data |= {"split": fingerprints(table, target.values, split, apart)}
    kept = None if whole is None else _whole(whole, table, split)
    return replace(prepared, data=data, seconds=seconds, whole=kept)


def _whole(whole: Table, table: Table, split: Split) -> Whole:
    """A table with the parts of those of its rows that were split."""
    at = table.places_in(whole)
    return Whole(whole, replace(split, train=at[split.train], validation=at[split.validation], test=at[split.test]))


def open_table(source: Any, config: TableConfig) -> tuple[Table, Target]:
    """Read a table and its target.

    Raises:
        TableError: the table or its target cannot be used; names row, column and the way out.
    """
    return target_of(as_configured(read_source(source, config), config), config.data)


def read_source(source: Any, config: TableConfig) -> Table:
    """Read a table that is to be learned from, as it is.

    Raises:
        TableError: no target is named, or the table cannot be read.
        ConfigError: a column has two roles.
    """
    data = config.data
    if not data.target:
        raise TableError("a target is needed: name the column to predict with --target")
    check_roles(data)
    return read_table(source, form=data.form())


def target_of(table: Table, data: DataConfig) -> tuple[Table, Target]:
    """The rows that have a target, and their targets.

    Raises:
        TableError: the column cannot be a target; names row, column and the way out.
    """
    reading, notes = reading_of_target(table, data.target, task=data.task, null=data.null)
    table = with_target(table, data.target, task=data.task, null=data.null, reading=reading)
    table, weight = replace(table, notes=(*table.notes, *notes)), None
    if data.weight:
        table, weight = with_weights(table, data.weight)
    target = read_target(table, data.target, task=data.task, null=data.null)
    return table, replace(target, reading=reading, weight=weight)


def prepare_split(
    table: Table,
    target: Target,
    split: Split,
    config: Config,
    *,
    validation: Any = None,
    test: Any = None,
    start: Start | None = None,
    count: Count | None = None,
) -> Prepared:
    """Understand a table that is split already, see :func:`prepare`; ``count``: where it is a sample, the levels of
    all training rows.

    Raises:
        TableError: the table cannot be used; names row, column and the way out.
    """
    from rowcast.training.features.encoder import fit_encoder  # torch: a table can be understood without it

    data = config.data
    understood = understand(table, target, split, config, start)
    rules, train_columns, fitted = understood.rules, understood.columns, understood.target
    begun = None
    if start is not None and understood.carried is not None:
        from rowcast.training.start.begin import Begun

        begun = Begun(start, understood.carried.names)
    fit = fit_encoder if begun is None else begun.encoder
    encoder = fit(train_columns, rules, config.features, fitted.values, trend=not data.split_by_time)
    counted = NOTHING_COUNTED
    if count is not None and begun is None:
        counted = count(rules, fitted)
        encoder = encoder.with_vocabularies(vocabularies(understood, config, counted))
    decisions = [*understood.decisions, *encoder.decisions, *suspicions(understood, config, counted)]

    def part(other: Any, positions: NDArray[np.int64]) -> Part:
        if other is None:  # a split by time has put the rows in its order already
            rows, weight = table.take(positions), target.weight
            columns = {rule.name: read_column(rows, rule) for rule in rules}
            values = values_known(fitted, target, positions, table, data)
            return Part(columns, values, None if weight is None else weight[positions])
        own, notes = part_of_its_own(other, rules, fitted, config)
        decisions.extend(notes)
        return own

    held_out = part(validation, split.validation), part(test, split.test)
    decisions += too_few(len(split.train), *map(len, held_out))
    return Prepared(
        target=fitted,
        rules=rules,
        decisions=(*table.notes, *decisions),
        encoder=encoder,
        train=Part(train_columns, fitted.values, fitted.weight),
        validation=held_out[0],
        test=held_out[1],
        data=data_of(table, fitted) | ({} if start is None else {"start_from": start.facts}),
        begun=begun,
    )


def part_of_its_own(
    other: Any, rules: tuple[ColumnRule, ...], fitted: Target, config: TableConfig
) -> tuple[Part, list[str]]:
    """A further table of validation or test rows, in the order of time after a split by it; and what was decided.

    Raises:
        TableError: it cannot be read as the training rows were.
    """
    data = config.data
    own = with_target_like(open_source(other, config), fitted, null=data.null)
    own, weight = with_weights_like(own, data.weight)
    notes = [f"{own.source}: {note}" for note in own.notes]
    order = order_in_time(own, data)
    own, weight = own.take(order), None if weight is None else weight[order]
    return Part(read_columns(own, rules), read_target_like(own, fitted, null=data.null), weight), notes


def understand(table: Table, target: Target, split: Split, config: Config, start: Start | None = None) -> Understood:
    """Decide on training rows what each column is.

    Raises:
        TableError: a column cannot be read, or none is of use; names row, column and the way out.
    """
    data, train = config.data, table.take(split.train)
    check_names(train, data.target, drop=data.no_inputs, also=config.objective.further_outputs)
    fitted = fitted_target(target, split.train)
    carried = None
    if start is None:
        rules, columns, decisions = decide_columns(train, fitted, config)
    else:
        from rowcast.training.start.columns import carried_columns, told
        from rowcast.training.start.target import target_like

        carried = carried_columns(start, train, fitted, config)
        own = {*carried.names, *carried.left_out}
        rules, columns, decisions = decide_columns(train, fitted, config, exclude=own)
        place = {name: i for i, name in enumerate(train.names)}
        rules = tuple(sorted((*rules, *carried.rules), key=lambda rule: place[rule.name]))
        columns = {rule.name: {**columns, **carried.columns}[rule.name] for rule in rules}
        fitted, notes = target_like(start, fitted, config.objective)
        decisions = [*told(start, carried, rules), *notes, *decisions]
    if not rules:
        why = "; ".join(decisions) or "it holds only the target"
        raise TableError(f"no column of {table.source} is left to learn from: {why}")
    if len(rules) > MAX_COLUMNS:
        raise TableError(
            f"a model takes {MAX_COLUMNS:,} columns at most, got {len(rules):,} in {table.source}: "
            "leave some out with --drop"
        )
    decisions += split.notes
    if data.weight:
        decisions.append(
            f"rows count as {data.weight!r} says, in the loss, in calibration and in metrics; it is no input"
        )
    return Understood(fitted, rules, tuple(decisions), columns, carried)


def vocabularies(
    understood: Understood, config: TableConfig, counted: Mapping[str, CountedLevels]
) -> dict[str, dict[str, int]]:
    """The levels that a model knows and their training rows, by column; ``counted`` where the rows are a sample."""
    features = config.features
    return {
        rule.name: (counted.get(rule.name) or CountedLevels.of(understood.columns[rule.name])).vocabulary(
            features.level_rows.of(declared=rule.declared), features.max_levels
        )
        for rule in understood.rules
        if rule.kind == "category"
    }


def suspicions(
    understood: Understood, config: TableConfig, counted: Mapping[str, CountedLevels] = NOTHING_COUNTED
) -> list[str]:
    """Sentences on what is suspicious in the training rows: rare levels and classes, columns that tell the target.

    Args:
        understood: the training rows.
        config: of the run.
        counted: levels of categories, where these rows are a sample.
    """
    columns, rules, features = understood.columns, understood.rules, config.features
    known = vocabularies(understood, config, counted)
    notes = notes_on_target(understood.target) if config.data.sentinels else []
    notes += notes_on_levels(columns, rules, known, features.level_rows, counted)
    return [*notes, *notes_on_classes(understood.target), *suspected_leaks(columns, rules, understood.target)]


def decide_columns(
    train: Table,
    target: Target | None,
    config: TableConfig,
    *,
    only: str | None = None,
    keep: bool = False,
    exclude: Collection[str] = (),
) -> tuple[tuple[ColumnRule, ...], dict[str, NDArray[Any]], list[str]]:
    """How each column of the training rows is read, and whether it is of use; each is decided without the others.

    Args:
        train: training rows and no others.
        target: of these rows; None where there is none yet.
        only: the one column to decide about.
        keep: drop nothing.
        exclude: further columns to leave out.

    Returns:
        the rules of the columns that are kept; these columns ``[training rows]``, by name; what was decided.

    Raises:
        TableError: a value does not fit the kind of all the others; names column, row and the way out.
    """
    data = config.data
    exclude = {*data.no_inputs, *exclude}
    if only is not None:
        exclude = set(train.names) - {only}
    read: dict[str, NDArray[Any]] = {}
    # After a split by time a row's number says nothing of rows to come.
    rules, decisions = infer_columns(
        train,
        exclude=exclude,
        null=data.null,
        keep=keep,
        declared=Declared.of(data, train),
        target=None if data.split_by_time else target,
        level_rows=config.features.level_rows,
        words=config.features.word_limits,
        read=read,
    )
    along = next((rule for rule in rules if rule.name == data.split_by_time and rule.kind != "timestamp"), None)
    if along is not None and not keep:  # a timestamp tells more than how late it is: only its trend is left out
        rules = tuple(rule for rule in rules if rule is not along)
        decisions.append(
            f"{along.name!r} is no input, as the table is split along it: the future lies outside all that training saw"
        )
    if data.sentinels:
        before = {rule.name: rule for rule in rules}
        rules, found = with_sentinels(train, rules, except_in=data.no_sentinels, columns=read)
        decisions += found
        read = {rule.name: read[rule.name] for rule in rules if rule.name in read and rule is before[rule.name]}
    columns = {rule.name: read[rule.name] if rule.name in read else read_column(train, rule) for rule in rules}
    if keep:
        return rules, columns, decisions
    rules, flat = keep_what_varies(columns, rules, config.features, trend=not data.split_by_time)
    return rules, {rule.name: columns[rule.name] for rule in rules}, [*decisions, *flat]


def read_columns(table: Table, rules: tuple[ColumnRule, ...]) -> dict[str, NDArray[Any]]:
    """Columns of a table by the rules of training.

    Raises:
        TableError: a column is absent, or holds a value that does not fit.
    """
    absent = [rule.name for rule in rules if rule.name not in table.names]
    if absent:
        raise TableError(
            f"{table.source} lacks {', '.join(map(repr, absent))}; its columns: {', '.join(table.names)}; "
            "map other names with --rename old=new"
        )
    return {rule.name: read_column(table, rule) for rule in rules}


def open_source(source: Any, config: TableConfig) -> Table:
    """Read a table, with the columns that are to be renamed or left out.

    Raises:
        TableError: it cannot be read, or lacks such a column.
    """
    return as_configured(read_table(source, form=config.data.form()), config)


def as_configured(table: Table, config: TableConfig) -> Table:
    """A table with the columns that are to be renamed or left out.

    Raises:
        TableError: it lacks such a column.
    """
    if config.data.rename:
        table = table.rename(config.data.rename)
    data = config.data
    table = table.drop(data.drop) if data.drop else table
    named = [name for kind in _NAMING for name in getattr(data, kind)]
    return table.without_index(keep=(*data.no_inputs, data.split_by_time, *named))


def fitted_target(target: Target, positions: NDArray[np.int64]) -> Target:
    """The target as training rows tell it: their values and, in whole-table order, the classes they hold."""
    values = target.values[positions]
    held = set(values) if target.classes else set()
    classes = tuple(label for label in target.classes if label in held)
    if target.classes and len(classes) < 2:
        raise TableError(
            f"the training rows hold one class of {target.name!r} only, {classes[0]!r}; "
            "train on more rows, or split them at random"
        )
    if not target.classes and values.min() == values.max():
        raise TableError(
            f"the training rows hold one value of {target.name!r} only, {values[0]:g}; "
            "train on more rows, or split them at random"
        )
    task = target.task if target.task == "regression" else "binary" if len(classes) == 2 else "multiclass"
    weight = None if target.weight is None else target.weight[positions]
    return replace(target, task=task, values=values, classes=classes, weight=weight)


def too_few(train: int, validation: int, test: int) -> list[str]:
    """A sentence where metrics are those of so few rows that they prove nothing."""
    parts = [(n, part) for n, part in ((validation, "validation"), (test, "test")) if n]
    if min(n for n, _ in parts) >= MIN_TELLING_ROWS:
        return []
    total = train + validation + test
    rows = f"{total} rows" if total < 10 * MIN_TELLING_ROWS else "so few rows"
    of = " and ".join(f"{n:,} {part} row{'s' * (n > 1)}" for n, part in parts)
    note = f"{rows} prove nothing: metrics are those of {of}, and other rows would give others; add rows, or test each "
    return [Caution(f"{note}row once with `rowcast crossvalidate`", TooFewRowsWarning)]


def data_of(table: Table, target: Target) -> dict[str, Any]:
    """What ``model.json`` keeps of a table."""
    return {"rows": len(table), "source": table.source, **_reading_of(target), **_given_as(table, target)}


def _reading_of(target: Target) -> dict[str, Any]:
    """What ``model.json`` keeps of how the target is read, for whoever evaluates the model."""
    reading = target.reading.model_dump(mode="json", exclude_defaults=True)
    return {"target_reading": reading} if reading else {}


def _given_as(table: Table, target: Target) -> dict[str, Any]:
    """What ``model.json`` keeps of the form that the table came in, for whoever asks the model in Python."""
    kept: dict[str, Any] = {"array_columns": table.array_columns} if table.array_columns else {}
    of = label_type(table, target) if target.classes else "text"
    return kept if of == "text" else kept | {LABEL_TYPE: of}


def values_known(
    fitted: Target, target: Target, positions: NDArray[np.int64], table: Table, data: DataConfig
) -> NDArray[Any]:
    """Target values of validation or test rows, whose classes training must have seen."""
    values = target.values[positions]
    if fitted.classes:
        known = set(fitted.classes)
        for position, label in zip(positions, values, strict=True):
            if label not in known:
                raise TableError(
                    f"class {label!r} of {target.name!r} occurs in {table.where(int(position))}, "
                    f"but in no training row; drop those rows{_way_out(data)}"
                )
    return values


def _way_out(data: DataConfig) -> str:
    """What else to do about a class that no training row holds."""
    if data.split:
        return f", or have {data.split!r} name some of them as training rows"
    way = "by time" if data.split_by_time else "by group" if data.group else "by fold" if data.fold else ""
    return f", or split at random instead of {way}" if way else ""
