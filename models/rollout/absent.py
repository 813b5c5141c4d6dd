"""Which versions ``rollout.json`` names that are not there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from rowcast.models.listing import list_versions
from rowcast.models.rollout.record import Rollout


def absent_versions(name: str, said: Rollout, there: Collection[int]) -> list[str]:
    """What names a version that is not there, a line each.

    Args:
        name: of the model.
        said: of it.
        there: its versions.
    """
    named = [
        *_answering(said),
        *((version, f"calls version {version} {alias}") for alias, version in said.aliases.items()),
    ]
    return [_line(name, words) for version, words in named if version not in there]


def makes_no_sense_after(home: Path, said: Rollout, before: Rollout) -> str:
    """Why what is said of who answers is nonsense; an empty text where it is none.

    It is where it names a version that is not there. One that was named before may have been removed since, which is no
    fault of what is said now; nor is it told where nobody can tell which versions are there.

    Args:
        home: the folder of the model.
        said: of that model.
        before: the last that was said of it and made sense.
    """
    named = [(version, words) for version, words in _answering(said) if version not in (before.live, before.trial)]
    if not named:
        return ""
    found = list_versions(home.parent, home.name)
    if found.unknown:
        return ""
    return next((_line(home.name, words) for version, words in named if version not in found.numbers), "")


def _answering(said: Rollout) -> list[tuple[int, str]]:
    """The versions that are to answer, or to be run, each with what is said of it."""
    told = ((said.live, "chooses version {}"), (said.trial, "puts version {} on trial"))
    return [(version, words.format(version)) for version, words in told if version is not None]


def _line(name: str, words: str) -> str:
    return f"rollout.json of {name} {words}, which is not there"
