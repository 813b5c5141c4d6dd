"""The folds of cross-validation: at random, by group, in the order of time, or as a column says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import ConfigError, TableError
from rowcast.training.columns.levels import level_numbers
from rowcast.training.data.split import rows_by_class
from rowcast.training.data.table import Table

NO_FOLD = -1
"""The fold of a row that is only trained on."""


def random_folds(n_rows: int, *, k: int, seed: int, labels: NDArray[Any] | None = None) -> NDArray[np.int64]:
    """A fold for each row, at random, ``[rows]`` from 0 to ``k - 1``.

    Args:
        n_rows: rows of the table.
        k: how many folds, 2 at least.
        seed: of the shuffle.
        labels: classes ``[n_rows]``; where given, every class is spread evenly over the folds.

    Raises:
        TableError: there are fewer rows, or rows of a class, than folds.
        ConfigError: ``k`` is less than 2.
    """
    _check(k)
    if n_rows < k:
        raise TableError(f"{k} folds need {k} rows at least; the table holds {n_rows}; use fewer folds")
    generator = np.random.default_rng(seed)
    groups = [np.arange(n_rows)] if labels is None else rows_by_class(labels, k)
    dealt = np.concatenate([generator.permutation(group) for group in groups])
    fold_of = np.empty(n_rows, np.int64)
    fold_of[dealt] = np.arange(n_rows) % k  # class after class, so each class goes round the folds
    return fold_of


def folds_of_groups(groups: NDArray[Any], *, k: int, seed: int) -> NDArray[np.int64]:
    """A fold for each row, ``[rows]``, the rows of a group in one fold, and the folds about equally large.

    The largest groups are dealt first, each to the smallest fold; groups of one size in random order.

    Args:
        groups: the group of each row, ``[rows]``.
        k: how many folds, 2 at least.
        seed: of the shuffle.

    Raises:
        TableError: there are fewer groups than folds.
        ConfigError: ``k`` is less than 2.
    """
    _check(k)
    codes = level_numbers(groups)
    sizes = np.bincount(codes)
    if len(sizes) < k:
        raise TableError(
            f"{k} folds by group need {k} groups at least; the column holds {len(sizes)}; use fewer folds, or name "
            "another with --group"
        )
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    rows_in = np.zeros(k, np.int64)
    fold_of_group = np.empty(len(sizes), np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold = int(rows_in.argmin())
        fold_of_group[group] = fold
        rows_in[fold] += sizes[group]
    return fold_of_group[codes]


def folds_in_time(times: NDArray[Any], *, k: int, before: int = 1) -> NDArray[np.int64]:
    """A fold for each row, ``[rows]``, later folds later; the rows before the first fold have :data:`NO_FOLD`.

    Time is cut into ``k + 1`` stretches of about as many rows. Each fold is tested by a model of all rows before it,
    so what is trained on grows from fold to fold, and the first stretch is only trained on. Rows of one time stay
    together.

    Args:
        times: when each row was, ``[rows]``, in any unit, none of them missing.
        k: how many folds, 2 at least.
        before: distinct times before the first fold at least: 2 where some of these rows say when to stop.

    Raises:
        TableError: there are too few distinct times.
        ConfigError: ``k`` is less than 2.
    """
    _check(k)
    distinct, when, counts = np.unique(times, return_inverse=True, return_counts=True)
    if len(distinct) < k + before:
        first = (
            "one before the first fold" if before == 1 else "two before the first fold, to learn and say when to stop"
        )
        raise TableError(
            f"{k} folds by time need {k + before} different times, {first}; the column holds {len(distinct)}; use "
            "fewer folds, or name another with --split-by-time"
        )
    passed = np.concatenate([[0], np.cumsum(counts)])
    starts = [0]  # of each stretch, as a place among the distinct times
    for stretch in range(1, k + 1):
        lowest, highest = starts[-1] + (before if stretch == 1 else 1), len(distinct) - (k + 1 - stretch)
        wanted = len(times) * stretch / (k + 1)
        starts.append(lowest + int(np.abs(passed[lowest : highest + 1] - wanted).argmin()))
    return np.searchsorted(starts, when, side="right") - 2


def check_groups(folds: NDArray[np.int64], groups: NDArray[Any], table: Table, *, fold: str, group: str) -> None:
    """Make sure that no group is in two folds.

    Args:
        folds: the fold of each row, ``[rows]``.
        groups: the group of each row, ``[rows]``.
        table: of these rows.
        fold: the name of the column of folds.
        group: the name of the column of groups.

    Raises:
        TableError: one is; names the rows and both columns.
    """
    codes = level_numbers(groups)
    _, first = np.unique(codes, return_index=True)
    elsewhere = folds != folds[first[codes]]
    if elsewhere.any():
        row = int(elsewhere.argmax())
        n = len(np.unique(codes[elsewhere]))
        others = f", and so do {n - 1:,} other groups" if n > 1 else ""
        raise TableError(
            f"{table.source}: folds must not share groups, but the {group!r} of {table.where(int(first[codes[row]]))} "
            f"stands in another {fold!r} in {table.where(row)}{others}: put each group into one fold, or leave "
            "out --fold or --group"
        )


def _check(k: int) -> None:
    if k < 2:
        raise ConfigError(f"folds must be at least 2, got {k}")
