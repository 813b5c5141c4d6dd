"""Which rows the fit of each fold learns, which tell it when to stop, and which it never sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError, TableError
from rowcast.training.columns.levels import count_levels
from rowcast.training.columns.target import Target
from rowcast.training.config import Config
from rowcast.training.crossvalidate import plan_folds
from rowcast.training.data.config import DataConfig
from rowcast.training.data.split import Split
from rowcast.training.data.table import Table
from rowcast.training.parts import texts_of, times_of
from rowcast.training.ranks.ranks import Ranks

STOP_SHARE = 0.2
"""Share of the rows outside a fold that tell its fit when to stop. They are taken from what it would learn: rows of the
fold itself would have chosen its weights, and could not say any more how well it does on rows it has not seen."""


def check_folds(config: Config, *, validation: Any, start: Any, own_network: bool, ranks: Ranks) -> None:
    """Make sure that folds go together with what else is asked for.

    Raises:
        ConfigError: they do not; names both.
    """
    data = config.data
    if validation is not None:
        raise ConfigError(
            "with --folds every fold is the validation rows of the fit that leaves it out, so it does not go with "
            "--validation: leave one of them out"
        )
    if data.split:
        raise ConfigError(
            f"with --folds every training row is a validation row once, so it does not go with --split "
            f"{named(data.split)}: leave that out, or name a column of folds with --fold"
        )
    if config.fit.refit is True:
        raise ConfigError(
            "with --folds every row is learned by all fits but one, so there is none on all rows: leave out --refit"
        )
    if start is not None:
        raise ConfigError(
            "folds have a front of their own each, so --folds does not go with --from: leave one of them out"
        )
    if own_network:
        raise ConfigError(
            "a network of one's own is fitted once, so it does not go with --folds: leave one of them out"
        )
    if ranks.size > 1:
        raise ConfigError("folds are fitted by one process: under torchrun leave out --folds")


def plan_of(table: Table, target: Target, config: Config, folds: int) -> tuple[list[Split], str]:
    """The rows of each fold, and how they were found, in words.

    Args:
        table: training rows: what is left of a table without its test rows.
        target: of these rows.
        config: ``config.data`` says how the table is split, and its folds follow.
        folds: how many, 2 at least.

    Returns:
        for each fold the rows that its fit learns, those that say when it stops, and those that it never sees (as the
        ``test`` rows of the split).

    Raises:
        TableError: there are too few rows, rows of a class, groups or times.
    """
    data, how = config.data, "at random"
    planned = config
    if data.split_by_time:
        how = f"in the order of {data.split_by_time!r}, each answered by a fit on rows before it"
    elif data.group:
        how = f"with all rows of one {data.group!r} in one fold"
    elif data.fold:
        n_named = _named_folds(table, data, folds)
        how = f"as {data.fold!r} says"
        if n_named > folds:
            planned = config.model_copy(update={"data": data.model_copy(update={"fold": "", "group": data.fold})})
            how = f"with all rows of one {data.fold!r} in one fold"
    elif target.classes:
        how = "at random, with every class spread evenly"
    try:
        plan = plan_folds(table, target, planned, folds, STOP_SHARE)
    except TableError as error:
        raise TableError(f"{error}; {folds} folds divide what the test rows leave") from error
    if data.split_by_time:
        times = times_of(table, data.split_by_time, data)
        plan = [replace(split, test=split.test[np.argsort(times[split.test], kind="stable")]) for split in plan]
    return plan, how


def _named_folds(table: Table, data: DataConfig, folds: int) -> int:
    """How many folds a column names.

    Raises:
        TableError: they are fewer than are asked for.
    """
    names, _ = count_levels(texts_of(table, data.fold, "--fold names"))
    if len(names) < folds:
        rest = "" if data.test_share == 0 else ", or hold no test rows back with --set data.test_share=0"
        raise TableError(
            f"--folds {named(folds)} with --fold {named(data.fold)} needs {folds} different values there, of which "
            f"each fold has one or more; the training rows hold {len(names)}: use fewer folds{rest}"
        )
    return len(names)
