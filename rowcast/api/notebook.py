"""How a model and a cross-validation show themselves in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rowcast.api.crossvalidating import CrossValidation
    from rowcast.api.model import Model

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


def _numbers(metrics: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, int | float))
