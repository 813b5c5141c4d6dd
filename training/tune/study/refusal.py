"""Why a study cannot be gone on with: in what it differs from what is asked for, a sentence for each field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rowcast.training.fit.checkpoint import differences

_DIFFERENCES = 5
"""That are told."""
_SHOWN = 60
"""Characters of what is said of a field."""
_OF_CONTENT = ("rows", "the number of its test rows", "SHA-256")
"""What differs where the content of the table does."""


def refusal_of(name: str, shown: str, found: Any, about: Mapping[str, Any]) -> str:
    """The sentence.

    Args:
        name: of the study.
        shown: what its storage is called.
        found: what it says it is of; no dict where tuning has not begun it.
        about: what is asked for.
    """
    way = "go on with those, or begin another study with --name"
    if not isinstance(found, dict):
        return f"a study goes on if tuning began it, but {name!r} in {shown} is of something else: {way}"
    differing = [*_of_table(_part(found, "table"), _part(about, "table")), *_of_config(found, about)]
    differing += _of_space(_part(found, "space"), _part(about, "space"))
    differing += differences(_without(found, "table", "config", "space"), _without(about, "table", "config", "space"))
    more = f" and {len(differing) - _DIFFERENCES} more" if len(differing) > _DIFFERENCES else ""
    return (
        f"a study goes on with the table, config and space it began with, but {name!r} in {shown} is of others: "
        f"{', '.join(differing[:_DIFFERENCES])}{more}; {way}"
    )


def _part(about: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = about.get(name, {})
    return part if isinstance(part, dict) else {}


def _without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _of_table(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    told: list[str] = []
    if there.get("SHA-256") != here.get("SHA-256"):
        now, then = here.get("rows", 0), there.get("rows", 0)
        rows = f"{now:,} rows as before" if now == then else f"{now:,} rows here and {then:,} there"
        told = [f"the table's content has changed: it holds {rows}"]
        there, here = _without(there, *_OF_CONTENT), _without(here, *_OF_CONTENT)
    return told + differences(_without(there, "the target"), _without(here, "the target"))  # which the config says


def _of_config(found: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    """Fields that have their default are not kept with a study."""
    for text in differences(_part(found, "config"), _part(about, "config")):
        yield text.replace(" is absent here ", " is the default here ").replace(
            " and absent there", " and the default there"
        )


def _of_space(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    for name in there | here:
        if name not in here:
            yield f"{name} is searched there and not here"
        elif name not in there:
            yield f"{name} is searched here and not there"
        elif there[name] != here[name]:
            yield f"{name} is searched in {_shown(here[name])} here and in {_shown(there[name])} there"


def _shown(said: Any) -> str:
    text = json.dumps(said)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
