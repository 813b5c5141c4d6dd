"""A published model as a teacher: its graph answers the rows as it would answer a request."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError, TableError
from rowcast.models.repository import StoredModel
from rowcast.models.session import Session
from rowcast.training.distil.answers import checked, columns_of_classes
from rowcast.training.distil.teacher import LEARNED, TRAINING_ROWS, Answers, Asked, Lesson, Taught
from rowcast.training.distil.watch import check_pace
from rowcast.training.predict import CHUNK_ROWS, bulk_session, columns_for, nulls_of, predict_columns, renaming


class StoredTeacher:
    """A model of Rowcast.

    Args:
        stored: its files, verified.
        called: how messages name it; its name and version, unless they are given.
    """

    def __init__(self, stored: StoredModel, called: str = "") -> None:
        self.stored = stored
        self.called = called or f"{stored.manifest.name}:{stored.manifest.version}"

    def check(self) -> None:
        """See :class:`rowcast.training.distil.teacher.Teacher`."""

    def teach(self, lesson: Lesson) -> Taught:
        """See :class:`rowcast.training.distil.teacher.Teacher`.

        Raises:
            ConfigError: it predicts something else.
            TableError: the table lacks a column that it needs.
            TooLate: it would take longer than there is.
        """
        flag, signature, target = f"--teacher {named(self.called)}", self.stored.manifest.signature, lesson.target
        if (signature.task == "regression") != (target.task == "regression"):
            wanted, other = ("a number", "classes") if target.task == "regression" else ("classes", "a number")
            raise ConfigError(
                f"a teacher must say what the fit learns, {wanted} of {target.name!r}, but {flag} says {other} "
                f"({signature.task} of {signature.target!r}): name another, or add --task"
            )
        if signature.target != target.name:
            raise ConfigError(
                f"a teacher must predict the target of the fit, {target.name!r}, but {flag} predicts "
                f"{signature.target!r}: name another, or rename the column with --rename"
            )
        places: list[int] = []
        if target.classes:
            way_out = "name another model, or train it on rows with these classes"
            places = columns_of_classes(signature.classes, target, flag, way_out, ConfigError)
        session = bulk_session(self.stored)
        validation, is_known = lesson.validation, self._learned_the_same(lesson)
        started, rows = (
            time.monotonic(),
            len(lesson.train.places) + (0 if validation is None else len(validation.places)),
        )
        answered = 0

        def in_time(more: int) -> None:
            nonlocal answered
            answered += more
            check_pace(self.called, answered, rows, time.monotonic() - started, lesson.seconds)

        def ask(asked: Asked, told: Callable[[int], None] = lambda _: None) -> Answers:
            return self._answers(session, asked, places, lesson, flag, told)

        return Taught(
            train=ask(lesson.train, in_time),
            validation=None if validation is None else ask(validation, in_time),
            ask=ask,
            row_s=(time.monotonic() - started) / rows,
            notes=() if is_known else (unknown_rows(self.called),),
            facts={"sha256": self.stored.sha256} | ({LEARNED: TRAINING_ROWS} if is_known else {}),
        )

    def _answers(
        self,
        session: Session,
        asked: Asked,
        places: list[int],
        lesson: Lesson,
        flag: str,
        told: Callable[[int], None],
    ) -> Answers:
        manifest = self.stored.manifest
        present = renaming(asked.table.names, manifest)
        table = asked.table.rename(present) if present else asked.table
        try:
            columns = columns_for(table, manifest.signature, self.called, nulls_of(manifest))
        except TableError as error:
            raise TableError(f"{flag}: {error}") from error
        parts: list[Any] = []
        for start in range(0, len(table), CHUNK_ROWS):
            some = {name: values[start : start + CHUNK_ROWS] for name, values in columns.items()}
            said = predict_columns(session, some)
            parts.append(said.prediction if said.probabilities is None else said.probabilities[:, places])
            told(len(parts[-1]))
        return checked(np.concatenate(parts).astype(np.float64), lesson.target, table.where, flag, ConfigError)

    def _learned_the_same(self, lesson: Lesson) -> bool:
        """Whether it learned the training rows of this fit, stopped by its validation rows, and knows of no others."""
        theirs, ours = self.stored.manifest.data, lesson.prepared.data
        split, same = theirs.get("split", {}), ours["split"]  # models of earlier versions do not tell it
        return (
            theirs.get("sha256") == ours["sha256"]
            and all(split.get(part) == same[part] for part in ("train", "validation"))
            and not {"start_from", "refit", "folds"} & set(theirs)
            and _was_taught_by_these(theirs.get("teacher"))
        )


def _was_taught_by_these(teacher: dict[str, Any] | None) -> bool:
    """Whether a model's own teacher, if it has learned from one, learned the rows of its fit and no others."""
    return teacher is None or not teacher["kept"] or teacher.get(LEARNED) == TRAINING_ROWS


def unknown_rows(called: str) -> str:
    """The decision about a teacher of which nobody knows what it learned from."""
    return (
        f"what rows {called} has learned from is not known here: if validation or test rows of this table were among "
        "them, the metrics of this model say too much"
    )
