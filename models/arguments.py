"""What to change, as a message names it: a flag of the command line, or an argument in Python.

Messages are written with flags: ``leave it out with --drop depth``. Whoever called from Python has no flags, so the
Python API says ``leave it out with data={"drop": ["depth"]}`` instead; this module knows which argument is which flag.
A name or value behind a flag is written with :func:`named`, so that it can be pasted into a shell and told from what
follows it. What stands in backticks is a command, and stays.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import tomllib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from rowcast.models.errors import RowcastError
from rowcast.models.extras import told_where_missing

__all__ = ["DATA_LISTS", "DATA_VALUES", "DIRECT", "FIT_VALUES", "VERBS", "in_python", "in_python_terms", "named"]

DATA_LISTS = frozenset({"drop", "category", "null", "keep", "number", "date", "boolean", "text"})
"""Flags that are lists in ``data={...}``."""
DATA_VALUES = frozenset({"task", "split-by-time", "group", "encoding", "separator", "decimal", "sheet", "header"})
"""Flags that are single values in ``data={...}``."""
FIT_VALUES = {"epochs": "epochs", "budget": "budget_s"}
"""Flags that are fields of ``fit={...}``."""
DIRECT = frozenset(
    {"target", "name", "repository", "validation", "test", "device", "preset", "seed"}
    | {"weight", "split", "fold", "folds", "refit", "by", "checkpoint", "repeats", "freeze"}
    | {"trials", "jobs", "storage", "teacher"}
)
"""Flags that are arguments of the same name."""
COUNTS = frozenset({"seed", "folds", "trials", "jobs", "repeats"})
"""Of these, those that are whole numbers."""
VERBS = frozenset(
    {"and", "are", "as", "at", "both", "cannot", "for", "give", "gives", "go", "has", "holds", "in", "is", "lacks"}
    | {"lists", "makes", "means", "predicts"}
    | {
        "does",
        "every",
        "must",
        "names",
        "need",
        "needs",
        "of",
        "on",
        "or",
        "out",
        "reads",
        "says",
        "take",
        "takes",
        "to",
        "what",
        "would",
    }
)
"""Words that follow a flag in a sentence and are no value of it; a value that is one is quoted."""

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h|)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_COUNT = re.compile(r"[0-9]+", re.ASCII)
_PLAIN = re.compile(r"-?[\w.@%+][\w.@%+-]*")
_WORD = r"""(?:'[^']*'|"(?:[^"\\]|\\.)*"|[^\s'",;:()`])+"""
_FLAG = re.compile(rf"`[^`]*`|(?<![\w-])--(?P<flag>[a-z][a-z0-9-]*)(?:[ =](?P<value>{_WORD}))?")


def named(value: object) -> str:
    """A name or value as it stands behind a flag: quoted as a shell needs it, or where it reads like a word between."""
    text = str(value)
    if _PLAIN.fullmatch(text) and text not in VERBS:
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


def in_python(text: str, direct: Collection[str] = ()) -> str:
    """A message with the arguments of the Python API instead of flags.

    Args:
        text: with flags.
        direct: flags that the function called takes as arguments of their own, rather than in ``data={...}``; ``*``
            stands for all.
    """

    def argument(match: re.Match[str]) -> str:
        flag, value = match["flag"], match["value"]
        if flag is None:
            return match[0]
        verb = value is not None and value in VERBS
        given = None if value is None or verb else _unquoted(value)
        said = _argument(flag, given, alone=flag in direct or "*" in direct)
        if said is None:
            return match[0]
        return f"{said} {value}" if verb else said

    return _FLAG.sub(argument, text)


@contextmanager
def in_python_terms(*direct: str) -> Iterator[None]:
    """Errors raised within name arguments instead of flags, and packages that are absent; also a decorator.

    See :func:`in_python` and :mod:`rowcast.models.extras`.
    """
    try:
        with told_where_missing():
            yield
    except RowcastError as error:
        error.args = tuple(in_python(part, direct) if isinstance(part, str) else part for part in error.args)
        raise


def _argument(flag: str, value: str | None, *, alone: bool) -> str | None:
    """``name=value`` for a flag; None where Python has no such argument."""
    field = flag.replace("-", "_")
    if flag == "set":
        return _setting(value)
    if flag in FIT_VALUES and alone:
        return f"{field}=" + ("" if value is None else _literal(value))
    if flag in FIT_VALUES:
        return f'fit={{"{FIT_VALUES[flag]}": {_fit_value(flag, value)}}}'
    if flag in COUNTS and value is not None and _COUNT.fullmatch(value):
        return f"{field}={int(value)}"
    if flag == "resume":
        return "resume=True"
    if flag == "from":
        return "start_from=" + ("" if value is None else _literal(value))
    if flag in DIRECT:
        return f"{field}=" + ("" if value is None else _literal(value))
    if flag == "rename":
        old, _, new = (value or "").partition("=")
        inner = f"{{{_literal(old)}: {_literal(new) if new else '...'}}}" if old else "{...}"
    elif flag in DATA_LISTS:
        # A comma stands between several of them on the command line; a column's name may hold one, a marker may not.
        values = [] if value is None else value.split(",") if flag == "null" else [value]
        inner = f"[{', '.join(map(_literal, values)) or '...'}]"
    elif flag in DATA_VALUES:
        inner = "..." if value is None else _literal(value)
    else:
        return None
    return f"{field}={inner}" if alone else f'data={{"{field}": {inner}}}'


def _setting(value: str | None) -> str:
    """``--set section.field=value``: an argument for the section."""
    path, separator, text = (value or "").partition("=")
    section, _, field = path.partition(".")
    if not separator or not section:
        return "an argument"
    try:
        given: Any = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        given = text
    said = _value(given)
    for name in reversed(field.split(".") if field else ()):
        said = f"{{{_literal(name)}: {said}}}"
    return f"{section}={said}"


def _value(given: Any) -> str:
    """What TOML holds as a literal of Python, texts in double quotes; there is no literal for what is no number."""
    if isinstance(given, list):
        return f"[{', '.join(map(_value, given))}]"
    if isinstance(given, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_value(value)}' for key, value in given.items())}}}"
    if isinstance(given, bool | int) or (isinstance(given, float) and math.isfinite(given)):
        return str(given)
    return f'float("{given}")' if isinstance(given, float) else _literal(str(given))


def _unquoted(value: str) -> str:
    try:
        return "".join(shlex.split(value))
    except ValueError:
        return value


def _fit_value(flag: str, value: str | None) -> str:
    """A number, in Python: seconds of ``90``, ``60s``, ``30m`` or ``2h``; what is none of these, as text."""
    if value is None:
        return "..."
    match = _DURATION.fullmatch(value) if flag == "budget" else _COUNT.fullmatch(value)
    if match is None:
        return "..." if value.isidentifier() and value.isupper() else _literal(value)
    seconds = float(match[1]) * _SECONDS[match[2] or "s"] if flag == "budget" else int(value)
    return f"{seconds:g}" if abs(seconds) < 10**6 else repr(seconds)


def _literal(text: str) -> str:
    """A string literal of Python, in double quotes."""
    return json.dumps(text, ensure_ascii=False)
