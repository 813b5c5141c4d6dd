"""The last fit, with the best config: whether it can be had at all, whether its network is there, what time it has."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rowcast.models.errors import ConfigError, TrainingError
from rowcast.training.bagging.plan import check_folds, plan_of
from rowcast.training.bagging.prepare import Bag, bag_of
from rowcast.training.bagging.select import most_members
from rowcast.training.columns.target import Target
from rowcast.training.config import Config
from rowcast.training.data.split import Split
from rowcast.training.data.table import Table
from rowcast.training.export.graph import Core
from rowcast.training.export.precheck import precheck
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import network_of, signature_of
from rowcast.training.own import Own
from rowcast.training.prepare import Prepared, fitted_target, part_of_its_own, understand, values_known
from rowcast.training.ranks.ranks import ALONE
from rowcast.training.start.start import check_start
from rowcast.training.track.tracker import check_trackers
from rowcast.training.tune.clock import Clock
from rowcast.training.tune.objective import Fitted, Trials, own_limit
from rowcast.training.tune.outcome import ranked
from rowcast.training.tune.rows import Rows
from rowcast.training.tune.study.record import Record


def check_last_fit(config: Config, own: Own) -> None:
    """Make sure that the last fit can be had at all: to be told that after the last trial would be late.

    Raises:
        ConfigError: it cannot be; names both of what does not go together.
    """
    check_trackers(config.track)
    check_start(None, config)
    if config.fit.folds != "none":
        check_folds(config, validation=None, start=None, own_network=own.network is not None, ranks=ALONE)


def without_limits(config: Config) -> Config:
    """The config without what says how much the last fit may cost in serving: where there is none, no trial is measured
    by it."""
    nothing = {"max_members": "none", "max_row_us": "none"}
    return config.model_copy(update={"fit": config.fit.model_copy(update=nothing)})


def check_rows(table: Table, target: Target, split: Split, config: Config, own: Own, test: Any) -> None:
    """Make sure that the last fit can have these rows, as it will read them: with its folds, and its test rows.

    Args:
        table: with its test rows.
        target: of all rows.
        split: of the table.
        config: where tuning begins.
        own: a network or a loss in place of those of the config.
        test: a table of test rows in place of those of the split, or None.

    Raises:
        TableError: there are too few rows for the folds, or rows that cannot be answered.
        ConfigError: so many members, or such a time of a row, cannot be had.
    """
    if config.fit.folds != "none":
        place = np.sort(np.concatenate([split.train, split.validation]))
        most_members(_bag_of(table, target, place, config, held_out=split.test, test=test), config, own)
        return
    fitted = fitted_target(target, split.train)
    for positions in (split.validation, split.test):
        values_known(fitted, target, positions, table, config.data)
    if test is not None:
        understood = understand(table, target, split, config)
        part_of_its_own(test, understood.rules, understood.target, config)


def check_export(prepared: Prepared, config: Config, own: Own) -> None:
    """Make sure that a network of one's own can be exported, before trials are spent on it.

    Raises:
        ExportRefused: it cannot be.
    """
    if own.network is None:
        return
    with torch.random.fork_rng(devices=[]):
        objective = Objective(prepared.target, config.objective, own.loss)
        core = Core(prepared.encoder, network_of(prepared.encoder, objective, config, own), objective.head)
        train, held_out = prepared.train, prepared.validation.columns
        precheck(core, signature_of(prepared, core), held_out, train.columns, train.target)


def why_too_slow(rows: Rows, config: Config, own: Own) -> str:
    """Why the last fit would refuse a config: a row would take longer than ``fit.max_row_us``; empty where it would
    not. It is measured for those that are to be fitted, and not for each trial."""
    if config.fit.folds == "none" or config.fit.max_row_us == "none":
        return ""
    everywhere = np.arange(len(rows.table))
    bag = _bag_of(rows.table, rows.target, everywhere, config, held_out=np.zeros(0, np.int64), test=None)
    try:
        most_members(bag, config, own)
    except ConfigError as error:
        return str(error)
    return ""


def best_to_fit(records: Sequence[Record], refused: Callable[[Record], str]) -> tuple[Record, str]:
    """The best trial whose config the last fit does not refuse, and what is told of better ones that it does.

    Raises:
        TrainingError: it refuses all.
    """
    better: list[str] = []
    for record in ranked(records):
        why = refused(record)
        if not why:
            return record, f"passed over for a row's time: {'; '.join(better[:1])}" if better else ""
        better.append(f"trial {record.number}, as {why}")
    raise TrainingError(f"no trial has a config that may be fitted: {better[0]}; nothing was published")


def _bag_of(
    table: Table,
    target: Target,
    place: NDArray[np.int64],
    config: Config,
    *,
    held_out: NDArray[np.int64],
    test: Any,
) -> Bag:
    """The folds of the last fit; ``place``: where the rows stand that it learns."""
    assert config.fit.folds != "none"
    plan, how = plan_of(table.take(place), fitted_target(target, place), config, config.fit.folds)
    return bag_of(table, target, place, plan, how, config, held_out=held_out, test=test)


def kept(fits: Trials, best: Record, chosen: Config, clock: Clock, reading_s: float) -> Fitted | None:
    """The network of the best trial, where this process has it and another fit would give no other one.

    Args:
        fits: of this process.
        best: the best trial.
        chosen: its config.
        clock: says what time is left for another fit of one that was cut short.
        reading_s: what reading the table takes.
    """
    if fits.best is None or fits.best[0] != best.number or chosen.fit.seeds > 1 or chosen.fit.folds != "none":
        return None
    measured = fits.best[1]
    has_more_time = clock.left_in_all_s - reading_s > measured.seconds
    return None if measured.cut_short and has_more_time else measured.fitted


def in_time(chosen: Config, best: Record, clock: Clock, reading_s: float) -> Config:
    """The config of the last fit, which takes what is left of the time, and no less than its trial did."""
    if math.isinf(clock.budget_s):
        return chosen
    within = min(max(clock.left_in_all_s - reading_s, best.seconds, 1.0), own_limit(chosen))
    return chosen.model_copy(update={"fit": chosen.fit.model_copy(update={"budget_s": within})})
