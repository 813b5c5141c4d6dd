"""A table of predictions as a teacher: one line for each row of the table that is learned from."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError, TableError
from rowcast.training.columns.reading import BLANKS, level_texts, parse_numbers
from rowcast.training.columns.target import class_of
from rowcast.training.data.table import Table, read_table
from rowcast.training.distil.answers import checked, columns_of_classes, own_answers
from rowcast.training.distil.stored import unknown_rows
from rowcast.training.distil.teacher import Answers, Lesson, Taught

ROW = "row"
"""The column that numbers the rows of the table, where there is no key."""
PREDICTION, PROBABILITY = "prediction", "probability_"
"""What :func:`rowcast.training.predict.predict_table` calls its answers."""
NO_LINE = -1
_NO_KEYS = frozenset({PREDICTION, "label", "lower", "upper", "fold"})


class FileTeacher:
    """Predictions in a file or a data frame, as ``rowcast predict`` and ``rowcast crossvalidate --out`` write them.

    Args:
        source: see :func:`rowcast.training.data.table.read_table`.
    """

    def __init__(self, source: Any) -> None:
        is_file = isinstance(source, str | os.PathLike)
        self.source = source
        self.called = os.fspath(source) if is_file else "the table of predictions"
        self.flag = f"--teacher {named(self.called)}" if is_file else "--teacher"
        self._table: Table | None = None

    def check(self) -> None:
        """See :class:`rowcast.training.distil.teacher.Teacher`.

        Raises:
            TableError: it cannot be read.
        """
        try:
            self._table = read_table(self.source)
        except TableError as error:
            raise TableError(f"{self.flag}: {error}") from error

    def teach(self, lesson: Lesson) -> Taught:
        """See :class:`rowcast.training.distil.teacher.Teacher`.

        Raises:
            TableError: lines are missing, or there are two for a row, or some for no row; or what they hold is no
                prediction of the target.
            ConfigError: it is not clear which line is for which row.
        """
        if self._table is None:
            self.check()
        table = self._table
        assert table is not None
        key = self._key(table, lesson.whole.table, lesson)
        names = self._columns(table, lesson, key)
        blank = np.logical_and.reduce([_blank(table.frame[name]) for name in names])
        line = self._lines(table, lesson, key)
        line = np.where((line >= 0) & ~blank[line], line, NO_LINE)
        split = lesson.whole.split

        def said(places: NDArray[np.int64]) -> NDArray[np.float64]:
            lines = line[places]
            columns = [_numbers(table.frame[name][lines]) for name in names]
            values = np.stack(columns, axis=1) if lesson.target.classes else columns[0]
            return checked(values, lesson.target, lambda row: table.where(int(lines[row])), self.flag, TableError)

        self._check_held_out(line, lesson)
        if (line[split.test] >= 0).any():  # nobody asks about test rows, but a file that holds them wrongly is wrong
            said(split.test)
        train, note = self._of_training_rows(line, said, lesson)
        return Taught(
            train=train,
            validation=said(split.validation) if len(split.validation) else None,
            notes=(*note, unknown_rows(self.called)),
        )

    def _check_held_out(self, line: NDArray[np.int64], lesson: Lesson) -> None:
        """Make sure that all validation rows have an answer, and all test rows or none.

        Raises:
            TableError: one has none.
        """
        whole, split = lesson.whole.table, lesson.whole.split
        for part, places in (("validation", split.validation), ("test", split.test)):
            absent = places[line[places] < 0]
            if len(absent) and not (part == "test" and len(absent) == len(places)):
                more = f" and for {len(absent) - 1:,} other {part} rows" if len(absent) > 1 else ""
                raise TableError(
                    f"{self.flag} must say a finite number for each {part} row, got none for "
                    f"{whole.where(int(absent[0]))} of {whole.source}{more}"
                )

    def _of_training_rows(
        self, line: NDArray[np.int64], said: Callable[[NDArray[np.int64]], Answers], lesson: Lesson
    ) -> tuple[Answers, list[str]]:
        """The answers to training rows, of those that have none their own targets; and what is to be told.

        Raises:
            TableError: none has one.
        """
        whole, places = lesson.whole.table, lesson.whole.split.train
        has = line[places] >= 0
        if has.all():
            return said(places), []
        first = whole.where(int(places[~has][0]))
        if not has.any():
            raise TableError(f"{self.flag} must say something of training rows, got nothing for {first} and all others")
        answers = own_answers(lesson.prepared.train.target, lesson.target)
        answers[has] = said(places[has])
        n = int((~has).sum())
        note = (
            f"{n:,} of {len(places):,} training rows, {first} for one, have no answer in {self.called}, as rows before "
            "the first fold in time have none: they learn their own targets alone"
        )
        return answers, [note]

    def _columns(self, table: Table, lesson: Lesson, key: str | None) -> list[str]:
        """The columns that hold the answers: one for each class, in their order, or that of the numbers."""
        target = lesson.target
        if not target.classes:
            if PREDICTION not in table.names:
                raise TableError(
                    f"predictions of a number stand in a column {PREDICTION!r}, which {self.flag} lacks: its columns "
                    f"are {', '.join(table.names[:20])}"
                )
            return [PREDICTION]
        names = [name for name in table.names if name.startswith(PROBABILITY)]
        if not names:  # as columns that bear the names of the classes
            names = [name for name in table.names if class_of(name, target.classes)]
            names += self._of_no_class(table, lesson, key) if names else []
        if not names:
            raise TableError(
                f"probabilities stand in columns such as {PROBABILITY + target.classes[0]!r}, one for each class, and "
                f"{self.flag} has none: its columns are {', '.join(table.names[:20])}"
            )
        known = [name.removeprefix(PROBABILITY) for name in names]
        way_out = f"give a column {PROBABILITY}CLASS for each class and no other"
        return [names[i] for i in columns_of_classes(known, target, self.flag, way_out, TableError)]

    def _of_no_class(self, table: Table, lesson: Lesson, key: str | None) -> list[str]:
        """Further columns of numbers, which are of other classes as far as anyone knows."""
        no_answers = {key, ROW, *_NO_KEYS, *lesson.whole.table.names, *table.index}
        return [
            name
            for name in table.names
            if name not in no_answers
            and class_of(name, lesson.target.classes) is None
            and np.isfinite(_numbers(table.frame[name])).any()
        ]

    # --- which line is for which row ----------------------------------------------------------------------------------

    def _lines(self, table: Table, lesson: Lesson, key: str | None) -> NDArray[np.int64]:
        """For each row of the table that was given, its line among the predictions, ``[rows]``; -1 where there is none.

        Every row that holds a target has one, but for test rows, all of which may have none.
        """
        whole, split = lesson.whole.table, lesson.whole.split
        held = np.sort(np.concatenate([split.train, split.validation, split.test]))
        if key is None and ROW not in table.names:
            if len(table) != len(whole):
                raise TableError(
                    f"predictions without a key must be one for each row, in their order, but {self.flag} holds "
                    f"{len(table):,} and {whole.source} {len(whole):,} rows: add a column {ROW!r} with the number of "
                    "each row, from 1, or a key that both hold"
                )
            return np.arange(len(whole))
        if key is not None:
            ours, name = _texts(whole, key), key
        else:
            numbers = whole.rows if whole.file_of is None else np.arange(1, len(whole) + 1)
            ours, name = pl.Series(numbers).cast(pl.String), ROW
        theirs = _texts(table, name)
        self._check_keys(table, theirs, name)
        lines = dict(zip(theirs.to_list(), range(len(theirs)), strict=True))
        known = set(ours.to_list())
        unknown = next((i for i, text in enumerate(theirs.to_list()) if text not in known), None)
        if unknown is not None:
            raise TableError(
                f"{self.flag}: a prediction must be for a row of {whole.source}, but none has the {name!r} "
                f"{theirs[unknown]!r} of {table.where(unknown)}: take such lines out"
            )
        line = np.array([lines.get(text, NO_LINE) for text in ours.to_list()], np.int64)
        if (line[split.test] < 0).all():
            held = np.sort(np.concatenate([split.train, split.validation]))
        missing = held[line[held] < 0]
        if len(missing):
            more = f" and for {len(missing) - 1:,} other rows" if len(missing) > 1 else ""
            raise TableError(
                f"{self.flag} must hold a prediction for each row that has a target, but there is none for "
                f"{whole.where(int(missing[0]))} of {whole.source}, whose {name!r} is {ours[int(missing[0])]!r}{more}"
            )
        _check_unique(whole, ours, held, name)
        return line

    def _key(self, table: Table, whole: Table, lesson: Lesson) -> str | None:
        """The column that says which line is for which row; None where there is none."""
        asked_for = lesson.config.distil.key
        if asked_for:
            whole.require(asked_for, "--set distil.key= names")
            table.require(asked_for, "--set distil.key= names")
            return asked_for
        no_keys = _NO_KEYS | lesson.config.data.no_inputs
        both = [
            name
            for name in table.names
            if name in whole.names and name not in no_keys and not name.startswith(PROBABILITY)
        ]
        if len(both) > 1:
            raise ConfigError(
                f"{self.flag} and {whole.source} must share one column, which says which prediction is for which row, "
                f"but they share {', '.join(map(repr, both[:10]))}: name it with --set distil.key={named(both[0])}"
            )
        return both[0] if both else None

    def _check_keys(self, table: Table, keys: pl.Series, name: str) -> None:
        absent = keys.is_null() | (keys == "")
        if absent.any():
            where = table.where(int(absent.to_numpy().argmax()))
            raise TableError(f"{self.flag}: each prediction must have a {name!r}, but {where} has none")
        twice = (~keys.is_first_distinct()).to_numpy()
        if twice.any():
            second = int(twice.argmax())
            first = int((keys == keys[second]).to_numpy().argmax())
            raise TableError(
                f"{self.flag} must hold one prediction for each row, but {table.where(first)} and "
                f"{table.where(second)} both have the {name!r} {keys[second]!r}: take one out"
            )


def _check_unique(whole: Table, keys: pl.Series, held: NDArray[np.int64], name: str) -> None:
    """Make sure that no two rows of the table are answered by one line."""
    twice = (~keys[held].is_first_distinct()).to_numpy()
    if twice.any():
        second = int(held[int(twice.argmax())])
        raise TableError(
            f"{whole.source}: the key of a row must be its alone, but the {name!r} {keys[second]!r} of "
            f"{whole.where(second)} stands in an earlier row too: name another column with --set distil.key=COL"
        )


def _texts(table: Table, name: str) -> pl.Series:
    """A key as texts ``[rows]``: 3.0 is 3."""
    texts = level_texts(table, table.frame[name]).cast(pl.String).str.strip_chars(BLANKS)
    return texts.str.replace(r"^([+-]?\d+)\.0+$", "$1")


def _blank(column: pl.Series) -> NDArray[np.bool_]:
    """Which lines hold nothing, ``[rows]``."""
    if column.dtype == pl.String:
        nothing = column.is_null() | (column.str.strip_chars(BLANKS) == "")
    else:
        nothing = column.is_null() | (column.is_nan() if column.dtype.is_float() else False)
    return nothing.to_numpy().astype(bool)


def _numbers(column: pl.Series) -> NDArray[np.float64]:
    """Numbers ``[rows]``, NaN where there is none."""
    if column.dtype == pl.String:
        return parse_numbers(column)[0]
    if column.dtype.is_numeric():
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return np.full(len(column), np.nan)
