"""The rows that trials see: training and validation rows. Test rows are set aside before anything is tried.

The table is read and split once. What a trial changes of the features asks for another encoder, which is fitted when it
is first wanted; of those the last few are kept.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import ConfigError, TableError
from rowcast.training.columns.target import Target
from rowcast.training.config import Config
from rowcast.training.crossvalidate import plan_folds
from rowcast.training.data.split import Split
from rowcast.training.data.table import Table, sha256_of
from rowcast.training.parts import in_order_of_time, split_table, times_of
from rowcast.training.prepare import Prepared, open_table, prepare_split
from rowcast.training.stream.choose import refuse_streamed
from rowcast.training.tune.config import OF_LAST_FIT

_KEPT = 4
"""Prepared tables that are kept: the encoded rows of a large one are most of the memory."""
_NOT_COMPARED = {"tune", "track", "device"}
_MAY_CHANGE = {*OF_LAST_FIT, "deterministic"}


@dataclass
class Rows:
    """The rows of trials, in one way or more to divide them."""

    table: Table
    """Training and validation rows, and no others."""
    target: Target
    splits: Sequence[Split]
    """Positions in ``table``: a pair of training and validation rows, or one for each fold. There are no test rows."""
    about: dict[str, Any]
    """What they are of, for a study that is gone on with."""
    reading_s: float = 0.0
    """Wall clock that reading the table took."""
    _prepared: OrderedDict[str, list[Prepared]] = field(default_factory=OrderedDict)

    def prepared(self, config: Config) -> list[Prepared]:
        """The rows as a config reads them: for each split.

        Raises:
            TableError: the table cannot be used; names row, column and the way out.
        """
        key = config.features.model_dump_json()
        if key not in self._prepared:
            self._prepared[key] = [self._prepare(split, config, number) for number, split in enumerate(self.splits, 1)]
            if len(self._prepared) > max(1, _KEPT // len(self.splits)):
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        return self._prepared[key]

    def _prepare(self, split: Split, config: Config, number: int) -> Prepared:
        try:
            return prepare_split(self.table, self.target, split, config)
        except TableError as error:
            raise error if len(self.splits) == 1 else TableError(f"in fold {number}: {error}") from error


def rows_of(
    source: Any,
    config: Config,
    folds: int | None,
    *,
    own_test: bool = False,
    check: Callable[[Table, Target, Split], None] = lambda *_: None,
) -> Rows:
    """Read a table, and set its test rows aside.

    Args:
        source: a file or a data frame.
        config: ``config.data`` says what to read, and how to split.
        folds: how many to divide training and validation rows into; None for the one split of a training run.
        own_test: test rows come from a table of their own.
        check: told of the whole table and its split before test rows are set aside; raises where the last fit would.

    Raises:
        TableError: the table cannot be used, or has too few rows or groups for the folds.
        ConfigError: folds do not go together with the split that is asked for.
    """
    began = time.monotonic()
    refuse_streamed(source, config.data, "tuning")
    table, target = open_table(source, config)
    reading_s = time.monotonic() - began
    split = split_table(table, target, config, own_test=own_test)
    check(table, target, split)
    about = {
        "rows": len(table),
        "the number of its test rows": len(split.test),
        "SHA-256": sha256_of(source, table),
        "the target": target.name,
        "the task": target.task,
        "folds": folds,
    }
    n = len(split.train)
    place = np.concatenate([split.train, split.validation])
    table, target = table.take(place), _taken(target, place)
    if folds is None:
        nothing = np.zeros(0, np.int64)
        splits = [Split(np.arange(n), np.arange(n, len(place)), nothing, split.notes)]
    else:
        splits = _folds(table, target, config, folds)
    return Rows(table, target, splits, about, reading_s)


def _taken(target: Target, place: NDArray[np.int64]) -> Target:
    """The target of some rows."""
    weight = None if target.weight is None else target.weight[place]
    return replace(target, values=target.values[place], weight=weight)


def _folds(table: Table, target: Target, config: Config, folds: int) -> list[Split]:
    """For each fold: all others as training rows (all before it, of folds in time), and itself as validation rows."""
    if config.data.fold:
        raise ConfigError(
            "folds are made in one way, got both --folds and --fold: of a column of folds, whole ones are validation "
            "rows without --folds"
        )
    nothing = np.zeros(0, np.int64)
    found = []
    try:
        plans = plan_folds(table, target, config, folds, validation=0.0)  # a trial measures on the fold itself
    except TableError as error:
        raise TableError(f"{error}; {folds} folds divide what the test rows leave") from error
    for number, plan in enumerate(plans, 1):
        split = Split(plan.train, plan.test, nothing)
        _check_classes(target, split, number)
        if config.data.split_by_time:
            split = in_order_of_time(split, times_of(table, config.data.split_by_time, config.data))
        found.append(split)
    return found


def _check_classes(target: Target, split: Split, number: int) -> None:
    """Make sure that the fit of a fold learns every class that it is asked for."""
    learned = set(target.values[split.train]) if target.classes else set()
    asked = set(target.values[split.validation]) if target.classes else set()
    absent = [label for label in target.classes if label in asked - learned]
    if absent:
        raise TableError(
            f"the fit of every fold must learn every class, but none of the {len(split.train):,} rows that it learns "
            f"beside fold {number} is of class {absent[0]!r} of {target.name!r}: use fewer folds, add rows of it, or "
            "join it with another class"
        )


def about_study(rows: Rows, config: Config) -> dict[str, Any]:
    """What a study is of: nothing else may go on with it."""
    # Without defaults, so that a field that a later version adds does not end a study.
    held = config.model_dump(mode="json", exclude=_NOT_COMPARED, exclude_defaults=True)
    held["fit"] = {name: value for name, value in held.get("fit", {}).items() if name not in _MAY_CHANGE}
    return {"table": rows.about, "config": held}
