"""A model that is kept open: whatever a caller has for a table in, predictions out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.api.families import Answers, Array, Family, family_of
from rowcast.models.errors import TableError
from rowcast.models.machine.limits import usable_cores
from rowcast.models.session import Predictions, Session
from rowcast.training.columns.few import FEW_ROWS, FewRows
from rowcast.training.predict import (
    answers_of,
    check_columns,
    columns_for,
    label_type_in,
    no_predictions,
    open_table,
    predict_columns,
    renaming,
    rules_of,
)

if TYPE_CHECKING:
    from rowcast.models.repository import StoredModel
    from rowcast.training.data.table import Table

_INHERITED: list[Session] = []
"""Sessions of the process that this one was forked from: to end one would be to wait for threads that are not there."""


class Predictor:
    """The sessions of a model, and how tables are read for it.

    Several threads may use one. A process that was forked opens a session of its own, since the threads of the first
    are not there.
    """

    def __init__(self, model: StoredModel) -> None:
        self._model = model
        self._manifest = model.manifest
        self._sessions: dict[int, Session] = {}
        self._process = os.getpid()
        renamed = bool(self._manifest.config.get("data", {}).get("rename"))
        self._few = None if renamed else FewRows(self._manifest.signature, rules_of(self._manifest))
        self._array_columns: int = self._manifest.data.get("array_columns", 0)

    def answer(self, table: Any, keep: Sequence[str], encoding: str | None, separator: str | None) -> Any:
        """Answers to the rows of a table, in its family, behind the columns of it that are to be kept."""
        family = self._family(table)
        predictions, read = self._predictions(family, encoding, separator)
        answers = answers_of(predictions, self._manifest.signature, label_type_in(self._manifest))
        return family.answered(_kept(family, read, keep, answers) | answers)

    def probabilities(self, table: Any, encoding: str | None, separator: str | None) -> Any:
        """The probability of each class in each row, float32 ``[rows, classes]``."""
        return self._predictions(self._family(table), encoding, separator)[0].probabilities

    def _family(self, table: Any) -> Family:
        """A caller's table; an array has to have the columns that the model was fitted on.

        Raises:
            TableError: it has not.
        """
        family = family_of(table)
        fitted = self._array_columns
        if not isinstance(family, Array):
            names = family.names
            if fitted and names and not set(names) & set(self._manifest.signature.names):
                raise TableError(
                    f"the model was fitted on an array of {fitted} columns: pass such an array, or a table whose "
                    f"columns are called x0 to x{fitted - 1}, got one of {', '.join(names[:5])}"
                )
            return family
        if not fitted:
            known = self._manifest.signature.names
            shown = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
            raise TableError(
                f"the model knows its columns by their names ({shown}), and an array has none: pass a data frame, or "
                "a dict of columns"
            )
        if isinstance(table, np.ndarray) and table.ndim == 1 and len(table) == fitted != 1:  # a row of one
            family = Array(table.reshape(1, -1))
        given = len(family.names or ())
        if given != fitted:
            raise TableError(
                f"the model was fitted on an array of {fitted} columns, got one of {given}: pass the same columns in "
                "the same order"
            )
        return family

    def _predictions(
        self, family: Family, encoding: str | None, separator: str | None
    ) -> tuple[Predictions, Table | None]:
        """Predictions, and the table where it had to be read for them."""
        rows, names = family.rows, family.names
        if rows == 0 and (names is None or len(names)):
            self._check_names(names)
            return no_predictions(self._manifest.signature), None
        if rows is not None and rows <= FEW_ROWS and self._few is not None:
            values = family.few()
            if values is not None and names is not None and len(values) == len(names) and all(map(str.strip, names)):
                inputs = self._few.read(values, rows)
                if inputs is not None:
                    return self._opened(1).run_all(inputs), None
        may_be_empty = rows is None  # a file, or what has to be read to be counted
        table = open_table(
            family.table, self._manifest, encoding=encoding, separator=separator, may_be_empty=may_be_empty
        )
        columns = columns_for(
            table, self._manifest.signature, self._manifest.name, frozenset(self._manifest.config["data"]["null"])
        )
        return predict_columns(self._opened(usable_cores()), columns), table

    def _check_names(self, names: Sequence[str] | None) -> None:
        """Make sure that a table of no rows has the columns of the model; an empty list has none and may."""
        if names is None:
            return
        new = renaming(names, self._manifest)
        check_columns(
            [new.get(name, name) for name in names], "data frame", self._manifest.signature, self._manifest.name
        )

    def _opened(self, threads: int) -> Session:
        """A session, which is opened when it is first needed. A row is done before a second thread would have begun."""
        if self._process != os.getpid():
            _INHERITED.extend(self._sessions.values())
            self._sessions, self._process = {}, os.getpid()
        if threads not in self._sessions:
            self._sessions[threads] = Session.of(self._model, threads=threads)
        return self._sessions[threads]


def _kept(family: Family, read: Table | None, keep: Sequence[str], answers: Answers) -> Answers:
    """The columns of a table that go before its answers.

    Raises:
        TableError: there is no such column, or an answer is called so.
    """
    names = family.names if read is None else [*(family.names or ()), *read.names]
    nameless = not names and (read is None or len(read) == 0)  # no dict that would name its columns
    unknown = [name for name in keep if name not in (names or ()) and not nameless]
    if unknown:
        raise TableError(
            f"--keep names {', '.join(map(repr, unknown))}; columns: {', '.join(dict.fromkeys(names or ()))}"
        )
    both = [name for name in keep if name in answers]
    if both:
        raise TableError(f"--keep names {', '.join(map(repr, both))}, which the predictions also hold")
    if nameless:
        return {name: [] for name in keep}
    own = family.names or ()
    return {name: family.kept(name) if name in own or read is None else read.frame[name] for name in keep}
