"""What a teacher is: asked about the training rows of a table, it says probabilities of classes, or numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rowcast.training.columns.target import Target
from rowcast.training.config import Config
from rowcast.training.data.table import Table
from rowcast.training.prepare import Part, Prepared, Whole

Answers = NDArray[np.float64]
"""Probabilities ``[rows, classes]`` in the order of the target's classes, each row's sum 1; or numbers ``[rows]`` in
the target's own units."""

LEARNED, TRAINING_ROWS = "learned", "training rows"
"""What ``model.json`` keeps of a teacher that is known to have learned the training rows of the fit and no others."""


@dataclass(frozen=True)
class Asked:
    """Rows that a teacher is asked about."""

    table: Table
    """With all columns of the table that was given, under their new names where they were renamed."""
    part: Part
    """As the student reads them. The target of made-up rows is that of the rows that they were made of."""
    places: NDArray[np.int64]
    """Where they stand among the rows that were given, ``[rows]``; of made-up rows, those that they were made of."""
    of: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Of made-up rows: the place of the row that each value was taken from, ``[rows]``, by column; else empty."""
    base: NDArray[np.int64] | None = None
    """Of made-up rows: the training row that each was made of, ``[rows]``, among the training rows."""


@dataclass(frozen=True)
class Lesson:
    """What a teacher gets to see: never a test row, nor a target of a validation row."""

    prepared: Prepared
    config: Config
    seconds: float
    """Wall clock that it may take; infinite where there is no budget."""

    @property
    def target(self) -> Target:
        """Of the training rows."""
        return self.prepared.target

    @property
    def whole(self) -> Whole:
        """The table as it was given."""
        assert self.prepared.whole is not None
        return self.prepared.whole

    @property
    def train(self) -> Asked:
        """The training rows."""
        return self._asked(self.prepared.train, self.whole.split.train)

    @property
    def validation(self) -> Asked | None:
        """The validation rows; None where they are no rows of the table that was given."""
        places = self.whole.split.validation
        return self._asked(self.prepared.validation, places) if len(places) else None

    def _asked(self, part: Part, places: NDArray[np.int64]) -> Asked:
        return Asked(self.whole.table.take(places), part, places)


@dataclass(frozen=True)
class Taught:
    """What a teacher said."""

    train: Answers
    """Of the training rows."""
    validation: Answers | None
    """Of the validation rows; None where it was not asked about them."""
    ask: Callable[[Asked], Answers] | None = None
    """Answers to made-up rows; None where it knows only the rows of the table."""
    row_s: float = 0.0
    """Seconds that it takes to answer a row; 0 where that is next to nothing."""
    notes: tuple[str, ...] = ()
    """What was decided meanwhile, in sentences."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What ``model.json`` keeps of the teacher, beside its name."""


class Teacher(Protocol):
    """Whatever knows something about the rows."""

    called: str
    """As decisions and errors name it: ``houses:3``, ``lightgbm``, ``soft.csv``."""

    def check(self) -> None:
        """Make sure that it can teach at all, before the table is read.

        Raises:
            RowcastError: it cannot; says why.
        """

    def teach(self, lesson: Lesson) -> Taught:
        """Answer the training rows.

        Raises:
            RowcastError: it does not fit the table; names row, column or class, and the way out.
            TooLate: it would take longer than it may.
        """


class TooLate(Exception):
    """A teacher would take longer than it may; the text says how long."""
