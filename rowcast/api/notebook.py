"""How a model, a cross-validation and a study show themselves in a notebook."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rowcast.api.crossvalidating import CrossValidation
    from rowcast.api.model import Model
    from rowcast.api.tuning import Study

_SHOWN = 12
"""Columns that are named."""


def html_of(model: Model) -> str:
    """A model as a table of HTML: what it predicts, from what, how well, and where it lives."""
    signature, metrics = model.signature, model.metrics
    names = ", ".join(signature.names[:_SHOWN])
    more = len(signature.names) - _SHOWN
    classes = f": {', '.join(signature.classes[:_SHOWN])}" if signature.classes else ""
    rows = [
        ("model", "not published" if model.name is None else f"{model.name}:{model.version}"),
        ("predicts", f"{signature.target} ({signature.task}{classes})"),
        ("from", names + (f" and {more} more" if more > 0 else "")),
        *((part, _numbers(metrics[part])) for part in ("validation", "test") if metrics.get(part)),
        ("folder", str(model.path)),
    ]
    lines = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table><caption>rowcast.Model</caption>{lines}</table>"


def html_of_folds(found: CrossValidation) -> str:
    """A cross-validation as a table of HTML: a row for each fold, and for their mean with its deviation."""
    names = list(found.mean)
    rows = [
        (f"fold {number}", *(f"{fold[name]:.4g}" if name in fold else "" for name in names))
        for number, fold in enumerate(found.folds, 1)
    ]
    rows.append(("mean", *(f"{found.mean[name]:.4g} ± {found.deviation[name]:.2g}" for name in names)))
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *names))
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>rowcast.crossvalidate</caption><tr>{head}</tr>{lines}</table>"


def html_of_study(study: Study) -> str:
    """A study as a table of HTML: its trials, the best first, those that were ended early last."""
    trials = sorted(study.trials, key=lambda trial: (trial.pruned, math.inf if trial.value is None else trial.value))
    fields = list(
        dict.fromkeys(f"{section}.{name}" for one in trials for section in one.config for name in one.config[section])
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in ("trial", study.measure, "seconds", *fields))
    lines = []
    for trial in trials:
        value = "" if trial.value is None else f"{trial.value:.4g}"
        values = {f"{section}.{name}": of for section, held in trial.config.items() for name, of in held.items()}
        told = [f"{trial.number}{' (ended early)' if trial.pruned else ''}", value, f"{trial.seconds:.1f}"]
        told += [_brief(values[name]) if name in values else "" for name in fields]
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in told) + "</tr>")
    return f"<table><caption>{escape(repr(study)[1:-1])}</caption><tr>{head}</tr>{''.join(lines)}</table>"


def _brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _numbers(metrics: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, int | float))
