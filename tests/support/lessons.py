"""A table as a teacher sees it, without a fit; and a teacher that says what a test wants it to."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import polars as pl

from rowcast.training.config import make_config
from rowcast.training.distil.teacher import Answers, Asked, Lesson, Taught
from rowcast.training.prepare import prepare
from tests.support import tables


def numbered(rows: int = 120, target: str = "amount") -> pl.DataFrame:
    """Columns of every kind, the target, and the name of each row, which is no input."""
    other = "class" if target == "amount" else "amount"
    return tables.every_kind(rows).drop(other).with_columns(id=pl.format("r{}", pl.int_range(pl.len())))


def lesson(table: Any, target: str = "amount", **sections: Any) -> Lesson:
    """What a teacher gets to see of a table."""
    sections["data"] = {"target": target, **sections.get("data", {})}
    config = make_config(overrides={**tables.QUICK, **sections})
    return Lesson(prepare(table, config, keep_whole=True), config, inf)


@dataclass
class Says:
    """A teacher that answers by what rows hold.

    Args:
        answers: takes rows and gives numbers, or probabilities of the classes.
        called: its name.
    """

    answers: Any
    called: str = "oracle"
    seen: int = 0

    def check(self) -> None:
        """Nothing is wrong with it."""

    def teach(self, lesson: Lesson) -> Taught:
        """Answers to the rows of both parts, and to any others."""

        def ask(asked: Asked) -> Answers:
            self.seen += len(asked.places)
            return np.asarray(self.answers(asked.table.frame), np.float64)

        assert lesson.validation is not None
        return Taught(ask(lesson.train), ask(lesson.validation), ask)
