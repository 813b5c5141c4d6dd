"""A table read, its test rows set aside, the others divided into folds, each understood by its own training rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import TableError
from rowcast.training.bagging.columns import common_columns
from rowcast.training.bagging.plan import check_folds, plan_of
from rowcast.training.bagging.told import told_once
from rowcast.training.columns.infer import ColumnRule, read_column
from rowcast.training.columns.levels import CountedLevels
from rowcast.training.columns.target import Target
from rowcast.training.config import Config
from rowcast.training.data.fingerprint import fingerprints
from rowcast.training.data.split import Split
from rowcast.training.data.table import Table, sha256_of
from rowcast.training.features.encoder import FeatureEncoder, fit_encoder
from rowcast.training.parts import split_table
from rowcast.training.prepare import (
    Part,
    Prepared,
    Understood,
    data_of,
    fitted_target,
    open_table,
    part_of_its_own,
    suspicions,
    too_few,
    understand,
)
from rowcast.training.ranks.ranks import Ranks
from rowcast.training.start.start import Start
from rowcast.training.stream.choose import refuse_streamed


@dataclass(frozen=True)
class Bag(Prepared):
    """All training rows of a table, as ``train``, and once more as ``validation``: the rows that folds leave out.

    ``encoder`` knows what any of the folds knows: it describes columns, and encodes nothing.
    """

    folds: tuple[Prepared, ...] = ()
    """For each fold the rows that its fit learns, as ``validation`` those that say when it stops, and as ``test`` those
    that it never sees; of statistics it holds only what the first of these gave."""
    plan: tuple[Split, ...] = ()
    """Where these stand among the training rows, of each fold."""

    def rows(self, positions: NDArray[np.int64]) -> Part:
        """Some of the training rows."""
        return _taken(self.train, positions)


def open_bag(
    source: Any, config: Config, *, validation: Any, test: Any, start: Start | None, own_network: bool, ranks: Ranks
) -> Bag:
    """Read a table and divide its training rows into ``config.fit.folds`` folds.

    Args:
        source: a file or a data frame.
        config: of the run.
        validation: a table of validation rows, which is refused.
        test: a table of test rows, instead of a share of ``source``.
        start: a model to start from, which is refused.
        own_network: whether there is a network of one's own, which is refused.
        ranks: the processes that train together: this one alone.

    Raises:
        ConfigError: folds do not go together with what else is asked for.
        TableError: the table cannot be used; names row, column and the way out.
    """
    assert config.fit.folds != "none"
    check_folds(config, validation=validation, start=start, own_network=own_network, ranks=ranks)
    refuse_streamed(source, config.data, "a fit with folds")
    table, target = open_table(source, config)
    started = time.monotonic()
    split = split_table(table, target, config, own_test=test is not None)
    place = np.sort(np.concatenate([split.train, split.validation]))
    plan, how = plan_of(table.take(place), fitted_target(target, place), config, config.fit.folds)
    bag = bag_of(table, target, place, plan, how, config, held_out=split.test, test=test)
    nothing, apart = np.zeros(0, np.int64), {} if test is None else {"test": bag.test.target}
    parts = fingerprints(table, target.values, Split(place, nothing, split.test), apart)
    data = bag.data | {"sha256": sha256_of(source, table), "split": parts}
    return replace(bag, data=data, seconds=time.monotonic() - started)


def bag_of(
    whole: Table,
    target: Target,
    place: NDArray[np.int64],
    plan: Sequence[Split],
    how: str,
    config: Config,
    *,
    held_out: NDArray[np.int64],
    test: Any = None,
) -> Bag:
    """Understand a table whose folds are known.

    Args:
        whole: with its test rows.
        target: of all rows.
        place: where the training rows stand.
        plan: see :func:`rowcast.training.bagging.plan.plan_of`.
        how: the folds were made, in words.
        config: of the run.
        held_out: where the test rows stand.
        test: a table of test rows in their place.

    Raises:
        TableError: the table cannot be used; names row, column and the way out.
    """
    table, fitted = whole.take(place), fitted_target(target, place)
    of_folds = [_understood(table, fitted, split, config, number) for number, split in enumerate(plan, 1)]
    rules, of_folds, notes = common_columns(table, plan, of_folds, config)
    train = Part({rule.name: read_column(table, rule) for rule in rules}, fitted.values, fitted.weight)
    folds = []
    for split, fold in zip(plan, of_folds, strict=True):
        trend = not config.data.split_by_time
        encoder = fit_encoder(fold.columns, fold.rules, config.features, fold.target.values, trend=trend)
        kept = [rule.name for rule in fold.rules]
        stop, unseen = (_taken(train, rows, kept) for rows in (split.validation, split.test))
        learned = Part(fold.columns, fold.target.values, fold.target.weight)
        decisions = (*fold.decisions, *encoder.decisions)
        folds.append(Prepared(fold.target, fold.rules, decisions, encoder, learned, stop, unseen, {}))
    of_test: list[str] = []
    if test is None:
        rest = whole.take(held_out)
        weight = None if target.weight is None else target.weight[held_out]
        values = target.values[held_out]
        _check_classes(fitted, values, whole, held_out)
        tested = Part({rule.name: read_column(rest, rule) for rule in rules}, values, weight)
    else:
        tested, of_test = part_of_its_own(test, rules, fitted, config)
    unseen = _taken(train, np.concatenate([split.test for split in plan]))
    counts = [{"train": len(fold.train), "stop": len(fold.validation), "left_out": len(fold.test)} for fold in folds]
    decided = [
        _told(counts, how, len(train)),
        *told_once([fold.decisions for fold in folds]),
        *notes,
        *suspicions(Understood(fitted, rules, (), train.columns), config),
        *of_test,
        *too_few(len(train), len(unseen), len(tested)),
    ]
    return Bag(
        target=fitted,
        rules=rules,
        decisions=(*whole.notes, *decided),
        encoder=_describing(rules, folds, train.columns),
        train=train,
        validation=unseen,
        test=tested,
        data=data_of(whole, fitted) | {"folds": counts},
        folds=tuple(folds),
        plan=tuple(plan),
    )


def _understood(table: Table, target: Target, split: Split, config: Config, number: int) -> Understood:
    """What the training rows of a fold say, which must hold every class."""
    try:
        found = understand(table, target, split, config)
    except TableError as error:
        raise TableError(f"in fold {number}: {error}") from error
    absent = [label for label in target.classes if label not in found.target.classes]
    if absent:
        raise TableError(
            f"the fit of every fold must learn every class, but none of the {len(split.train):,} rows that fold "
            f"{number} trains on is of class {absent[0]!r} of {target.name!r}: use fewer folds, add rows of it, or "
            "join it with another class"
        )
    return found


def _check_classes(fitted: Target, values: NDArray[Any], table: Table, positions: NDArray[np.int64]) -> None:
    unknown = [i for i, label in enumerate(values) if fitted.classes and label not in fitted.classes]
    if unknown:
        raise TableError(
            f"class {values[unknown[0]]!r} of {fitted.name!r} occurs in {table.where(int(positions[unknown[0]]))}, "
            "but in no training row; drop those rows, or split at random"
        )


def _taken(part: Part, rows: NDArray[np.int64], names: Sequence[str] | None = None) -> Part:
    """Some of the rows and columns of a part."""
    weight = None if part.weight is None else part.weight[rows]
    columns = {name: part.columns[name][rows] for name in names or part.columns}
    return Part(columns, part.target[rows], weight)


def _describing(
    rules: tuple[ColumnRule, ...], folds: Sequence[Prepared], columns: Mapping[str, NDArray[Any]]
) -> FeatureEncoder:
    """An encoder that knows the levels and words that any fold knows, with the training rows of each level."""
    vocabularies: dict[str, dict[str, int]] = {}
    words: dict[str, list[str]] = {}
    for rule in rules:
        if rule.kind == "category":
            of_folds = [fold.encoder.vocabularies.get(rule.name, {}) for fold in folds]
            counted = CountedLevels.of(columns[rule.name]).vocabulary(1, len(columns[rule.name]))
            vocabularies[rule.name] = {
                level: rows for level, rows in counted.items() if any(level in known for known in of_folds)
            }
        elif rule.kind == "text":
            known = [word for fold in folds for word in fold.encoder.words.get(rule.name, ())]
            words[rule.name] = list(dict.fromkeys(known))
    nothing, of_first = np.zeros(0, np.int64), folds[0].encoder
    return FeatureEncoder(rules, {}, vocabularies, None, (nothing, of_first.bins), (nothing, of_first.binary), words)


def _told(counts: Sequence[Mapping[str, int]], how: str, rows: int) -> str:
    """The decision that says what the folds are."""

    def between(what: str) -> str:
        numbers = sorted({count[what] for count in counts})
        return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"

    return (
        f"{len(counts)} folds of {rows:,} rows {how}: each fit learns {between('train')} of them, stops by "
        f"{between('stop')} more, and has never seen the {between('left_out')} of its fold, by which all is calibrated "
        "and of which the validation metrics are"
    )
