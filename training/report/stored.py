"""The report of a stored model: as it was published, or with its answers to a table as well."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.errors import ModelRefused
from rowcast.models.plain_files import Folder
from rowcast.models.repository import StoredModel
from rowcast.models.whole_file import whole_file
from rowcast.training.fit.history import history_of
from rowcast.training.fit.weighted import shares
from rowcast.training.importance import permuted
from rowcast.training.predict import bulk_session, metrics_of_model, open_known, predict_columns
from rowcast.training.report.answers import answers_of
from rowcast.training.report.facts import (
    MOST_ROWS,
    WEIGHTED,
    Rows,
    about_facts,
    history_facts,
    importance_facts,
    told_facts,
)
from rowcast.training.report.page import REPORT_FILE, facts_in, page
from rowcast.training.report.shares import SAMPLE_ROWS, counted, missing_in, missing_of
from rowcast.training.report.slices import worst_slices

_MOST_BYTES = 2**26


def write_report(
    model: StoredModel, out: str | os.PathLike[str], source: Any = None, *, named: bool = True, **form: str | None
) -> Path:
    """Write the report of a stored model, whole or not at all.

    Args:
        model: see :meth:`rowcast.models.repository.Repository.open`.
        out: the file.
        source: a file or a data frame that holds the target, if the model is to be measured on one.
        named: whether name and version mean something; of a model that is not published they do not.
        form: ``encoding`` and ``separator`` of a file.

    Returns:
        the absolute path of the file.

    Raises:
        TableError: the table lacks a column, or holds a value that does not fit.
        OSError: the file cannot be written.
    """
    facts = stored_facts(model) if source is None else facts_of_table(model, source, **form)
    if not named:
        facts["about"] = {key: value for key, value in facts["about"].items() if key not in ("name", "version")}
    content = page(facts)
    path = Path(out).absolute()
    with whole_file(path) as half:
        half.write_bytes(content)
    return path


def facts_of_table(model: StoredModel, source: Any, **form: str | None) -> dict[str, Any]:
    """The facts of a stored model, and of its answers to a table that holds the target.

    Args:
        model: see :meth:`rowcast.models.repository.Repository.open`.
        source: a file or a data frame.
        form: ``encoding`` and ``separator`` of a file.

    Raises:
        TableError: the table lacks a column, or holds a value that does not fit.
    """
    known = open_known(model, source, encoding=form.get("encoding"), separator=form.get("separator"))
    session, signature, facts = bulk_session(model), model.manifest.signature, stored_facts(model)
    name = Path(source).name if isinstance(source, (str, os.PathLike)) else "the table"
    if name in facts["rows"]:
        name = f"{name} (table)"
    answers = predict_columns(session, known.columns)
    metrics = metrics_of_model(model.manifest, answers, known.actual, known.weight)
    rows = Rows(known.columns, known.actual, answers, known.weight).some(MOST_ROWS)
    assert rows.answers is not None
    facts["rows"][name] = len(known)
    held = facts["metrics"].pop("interval_coverage", None)
    facts["metrics"][name] = metrics
    if held is not None and answers.lower is not None and answers.upper is not None:
        inside = (answers.lower <= known.actual) & (known.actual <= answers.upper)
        weight = np.ones(len(known)) if known.weight is None else known.weight
        facts["metrics"]["interval_coverage"] = held | {name: float(shares(weight)[inside].sum())}
    answered = answers_of(rows.answers, rows.actual, signature.classes, rows.weight)
    facts.setdefault("answers", {})[name] = answered
    if rows.weight is not None:
        facts["answers_note"] = WEIGHTED
    facts["slices"] = worst_slices(signature, rows.columns, rows.answers, rows.actual, rows.weight)
    importance = permuted(session, known.columns, known.actual, known.weight, repeats=3)
    facts["importance"] = importance_facts(importance.table.rows(), f"{importance.note} of {name}")
    some = rows.some(SAMPLE_ROWS)
    facts.setdefault("sampled", {})[name] = len(some)
    for one in facts.get("columns", ()):
        values = known_values(one, some)
        if one.get("spread") and values is not None:
            one["spread"]["counts"][name] = counted(one["spread"], values)
        if one["name"] in some.columns and not one.get("target"):
            one["missing"][name] = missing_of(some.columns[one["name"]])
    return facts


def stored_facts(model: StoredModel) -> dict[str, Any]:
    """The facts of the report that a model was published with; of an older model what its manifest says.

    Raises:
        ModelRefused: the report is not the one that was published.
    """
    manifest = model.manifest
    facts = None
    expected = manifest.files.get(REPORT_FILE)
    if expected is not None:
        with Folder(model.path) as folder:
            content = folder.read(REPORT_FILE, _MOST_BYTES)
        if hashlib.sha256(content).hexdigest() != expected:
            raise ModelRefused(f"{model.path / REPORT_FILE} is not the file that was published: its SHA-256 differs")
        facts = facts_in(content)
    if facts is None:
        said = {"metrics", "parity", "threshold", "decisions", "versions", "data"}
        facts = told_facts(manifest.signature, manifest.model_dump(mode="json", include=said))
        facts["history"] = history_facts(history_of(model).rows())
        facts["rows"] = {}
    facts["about"] = about_facts(manifest.signature, model.sha256, manifest.created) | {
        "name": manifest.name,
        "version": manifest.version,
    }
    return facts


def known_values(one: Mapping[str, Any], rows: Rows) -> NDArray[Any] | None:
    """The values of a column, or of the target, without those that are missing."""
    if one.get("target"):
        return rows.actual
    values = rows.columns.get(one["name"])
    if values is None:
        return None
    return np.asarray(values[~missing_in(values)])
