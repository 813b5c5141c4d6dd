"""Pre-trained weights: a version that fits start from, and that answers nothing, so that no service serves it.

It lies beside the versions of models, ``<root>/<name>/<version>/``, is published and verified as they are, and has
``pretrained.json`` where a model has ``model.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rowcast.models.errors import ModelNotFound
from rowcast.models.listing import PRETRAINED_FILE, list_versions
from rowcast.models.names import MAX_VERSION
from rowcast.models.repository import MAX_FILES, UNSEALED, Repository, open_files, read_sealed
from rowcast.models.signature import Column

__all__ = [
    "Pretrained",
    "StoredPretrained",
    "is_pretrained",
    "open_pretrained",
    "publish_pretrained",
    "read_pretrained",
]


PRETRAINED_METRIC = "reconstruction"
"""What is told of validation rows: about 1 for weights that know nothing of how columns go together."""


class Pretrained(BaseModel):
    """``pretrained.json``: which columns the weights are of, how well they reconstruct them, and where from."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    format: Literal[1] = 1
    name: str
    version: int = Field(ge=1, le=MAX_VERSION)
    created: str
    """UTC, ISO 8601."""
    columns: tuple[Column, ...]
    """As in a signature."""
    metrics: dict[str, Any]
    decisions: list[str]
    config: dict[str, Any]
    data: dict[str, Any]
    versions: dict[str, str]
    files: dict[str, str] = Field(max_length=MAX_FILES)
    """SHA-256 of every other file of the folder."""
    seal: str = UNSEALED
    """See :class:`rowcast.models.repository.Manifest`."""


@dataclass(frozen=True, slots=True)
class StoredPretrained:
    """Verified pre-trained weights: what is said of them, and the folder they lie in."""

    manifest: Pretrained
    path: Path


def publish_pretrained(
    repository: Repository, name: str, fields: Mapping[str, Any], files: Mapping[str, bytes]
) -> StoredPretrained:
    """Publish pre-trained weights as the next version of ``name``; see :meth:`Repository.publish`."""
    manifest, path = repository.place(name, PRETRAINED_FILE, Pretrained, fields, files)
    return StoredPretrained(manifest, path)


def open_pretrained(path: Path) -> StoredPretrained:
    """Read and verify the pre-trained weights in the folder ``path``.

    Raises:
        ModelRefused: a file is missing, undeclared, linked, or not the one that was published.
    """
    manifest, _ = open_files(path, PRETRAINED_FILE, Pretrained)
    return StoredPretrained(manifest, path.absolute())


def read_pretrained(path: Path) -> Pretrained:
    """What the folder ``path`` says of itself; no other file is looked at.

    Raises:
        ModelRefused: it says nothing that holds.
    """
    return read_sealed(path, PRETRAINED_FILE, Pretrained)


def is_pretrained(path: Path) -> bool:
    """Whether a folder is a version that holds pre-trained weights."""
    return (path / PRETRAINED_FILE).exists()


def latest_of_either(repository: Repository, name: str, version: int | None) -> Path:
    """The folder of a version, of a model or pre-trained; the latest unless one is given.

    Raises:
        ModelNotFound: there is none; says what there is.
    """
    found = list_versions(repository.root, name)
    numbers = sorted([*found.numbers, *found.pretrained])
    if not numbers:
        known = ", ".join(sorted({*repository.names(), *repository.listing().pretrained})) or "none"
        raise ModelNotFound(f"no model {name!r} in {repository.root}; models there: {known}")
    if version is not None and version not in numbers:
        raise ModelNotFound(f"model {name!r} has no version {version}; versions: {', '.join(map(str, numbers))}")
    return repository.root / name / str(numbers[-1] if version is None else version)
