"""What a process serves, and how: settled by the first process of a service, taken over by every worker."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

from rowcast.models.errors import RowcastError
from rowcast.models.repository import StoredModel
from rowcast.service.engine.catalog import CATALOG, Catalog, CatalogOwner, CatalogReader, address_of_owner
from rowcast.service.metrics.folder import use_own_metrics_folder
from rowcast.service.process.settle import hand_on, settings_of_service
from rowcast.service.process.worker_count import WorkerCount, worker_count
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")

Settle: TypeAlias = Callable[[Settings, CatalogOwner, Callable[[], bool]], Catalog]
"""Has a catalog list what is to be served; given what tells whether nobody wants to know any more. Raises a
``RowcastError`` where something may not be served, and lists what it listed."""


class Settled(NamedTuple):
    """What a process serves, and how."""

    settings: Settings
    models: Sequence[StoredModel]
    workers: WorkerCount | None = None
    """Why there are as many workers; None in a worker."""
    owner: CatalogOwner | None = None
    """What holds the models for the workers; None in a worker."""
    catalog: Catalog | None = None
    """The list that the models are of; None in the supervisor."""
    reader: CatalogReader | None = None
    """Where a worker sees newer lists; None in the supervisor."""

    @property
    def alone(self) -> str | None:
        """The name behind the routes that are for one model, where it is settled."""
        return None if self.catalog is None else self.catalog.alone

    def log(self) -> None:
        """Log why there are as many workers."""
        if self.workers is not None:
            count, why, short = self.workers
            write = logger.warning if short else logger.info
            write("%d %s: %s", count, "worker" if count == 1 else "workers", why)


def settled(settle: Settle) -> Settled:
    """The settings and the models of this process.

    The first process that asks, BentoML's supervisor, settles both, and its workers get them from it.

    Args:
        settle: has a catalog list what is to be served.

    Raises:
        RowcastError: a setting or a model is not as it must be.
    """
    settings, doubts = settings_of_service()
    for doubt in doubts:
        logger.warning(doubt)
    owner = address_of_owner()
    if owner is not None:
        reader = CatalogReader(owner)
        catalog, models = reader.open()
        return Settled(settings, models, catalog=catalog, reader=reader)
    try:
        held = CatalogOwner()
    except OSError as error:
        raise RowcastError(f"there is no room to hold the models for the workers: {error.strerror}") from None
    with _ending_when_told() as stop:
        models = settle(settings, held, stop).open()
    workers = worker_count(settings, models)
    settings = settings.model_copy(update={"workers": workers.workers})
    hand_on(settings, os.environ)
    os.environ[CATALOG] = held.address
    use_own_metrics_folder()
    return Settled(settings, models, workers, held)


@contextmanager
def _ending_when_told() -> Iterator[Callable[[], bool]]:
    """Have SIGTERM end this process as who was told to: once nobody tries a version any more, and afterwards at once,
    until the supervisor has a way of its own. What is yielded tells whether it was told."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield lambda: False
        return
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told.is_set
    finally:
        if told.is_set():
            os._exit(0)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def settle_anew(given: Settled, settle: Settle, stop: Callable[[], bool]) -> bool:
    """Settle the models of a service anew while it runs; where that fails, what was served is served on.

    Args:
        given: what the supervisor settled when it started.
        settle: has a catalog list what is to be served.
        stop: tells whether nobody wants to know any more.

    Returns:
        whether the workers are to be replaced.
    """
    assert given.owner is not None, "this is the supervisor"
    try:
        served = settle(given.settings, given.owner, stop).entries
    except (RowcastError, OSError) as error:
        logger.error("told to reload, but what was served is served on: %s", error)
        return False
    logger.info("reloading: %s", ", ".join(f"{one.name}:{one.version}" for one in served))
    return True
