"""Which versions a service serves: settled by its first process, once, and proved to be whole before anyone is told."""

from __future__ import annotations

import logging

from rowcast.models.errors import ModelError, ModelNotFound, ModelRefused
from rowcast.models.interface import differences
from rowcast.models.repository import Repository, StoredModel, read_manifest
from rowcast.models.rollout import Rollout, read_rollout
from rowcast.models.session import Session
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")


def choose(settings: Settings) -> list[StoredModel]:
    """The versions that settings ask for, verified; by name and version.

    A version that is asked for has to be whole. Where none is, it is the one that somebody chose
    (:mod:`rowcast.models.rollout`), or else the newest; one that is broken is skipped with a warning while another of
    the name is whole: a publish that went wrong does not keep a service from starting.

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
    auto = settings.reload == "auto"
    found: dict[tuple[str, int], StoredModel] = {}
    for name, version in settings.choices or [(name, None) for name in repository.names()]:
        stored = (
            _best(repository, name, device, auto=auto) if version is None else _open(repository, name, version, device)
        )
        found[name, stored.manifest.version] = stored
    return [stored for _, stored in sorted(found.items())]


def nothing_to_serve(settings: Settings) -> ModelNotFound:
    """What is said of a repository without a model."""
    return ModelNotFound(
        f"there is no model in {settings.repository.absolute()}: make one with "
        "rowcast train TABLE --target COLUMN, or name another folder with ROWCAST_REPOSITORY"
    )


def _best(repository: Repository, name: str, device: str, *, auto: bool) -> StoredModel:
    """The version that is to be served where none is named: the one that somebody chose, or else the newest.

    Args:
        repository: of the model.
        name: of the model.
        device: that it is served on.
        auto: whether a version that was published since may follow by itself.

    Raises:
        ModelNotFound: there is none.
        ModelRefused: none is whole; says what is wrong with the first that was looked at.
    """
    first: ModelError | None = None
    skipped: list[tuple[int, ModelError]] = []
    said, versions = _said(repository, name), repository.versions(name)
    for version in _in_order(said, versions, auto=auto):
        try:
            stored = _open(repository, name, version, device)
            _check_follows(stored, said, repository)
        except ModelError as error:
            first = first or error
            skipped.append((version, error))
            continue
        for number, why in skipped:
            logger.warning("%s:%d is skipped, and %s:%d is served: %s", name, number, name, version, why)
        return stored
    if first is not None:
        raise first
    repository.resolve(name)  # says what there is
    raise ModelNotFound(f"no model {name!r} in {repository.root}")


def _said(repository: Repository, name: str) -> Rollout:
    try:
        return read_rollout(repository.root / name)
    except ModelRefused as error:
        logger.error("%s; the newest version is served", error)
        return Rollout()


def _in_order(said: Rollout, versions: list[int], *, auto: bool) -> list[int]:
    """The versions of a name, the one first that is to be served if it is good."""
    newest = [*reversed(versions)]
    if said.live is None:
        return newest
    later = [version for version in newest if auto and version > said.newest and said.trial is None]
    chosen = later + [said.live] * (said.live in versions)
    return chosen + [version for version in newest if version not in chosen]


def _check_follows(stored: StoredModel, said: Rollout, repository: Repository) -> None:
    """Make sure that a version may follow by itself on the one that somebody chose.

    Raises:
        ModelRefused: it has another signature.
    """
    name, version = stored.manifest.name, stored.manifest.version
    if said.live is None or version <= said.newest or version in said.allowed:
        return
    try:
        chosen = read_manifest(repository.root / name / str(said.live))
    except (ModelError, OSError):
        return  # there is nothing that it could follow on
    if found := differences(chosen.signature, stored.manifest.signature):
        raise ModelRefused(
            f"its signature is not that of {name}:{said.live}: {'; '.join(found)}. To serve it all the same: "
            f"rowcast models promote {name}:{version} --allow-signature-change"
        )


def _open(repository: Repository, name: str, version: int, device: str) -> StoredModel:
    try:
        stored = repository.open(name, version)
        check_answers(stored, device)
    except OSError as error:
        raise ModelRefused(f"{error.filename or repository.root} cannot be read: {error.strerror}") from None
    return stored


def check_answers(stored: StoredModel, device: str) -> None:
    """Make sure that a version answers at all, and with numbers.

    Args:
        stored: the version.
        device: that it is run on.

    Raises:
        ModelRefused: it does not.
        DeviceError: CUDA is demanded and is absent.
    """
    which = f"{stored.manifest.name}:{stored.manifest.version}"
    try:
        session = Session.of(stored, device)
    except ValueError as error:  # the signature in the graph is none
        raise ModelRefused(f"{which} cannot be served: {str(error).splitlines()[0]}") from None
    try:
        finite = session.run(session.missing_rows(1)).finite
    except Exception as error:  # ONNX Runtime raises a dozen unrelated classes here
        raise ModelRefused(f"{which} cannot answer: {str(error).splitlines()[0]}") from error
    if not finite:
        raise ModelRefused(f"{which} answers with a number that is not finite")
