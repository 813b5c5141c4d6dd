"""A model that is copied, or that another process gets: its files travel with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from rowcast.api.temporary import TemporaryFolder
from rowcast.models.copies import files_of
from rowcast.models.errors import ModelRefused
from rowcast.models.listing import MANIFEST_FILE
from rowcast.models.repository import StoredModel, open_version


class State(NamedTuple):
    """All that makes a stored model."""

    name: str
    version: int
    seal: str
    path: str
    files: dict[str, bytes]
    """``model.json`` too."""


def state_of(stored: StoredModel) -> State:
    """The files of a model.

    Raises:
        ModelRefused: they are not the published ones.
    """
    manifest = stored.manifest
    files = files_of(stored) | {MANIFEST_FILE: (stored.path / MANIFEST_FILE).read_bytes()}
    return State(manifest.name, manifest.version, manifest.seal, str(stored.path), files)


def restored(kind: type[Any], state: State, published: bool, repository: str | os.PathLike[str] | None) -> Any:
    """The model again: where it is published, if it is there; else in a temporary folder.

    Raises:
        ModelRefused: the files are not those of a model.
    """
    if published:
        try:
            stored = open_version(Path(state.path))
            if stored.manifest.seal == state.seal:
                return kind(stored, None, repository)
        except ModelRefused:  # it is not there, or another is
            pass
    folder = TemporaryFolder()
    path = folder.path / state.name / str(state.version)
    path.mkdir(parents=True)
    for name, content in state.files.items():
        if name != Path(name).name:
            raise ModelRefused(f"a model's files have plain names, got {name!r}")
        (path / name).write_bytes(content)
    return kind(open_version(path), folder, repository)
