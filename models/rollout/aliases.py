"""Which version ``NAME@ALIAS`` stands for."""

from __future__ import annotations

from pathlib import Path

from rowcast.models.errors import ModelNotFound
from rowcast.models.listing import list_versions
from rowcast.models.names import LATEST, LIVE
from rowcast.models.rollout.file import read_or_kept, read_rollout
from rowcast.models.rollout.record import Rollout


def live_version(said: Rollout, versions: list[int]) -> int | None:
    """The version that services serve, as far as the repository tells; None where there is none.

    What services have written down goes before what was chosen: they do not serve a version that is damaged.
    """
    return next((one for one in (said.served, said.live) if one in versions), max(versions, default=None))


def version_called(root: Path, name: str, alias: str, *, or_kept: bool = False) -> int | None:
    """The version of a model that an alias stands for; None for the newest.

    Args:
        root: the repository.
        name: of the model.
        alias: what somebody called it; or ``live``, the one that is served, or ``latest``.
        or_kept: where the file is nonsense, whether the last that made sense counts.

    Raises:
        ModelNotFound: no version is called so, or it is there no more.
        ModelRefused: ``rollout.json`` is none of ours.
    """
    versions = list_versions(root, name).numbers
    if alias == LATEST or not versions:  # of a model that is not there, another says what there is
        return None
    if not or_kept:
        read_rollout(root / name)  # which says so where it is none of ours
    said = read_or_kept(root / name)[0]
    if alias == LIVE:
        return live_version(said, versions)
    if alias not in said.aliases:
        known = ", ".join([*sorted(said.aliases), LIVE, LATEST])
        raise ModelNotFound(f"no version of {name} is called {alias!r}; aliases: {known}")
    version = said.aliases[alias]
    if version not in versions:
        raise ModelNotFound(f"{name}@{alias} is {name}:{version}, which is not in the repository any more")
    return version
