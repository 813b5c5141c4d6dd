"""Any object of Python as a teacher that has ``predict_proba`` or ``predict``: an estimator of scikit-learn, say."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import ConfigError
from rowcast.training.distil.answers import checked, columns_of_classes
from rowcast.training.distil.stored import unknown_rows
from rowcast.training.distil.teacher import Answers, Asked, Lesson, Taught


class ObjectTeacher:
    """An object that answers rows of the caller's own table.

    Args:
        given: has ``predict_proba``, or ``predict``; ``classes_`` says what its columns stand for.
        rows: gives rows as the object takes them.
    """

    def __init__(self, given: Any, rows: Callable[[Asked], Any]) -> None:
        self.given = given
        self.rows = rows
        self.called = type(given).__qualname__
        self.says = f"teacher={self.called}"

    def check(self) -> None:
        """See :class:`rowcast.training.distil.teacher.Teacher`."""

    def teach(self, lesson: Lesson) -> Taught:
        """See :class:`rowcast.training.distil.teacher.Teacher`.

        Raises:
            ConfigError: it fails, or says what is no prediction of the target.
        """

        def ask(asked: Asked) -> Answers:
            values = self._probabilities(asked, lesson) if lesson.target.classes else self._numbers(asked)
            return checked(values, lesson.target, asked.table.where, self.says, ConfigError)

        validation, started = lesson.validation, time.monotonic()
        train = ask(lesson.train)
        return Taught(
            train=train,
            row_s=(time.monotonic() - started) / len(train),
            validation=None if validation is None else ask(validation),
            ask=ask,
            notes=(unknown_rows(self.called),),
        )

    def _numbers(self, asked: Asked) -> NDArray[np.float64]:
        values = self._asked("predict", asked)
        if values.size != len(asked.places):
            raise ConfigError(
                f"{self.says} must predict a number for each row, got an array of shape {values.shape} for "
                f"{len(asked.places):,} rows"
            )
        return values.reshape(-1)

    def _probabilities(self, asked: Asked, lesson: Lesson) -> NDArray[np.float64]:
        target, rows = lesson.target, len(asked.places)
        way = "predict_proba" if hasattr(self.given, "predict_proba") else "predict"
        values = self._asked(way, asked, target.classes)
        if values.size == rows and len(target.classes) == 2:  # of the second class, as libraries of networks say it
            values = np.stack([1.0 - values.reshape(-1), values.reshape(-1)], axis=1)
        elif values.ndim != 2 or len(values) != rows:
            raise ConfigError(
                f"{self.says} must say a probability for each row and class, {rows:,} x {len(target.classes)}, got an "
                f"array of shape {values.shape} from its {way}"
            )
        known = getattr(self.given, "classes_", None)
        if known is None:
            if values.shape[1] != len(target.classes):
                raise ConfigError(
                    f"{self.says} must say probabilities of the {len(target.classes)} classes of {target.name!r}, in "
                    f"the order {', '.join(map(repr, target.classes[:10]))}, got {values.shape[1]} columns from its "
                    f"{way}"
                )
            return values
        texts = [str(label).lower() if isinstance(label, bool | np.bool_) else str(label) for label in list(known)]
        if len(texts) != values.shape[1]:
            raise ConfigError(f"{self.says} has {len(texts)} classes_, but its {way} gave {values.shape[1]} columns")
        way_out = "fit it on rows with these classes"
        return values[:, columns_of_classes(texts, target, self.says, way_out, ConfigError)]

    def _asked(self, way: str, asked: Asked, classes: tuple[str, ...] = ()) -> NDArray[np.float64]:
        """What a method says of rows, as numbers."""
        ask = getattr(self.given, way, None)
        if not callable(ask):
            raise ConfigError(f"{self.says} must have a method {way}, which it lacks")
        try:
            said = np.asarray(ask(self.rows(asked)))
        except Exception as error:  # whatever a stranger's code raises
            first = str(error).partition("\n")[0]
            raise ConfigError(f"the {way} of {self.says} failed: {type(error).__name__}: {first}") from error
        labels = way == "predict" and bool(classes) and said.dtype.kind != "f"
        if said.dtype.kind not in "fiub" or labels:
            raise ConfigError(
                f"{self.says} must say {'probabilities' if classes else 'numbers'}, but its {way} gave {said.dtype}"
                f"{': give one that has predict_proba' if classes else ''}"
            )
        return said.astype(np.float64)
