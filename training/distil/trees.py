"""Boosted trees as teachers: fitted here, on training rows alone, and asked about rows that they have not seen.

The training rows are dealt into folds as cross-validation deals a table. The trees of each fold learn from the others,
so that no row is answered by trees that know its target; rows of other parts are answered by the mean over the folds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version as installed_version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rowcast.models.errors import ConfigError, RowcastError
from rowcast.models.signature import MISSING_TIMESTAMP
from rowcast.training.columns.infer import ColumnRule
from rowcast.training.columns.levels import count_levels
from rowcast.training.columns.row_weights import mean_of_one
from rowcast.training.columns.target import Target
from rowcast.training.config import Config
from rowcast.training.data.folds import folds_in_time, folds_of_groups, random_folds
from rowcast.training.data.table import Table
from rowcast.training.distil.answers import checked
from rowcast.training.distil.boosters import BOOSTERS, Ask, Task, library
from rowcast.training.distil.teacher import LEARNED, TRAINING_ROWS, Answers, Asked, Lesson, Taught, TooLate
from rowcast.training.distil.watch import Watch
from rowcast.training.parts import texts_of, times_of

_FARTHEST = float(np.finfo(np.float32).max)
"""Numbers beyond are cut off there: two of the libraries keep float32, and one of them refuses what is none."""


class TreesTeacher:
    """Boosted trees of a library, with its defaults.

    Args:
        name: of the library, one of :data:`.boosters.BOOSTERS`.
        clock: monotonic seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.called = name
        self.clock = clock

    def check(self) -> None:
        """See :class:`rowcast.training.distil.teacher.Teacher`.

        Raises:
            MissingPackage: the library is not installed.
        """
        library(self.called)

    def teach(self, lesson: Lesson) -> Taught:
        """See :class:`rowcast.training.distil.teacher.Teacher`.

        Raises:
            ConfigError: there is no column that trees can read, or the library fails.
            TooLate: the folds would take longer than there is.
        """
        started = self.clock()
        asked, target, config = lesson.train, lesson.target, lesson.config
        columns = Columns(lesson.prepared.rules, asked.part.columns)
        if not columns.names:
            raise ConfigError(
                f"{self.called} reads numbers, dates and levels, and the table has none: leave out --teacher, or take "
                "a column as levels with --category"
            )
        fold_of, how = folds_of_training(asked.table, target, config)
        n_folds = int(fold_of.max()) + 1
        watch = Watch(self.called, n_folds, lesson.seconds, started, self.clock)
        task = Task(len(target.classes), columns.categories, torch.get_num_threads(), config.seed, watch.look)
        x = columns.matrix(asked.part.columns)
        fitted: list[Ask] = []
        out_of_fold = np.empty((len(x), len(target.classes)) if target.classes else len(x))
        for fold in range(n_folds):
            watch.begin(fold)
            inside, outside = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
            try:
                fitted.append(_fit(self.called, x, asked, inside, target, task))
                out_of_fold[outside] = fitted[-1](x[outside])
            except (RowcastError, TooLate):
                raise
            except Exception as error:  # whatever the library raises of rows that it cannot learn from
                first = next(iter(str(error).strip().splitlines()), "")
                raise ConfigError(
                    f"{self.called} could not be fitted on fold {fold + 1} of {n_folds}, {type(error).__name__}: "
                    f"{first}; leave out --teacher, or name another"
                ) from error
            watch.end(fold)

        def mean(part: Mapping[str, NDArray[Any]]) -> Answers:
            rows = columns.matrix(part)
            return _known(np.mean([ask(rows) for ask in fitted], axis=0))

        def ask(made: Asked) -> Answers:
            assert made.base is not None
            rows, said = columns.matrix(made.part.columns), np.empty((len(made.base), *out_of_fold.shape[1:]))
            for fold, of_fold in enumerate(fitted):  # by trees that have not seen the row that it was made of
                here = np.flatnonzero(fold_of[made.base] == fold)
                if len(here):
                    said[here] = of_fold(rows[here])
            return _known(said)

        def _known(said: NDArray[np.float64]) -> Answers:
            return checked(said, target, lambda row: f"row {row + 1}", self.called, ConfigError)

        release = installed_version(self.called)
        note = (
            f"{self.called} {release} was fitted with its defaults on {n_folds} folds of the training rows, {how}: "
            "each row is answered by trees that have not seen it"
        )
        left_out = f"; it does not read {', '.join(map(repr, columns.left_out))}" if columns.left_out else ""
        return Taught(
            train=_known(out_of_fold),
            validation=mean(lesson.prepared.validation.columns),
            ask=ask,
            notes=(note + left_out,),
            facts={"version": release, "folds": n_folds, LEARNED: TRAINING_ROWS},
        )


def folds_of_training(table: Table, target: Target, config: Config) -> tuple[NDArray[np.int64], str]:
    """A fold for each training row, ``[rows]``, and how they were made: as the table is split.

    Args:
        table: the training rows.
        target: of them.
        config: how many, and how the table is split.
    """
    data, k = config.data, min(config.distil.folds, len(table))
    if data.split_by_time:
        times = times_of(table, data.split_by_time, data)
        k = min(k, len(np.unique(times)))
        if k > 2:  # the first stretch, which cross-validation only learns from, is a fold here
            return folds_in_time(times, k=k - 1) + 1, f"stretches along {data.split_by_time!r}"
    for flag, name in (("--group", data.group), ("--fold", data.fold)):
        if name:
            groups = texts_of(table, name, f"{flag} names")
            k = min(k, len(np.unique(groups)))
            if k > 1:
                return folds_of_groups(groups, k=k, seed=config.seed), f"with rows of one {name!r} in one"
            k = min(config.distil.folds, len(table))
    labels = None
    if target.classes:
        _, counts = count_levels(target.values)
        if counts.min() > 1:
            k, labels = min(k, int(counts.min())), target.values
    return random_folds(len(table), k=k, seed=config.seed, labels=labels), "at random"


class Columns:
    """Columns of the student as a matrix for trees: numbers, times and codes of levels; NaN is missing.

    Codes tell levels apart and nothing more; levels that no training row holds are missing.

    Args:
        rules: of the columns. Texts that are read word by word are left out.
        train: of the training rows, by name.
    """

    def __init__(self, rules: Sequence[ColumnRule], train: Mapping[str, NDArray[Any]]) -> None:
        self.names = [rule.name for rule in rules if rule.kind != "text"]
        self.left_out = [rule.name for rule in rules if rule.kind == "text"]
        self._levels: dict[str, dict[str, int]] = {}
        for rule in rules:
            if rule.kind == "category":
                levels = (level for level in count_levels(train[rule.name])[0] if level != "")
                self._levels[rule.name] = {level: code for code, level in enumerate(levels)}
        self.categories = tuple(i for i, name in enumerate(self.names) if name in self._levels)

    def matrix(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Rows ``[rows, columns]``."""
        found = []
        for name in self.names:
            values = columns[name]
            if name in self._levels:
                known = self._levels[name]
                found.append(np.array([known.get(level, np.nan) for level in values], np.float64))
            elif values.dtype.kind == "i":
                found.append(np.where(values == MISSING_TIMESTAMP, np.nan, values.astype(np.float64)))
            else:
                found.append(np.clip(np.asarray(values, np.float64), -_FARTHEST, _FARTHEST))
        return np.stack(found, axis=1)


def _fit(name: str, x: NDArray[np.float64], asked: Asked, rows: NDArray[np.int64], target: Target, task: Task) -> Ask:
    """Trees of some of the training rows."""
    part, fit = asked.part, BOOSTERS[name]
    weight = None if part.weight is None else mean_of_one(part.weight[rows])
    if not target.classes:
        values = part.target[rows]
        centre = float(values.mean())
        unit = float(np.abs(values - centre).max())  # no deviation, whose squares may be beyond a double
        if unit == 0.0:  # of which a library may want to learn nothing
            return lambda at: np.full(len(at), centre)
        plain = fit(x[rows], (values - centre) / unit, weight, task)
        return lambda at: plain(at) * unit + centre
    index = {label: i for i, label in enumerate(target.classes)}
    of_rows = np.array([index[label] for label in part.target[rows]])
    held = np.unique(of_rows)  # a rare class may be in no row of these

    def scattered(said: NDArray[np.float64]) -> NDArray[np.float64]:
        shares = np.zeros((len(said), len(index)))
        shares[:, held] = said
        return shares

    if len(held) == 1:
        return lambda at: scattered(np.ones((len(at), 1)))
    of_held = fit(x[rows], np.searchsorted(held, of_rows), weight, replace(task, n_classes=len(held)))
    return lambda at: scattered(of_held(at))
