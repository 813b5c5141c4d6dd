"""Models as the command line names them: ``NAME:VERSION`` or ``NAME@ALIAS`` in a repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rowcast.models.errors import ConfigError, ModelError
from rowcast.models.listing import list_versions
from rowcast.models.names import MAX_VERSION, check_model_name, is_model_name, is_version
from rowcast.models.pretrained import StoredPretrained, open_pretrained
from rowcast.models.repository import Repository, StoredModel
from rowcast.models.rollout import version_called


def _repository(context: typer.Context, given: Path) -> Path:
    """The folder that ``.env`` names, where neither the command line nor the environment names one."""
    source = context.get_parameter_source("repository")
    if source is None or source.name != "DEFAULT":
        return given
    from rowcast.service.variables import Variables

    variables = Variables.read(Path.cwd())
    named = variables.values.get("ROWCAST_REPOSITORY")
    return variables.path(named.value) if named is not None and named.value.strip() else given


RepositoryOption = Annotated[
    Path,
    typer.Option(
        "--repository",
        envvar="ROWCAST_REPOSITORY",
        help="Where models live.",
        metavar="DIR",
        callback=_repository,
    ),
]
ModelArgument = Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help="A model of the repository.")]


def checked_name(name: str) -> str:
    """The name of ``--name``; one that no model may bear is wrong usage."""
    try:
        return check_model_name(name)
    except ModelError as error:
        raise ConfigError(str(error)) from None


def name_and_version(model: str, repository: Path) -> tuple[str, int | None]:
    """The parts of ``NAME[:VERSION]``, or of ``NAME@ALIAS``, whose version the repository tells.

    Raises:
        ConfigError: the version is no whole number from 1.
        ModelNotFound: no version is called so.
    """
    name, separator, alias = model.partition("@")
    if separator and is_model_name(name):
        return name, version_called(repository, name, alias)
    name, separator, version = model.partition(":")
    if not separator:
        return name, None
    if not is_version(version):
        raise ConfigError(
            f"a model is NAME, NAME@ALIAS or NAME:VERSION with a whole number from 1 to {MAX_VERSION:,}, got {model!r}"
        )
    return name, int(version)


def open_pretrained_as(model: str, repository: Path) -> StoredPretrained | None:
    """The pre-trained weights that ``NAME[:VERSION]`` names; None where it names a model, or nothing."""
    name, version = name_and_version(model, repository)
    found = list_versions(repository, name)
    if version is None and not found.numbers and found.pretrained:
        version = found.pretrained[-1]
    return open_pretrained(repository / name / str(version)) if version in found.pretrained else None


def open_model(model: str, repository: Path) -> StoredModel:
    """The model that ``NAME[:VERSION]`` names."""
    return Repository(repository).open(*name_and_version(model, repository))
