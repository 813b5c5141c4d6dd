"""Rows to train on, to validate on and to test on: at random, in equal shares of every class, by time or by group."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import ConfigError, TableError
from rowcast.training.columns.levels import count_levels, level_numbers

MIN_ROWS = 10
"""Fewer rows leave a part with one row or none."""


@dataclass(frozen=True)
class Split:
    """0-based positions in the table, each sorted; no row stands in two parts."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    """How the table was split, in sentences; empty where it was at random."""


def split_random(
    n_rows: int, *, seed: int, labels: NDArray[Any] | None = None, test: float = 0.2, validation: float = 0.16
) -> Split:
    """Split at random, the same way for the same seed.

    Args:
        n_rows: rows of the table.
        seed: of the shuffle.
        labels: classes ``[n_rows]``; where given, every class has its share in every part, and one row at least.
        test: share of the whole table; 0 for no test rows.
        validation: share of the whole table; 0 for no validation rows.

    Raises:
        TableError: there are too few rows, or rows of a class, to split.
        ConfigError: the shares leave nothing to train on.
    """
    _check(n_rows, test, validation)
    generator = np.random.default_rng(seed)
    groups = [np.arange(n_rows)] if labels is None else rows_by_class(labels, 1 + (test > 0) + (validation > 0))
    sizes = np.array([len(group) for group in groups])
    n_test = _apportion(sizes, test, sizes - 1 - (validation > 0))
    n_validation = _apportion(sizes, validation, sizes - n_test - 1)
    parts: tuple[list[NDArray[np.int64]], ...] = ([], [], [])
    for group, for_test, for_validation in zip(groups, n_test, n_validation, strict=True):
        shuffled = generator.permutation(group)
        parts[0].append(shuffled[for_test + for_validation :])
        parts[1].append(shuffled[for_test : for_test + for_validation])
        parts[2].append(shuffled[:for_test])
    train, in_validation, in_test = (np.sort(np.concatenate(part)) for part in parts)
    return Split(train, in_validation, in_test)


def split_by_time(
    times: NDArray[np.int64] | NDArray[np.float64], *, test: float = 0.2, validation: float = 0.16
) -> Split:
    """Train on the earliest rows, validate on later ones, test on the latest. Rows of one time stay together.

    Args:
        times: when each row was, ``[rows]``, in any unit, none of them missing.
        test: share of the whole table, as near as the times allow; 0 for no test rows.
        validation: likewise.

    Raises:
        TableError: there are too few rows, or too few distinct times for every part to hold one.
        ConfigError: the shares leave nothing to train on.
    """
    n_rows = len(times)
    _check(n_rows, test, validation)
    distinct, counts = np.unique(times, return_counts=True)
    n_parts = 1 + (test > 0) + (validation > 0)
    if len(distinct) < n_parts:
        raise TableError(
            f"a split by time needs {n_parts} different times, one for each part; the column holds "
            f"{len(distinct)}; name another with --split-by-time, or split at random without it"
        )
    passed = np.concatenate([[0], np.cumsum(counts)])  # rows before each distinct time, and all of them
    last = len(distinct)
    from_test = _nearest(passed, n_rows * (1 - test), 1 + (validation > 0), last - 1) if test > 0 else last
    until = n_rows * (1 - test - validation)
    from_validation = _nearest(passed, until, 1, from_test - 1) if validation > 0 else from_test
    when = np.searchsorted(distinct, times)
    return Split(
        np.flatnonzero(when < from_validation),
        np.flatnonzero((when >= from_validation) & (when < from_test)),
        np.flatnonzero(when >= from_test),
    )


def split_by_group(
    groups: NDArray[Any], *, seed: int, test: float = 0.2, validation: float = 0.16, flag: str = "--group"
) -> Split:
    """Split at random, but keep the rows of a group together: no customer is both learned from and tested on.

    Args:
        groups: the group of each row, ``[rows]``.
        seed: of the shuffle.
        test: share of the whole table, as near as the groups allow; 0 for no test rows.
        validation: likewise.
        flag: which named the column of groups.

    Raises:
        TableError: there are too few rows, or too few groups for every part to hold one.
        ConfigError: the shares leave nothing to train on.
    """
    _check(len(groups), test, validation)
    codes = level_numbers(groups)
    distinct = int(codes.max()) + 1
    n_parts = 1 + (test > 0) + (validation > 0)
    if distinct < n_parts:
        raise TableError(
            f"a split by {flag.removeprefix('--')} needs {n_parts} {flag.removeprefix('--')}s, one for each part; the "
            f"column holds {distinct}; name another with {flag}, or split at random without it"
        )
    place = np.random.default_rng(seed).permutation(distinct)  # time does the same along places in a queue
    return split_by_time(place[codes], test=test, validation=validation)


def _check(n_rows: int, test: float, validation: float) -> None:
    if not (0 <= test < 1 and 0 <= validation < 1 and test + validation < 1):
        raise ConfigError(
            "shares of test and validation rows must be at least 0 and together less than 1, "
            f"got {test} of test and {validation} of validation rows"
        )
    if n_rows < MIN_ROWS:
        raise TableError(f"a table needs {MIN_ROWS} rows at least to be split; it holds {n_rows}; add rows")


def rows_by_class(labels: NDArray[Any], n_parts: int) -> list[NDArray[np.int64]]:
    """The positions of the rows of each class.

    Raises:
        TableError: a class has fewer rows than there are parts.
    """
    classes, counts = count_levels(labels)
    codes = level_numbers(labels)
    if counts.min() < n_parts:
        smallest = int(counts.argmin())
        rows = "1 row" if counts[smallest] == 1 else f"{counts[smallest]} rows"
        amounts = all(_is_number(label) for label in classes)
        regression = "; if the classes are amounts, such as counts or ratings, predict the number itself with "
        raise TableError(
            f"every class needs {n_parts} rows at least, one for each part of the table: class "
            f"{classes[smallest]!r} has {rows}; add rows of it, take it out, or join it with another class"
            f"{regression + '--task regression' if amounts else ''}"
        )
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(counts)[:-1])


def _is_number(label: str) -> bool:
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False


def _apportion(sizes: NDArray[np.int64], share: float, room: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many rows of each group go into a part: ``share`` of all, one of each group at least, ``room`` at most.

    Whole rows are given by largest remainder, so the part's size is the rounded share wherever the bounds allow it.
    """
    if share == 0:
        return np.zeros_like(sizes)
    quota = sizes * share
    given: NDArray[np.int64] = np.clip(np.floor(quota).astype(np.int64), 1, room)
    for group in np.argsort(given - quota, kind="stable"):
        if given.sum() >= round(float(sizes.sum() * share)):
            break
        given[group] += given[group] < room[group]
    return given


def _nearest(passed: NDArray[np.int64], rows: float, lowest: int, highest: int) -> int:
    """The distinct time, between two, before which the number of rows is nearest to ``rows``."""
    return lowest + int(np.abs(passed[lowest : highest + 1] - rows).argmin())
