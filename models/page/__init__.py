"""Facts in a page: one file of HTML with its style, its script and a plotting library (uPlot), which loads nothing.

The page's policy lets no other script run than these two, and reach no address: a column may be named like a tag.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import math
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_BEGIN, _END = '<script type="application/json" id="facts">', "</script>"


def document(facts: dict[str, Any], script: str, title: str) -> bytes:
    """The page of some facts, UTF-8.

    Args:
        facts: what JSON can hold; a number that is not finite becomes null.
        script: draws the element ``facts`` into the element ``report``.
        title: of the page.
    """
    text = json.dumps(_finite(facts), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    filled = {**_fixed(script), "facts": text, "title": html.escape(title)}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: filled[match[1]], _file("page.html")).encode()


def facts_in(content: bytes) -> dict[str, Any] | None:
    """The facts of a page; None where there are none."""
    _, begin, rest = content.decode("utf-8", "replace").partition(_BEGIN)
    try:
        found = json.loads(rest.partition(_END)[0]) if begin else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


@functools.cache
def _fixed(script: str) -> dict[str, str]:
    """What is the same in every page of a script."""
    library = _file("uplot/uPlot.iife.min.js")
    style = _file("uplot/uPlot.min.css") + _file("page.css")
    scripts = " ".join(f"'sha256-{_digest(text)}'" for text in (library, script))
    policy = f"default-src 'none'; script-src {scripts}; style-src 'sha256-{_digest(style)}'"
    return {"library": library, "script": script, "style": style, "policy": policy}


@functools.cache
def _file(name: str) -> str:
    return (HERE / name).read_text("utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _finite(value: Any) -> Any:
    """A value as JSON can say it: what is no finite number is null."""
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
