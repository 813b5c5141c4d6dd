"""Cross-validation: every row is a test row once, and how far the folds are apart says how much a metric wavers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError, TableError
from rowcast.models.labels import LabelType
from rowcast.models.machine.limits import usable_cores
from rowcast.models.session import Predictions, Session
from rowcast.training.budget.first_use import pay_first_use
from rowcast.training.columns.label_type import label_type
from rowcast.training.columns.levels import count_levels
from rowcast.training.columns.target import Target
from rowcast.training.config import Config
from rowcast.training.data.config import DataConfig
from rowcast.training.data.folds import check_groups, folds_in_time, folds_of_groups, random_folds
from rowcast.training.data.split import MIN_ROWS, Split, split_by_group, split_by_time, split_random
from rowcast.training.data.table import Table
from rowcast.training.device import training_device
from rowcast.training.export.graph import export
from rowcast.training.fit_network import fit_network, signature_of
from rowcast.training.network.head import ClassHead
from rowcast.training.own import NOTHING_OWN, Own
from rowcast.training.parts import check_roles, in_order_of_time, texts_of, times_of
from rowcast.training.predict import metrics_of, predict_columns
from rowcast.training.prepare import open_source, prepare_split, target_of
from rowcast.training.start.start import check_start
from rowcast.training.stream.choose import refuse_streamed
from rowcast.training.threads import usable_threads

VALIDATION_SHARE = 0.2
"""Share of the rows outside a fold that choose when its training stops."""
MAX_FOLDS = 100
MIN_WHOLE_FOLDS = 4
"""From so many folds of training rows on, one of them is the validation rows where a column names the folds; of fewer,
one would be too much to lose, and validation rows are taken from all of them."""


@dataclass(frozen=True)
class CrossValidated:
    """How well models of a table do on rows they have not seen."""

    folds: list[dict[str, float]]
    """The metrics of each fold."""
    mean: dict[str, float]
    """Of the folds, by metric: of those that every fold has."""
    deviation: dict[str, float]
    """Of the folds around their mean, by metric."""
    predictions: pl.DataFrame
    """What the model that had not seen a row says of it, all rows of the table in order: as
    :func:`rowcast.training.predict.predict_table` gives it, and the ``fold`` that the row was tested in. Null for rows
    that no fold tests: without a target, of weight 0, or before the first fold in time."""
    rows: list[dict[str, int]]
    """How many rows each fold trained on, chose when to stop on, and was tested on."""
    decisions: tuple[str, ...]
    """What was decided in reading the table."""
    label_type: LabelType = "text"
    """What the labels of the target were, which are texts in ``predictions``."""

    def summary(self) -> dict[str, Any]:
        """What ``rowcast crossvalidate --json`` prints."""
        return {"folds": self.folds, "mean": self.mean, "deviation": self.deviation, "rows": self.rows}


def cross_validate(
    source: Any,
    config: Config,
    *,
    folds: int = 5,
    report: Callable[[int, dict[str, float]], None] = lambda *_: None,
    own: Own = NOTHING_OWN,
) -> CrossValidated:
    """Train once a fold and measure on the fold; publishes nothing.

    Whatever is fitted in a fold, statistics of columns and the network alike, is fitted on its own training rows.

    Args:
        source: a file or a data frame.
        config: as for a training run. ``config.data`` says how to divide the table: ``group`` keeps rows of a group in
            one fold, ``split_by_time`` tests each fold by a model of the rows before it, ``fold`` names a column of
            folds; with ``group`` beside ``fold``, it is checked that no group is in two folds.
        folds: how many, 2 at least; a column of folds says so itself.
        report: called with the number and the metrics of each fold when it is done.
        own: functions in place of what the config names.

    Raises:
        ConfigError: folds do not go together with the split that is asked for.
        TableError: the table cannot be used, or folds share groups.
    """
    config = own.written_in(config)
    check_start(None, config)
    config.distil.check_unused()
    data = config.data
    if not data.target:
        raise TableError("a target is needed: name the column to predict with --target")
    check_roles(data)
    _check_ways(data, config.fit.folds)
    refuse_streamed(source, data, "cross-validation")
    device = training_device(config.device, config.fit.precision)
    whole = open_source(source, config)
    table, target = target_of(whole, data)
    plan = plan_folds(table, target, config, folds)
    oof = _OutOfFold(len(whole), target)
    place = table.places_in(whole)
    measured, counted = [], []
    with usable_threads() as threads:
        if config.fit.budget_s != "none":  # which is each fold's own
            pay_first_use(config, device)
        for number, split in enumerate(plan, 1):
            try:
                prepared = prepare_split(table, target, split, config)
            except TableError as error:
                raise TableError(f"in fold {number}: {error}") from error
            core, _, _ = fit_network(prepared, config, device, own=own)
            session = Session(export(core, signature_of(prepared, core)), "cpu", threads=usable_cores())
            answers = predict_columns(session, prepared.test.columns)
            oof.add(place[split.test], answers, prepared.target.classes, number)
            test, threshold = prepared.test, isinstance(core.head, ClassHead) and core.head.threshold is not None
            metrics = metrics_of(answers, test.target, prepared.target.classes, test.weight, threshold=threshold)
            measured.append(metrics)
            counted.append({"train": len(split.train), "validation": len(split.validation), "test": len(split.test)})
            report(number, metrics)
    names = [name for name in measured[0] if all(name in metrics for metrics in measured)]
    return CrossValidated(
        folds=measured,
        mean={name: float(np.mean([metrics[name] for metrics in measured])) for name in names},
        deviation={name: float(np.std([metrics[name] for metrics in measured], ddof=1)) for name in names},
        predictions=oof.frame(),
        rows=counted,
        decisions=(*table.notes, *threads),
        label_type=label_type(table, target) if target.classes else "text",
    )


# --- which rows -------------------------------------------------------------------------------------------------------


def _check_ways(data: DataConfig, own_folds: int | str) -> None:
    if own_folds != "none":
        raise ConfigError(
            f"'fit.folds' must be \"none\" for cross-validation, which fits once a fold, got {own_folds}: leave it out"
        )
    if data.split:
        raise ConfigError(
            f"cross-validation tests every row once, so it does not go with --split {named(data.split)}: leave that "
            "out, or name a column of folds with --fold"
        )
    for flag, name in (("--group", data.group), ("--fold", data.fold)):
        if data.split_by_time and name:
            raise ConfigError(f"folds are made in one way, got both --split-by-time and {flag}: leave one of them out")


def plan_folds(
    table: Table, target: Target, config: Config, folds: int, validation: float = VALIDATION_SHARE
) -> list[Split]:
    """The training, validation and test rows of each fold; ``validation`` is the share of the rows outside it."""
    data, seed = config.data, config.seed
    labels = target.values if target.classes else None
    groups = texts_of(table, data.group, "--group names") if data.group else None
    if data.split_by_time:
        times = times_of(table, data.split_by_time, data)
        fold_of = folds_in_time(times, k=folds, before=2 if validation > 0 else 1)
        return [_in_time(fold_of, fold, times, validation) for fold in range(folds)]
    if data.fold:
        fold_of = _folds_named(table, data.fold)
        if groups is not None:
            check_groups(fold_of, groups, table, fold=data.fold, group=data.group)
        elif len(np.unique(fold_of)) > MIN_WHOLE_FOLDS:
            groups = fold_of.astype(str)
    elif groups is not None:
        fold_of = folds_of_groups(groups, k=folds, seed=seed)
    else:
        fold_of = random_folds(len(table), k=folds, seed=seed, labels=labels)
    n_folds = int(fold_of.max()) + 1
    return [_without(fold_of, fold, labels, groups, seed, validation) for fold in range(n_folds)]


def _folds_named(table: Table, name: str) -> NDArray[np.int64]:
    """The folds that a column names, numbered in the order of their names, ``[rows]``."""
    texts = texts_of(table, name, "--fold names")
    if (texts == "").any():
        raise TableError(
            f"{table.source}: every row needs a fold, but {name!r}, which --fold names, holds no value in "
            f"{table.where(int((texts == '').argmax()))}: fill it in, or take such rows out"
        )
    names, _ = count_levels(texts)
    if not 2 <= len(names) <= MAX_FOLDS:
        raise TableError(
            f"{table.source}: --fold needs a column of 2 to {MAX_FOLDS} different values, one for each fold; {name!r} "
            f"holds {len(names):,}: name another column"
        )
    whole = all(str(text).isdecimal() for text in names)
    number = {text: i for i, text in enumerate(sorted(map(str, names), key=int if whole else str))}
    return np.array([number[text] for text in texts], np.int64)


def _without(
    fold_of: NDArray[np.int64],
    fold: int,
    labels: NDArray[Any] | None,
    groups: NDArray[Any] | None,
    seed: int,
    validation: float,
) -> Split:
    """The fold as test rows; of the others, some as validation rows, with groups on one side."""
    others = np.flatnonzero(fold_of != fold)
    if groups is not None:
        n_groups = len(np.unique(groups[others]))
        if validation > 0 and n_groups < 2:
            raise TableError(
                f"fold {fold + 1} has rows of one group outside it, and needs those of two, to learn and to say when "
                "to stop: name a column of more groups"
            )
        rest = split_by_group(groups[others], seed=seed, test=0.0, validation=validation)
    else:
        _check_rows(len(others), fold, "outside")
        of_others = None if labels is None else labels[others]
        if validation > 0 and labels is not None:
            _check_classes(labels[others], fold)
        rest = split_random(len(others), seed=seed, labels=of_others, test=0.0, validation=validation)
    return Split(others[rest.train], others[rest.validation], np.flatnonzero(fold_of == fold))


def _check_rows(rows: int, fold: int, where: str) -> None:
    """Make sure that so many rows can be split; ``where`` they stand of a fold."""
    if rows < MIN_ROWS:
        raise TableError(
            f"fold {fold + 1} has {rows} rows {where} it, and needs {MIN_ROWS}, to learn and to say when to stop: use "
            "fewer folds"
        )


def _check_classes(labels: NDArray[Any], fold: int) -> None:
    """Make sure that rows of each class can be split; ``labels`` of those outside a fold."""
    classes, counts = count_levels(labels)
    if counts.min() < 2:
        raise TableError(
            f"fold {fold + 1} has one row of class {classes[int(counts.argmin())]!r} outside it, and needs two, to "
            "learn and to say when to stop: add rows of it, take it out, or join it with another class"
        )


def _in_time(fold_of: NDArray[np.int64], fold: int, times: NDArray[Any], validation: float) -> Split:
    """The fold as test rows, those just before it as validation rows, and the earlier ones as training rows."""
    before = np.flatnonzero(fold_of < fold)
    _check_rows(len(before), fold, "before")
    rest = split_by_time(times[before], test=0.0, validation=validation)
    split = Split(before[rest.train], before[rest.validation], np.flatnonzero(fold_of == fold))
    return in_order_of_time(split, times)


# --- what the models say ----------------------------------------------------------------------------------------------


class _OutOfFold:
    """Predictions of many models for the rows of one table.

    Args:
        rows: of the whole table.
        target: of the rows that hold one: its classes are the columns of probabilities.
    """

    def __init__(self, rows: int, target: Target) -> None:
        self.classes = target.classes
        self.numbers: dict[str, NDArray[Any]] = {}
        if self.classes:
            self.labels = np.full(rows, None, object)
            for label in self.classes:
                self.numbers[f"probability_{label}"] = np.full(rows, np.nan, np.float32)
        self.fold = np.zeros(rows, np.int64)

    def add(self, place: NDArray[np.int64], answers: Predictions, classes: tuple[str, ...], fold: int) -> None:
        """Take in what the model of a fold, which knows ``classes``, says of the rows at ``place``."""
        self.fold[place] = fold
        if answers.probabilities is not None:
            self.labels[place] = answers.labels
            for label in self.classes:  # one that no training row of the fold held is told a probability of 0
                known = label in classes
                column = answers.probabilities[:, classes.index(label)] if known else np.float32(0.0)
                self.numbers[f"probability_{label}"][place] = column
            return
        for name in ("prediction", "lower", "upper"):
            values = getattr(answers, name)
            if values is not None:
                self.numbers.setdefault(name, np.full(len(self.fold), np.nan))[place] = values

    def frame(self) -> pl.DataFrame:
        """A row for each row of the table; null where no fold tested it."""
        untested = pl.Series(self.fold == 0)
        columns = [pl.Series("label", self.labels.tolist(), pl.String)] if self.classes else []
        columns += [pl.Series(name, values).set(untested, None) for name, values in self.numbers.items()]
        return pl.DataFrame([*columns, pl.Series("fold", self.fold).set(untested, None)])
