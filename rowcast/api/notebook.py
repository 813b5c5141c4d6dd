"""How a model shows itself in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def _numbers(metrics: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, int | float))
