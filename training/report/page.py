"""The facts of a model in a page: see :mod:`rowcast.models.page`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from rowcast.models.page import document, facts_in

__all__ = ["REPORT_FILE", "facts_in", "page"]

REPORT_FILE = "report.html"


def page(facts: dict[str, Any]) -> bytes:
    """The page of some facts, UTF-8."""
    return document(facts, _script(), f"Model of {facts.get('about', {}).get('target', 'a target')}")


@functools.cache
def _script() -> str:
    return (Path(__file__).parent / "page.js").read_text("utf-8")
