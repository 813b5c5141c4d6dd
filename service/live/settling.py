"""What a service begins with, and what it goes on with after SIGHUP: versions that passed the same trial as any other.

Each is tried in a process of its own (:mod:`rowcast.service.live.trial`), some names at a time. At a start, its
signature has to be that of the version that was live last, as far as the repository tells; at SIGHUP, that of the one
that is served. What is served and is as it was need not be tried again; nor is it given up for an older version, or
because its folder is gone.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from rowcast.models.errors import DeviceError, ModelError, ModelRefused, RowcastError
from rowcast.models.machine.limits import usable_cores
from rowcast.models.repository import open_version
from rowcast.service.engine.catalog import Catalog, CatalogOwner, Entry
from rowcast.service.engine.versions import Wanted, choose_by
from rowcast.service.live.candidate import NICE, Candidate, try_version
from rowcast.service.live.checks import Refused
from rowcast.service.live.staging import Interrupted
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")

_MOST_AT_ONCE = 16
_PATIENCE_SECONDS = 15.0
"""How long a start waits for a version while one that was live before could be served. A service that runs goes on
trying it."""
_TRIES = 10


def settle(settings: Settings, owner: CatalogOwner, stop: Callable[[], bool]) -> Catalog:
    """Have the catalog list what is to be served; what is listed already is what is served.

    Args:
        settings: of the service.
        owner: of the catalog.
        stop: tells whether nobody wants to know any more.

    Raises:
        ModelNotFound: a model that is asked for is not there.
        ModelRefused: no version of one may be served; says what is wrong with the first that was looked at.
        DeviceError: CUDA is demanded and is absent.
        RowcastError: there is nothing to serve, or no room to hold it.
    """
    for _ in range(_TRIES):
        before = owner.catalog
        trials = _Trials(settings, owner, before, stop)
        try:
            # on a GPU, which all share, one beside others would be taken for slow
            at_once = min(usable_cores(), _MOST_AT_ONCE) if settings.device == "cpu" else 1
            found, follow = choose_by(settings, trials.attempt, served=trials.served, at_once=at_once)
            entries = [entry for _, entry in sorted(found.items())]
            names = {entry.name for entry in entries}
            if before.entries and not entries:
                raise RowcastError(f"there is no model in {settings.repository}")
            with owner.lock:
                if owner.catalog.entries == before.entries:  # else another went live meanwhile
                    entries = _with_trials(entries, owner.catalog)
                    return owner.show(entries, alone=names.pop() if len(names) == 1 else None, live=follow)
        finally:
            owner.release(trials.adopted)
    raise RowcastError("what is served changes faster than it can be settled anew")


def _with_trials(entries: list[Entry], before: Catalog) -> list[Entry]:
    """Versions that are to be listed, and those that are on trial beside one of them, and go on."""
    listed = {(entry.name, entry.version): entry for entry in entries}
    held = {(entry.name, entry.version): entry for entry in before.entries}
    for trial in before.trials:
        if (trial.name, trial.live) in listed:
            listed.setdefault((trial.name, trial.version), held[trial.name, trial.version])
    return [entry for _, entry in sorted(listed.items())]


class _Trials:
    """Has versions tried for a place in the catalog.

    Args:
        settings: of the service.
        owner: of the catalog.
        before: what it lists.
        stop: tells whether nobody wants to know any more.
    """

    def __init__(self, settings: Settings, owner: CatalogOwner, before: Catalog, stop: Callable[[], bool]) -> None:
        self._settings = settings
        self._owner = owner
        self._stop = stop
        self._listed = {(entry.name, entry.version): entry for entry in before.entries}
        listed, choices = Counter(entry.name for entry in before.entries), settings.choices
        followed = {name for name, version in choices if version is None} if choices else {*listed}
        self.served = {name: version for name, version in before.live if name in followed or listed[name] == 1}
        """By name the version whose clients are there. Of a name of which some are asked for, they are of any."""
        self.adopted: list[Entry] = []

    def attempt(self, wanted: Wanted) -> Entry:
        """What the catalog may list of a version.

        Raises:
            ModelRefused: it may not be served.
            DeviceError: CUDA is demanded and is absent.
            RowcastError: there is no room to hold it.
        """
        listed = self._listed.get((wanted.name, wanted.version))
        if listed is not None and not _is_another(listed, wanted):
            return listed
        old: Entry | None = None
        if wanted.name in self.served:
            old = self._listed[wanted.name, self.served[wanted.name]]
        starts = not self._listed
        candidate = Candidate(wanted.name, wanted.version, wanted.path, wanted.allowed)
        try:
            entry = try_version(
                candidate,
                old or wanted.follows,
                self._owner,
                device=self._settings.device,
                workers=0 if starts else self._settings.workers,
                stop=self._stop,
                nice=0 if starts else NICE,
                **({"seconds": _PATIENCE_SECONDS} if starts and wanted.may_wait else {}),
            )
        except Refused as refused:
            if listed is not None:
                logger.warning(
                    "%s is served on until it is replaced, though its folder holds another: %s", candidate, refused
                )
                return listed
            kind = DeviceError if refused.kind == "device" else ModelRefused
            raise kind(f"{candidate} cannot be served: {refused}") from None
        except Interrupted as interrupted:
            raise ModelRefused(f"{candidate} was not tried: {interrupted}") from None
        except OSError as error:
            raise RowcastError(f"there is no room to hold {candidate} for the workers: {error.strerror}") from None
        self.adopted.append(entry)
        return entry


def _is_another(listed: Entry, wanted: Wanted) -> bool:
    """Whether the folder of a version that is served holds another by now, and a whole one."""
    try:
        stored = open_version(wanted.path)
    except (ModelError, OSError) as error:
        logger.warning("%s:%d is served on until it is replaced: %s", wanted.name, wanted.version, error)
        return False
    return stored.manifest != listed.open().manifest
