"""A table larger than memory, split and understood off a sample, with its training rows in a temporary file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.errors import ConfigError, TableError
from rowcast.training.columns.levels import CountedLevels
from rowcast.training.columns.reading import BLANKS, ColumnRule
from rowcast.training.columns.target import Target
from rowcast.training.config import Config
from rowcast.training.data.shards.shards import open_shards
from rowcast.training.data.split import Split
from rowcast.training.data.table import Table
from rowcast.training.parts import check_roles, in_order_of_time, times_of
from rowcast.training.prepare import Prepared, as_configured, prepare, prepare_split, target_of
from rowcast.training.start.start import Start
from rowcast.training.stream.choose import why_streamed
from rowcast.training.stream.convert import converted, with_nullable
from rowcast.training.stream.hashing import of_rows
from rowcast.training.stream.levels import counted_levels
from rowcast.training.stream.plan import PARTS, TEST, TRAIN, VALIDATION, PartOf, Plan, parts_of, whole_sample
from rowcast.training.stream.sample import Sample, sample_of

_PART = "\0part"
"""A column beside those of a table, whose names hold no such character."""


def open_prepared(
    stack: ExitStack,
    source: Any,
    config: Config,
    *,
    validation: Any = None,
    test: Any = None,
    start: Start | None = None,
    say: Callable[[str], None] = lambda _: None,
    keep_whole: bool = False,
) -> Prepared:
    """Read, split and understand a table: in memory if it fits there, else in shards.

    Args:
        stack: closes the temporary file of a table in shards.
        source: see :func:`rowcast.training.prepare.prepare`.
        config: ``config.data.in_memory`` says where.
        validation: a table of validation rows, instead of a share of ``source``.
        test: a table of test rows, instead of a share of ``source``.
        start: the model that the fit starts from.
        say: told what happens meanwhile, in a sentence.
        keep_whole: keep a table in memory as it was given, too.

    Raises:
        TableError: the table cannot be used; names row, column and the way out.
        ConfigError: the config asks for what a table in shards cannot have.
        TrainingError: there is no room for the temporary file.
    """
    why = why_streamed(source, config.data)
    if not why:
        return prepare(source, config, validation=validation, test=test, start=start, keep_whole=keep_whole)
    if config.fit.refit is True:
        raise ConfigError(
            f"'fit.refit' must be false for a table that is read in shards, {why}: leave --refit out, or add "
            "--set data.in_memory=true to try"
        )
    return stack.enter_context(_prepared(source, config, why, validation, test, start, say))


_WORDS = 2
"""Room for words in the temporary file: so many times the most that a row of the sample holds."""


@contextmanager
def _prepared(
    source: str | os.PathLike[str],
    config: Config,
    why: str,
    validation: Any,
    test: Any,
    start: Start | None,
    say: Callable[[str], None],
) -> Iterator[Prepared]:
    data = config.data
    if not data.target:
        raise TableError("a target is needed: name the column to predict with --target")
    check_roles(data)
    shards = open_shards(source, data.form())
    head = as_configured(shards.head, config)
    head.require(data.target, "--target names")
    if data.weight:
        head.require(data.weight, "--weight names")
    plan = Plan(shards, config, head, lambda table: replace(as_configured(table, config), notes=()))
    say(f"reading {shards.head.source} in shards, {why}")
    own_validation, own_test = validation is not None, test is not None
    part_of, note, reads = parts_of(plan, own_validation=own_validation, own_test=own_test)
    table, parts, rows, held = _sampled(plan, part_of)
    table, target, parts = _with_target(table, parts, config)
    needed = [TRAIN]
    needed += [] if own_validation else [VALIDATION]
    needed += [] if own_test or data.test_share == 0 or data.split else [TEST]
    split = _split_of(table, parts, config, note, needed)
    started = time.monotonic()
    own_tables = {"validation": _bounded(validation, config), "test": _bounded(test, config)}

    reading_s = 0.0

    def count(rules: Sequence[ColumnRule], fitted: Target) -> Mapping[str, CountedLevels]:
        nonlocal reading_s
        say("counting its levels")
        began = time.monotonic()
        found = counted_levels(plan, part_of, reads, rules, fitted)
        reading_s += time.monotonic() - began
        return found

    prepared = prepare_split(table, target, split, config, **own_tables, start=start, count=count)
    seconds = time.monotonic() - started - reading_s
    say("writing its training rows to a temporary file")
    words = prepared.encoder.bags.places(prepared.train.columns)
    most = 0 if words is None else _WORDS * max(1, words.shape[1])
    with converted(plan, part_of, reads, prepared.encoder, prepared.target, rows, most) as written:
        prepared.encoder.rules = rules = with_nullable(prepared.encoder.rules, written.missing)
        yield replace(
            prepared,
            rules=rules,
            decisions=(_told(why, len(written), held, prepared), *prepared.decisions),
            data=prepared.data | {"rows": rows, "sha256": shards.sha256, "sample": len(prepared.train)},
            seconds=seconds,
            stored=written,
        )


def _sampled(plan: Plan, part_of: PartOf) -> tuple[Table, NDArray[np.int8], int, list[int]]:
    """A sample of each part of the rows that hold a target.

    Returns:
        their rows, those of a part in the order of the table; the part of each; how many rows hold a target, in all and
        in each part.
    """
    samples = [Sample(plan.data.sample_rows) for _ in PARTS]
    held = [0] * len(PARTS)
    left_out = 0
    for start, piece in plan.tables():
        numbers, part = of_rows(start, len(piece), plan.config.seed, "sample"), part_of(start, piece)
        column = piece.frame[plan.data.target]
        present = column.is_not_null()
        if column.dtype == pl.String:
            present &= column.str.strip_chars(BLANKS) != ""
        here = present.fill_null(False).to_numpy()
        left_out += int((~here).sum())
        for which, sample in enumerate(samples):
            places = np.flatnonzero(here & (part == which))
            sample.add(piece, numbers, start, places)
            held[which] += len(places)
    table, parts = whole_sample([sample.taken() for sample in samples])
    notes = plan.head.notes
    if left_out:
        total = sum(held) + left_out
        are = "has" if left_out == 1 else "have"
        notes = (*notes, f"{left_out:,} of {total:,} rows {are} no {plan.data.target!r} and are left out")
    return replace(table, notes=notes), parts, sum(held), held


def _with_target(table: Table, parts: NDArray[np.int8], config: Config) -> tuple[Table, Target, NDArray[np.int8]]:
    """The rows that hold a target and count, their targets, and their parts."""
    marked = replace(table, frame=table.frame.with_columns(pl.Series(_PART, parts)))
    marked, target = target_of(marked, config.data)
    parts = marked.frame[_PART].to_numpy()
    return marked.drop([_PART]), target, parts


def _split_of(table: Table, parts: NDArray[np.int8], config: Config, note: str, needed: Sequence[int]) -> Split:
    """The parts of the sample.

    Raises:
        TableError: one that is needed has no row.
    """
    rows = [np.flatnonzero(parts == part) for part in range(len(PARTS))]
    for part in needed:
        if len(rows[part]) == 0:
            raise TableError(
                f"{table.source}: no row with a target came into the {PARTS[part]} part: split otherwise, or raise its "
                "share; by groups there may be too few of them"
            )
    split = Split(rows[TRAIN], rows[VALIDATION], rows[TEST], (note,) if note else ())
    if config.data.split_by_time:
        return in_order_of_time(split, times_of(table, config.data.split_by_time, config.data))
    return split


def _bounded(source: Any, config: Config) -> Any:
    """A table of its own for validation or test rows: of one that is to be read in shards a sample."""
    if source is None or not why_streamed(source, config.data.model_copy(update={"in_memory": "auto"})):
        return source
    return sample_of(source, config.data, config.seed)[0].frame


def _told(why: str, trained: int, held: list[int], prepared: Prepared) -> str:
    """The decision that says what the table was read as."""
    train, note = len(prepared.train), f"the table is read in shards, {why}: "
    if train == trained:
        note += f"what is read off training rows is read off all {trained:,}"
    else:
        note += f"kinds, bins and the unit of the target are those of {train:,} of {trained:,} training rows, drawn at "
        note += "random, and levels those of all"
    parts = ((prepared.validation, held[VALIDATION], "validation"), (prepared.test, held[TEST], "test"))
    measured = [f"{len(part):,} of {of:,} {name} rows" for part, of, name in parts if len(part) < of]
    if measured:
        note += f"; metrics, calibration and intervals are those of {' and '.join(measured)}, drawn at random"
    return note
