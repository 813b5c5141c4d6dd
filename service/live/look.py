"""What versions there are in a repository, looked at several times a second: where nothing changed, in few calls."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import NamedTuple, TypeAlias

from rowcast.models.listing import is_absent, list_versions, misnamed
from rowcast.models.names import is_model_name

_FRESH_NS = 2_000_000_000
"""A folder that was changed so lately may be changed again under the same time: it is listed, whatever it says."""

Mark: TypeAlias = tuple[tuple[str | int, ...], ...]


class _Listed(NamedTuple):
    mark: tuple[int, ...]
    versions: list[int]
    ignored: tuple[str, ...] = ()
    """What was passed over there and why, a line each."""


class Look:
    """Lists the versions of each name.

    Args:
        root: the repository.
        names: that matter; None for all.
    """

    def __init__(self, root: Path, names: list[str] | None) -> None:
        self._root = root
        self._names = names
        self._listed: dict[str, _Listed] = {}
        self._others: dict[str, _Listed] = {}
        """What looks like a model and is none, by what it is called."""
        self.faults: dict[str, str] = {}
        """Why the folder of a name cannot be read: then it holds what it held."""

    def __call__(self) -> dict[str, list[int]]:
        """The versions of each name that has a folder, oldest first.

        Raises:
            OSError: the repository cannot be read.
        """
        present = set(os.listdir(self._root))
        matter = present if self._names is None else present.intersection(self._names)
        self.faults = {}
        listed = {name: self._list(name) for name in sorted(matter) if is_model_name(name)}
        self._listed = {name: one for name, one in listed.items() if one is not None}
        others = sorted(name for name in matter - self._listed.keys() if not name.startswith("."))
        self._others = {name: self._pass_over(name) for name in others}
        return {name: one.versions for name, one in self._listed.items()}

    @property
    def ignored(self) -> list[str]:
        """What looked like a model or a version at the last look and is none, and why, a line each."""
        return [line for one in (*self._listed.values(), *self._others.values()) for line in one.ignored]

    def _list(self, name: str) -> _Listed | None:
        known = self._listed.get(name)
        try:
            about = os.stat(self._root / name, follow_symlinks=False)
            if not stat.S_ISDIR(about.st_mode):
                return None
            mark = _mark(about)
            if known is not None and _rests(known, about):
                return known
            os.listdir(self._root / name)  # one that cannot be read is not one without versions
        except OSError as error:
            if is_absent(error):  # it has just gone
                return None
            return self._keep(name, f"{self._root / name} cannot be read: {error.strerror}")
        versions = list_versions(self._root, name)
        if versions.unknown:
            return self._keep(name, versions.unknown[0])
        return _Listed(mark, versions.numbers, tuple(versions.ignored))

    def _pass_over(self, name: str) -> _Listed:
        """What is told of what is no model's folder: a link, or one that no model may be called by."""
        known = self._others.get(name)
        try:
            about = os.stat(self._root / name, follow_symlinks=False)
        except OSError:
            return _Listed((), [])
        if known is not None and _rests(known, about):
            return known
        told = list_versions(self._root, name).ignored if is_model_name(name) else misnamed(self._root / name)
        return _Listed(_mark(about), [], tuple(told))

    def _keep(self, name: str, fault: str) -> _Listed:
        """What a name held when that could be told last."""
        self.faults[name] = fault
        known = self._listed.get(name)
        return known._replace(mark=()) if known is not None else _Listed((), [])


def _mark(about: os.stat_result) -> tuple[int, ...]:
    return about.st_mtime_ns, about.st_ctime_ns, about.st_ino, about.st_dev


def _rests(known: _Listed, about: os.stat_result) -> bool:
    """Whether what was listed is as it was."""
    return known.mark == _mark(about) and time.time_ns() - about.st_mtime_ns > _FRESH_NS


def is_gone(folder: Path) -> bool:
    """Whether a folder is there no more; one that cannot be looked at may be."""
    try:
        return not stat.S_ISDIR(os.stat(folder).st_mode)
    except OSError as error:
        return is_absent(error)


def mark_of(folder: Path) -> Mark | None:
    """What changes whenever a file of a version does; None where it cannot be told."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
    except OSError:
        return None
    return tuple((name, one.st_mtime_ns, one.st_ctime_ns, one.st_size, one.st_ino) for name, one in found)
