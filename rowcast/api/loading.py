"""``rowcast.load``: a published model by its name, or by its folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rowcast.api.model import Model
from rowcast.models.arguments import in_python_terms
from rowcast.models.errors import ConfigError, ModelNotFound, ModelRefused
from rowcast.models.listing import MANIFEST_FILE
from rowcast.models.names import DEFAULT_REPOSITORY, MAX_VERSION, is_model_name, is_version

if TYPE_CHECKING:
    from rowcast.models.repository import Repository, StoredModel

REPOSITORY_VARIABLE = "ROWCAST_REPOSITORY"
_LATEST = "latest"


@in_python_terms()
def load(
    model: str | os.PathLike[str],
    version: int | None = None,
    repository: str | os.PathLike[str] | None = None,
) -> Model:
    """Open a published model.

    >>> rowcast.load("houses:1")
    <rowcast.Model houses:1 regression>
    >>> rowcast.load("models/repository/houses/1").version
    1

    Args:
        model: its name; name and version, ``houses:3``, or ``houses:latest``; name and alias, ``houses@champion``
            (``houses@live`` is what services serve); or the folder of a version, or of a model, of which it is the
            latest version.
        version: the latest one, unless it is given here or behind the name.
        repository: where models are looked for by name; ``ROWCAST_REPOSITORY``, or ``models/repository``.

    Raises:
        ModelNotFound: no such name, version or folder.
        ModelRefused: its files are not the published ones.
        ConfigError: what is given is no name, version or folder.
    """
    if not isinstance(model, str | os.PathLike):
        raise ConfigError(f"a model is loaded by its name or folder, got {type(model).__module__}.{_kind(model)}")
    if version is not None and not (isinstance(version, int) and is_version(str(version))):
        raise ConfigError(f"version= must be a whole number from 1 to {MAX_VERSION:,}, got {version!r}")
    text = os.fspath(model)
    if not text:
        raise ConfigError("a model is loaded by its name or folder, got ''")
    name, separator, behind = text.partition(":")
    if isinstance(model, str) and is_model_name(name):
        if not separator:
            return Model(repository_at(repository).open(name, version))
        if behind != _LATEST and not is_version(behind):
            raise ConfigError(
                f"a model is named NAME, NAME:VERSION with a whole number from 1 to {MAX_VERSION:,}, or NAME:latest, "
                f"got {text!r}"
            )
        if version is not None:
            raise ConfigError(f"a version is given once, got {text!r} and version={version}")
        return Model(repository_at(repository).open(name, None if behind == _LATEST else int(behind)))
    name, separator, alias = text.partition("@")
    if isinstance(model, str) and separator and is_model_name(name):
        if version is not None:
            raise ConfigError(f"a version is given once, got {text!r} and version={version}")
        from rowcast.models.rollout import version_called

        home = repository_at(repository)
        return Model(home.open(name, version_called(home.root, name, alias)))
    return Model(_in_folder(Path(model), version))


def repository_at(folder: str | os.PathLike[str] | None) -> Repository:
    """The repository in a folder; without one, where ``ROWCAST_REPOSITORY`` says, or in ``models/repository``."""
    from rowcast.models.repository import Repository

    return Repository(folder or os.environ.get(REPOSITORY_VARIABLE, "").strip() or DEFAULT_REPOSITORY)


def _in_folder(folder: Path, version: int | None) -> StoredModel:
    """The version in a folder, or the latest of the model in it."""
    from rowcast.models.pretrained import is_pretrained
    from rowcast.models.repository import Repository, open_version

    if not folder.is_dir():
        raise ModelNotFound(
            f"a model is loaded by its name, such as houses or houses:3, or by the folder of a version; there is no "
            f"folder {folder}"
        )
    folder = folder.absolute()
    if is_pretrained(folder):
        raise ModelRefused(
            f"{folder} holds pre-trained weights, which answer nothing: a fit starts from them with --from"
        )
    if not (folder / MANIFEST_FILE).exists():
        return Repository(folder.parent).open(folder.name, version)
    if version is not None:
        raise ConfigError(f"the folder of a version says which it is, got {folder} and version={version}")
    return open_version(folder)


def _kind(value: object) -> str:
    return type(value).__qualname__
