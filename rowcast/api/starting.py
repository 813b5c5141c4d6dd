"""What ``start_from=`` names: a model, its name, or its folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rowcast.api.loading import load, repository_at
from rowcast.api.model import Model
from rowcast.models.errors import ConfigError
from rowcast.models.listing import list_versions
from rowcast.models.names import is_model_name, is_version
from rowcast.models.pretrained import is_pretrained, latest_of_either, open_pretrained
from rowcast.models.repository import Repository

if TYPE_CHECKING:
    from rowcast.training.start.start import Start

NOT_PUBLISHED = "the model that is not published"


def start_at(given: Any, repository: str | os.PathLike[str] | None) -> Start | None:
    """The model that a fit starts from; None for fresh weights.

    Args:
        given: a :class:`rowcast.Model`; the name of one or of pre-trained weights, ``houses``, ``houses:3``; the folder
            of a version; or None.
        repository: where models are looked for by name.

    Raises:
        ConfigError: it is none of these.
        ModelNotFound: no such name, version or folder.
        ModelRefused: its files are not the published ones, or a fit cannot start from it.
    """
    if given is None:
        return None
    if not isinstance(given, str | os.PathLike | Model):
        raise ConfigError(
            "start_from= must be a model, its name such as 'houses' or 'houses:3', or its folder, got a "
            f"{type(given).__module__}.{type(given).__qualname__}"
        )
    if given == "":
        raise ConfigError("--from must be the name of a model, such as houses or houses:3, or its folder, got ''")
    from rowcast.training.start.start import start_of, start_of_pretrained

    if not isinstance(given, Model):
        folder = _pretrained_at(given, repository)
        if folder is not None:
            return start_of_pretrained(open_pretrained(folder))
    model = given if isinstance(given, Model) else load(given, repository=repository)
    return start_of(model.stored, "" if model.name is not None else NOT_PUBLISHED)


def _pretrained_at(given: str | os.PathLike[str], repository: str | os.PathLike[str] | None) -> Path | None:
    """The folder of pre-trained weights that a name or a path stands for; None where it is that of a model, or none."""
    name, separator, version = os.fspath(given).partition(":")
    if isinstance(given, str) and is_model_name(name):
        home = repository_at(repository)
        if (separator and not is_version(version)) or not list_versions(home.root, name).pretrained:
            return None  # whatever is wrong with it, is said of it as a model
        folder = latest_of_either(home, name, int(version) if separator else None)
    else:
        folder = Path(given)
        if is_model_name(folder.name) and list_versions(folder.parent, folder.name).pretrained:
            folder = latest_of_either(Repository(folder.parent), folder.name, None)
    return folder.absolute() if is_pretrained(folder) else None
