"""A stored model on a whole table: predictions and metrics, from the same graph that is served."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rowcast.models.errors import TableError
from rowcast.models.kinds import KINDS
from rowcast.models.labels import LABEL_TYPE, LabelType, typed_labels
from rowcast.models.machine.limits import usable_cores
from rowcast.models.names import UNPUBLISHED
from rowcast.models.reading import Reading
from rowcast.models.repository import Manifest, StoredModel
from rowcast.models.session import Predictions, Session
from rowcast.models.signature import Column, Signature
from rowcast.training.columns.infer import ColumnRule, read_column
from rowcast.training.columns.row_weights import with_weights_like
from rowcast.training.columns.target import Target, read_target_like
from rowcast.training.columns.target_rows import with_target_like
from rowcast.training.data.files.form import FileForm
from rowcast.training.data.files.paths import files_of
from rowcast.training.data.table import Table, read_table, sha256_of
from rowcast.training.fit.confusion import confusion, confusion_metrics
from rowcast.training.fit.deviance import mean_deviance, power_of
from rowcast.training.fit.evaluate import class_metrics, regression_metrics
from rowcast.training.fit.weighted import weighted_class_metrics, weighted_regression_metrics

CHUNK_ROWS = 8192
"""Rows of one run: enough to keep every core busy, little enough to bound memory."""


def predict_columns(session: Session, columns: Mapping[str, NDArray[Any]]) -> Predictions:
    """Predict rows in bounded memory.

    Args:
        session: of the model.
        columns: name to array ``[rows]``; names the model does not know are ignored.
    """
    names = session.signature.names
    rows = len(columns[names[0]])
    if rows == 0:
        return no_predictions(session.signature)
    parts = [
        session.run_all({name: columns[name][start : start + CHUNK_ROWS].reshape(-1, 1) for name in names})
        for start in range(0, rows, CHUNK_ROWS)
    ]
    return Predictions(
        labels=None if parts[0].labels is None else [label for part in parts for label in part.labels or ()],
        probabilities=_joined([part.probabilities for part in parts]),
        prediction=_joined([part.prediction for part in parts]),
        lower=_joined([part.lower for part in parts]),
        upper=_joined([part.upper for part in parts]),
        further=_joined([part.further for part in parts]),
    )


def no_predictions(signature: Signature) -> Predictions:
    """Those of no rows, of the types that a graph's have."""
    if signature.classes:
        return Predictions([], np.empty((0, len(signature.classes)), np.float32))
    none = np.empty(0)
    if signature.further_levels:
        return Predictions(None, None, none, none, none, np.empty((0, len(signature.further_outputs))))
    return Predictions(None, None, *(none for _ in signature.outputs))


def metrics_of(
    predictions: Predictions,
    actual: NDArray[Any],
    classes: Sequence[str],
    weight: NDArray[np.float64] | None = None,
    *,
    threshold: bool = False,
) -> dict[str, float]:
    """The metrics of the task: see :mod:`rowcast.training.fit.evaluate` and :mod:`rowcast.training.fit.confusion`.

    Args:
        predictions: of the rows.
        actual: their target, ``[rows]``.
        classes: in the order of the probabilities.
        weight: how much each row counts, ``[rows]``, all above 0; None where every row counts the same.
        threshold: whether labels follow one, and are measured as they are.
    """
    if predictions.probabilities is not None:
        assert predictions.labels is not None
        of_labels = confusion_metrics(actual, predictions.labels, predictions.probabilities, classes, weight)
        said = predictions.labels if threshold else None
        if weight is not None:
            return weighted_class_metrics(actual, predictions.probabilities, classes, weight, said) | of_labels
        return class_metrics(actual, predictions.probabilities, classes, said) | of_labels
    assert predictions.prediction is not None
    if weight is not None:
        return weighted_regression_metrics(actual, predictions.prediction, weight)
    return regression_metrics(actual, predictions.prediction)


def metrics_of_model(
    manifest: Manifest, predictions: Predictions, actual: NDArray[Any], weight: NDArray[np.float64] | None
) -> dict[str, float]:
    """What :func:`metrics_of` says of a stored model; of counts and amounts also the ``deviance`` of its loss."""
    classes, threshold = manifest.signature.classes, manifest.threshold is not None
    metrics = metrics_of(predictions, actual, classes, weight, threshold=threshold)
    power = power_of(manifest.config.get("objective", {}))
    if power is not None and predictions.prediction is not None:
        deviance = mean_deviance(actual, predictions.prediction, power, weight)
        metrics |= {} if deviance is None else {"deviance": deviance}
    return metrics


def columns_for(
    table: Table, signature: Signature, name: str, nulls: frozenset[str] = frozenset()
) -> dict[str, NDArray[Any]]:
    """The model's columns of a table, ``[rows]`` each, read by the rules of its training.

    A column in which training saw nulls may be absent, as it may be in a request. A table of no rows may name none.

    Args:
        table: in which they are.
        signature: the model's.
        name: the model's.
        nulls: texts that mean null besides the usual ones.

    Raises:
        TableError: a column is absent, or holds a value that does not fit.
    """
    if table.names or len(table):
        check_columns(table.names, table.source, signature, name)
    return {
        column.name: read_column(table, rule_of(column, nulls))
        if column.name in table.names
        else np.full(len(table), column.missing, column.dtype)
        for column in signature.columns
    }


def check_columns(names: Collection[str], source: str, signature: Signature, name: str) -> None:
    """Make sure that a table has the columns that a model needs: all but those in which training saw nulls.

    Args:
        names: of the table's columns.
        source: what the table is called.
        signature: the model's.
        name: the model's.

    Raises:
        TableError: it lacks one.
    """
    known = frozenset(names)
    absent = [column.name for column in signature.columns if column.name not in known and not column.nullable]
    if absent:
        called = "the model" if name == UNPUBLISHED else f"model {name!r}"
        raise TableError(
            f"{source} lacks {', '.join(map(repr, absent))}, which {called} needs; its columns: {', '.join(names)}"
        )


def open_table(
    source: Any,
    manifest: Manifest,
    *,
    encoding: str | None = None,
    separator: str | None = None,
    may_be_empty: bool = False,
) -> Table:
    """Read a table for a model; columns that were renamed for training are renamed again.

    What was said about the file of the training table holds for this one too; what was found there is found anew.
    ``may_be_empty``: whether it may have no rows.
    """
    table = _read_named(source, form_for(manifest, encoding, separator), manifest, may_be_empty=may_be_empty)
    present = renaming(table.names, manifest)
    return table.rename(present) if present else table


def form_for(manifest: Manifest, encoding: str | None = None, separator: str | None = None) -> FileForm:
    """How a file for a model is written: as is said, or as was said of the training table."""
    data = manifest.config.get("data", {})
    return FileForm(
        encoding or data.get("encoding", "utf-8"),
        separator or data.get("separator", ""),
        None if data.get("header", "auto") == "auto" else data["header"],
        data.get("sheet", ""),
    )


def _read_named(source: Any, form: FileForm, manifest: Manifest, *, may_be_empty: bool) -> Table:
    """A table whose first line holds the model's names even where they look like a row: ``2019,2020``, say."""
    try:
        return read_table(source, form=form, may_be_empty=may_be_empty)
    except TableError as error:
        if form.header is not None:
            raise
        try:
            table = read_table(source, form=replace(form, header=True), may_be_empty=may_be_empty)
        except TableError:
            raise error from None
        renamed = {renaming(table.names, manifest).get(name, name) for name in table.names}
        if not renamed.issuperset(manifest.signature.names):
            raise
        return table


def renaming(names: Collection[str], manifest: Manifest) -> dict[str, str]:
    """Which columns of a table are renamed for a model, old name to new, as they were in training."""
    rename = manifest.config.get("data", {}).get("rename", {})
    # A table that has the new name already may hold the old one as a column of no concern; unless two names swapped.
    needed = {old: new for old, new in rename.items() if new not in names or new in rename}
    return {old: new for old, new in needed.items() if old in names}


@dataclass(frozen=True)
class Known:
    """Rows of a table that hold the target."""

    table: Table
    columns: Mapping[str, NDArray[Any]]
    """The model's inputs, ``[rows]`` each."""
    actual: NDArray[Any]
    """``[rows]``: numbers, or labels as the model's classes are written."""
    weight: NDArray[np.float64] | None = None
    """How much each row counts, ``[rows]``, all above 0; None where every row counts the same."""

    def __len__(self) -> int:
        return len(self.actual)


@dataclass(frozen=True)
class Judged:
    """Rows that hold the target, and what a model says of them."""

    known: Known
    predictions: Predictions


def open_known(
    model: StoredModel,
    source: Any,
    *,
    encoding: str | None = None,
    separator: str | None = None,
    weighted: bool = True,
) -> Known:
    """Read a table that holds the target for a model, with the weights of its training unless told otherwise.

    Raises:
        TableError: the table lacks a column or holds a value that does not fit.
    """
    table = open_table(source, model.manifest, encoding=encoding, separator=separator)
    signature = model.manifest.signature
    reading = Reading.model_validate(model.manifest.data.get("target_reading", {}))
    like = Target(signature.target, signature.task, np.zeros(0), signature.classes, reading)
    nulls = nulls_of(model.manifest)
    table = with_target_like(table, like, null=tuple(nulls))
    column = model.manifest.config.get("data", {}).get("weight", "") if weighted else ""
    table, weight = with_weights_like(table, column)
    actual = read_target_like(table, like, null=tuple(nulls))
    return Known(table, columns_for(table, signature, model.manifest.name, nulls), actual, weight)


def evaluate_table(
    model: StoredModel, source: Any, *, encoding: str | None = None, separator: str | None = None
) -> dict[str, Any]:
    """Metrics of a stored model on a table that holds the target: see :func:`measure`.

    Raises:
        TableError: the table lacks a column or holds a value that does not fit.
    """
    return measure(model, judge_table(model, source, encoding=encoding, separator=separator))


def judge_table(
    model: StoredModel, source: Any, *, encoding: str | None = None, separator: str | None = None
) -> Judged:
    """The rows of a table that hold the target, and what a stored model says of them.

    Raises:
        TableError: the table lacks a column or holds a value that does not fit.
    """
    known = open_known(model, source, encoding=encoding, separator=separator)
    return Judged(known, predict_columns(bulk_session(model), known.columns))


def if_learned(manifest: Manifest, source: str | os.PathLike[str], table: Table) -> str | None:
    """That files, or standard input, are the table that a model was trained on, if they are.

    Args:
        manifest: of the model.
        source: as it was named.
        table: as it was read.
    """
    digest = manifest.data.get("sha256")
    if not digest or not (table.sha256 or all(file.is_file() for file in files_of(source))):  # a pipe is read but once
        return None
    if sha256_of(source, table) != digest:
        return None
    called = f"{manifest.name}:{manifest.version}"
    rows = "its training rows" if manifest.data.get("refit") is None else "all its rows"
    return (
        f"this is the table that {called} was trained on, and it has learned {rows}: it answers new rows worse; "
        f"rowcast models show {called} has the metrics of rows that it had not learned"
    )


def measure(model: StoredModel, judged: Judged) -> dict[str, Any]:
    """Metrics of what a stored model says of some rows.

    Returns:
        ``rows``; ``metrics``, plain numbers; for classes ``confusion``, how often (or, with weights, how heavily) a
        class got a label: ``classes``, and a row of ``counts`` for each with a column for each label; ``decisions``,
        where something was decided about the table.
    """
    known, predictions, classes = judged.known, judged.predictions, model.manifest.signature.classes
    metrics = metrics_of_model(model.manifest, predictions, known.actual, known.weight)
    measured: dict[str, Any] = {"rows": len(known), "metrics": metrics}
    if predictions.labels is not None:
        counts = confusion(known.actual, predictions.labels, classes, known.weight)
        measured["confusion"] = {"classes": list(classes), "counts": counts.tolist()}
    return measured | ({"decisions": list(known.table.notes)} if known.table.notes else {})


def predict_table(
    model: StoredModel,
    source: Any,
    *,
    keep: Sequence[str] = (),
    encoding: str | None = None,
    separator: str | None = None,
) -> pl.DataFrame:
    """Predictions for a table, rows in order.

    Classes give ``label``, in the target's own type, and one column ``probability_CLASS`` a class; regression gives the
    graph's outputs.

    Args:
        model: see :meth:`rowcast.models.repository.Repository.open`.
        source: a file or a data frame.
        keep: columns of the table to carry along, before the predictions.
        encoding: of a text file; the one of the training table when not given.
        separator: of its fields; found when neither this nor the training named one.

    Raises:
        TableError: the table lacks a column or holds a value that does not fit.
    """
    table = open_table(source, model.manifest, encoding=encoding, separator=separator, may_be_empty=True)
    rename = model.manifest.config.get("data", {}).get("rename", {})
    kept = {name: name if name in table.names else rename.get(name, name) for name in keep}
    signature = model.manifest.signature
    check_kept(table, kept)
    columns = columns_for(table, signature, model.manifest.name, nulls_of(model.manifest))
    predictions = predict_columns(bulk_session(model), columns)
    answers = answers_of(predictions, signature, label_type_in(model.manifest))
    return beside(kept_of(table, kept), answers)


def answers_of(predictions: Predictions, signature: Signature, labels: LabelType = "text") -> dict[str, Any]:
    """Columns of answers by name: ``label`` and a ``probability_CLASS`` for each class, or the graph's outputs.

    Args:
        predictions: of some rows.
        signature: the model's.
        labels: the type they are given in.
    """
    answers: dict[str, Any]
    if predictions.probabilities is None:
        answers = {name: getattr(predictions, name) for name in signature.outputs}
        if predictions.further is not None:
            answers |= dict(zip(signature.further_outputs, predictions.further.T, strict=True))
        return answers
    answers = {"label": typed_labels(predictions.labels or [], signature.classes, labels)}
    for i, label in enumerate(signature.classes):
        answers[f"probability_{label}"] = predictions.probabilities[:, i]
    return answers


def label_type_in(manifest: Manifest) -> LabelType:
    """The type of the labels of a model; texts, where it was published before anybody asked."""
    of: LabelType = manifest.data.get(LABEL_TYPE, "text")
    return of


def as_sent(
    ask: Callable[[dict[str, Any], int], Mapping[str, Any]],
    signature: Signature,
    columns: Mapping[str, NDArray[Any]],
    rows: int,
) -> dict[str, Any]:
    """Answers of a service to the model's columns, as :func:`answers_of` gives those of a graph.

    Args:
        ask: predicts: given columns by name and how many rows they have. NaN, NaT and "" are missing.
        signature: the model's.
        columns: of the model, ``[rows]`` each, as :func:`columns_for` gives them.
        rows: how many.
    """
    given: dict[str, Any] = dict(columns)
    for column in signature.columns:
        if column.kind == "timestamp":  # what is missing is the smallest number, which is what NaT is
            given[column.name] = given[column.name].view("datetime64[us]")
        elif column.kind == "boolean":  # 1 and 0 are numbers, which a service takes for no boolean
            values = given[column.name]
            given[column.name] = np.ma.MaskedArray(values == 1.0, np.isnan(values))
    answers = dict(ask(given, rows))
    floats = {answer: np.float32 for answer in answers if signature.classes and answer != "label"}
    return {k: np.asarray(v, floats[k]) if k in floats else v for k, v in answers.items()}


def check_kept(table: Table, kept: Mapping[str, str]) -> None:
    """Make sure that the columns are there that are to be carried along, and can be read.

    Raises:
        TableError: one is not.
    """
    unknown = [name for name, found in kept.items() if found not in table.names]
    if unknown:
        raise unknown_kept(unknown, table.names)
    for found in kept.values():
        table.require(found, "--keep names")


def unknown_kept(unknown: Collection[str], names: Collection[str]) -> TableError:
    """The refusal of names in ``--keep`` that no column has."""
    return TableError(f"--keep names {', '.join(map(repr, unknown))}; columns: {', '.join(names)}")


def kept_of(table: Table, kept: Mapping[str, str]) -> pl.DataFrame:
    """The columns of a table that are carried along: their name to the one they are found under."""
    return pl.DataFrame([table.frame[found].alias(name) for name, found in kept.items()])


def beside(kept: pl.DataFrame, answers: Mapping[str, Any]) -> pl.DataFrame:
    """The columns that are carried along, and the answers to their rows.

    Raises:
        TableError: one is called like an answer.
    """
    both = [name for name in kept.columns if name in answers]
    if both:
        raise TableError(f"--keep names {', '.join(map(repr, both))}, which the predictions also hold")
    labels = pl.String if isinstance(answers.get("label"), list) else None  # of no rows as well
    typed = (pl.Series(name, values, labels if name == "label" else None) for name, values in answers.items())
    return pl.DataFrame([*kept.get_columns(), *typed])


def nulls_of(manifest: Manifest) -> frozenset[str]:
    """Texts that mean null in every column, as they did in training."""
    return frozenset(manifest.config.get("data", {}).get("null", ()))


def bulk_session(model: StoredModel) -> Session:
    """A session for whole tables, on all cores."""
    return Session.of(model, threads=usable_cores())


def rules_of(manifest: Manifest) -> list[ColumnRule]:
    """How each column of a model is read, in the order of its signature."""
    nulls = nulls_of(manifest)
    return [rule_of(column, nulls) for column in manifest.signature.columns]


def rule_of(column: Column, nulls: frozenset[str]) -> ColumnRule:
    """How a column of a stored model is read, as its signature says; ``nulls`` are further texts that mean null."""
    reading = column.reading or KINDS[column.kind].reading
    nulls = nulls | KINDS[column.kind].null_spellings | frozenset(reading.nulls)
    return ColumnRule(
        column.name,
        column.kind,
        column.nullable,
        nulls,
        column.whole_levels,
        reading=reading,
        level_type=column.level_type,
        as_served=True,
    )


def _joined(parts: Sequence[NDArray[Any] | None]) -> Any:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None
