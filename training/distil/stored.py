"""A published model as a teacher: its graph answers the rows as it would answer a request."""

from __future__ import annotations

from typing import Any

import numpy as np

from rowcast.models.arguments import named
from rowcast.models.errors import ConfigError, TableError
from rowcast.models.repository import StoredModel
from rowcast.models.session import Session
from rowcast.training.distil.answers import checked, columns_of_classes
from rowcast.training.distil.teacher import Answers, Asked, Lesson, Taught
from rowcast.training.predict import bulk_session, columns_for, nulls_of, predict_columns, renaming

_SPLIT = ("split_by_time", "group", "split", "fold", "validation_share", "test_share")
"""Fields of ``data`` that say which rows are held out."""


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

        def ask(asked: Asked) -> Answers:
            return self._answers(session, asked, places, lesson, flag)

        validation = lesson.validation
        return Taught(
            train=ask(lesson.train),
            validation=None if validation is None else ask(validation),
            ask=ask,
            notes=() if self._held_out_the_same(lesson) else (unknown_rows(self.called),),
            facts={"sha256": self.stored.sha256},
        )

    def _answers(self, session: Session, asked: Asked, places: list[int], lesson: Lesson, flag: str) -> Answers:
        manifest = self.stored.manifest
        present = renaming(asked.table.names, manifest)
        table = asked.table.rename(present) if present else asked.table
        try:
            columns = columns_for(table, manifest.signature, self.called, nulls_of(manifest))
        except TableError as error:
            raise TableError(f"{flag}: {error}") from error
        said = predict_columns(session, columns)
        values: Any = said.prediction if said.probabilities is None else said.probabilities[:, places]
        return checked(np.asarray(values, np.float64), lesson.target, table.where, flag, ConfigError)

    def _held_out_the_same(self, lesson: Lesson) -> bool:
        """Whether it learned from the training rows of this fit and no others."""
        manifest, config = self.stored.manifest, lesson.config
        data, fit = manifest.config.get("data", {}), manifest.config.get("fit", {})
        return (
            all(manifest.data.get(field) == lesson.prepared.data.get(field) for field in ("sha256", "apart"))
            and "start_from" not in manifest.data
            and "refit" not in manifest.data
            and fit.get("folds", "none") == "none"
            and manifest.config.get("seed") == config.seed
            and all(data.get(field) == getattr(config.data, field) for field in _SPLIT)
        )


def unknown_rows(called: str) -> str:
    """The decision about a teacher of which nobody knows what it learned from."""
    return (
        f"what rows {called} has learned from is not known here: if validation or test rows of this table were among "
        "them, the metrics of this model say too much"
    )
