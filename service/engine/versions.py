"""Which versions a service serves: settled by its first process, once, and proved to be good before anyone is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from rowcast.models.errors import ModelError, ModelNotFound, ModelRefused
from rowcast.models.interface import differences
from rowcast.models.listing import list_versions
from rowcast.models.names import MAX_VERSION
from rowcast.models.plain_files import UnreadableError
from rowcast.models.repository import Repository, StoredModel, read_manifest
from rowcast.models.rollout import Rollout, read_or_kept
from rowcast.models.session import Session
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")

T = TypeVar("T")


class Wanted(NamedTuple):
    """A version that is to be served, if it is good."""

    name: str
    version: int
    path: Path
    follows: Path | None = None
    """The folder of the version that clients know, whose signature it must have; None for no such."""
    allowed: bool = False
    """Whether it may have another signature all the same."""
    may_wait: bool = False
    """Whether another is served if this one is not: one that was live before."""


Attempt = Callable[[Wanted], T]
"""Proves that a version is good, and gives what is served of it. Raises a ``ModelError`` where it is not."""


def choose(settings: Settings) -> list[StoredModel]:
    """The versions that settings ask for, verified and run in this process; by name and version.

    A service that starts has them tried in processes of their own instead: :mod:`rowcast.service.live.settling`.

    Raises:
        ModelNotFound: a model that is asked for is not there.
        ModelRefused: it is not as it was published, or cannot be loaded, nor can any other version.
        DeviceError: CUDA is demanded and is absent.
    """
    # the first process opens a GPU only to prove that a demanded one works
    device = settings.device if settings.device.startswith("cuda") else "cpu"
    found, _ = choose_by(settings, lambda wanted: _open(wanted, device))
    return [stored for _, stored in sorted(found.items())]


def choose_by(
    settings: Settings, attempt: Attempt[T], *, served: Mapping[str, int] | None = None, at_once: int = 1
) -> tuple[dict[tuple[str, int], T], dict[str, int]]:
    """The versions that settings ask for, each found to be good by an attempt.

    A version that is asked for has to be good. Where none is, it is the one that somebody chose
    (:mod:`rowcast.models.rollout`), or else the newest; one that is not good is skipped with a warning while another of
    the name is, see :func:`in_order`: a publish that went wrong does not keep a service from starting.

    Args:
        settings: of the service.
        attempt: proves a version.
        served: by name the version that is served, of names that are: then none that comes behind it is looked at, and
            its signature is the one that another must have.
        at_once: how many names may be looked at at a time.

    Returns:
        what the attempts gave, by name and version; and the version of each name that follows the repository.

    Raises:
        ModelNotFound: a model that is asked for is not there.
        ModelRefused: no version of one is good; says what is wrong with the first that was looked at.
    """
    repository = Repository(settings.repository)
    for line in repository.listing().warnings:
        logger.warning("%s", line)
    choices: Sequence[tuple[str, int | None]] = settings.choices
    if not choices:
        names = repository.names()
        unreadable = [name for name in served or () if list_versions(repository.root, name).unknown]
        choices = [(name, None) for name in sorted({*names, *unreadable})]

    def settle(choice: tuple[str, int | None]) -> tuple[tuple[str, int], T]:
        name, version = choice
        home, now = repository.root / name, (served or {}).get(name)
        if version is None:
            return _best(repository, name, attempt, now, auto=settings.reload == "auto")
        if not served:
            repository.resolve(name, version)  # says what there is
        follows = None if now is None else home / str(now)
        allowed = version in _said(home, version)[0].allowed
        return (name, version), attempt(Wanted(name, version, home / str(version), follows, allowed))

    with ThreadPoolExecutor(at_once) as pool:
        settled = list(map(settle, choices) if at_once == 1 else pool.map(settle, choices))
    follow = {key[0]: key[1] for (_, version), (key, _) in zip(choices, settled, strict=True) if version is None}
    return dict(settled), follow


def nothing_to_serve(settings: Settings) -> ModelNotFound:
    """What is said of a repository without a model."""
    return ModelNotFound(
        f"there is no model in {settings.repository.absolute()}: make one with "
        "rowcast train TABLE --target COLUMN, or name another folder with ROWCAST_REPOSITORY"
    )


def in_order(said: Rollout, versions: list[int], *, auto: bool) -> list[int]:
    """The versions of a name that may be served, the one first that is to be if it is good.

    Those come first that may follow by themselves on what was chosen; then what was chosen; then what was live before,
    the last one first. None of these is a version that is on trial or that somebody went back from. Where versions go
    live by hand, no other is served; where they do by themselves, what is left of them comes last.

    Args:
        said: what operators say of the name.
        versions: those that there are, oldest first.
        auto: whether a version that was published since may follow by itself.
    """
    newest = [*reversed(versions)]
    if said.live is None and not said.once_live:
        return newest
    held = said.held_back
    later = [version for version in newest if auto and version > said.newest and said.trial is None]
    lived = [version for version in said.once_live if version not in held]
    rest = [version for version in newest if auto and version not in held]
    chosen = dict.fromkeys([*later, *([] if said.live is None else [said.live]), *lived, *rest])
    return [version for version in chosen if version in versions]


def _best(
    repository: Repository, name: str, attempt: Attempt[T], now: int | None, *, auto: bool
) -> tuple[tuple[str, int], T]:
    """The version that is to be served where none is named, and what the attempt gave.

    Raises:
        ModelNotFound: there is none.
        ModelRefused: none is good; says what is wrong with the first that was looked at.
    """
    said, fault = _said(repository.root / name, now)
    if fault:
        logger.error("%s", fault)
    versions = repository.versions(name)
    order = _until(now, in_order(said, versions, auto=auto), said)
    skipped: list[tuple[int, ModelError]] = []
    for wanted in _in_turn(repository, name, said, order, now):
        try:
            found = attempt(wanted)
        except ModelError as error:
            skipped.append((wanted.version, error))
            continue
        for number, why in skipped:
            logger.warning("%s:%d is skipped, and %s:%d is served: %s", name, number, name, wanted.version, why)
        return (name, wanted.version), found
    first = skipped[0][1] if skipped else None
    left = [version for version in versions if version not in order]
    if left:
        raise ModelRefused(
            f"{first or f'{name}:{said.live or said.served} is not there'}. No version of {name} that was live before "
            f"can take its place, and the others ({', '.join(map(str, left))}) are on trial, were gone back from, or "
            f"were never promoted: rowcast models promote {name}:VERSION chooses one"
        )
    if first is None:
        repository.resolve(name)  # says what there is
    raise first or ModelNotFound(f"no model {name!r} in {repository.root}")


def _said(home: Path, known: int | None) -> tuple[Rollout, str]:
    """What is said of a name, or was last; and what is wrong with it.

    Args:
        home: the folder of the name.
        known: the version that is served, or asked for: it is enough to know. None: what is said decides.

    Raises:
        UnreadableError: it cannot be read, and decides: the newest may be one that somebody went back from.
    """
    try:
        said, fault = read_or_kept(home)
    except UnreadableError as error:
        if known is None:
            raise
        said, fault = Rollout(), str(error)
    if fault and known is not None and said == Rollout():  # nothing is known of what was said
        said = Rollout(live=known, newest=MAX_VERSION)
    return said, fault


def _in_turn(repository: Repository, name: str, said: Rollout, order: list[int], now: int | None) -> Iterator[Wanted]:
    """The versions of a name, the one first that is to be served if it is good."""
    known = said.served if now is None else now
    for version in order:
        follows = None if version == known else _known(repository, name, version, said)
        may_wait = any(one != version and one in said.once_live for one in order)
        yield Wanted(name, version, repository.root / name / str(version), follows, version in said.allowed, may_wait)


def _until(now: int | None, order: list[int], said: Rollout) -> list[int]:
    """The versions that come before the one that is served, and that one."""
    if now is None:
        return order
    before = order[: order.index(now)] if now in order else [one for one in order if one == said.live]
    return [*before, now]


def _known(repository: Repository, name: str, version: int, said: Rollout) -> Path | None:
    """The folder of the version that clients know, as far as it is told and can be read; None for no such."""
    for one in dict.fromkeys([said.served, said.live, *said.once_live]):
        folder = repository.root / name / str(one)
        if one not in (None, version):
            with suppress(ModelError, OSError):
                read_manifest(folder)
                return folder
    return None


def _open(wanted: Wanted, device: str) -> StoredModel:
    name, version = wanted.name, wanted.version
    try:
        stored = Repository(wanted.path.parent.parent).open(name, version)
        if wanted.follows is not None and not wanted.allowed:
            known = read_manifest(wanted.follows)
            if found := differences(known.signature, stored.manifest.signature):
                raise ModelRefused(
                    f"its signature is not that of {name}:{known.version}: {'; '.join(found)}. To serve it all the "
                    f"same: rowcast models promote {name}:{version} --allow-signature-change"
                )
        check_answers(stored, device)
    except OSError as error:
        raise ModelRefused(f"{error.filename or wanted.path} cannot be read: {error.strerror}") from None
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
