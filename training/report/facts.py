"""What a report says of a model that is about to be published.

What is gathered is bounded in size and in time, whatever the table: a fit of seconds is not to wait for its report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rowcast.models.session import Predictions, Session
from rowcast.models.signature import Signature
from rowcast.training.columns.disclosure import percentiles
from rowcast.training.importance import permuted
from rowcast.training.report.answers import answers_of
from rowcast.training.report.shares import SAMPLE_ROWS, missing_of, of_levels, of_numbers, sampled, spread_of
from rowcast.training.report.slices import worst_slices

MOST_COLUMNS = 100
"""Whose spread is shown."""
MOST_ROWS = 50_000
"""Rows whose answers are drawn."""
MOST_DECISIONS, MOST_LETTERS = 200, 600
MOST_LOOKS = 400
WEIGHTED = (
    "Rows count as their weights say; numbers of rows, quartiles and the spread of residuals count each row once."
)
QUICK_ROWS, QUICK_COLUMNS = 4_000, 60
"""Of importance at the end of a fit: rows that the graph answers in all, and columns of a table that is measured."""


@dataclass(frozen=True)
class Rows:
    """Rows of a part: what the model takes of them, ``[rows]`` each, what is true, and what the model said."""

    columns: Mapping[str, NDArray[Any]]
    actual: NDArray[Any]
    answers: Predictions | None = None
    weight: NDArray[np.float64] | None = None
    """How much each row counts, ``[rows]``; None where every row counts the same."""

    def __len__(self) -> int:
        return len(self.actual)

    def some(self, most: int) -> Rows:
        """Some of the rows, evenly among all."""
        if len(self) <= most:
            return self
        rows = sampled(len(self), most)
        said = self.answers
        if said is not None:
            labels = None if said.labels is None else [said.labels[i] for i in rows]
            numbers: list[Any] = [said.probabilities, said.prediction, said.lower, said.upper]
            said = Predictions(labels, *(None if field is None else field[rows] for field in numbers))
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Rows(columns, self.actual[rows], said, None if self.weight is None else self.weight[rows])


def facts_of_fit(
    session: Session,
    parts: Mapping[str, Rows],
    *,
    history: Iterable[tuple[Any, ...]],
    stopped: str,
    said: Mapping[str, Any],
    sha256: str,
    created: str,
    config: str,
    split: Mapping[str, Any],
    network: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The facts of a model that is about to be published.

    Args:
        session: of its graph.
        parts: ``train`` without answers, ``validation`` and ``test`` with them.
        history: rows of :class:`rowcast.training.fit.history.Look`.
        stopped: what ended the fit.
        said: fields of ``model.json``: metrics, parity, threshold, decisions, versions, data.
        sha256: of the graph.
        created: when.
        config: as TOML.
        split: how the table was split: ``words``, and ``spread`` of the column that it was split along, or None.
        network: a table of the network, where there is one.
    """
    signature = session.signature
    held_out = {name: rows.some(MOST_ROWS) for name, rows in parts.items() if rows.answers is not None and len(rows)}
    judged = held_out.get("test") or held_out.get("validation")
    facts = told_facts(signature, said) | {
        "about": about_facts(signature, sha256, created),
        "rows": {name: len(rows) for name, rows in parts.items() if len(rows)},
        "history": history_facts(list(history)),
        "stopped": stopped,
        "config": config[:20_000],
        "split": split,
        "network": network,
        "answers": {
            name: answers_of(rows.answers, rows.actual, signature.classes, rows.weight)
            for name, rows in held_out.items()
            if rows.answers is not None
        },
    }
    if judged is not None and judged.weight is not None:
        facts["answers_note"] = WEIGHTED
    if judged is not None and judged.answers is not None:
        facts["slices"] = worst_slices(signature, judged.columns, judged.answers, judged.actual, judged.weight)
        if len(signature.columns) <= QUICK_COLUMNS:
            most = max(50, QUICK_ROWS // len(signature.columns))
            importance = permuted(session, judged.columns, judged.actual, judged.weight, repeats=1, max_rows=most)
            note = f"{importance.note}; `rowcast importance` takes more"
            facts["importance"] = importance_facts(importance.table.rows(), note)
        else:
            note = f"not measured at the end of a fit on more than {QUICK_COLUMNS} columns: see `rowcast importance`"
            facts["importance"] = importance_facts([], note)
    facts |= _columns(signature, parts, facts["decisions"])
    return facts


# ─── what is told ────────────────────────────────────────────────────────────────────────────────────────────────────


def about_facts(signature: Signature, sha256: str, created: str) -> dict[str, Any]:
    """What the head of the report says."""
    return {"task": signature.task, "target": signature.target, "sha256": sha256, "created": created}


def told_facts(signature: Signature, said: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest says, cut to a size that can be read."""
    decisions = [_short(text) for text in said["decisions"]]
    data = said["data"]
    facts = {
        "metrics": said["metrics"],
        "threshold": said.get("threshold"),
        "parity": said["parity"],
        "decisions": decisions[:MOST_DECISIONS],
        "refit": data.get("refit"),
        "provenance": {
            "table": f"{data.get('rows', 0):,} rows, SHA-256 {data.get('sha256', '')}",
            "columns": len(signature.columns),
            **{f"version of {name}": version for name, version in said["versions"].items()},
        },
    }
    if len(decisions) > MOST_DECISIONS:
        facts["decisions_note"] = f"The first {MOST_DECISIONS} of {len(decisions):,}; model.json has all."
    return facts


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS] + "..."


def importance_facts(rows: Sequence[tuple[str, float, float]], note: str) -> dict[str, Any]:
    """The columns that matter most."""
    shown = rows[:30]
    more = f"; the highest 30 of {len(rows):,} columns" if len(rows) > len(shown) else ""
    columns = [{"column": name, "importance": value, "deviation": error} for name, value, error in shown]
    return {"note": f"{note[:1].upper()}{note[1:]}{more}.", "columns": columns}


def history_facts(looks: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]] | None:
    """Learning curves, of very many looks some; None where there are none."""
    if not looks:
        return None
    kept = sampled(len(looks), MOST_LOOKS)
    best = max((i for i, look in enumerate(looks) if look[-1]), default=None)
    places = sorted({*kept.tolist(), *([] if best is None else [best])})
    names = ("epoch", "train_loss", "validation_loss", "learning_rate", "seconds", "best")
    return {name: [looks[i][column] for i in places] for column, name in enumerate(names)}


def _columns(signature: Signature, parts: Mapping[str, Rows], decisions: Sequence[str]) -> dict[str, Any]:
    """Each column's kind, spread, missing values and decisions; of a wide table the first ones."""
    some = {name: rows.some(SAMPLE_ROWS) for name, rows in parts.items() if len(rows)}
    shown = signature.columns[:MOST_COLUMNS]
    about: dict[str, list[str]] = {}
    for text in decisions:
        for name in set(re.findall(r"'([^']+)'", text)):
            about.setdefault(name, []).append(text)
    columns = [_target(signature, some)]
    for column in shown:
        values = {name: rows.columns[column.name] for name, rows in some.items()}
        columns.append(
            {
                "name": column.name,
                "kind": column.kind,
                "missing": {name: missing_of(part) for name, part in values.items()},
                "spread": spread_of(column, values),
                "decisions": about.get(column.name, [])[:5],
            }
        )
    note = "Bins of fewer than 10 rows are merged or left out, and ends are percentiles: no row can be read off."
    if len(signature.columns) > len(shown):
        note += f" The first {len(shown)} of {len(signature.columns):,} columns are shown; the others are left out."
    if any(len(rows) > len(some[name]) for name, rows in parts.items() if name in some):
        note += f" Counted on {SAMPLE_ROWS:,} rows of a part, evenly among all."
    return {
        "columns": columns,
        "columns_note": note,
        "sampled": {name: len(rows) for name, rows in some.items()},
    }


def _target(signature: Signature, parts: Mapping[str, Rows]) -> dict[str, Any]:
    values = {name: rows.actual for name, rows in parts.items()}
    kind, spread = "class", None
    if signature.classes:
        spread = of_levels(signature.classes, values)
    else:
        kind = "number"
        ends = percentiles(values["train"]) if "train" in values else None
        if ends is not None:
            spread = of_numbers({k: v for k, v in values.items() if len(v) >= 10}, float(ends[0]), float(ends[1]))
    return {"name": signature.target, "kind": kind, "target": True, "missing": {}, "spread": spread, "decisions": []}
