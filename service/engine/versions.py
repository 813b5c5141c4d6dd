"""Which versions a service serves: settled by its first process, once, and proved to be whole before anyone is told."""

from __future__ import annotations

import logging

from rowcast.models.errors import ModelError, ModelNotFound, ModelRefused
from rowcast.models.repository import Repository, StoredModel
from rowcast.models.session import Session
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")


def choose(settings: Settings) -> list[StoredModel]:
    """The versions that settings ask for, verified; by name and version.

    A version that is asked for has to be whole. Where the latest is asked for, one that is broken is skipped with a
    warning while an older one of the name is whole: a publish that went wrong does not keep a service from starting.

    Raises:
        ModelNotFound: a model that is asked for is not there.
        ModelRefused: it is not as it was published, or cannot be loaded, nor can any older version.
        DeviceError: CUDA is demanded and is absent.
    """
    repository = Repository(settings.repository)
    for line in repository.listing().warnings:
        logger.warning("%s", line)
    # the first process opens a GPU only to prove that a demanded one works
    device = settings.device if settings.device.startswith("cuda") else "cpu"
    found: dict[tuple[str, int], StoredModel] = {}
    for name, version in settings.choices or [(name, None) for name in repository.names()]:
        stored = _latest(repository, name, device) if version is None else _open(repository, name, version, device)
        found[name, stored.manifest.version] = stored
    return [stored for _, stored in sorted(found.items())]


def nothing_to_serve(settings: Settings) -> ModelNotFound:
    """What is said of a repository without a model."""
    return ModelNotFound(
        f"there is no model in {settings.repository.absolute()}: make one with "
        "rowcast train TABLE --target COLUMN, or name another folder with ROWCAST_REPOSITORY"
    )


def _latest(repository: Repository, name: str, device: str) -> StoredModel:
    """The newest version that is whole.

    Raises:
        ModelNotFound: there is none.
        ModelRefused: none is whole; says what is wrong with the newest.
    """
    newest: ModelError | None = None
    skipped: list[tuple[int, ModelError]] = []
    for version in reversed(repository.versions(name)):
        try:
            stored = _open(repository, name, version, device)
        except ModelError as error:
            newest = newest or error
            skipped.append((version, error))
            continue
        for number, why in skipped:
            logger.warning("%s:%d is skipped, and %s:%d is served: %s", name, number, name, version, why)
        return stored
    if newest is not None:
        raise newest
    repository.resolve(name)  # says what there is
    raise ModelNotFound(f"no model {name!r} in {repository.root}")


def _open(repository: Repository, name: str, version: int, device: str) -> StoredModel:
    try:
        stored = repository.open(name, version)
        Session.of(stored, device)
    except OSError as error:
        raise ModelRefused(f"{error.filename or repository.root} cannot be read: {error.strerror}") from None
    except ValueError as error:  # the signature in the graph is none
        raise ModelRefused(f"{name}:{version} cannot be served: {str(error).splitlines()[0]}") from None
    return stored
