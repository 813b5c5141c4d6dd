"""What a process serves, and how: settled by the first process of a service, taken over by every worker."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from bentoml._internal.utils.circus import Arbiter

from rowcast.models.errors import RowcastError
from rowcast.models.repository import StoredModel
from rowcast.service.engine.catalog import CATALOG, Catalog, CatalogOwner, CatalogReader, address_of_owner
from rowcast.service.engine.versions import choose
from rowcast.service.metrics.folder import use_own_metrics_folder
from rowcast.service.process.settle import hand_on, settings_of_service
from rowcast.service.process.worker_count import WorkerCount, worker_count
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")


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


def settled() -> Settled:
    """The settings and the models of this process.

    The first process that asks, BentoML's supervisor, settles both, and its workers get them from it. Told to reload
    with SIGHUP, it settles the models anew before it replaces the workers.

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
    chosen = choose(settings)
    workers = worker_count(settings, chosen)
    settings = settings.model_copy(update={"workers": workers.workers})
    hand_on(settings, os.environ)
    try:
        held = CatalogOwner()
        held.publish(chosen)
    except OSError as error:
        raise RowcastError(f"there is no room to hold the models for the workers: {error.strerror}") from None
    os.environ[CATALOG] = held.address
    use_own_metrics_folder()
    _settle_at_reload(settings, held)
    return Settled(settings, chosen, workers, held)


def _settle_at_reload(settings: Settings, catalog: CatalogOwner) -> None:
    """Have the supervisor settle the models anew before it replaces the workers; without one it replaces none."""
    reload = Arbiter.reload

    def settle_and_reload(self: Any, *args: Any, **options: Any) -> Any:
        try:
            models = choose(settings)
            if not models:
                raise RowcastError("there is no model")
            catalog.publish(models)
        except (RowcastError, OSError) as error:
            logger.error("told to reload, but what was served is served on: %s", error)
            return None
        logger.info("reloading: %s", ", ".join(f"{m.manifest.name}:{m.manifest.version}" for m in models))
        return reload(self, *args, **options)

    Arbiter.reload = settle_and_reload
