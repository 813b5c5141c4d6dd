"""The models a worker serves: which ones, and whether the worker is ready for requests."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rowcast.models.errors import RequestError
from rowcast.models.repository import StoredModel
from rowcast.service.engine.arrivals import Arrivals
from rowcast.service.engine.model import Model
from rowcast.service.engine.versions import choose, nothing_to_serve
from rowcast.service.errors import brief
from rowcast.service.limits.byte_budget import ByteBudget
from rowcast.service.limits.heap import give_back_large_blocks
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")

LOADING = "the model is still being loaded: try again in a moment"


class Registry:
    """Every served model, and the state of the worker that serves them.

    Args:
        settings: which models to serve, and how.
        models: what to serve, where it is settled already. Default: what the settings choose.

    Raises:
        ModelNotFound: a model that was asked for is not in the repository.
        ModelRefused: a model's files are not the ones that were published.
    """

    def __init__(self, settings: Settings, models: Sequence[StoredModel] | None = None) -> None:
        self.settings = settings
        self.ready = False
        """Whether every model is loaded and warmed up."""
        self.draining = False
        """Whether the worker was told to stop, and only serves on until callers have noticed."""
        self.models: dict[str, Model] = {}
        """The model behind each name: its newest served version."""
        self.versions: dict[tuple[str, int], Model] = {}
        self.budget = ByteBudget(settings.byte_limit)
        """The bytes of the bodies that this worker holds."""
        chosen = choose(settings) if models is None else models
        self._stored = {(stored.manifest.name, stored.manifest.version): stored for stored in chosen}
        numbers: dict[str, list[int]] = {}
        for name, version in sorted(self._stored):
            numbers.setdefault(name, []).append(version)
        for (name, version), stored in sorted(self._stored.items()):
            served = Model(stored, numbers[name], settings, self.budget)
            self.models[name] = self.versions[name, version] = served
        self._names = {(name, ""): served for name, served in self.models.items()}
        self._names |= {(name, str(version)): served for (name, version), served in self.versions.items()}
        self.arrivals = Arrivals()
        """Requests that are about to be queued, for whichever model."""
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="run")
        """Where longer runs go: one at a time, whatever the model. It starts with the first of them."""

    @property
    def only(self) -> Model | None:
        """The served model, if there is one name only."""
        return next(iter(self.models.values())) if len(self.models) == 1 else None

    def find(self, name: str, version: str = "") -> Model:
        """The model that a request asks for.

        Args:
            name: the model's.
            version: one of its served versions, in digits; empty for the newest.

        Raises:
            RequestError: 404 where there is none; 503 while it is still being loaded.
        """
        served = self._names.get((name, version))
        if served is None:
            which = brief(name) + (f" of version {brief(version)}" if version else "")
            raise RequestError(f"no model {which} is served; GET /models lists those that are", status=404)
        if not self.ready:
            raise RequestError(LOADING, status=503)
        return served

    def check(self) -> None:
        """Make sure that there is something to serve.

        Raises:
            ModelNotFound: there is not.
        """
        if not self.models:
            raise nothing_to_serve(self.settings)

    async def start(self) -> None:
        """Load every model and warm it up, on the running event loop; then the worker is ready."""
        give_back_large_blocks()
        for key, stored in self._stored.items():
            served = self.versions[key]
            provider = served.load(stored, self.settings.device, self.thread, self.arrivals)
            logger.info("serving %s:%d on %s, in runs of up to %d rows", *key, provider, served.batcher.max_rows)
        self._stored.clear()  # the sessions have copies of the graphs
        self.ready = True

    def rows_wait(self) -> bool:
        """Whether rows wait for the end of another run, of any model. Those of the next one are as good as taken."""
        batchers = (served.batcher for served in self.versions.values())
        return self.ready and any(batcher.busy and batcher.queued_rows for batcher in batchers)

    def flush_meters(self) -> None:
        """Have what was counted until now in the metrics."""
        for served in self.versions.values():
            served.meter.flush()

    def stop(self) -> None:
        """Let go of the thread, when the last answer is out."""
        self.ready = False
        self.flush_meters()
        self.thread.shutdown()
