"""Which models a folder holds: the one look at it that the service, the command line and every other reader share.

What cannot be a model, or cannot be chosen as one, is passed over and told, so that a stray folder neither stops a
service nor is served.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rowcast.models.arguments import named
from rowcast.models.names import MAX_VERSION, is_model_name, is_version
from rowcast.models.printable import printable

MANIFEST_FILE = "model.json"
PRETRAINED_FILE = "pretrained.json"
"""In the place of :data:`MANIFEST_FILE` of weights that answer nothing, see :mod:`rowcast.models.pretrained`."""
_SHOWN, _TOLD = 80, 20


@dataclass(frozen=True)
class Versions:
    """The versions of a model."""

    numbers: list[int] = field(default_factory=list)
    """Oldest first."""
    ignored: list[str] = field(default_factory=list)
    """What was passed over and why, a line each."""
    pretrained: list[int] = field(default_factory=list)
    """Versions that answer nothing, and that fits start from; oldest first."""
    unknown: list[str] = field(default_factory=list)
    """What the system did not let be looked at and why, a line each: a version may be there all the same."""


@dataclass(frozen=True)
class Listing:
    """The models of a folder."""

    models: dict[str, list[int]] = field(default_factory=dict)
    """Versions by name, oldest first; names in order."""
    ignored: list[str] = field(default_factory=list)
    """What was passed over and why, a line each."""
    pretrained: dict[str, list[int]] = field(default_factory=dict)
    """Versions that fits start from, by name."""

    @property
    def warnings(self) -> list[str]:
        """The first lines of :attr:`ignored`, and how many more there are."""
        more = len(self.ignored) - _TOLD
        return self.ignored if more <= 0 else [*self.ignored[:_TOLD], f"{more:,} more are passed over"]


def list_models(root: Path) -> Listing:
    """Look at a folder of models. One that is absent holds none; of one that cannot be read, that is told."""
    listing = Listing()
    if fault := _fault(root):
        listing.ignored.append(f"{shown(root)} is passed over: {fault}")
    for name, entry in _entries(root):
        if is_model_name(name):
            versions = list_versions(root, name)
            listing.ignored.extend(versions.ignored)
            if versions.numbers:
                listing.models[name] = versions.numbers
            if versions.pretrained:
                listing.pretrained[name] = versions.pretrained
        else:
            listing.ignored.extend(misnamed(entry))
    return listing


def misnamed(entry: Path) -> list[str]:
    """What is told of a folder that no model may be called by, where it holds versions as a model's does."""
    if not _holds_versions(entry):
        return []
    return [f"{shown(entry)} is passed over: a model's folder bears 1 to 64 of a-z, 0-9, '_' and '-'"]


def list_versions(root: Path, name: str) -> Versions:
    """Look at a model. One that is absent, or that no model may be called, has no version."""
    versions = Versions()
    home = root / name
    if not is_model_name(name) or not _is_folder(home, versions):
        return versions
    if os.path.islink(home):
        if _holds_versions(home):
            versions.ignored.append(f"{shown(home)} is passed over: a model's folder must be no link")
        return versions
    if fault := _fault(home):
        _pass_over(home, fault, versions)
        return versions
    for text, entry in _entries(home):
        if not is_version(text):
            if text.isdigit() or os.path.exists(entry / MANIFEST_FILE):
                rule = f"a version is a whole number from 1 to {MAX_VERSION:,} without zeros in front"
                versions.ignored.append(f"{shown(entry)} is passed over: {rule}")
        elif os.path.islink(entry):
            versions.ignored.append(f"{shown(entry)} is passed over: a version's folder must be no link")
        elif os.path.exists(entry / PRETRAINED_FILE) and not os.path.exists(entry / MANIFEST_FILE):
            versions.pretrained.append(int(text))
            way = f"a fit starts from it with --from {named(name)}"
            versions.ignored.append(f"{name}:{text} is pre-trained: it is not served, and {way}")
        elif _is_folder(entry, versions):
            versions.numbers.append(int(text))
    versions.numbers.sort()
    versions.pretrained.sort()
    return versions


def shown(path: Path) -> str:
    """A path of which others chose a part, in few characters that stand on one line."""
    text = printable(str(path))
    return text if len(text) <= _SHOWN + len(str(path.parent)) else text[: _SHOWN + len(str(path.parent))] + "..."


def is_absent(error: OSError) -> bool:
    """Whether an error says that there is nothing; any other says that nobody knows what there is."""
    return isinstance(error, FileNotFoundError | NotADirectoryError)


def _is_folder(path: Path, versions: Versions) -> bool:
    """Whether a folder is there, or a link to one; what cannot be told is told among the versions."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        if not is_absent(error) and not os.path.islink(path):
            _pass_over(path, error.strerror or str(error), versions)
        return False


def _pass_over(path: Path, why: str, versions: Versions) -> None:
    versions.ignored.append(f"{shown(path)} is passed over: {why}")
    versions.unknown.append(f"{shown(path)} cannot be read: {why}")


def _fault(folder: Path) -> str:
    """Why what is in a folder cannot be told; empty where it can, or where there is no folder."""
    try:
        os.listdir(folder)
    except OSError as error:
        return "" if is_absent(error) else error.strerror or str(error)
    return ""


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names in order and paths of what is in a folder; nothing that is hidden, nothing of a folder one cannot read."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        if not name.startswith("."):
            yield name, folder / name


def _holds_versions(folder: Path) -> bool:
    return any(name.isdigit() and os.path.isdir(path) for name, path in _entries(folder))
