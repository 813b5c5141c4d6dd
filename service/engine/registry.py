"""The models a worker serves: which ones, and whether the worker is ready for requests."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias

from rowcast.models.errors import RequestError
from rowcast.models.repository import StoredModel
from rowcast.service.caller import Caller
from rowcast.service.engine.arrivals import Arrivals
from rowcast.service.engine.catalog import Note
from rowcast.service.engine.model import Model
from rowcast.service.engine.versions import choose, nothing_to_serve
from rowcast.service.errors import brief
from rowcast.service.limits.byte_budget import ByteBudget
from rowcast.service.limits.heap import give_back_large_blocks
from rowcast.service.rollout.compare import Runs, Shadow
from rowcast.service.rollout.split import Split
from rowcast.service.rollout.tally import Tally
from rowcast.service.rollout.trial import Trial
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")

Alias: TypeAlias = tuple[str, str, int]
"""Name, alias and version."""

_CALLED = re.compile(r"[a-z0-9_-]{1,64}@[a-z][a-z0-9_-]{0,63}")
"""NAME@ALIAS."""

LOADING = "the model is still being loaded: try again in a moment"


class Part(Protocol):
    """Who keeps something of each model, such as its routes: it has to follow when other models are served."""

    def prepare(self, model: Model) -> None:
        """Make what is kept of a model that may be served soon; on a thread other than the event loop's."""

    def follow(self) -> None:
        """Keep what belongs to the models that are served now, and nothing of any other; on the event loop."""


class Changes(Protocol):
    """Changes what is served, for who may."""

    def who(self, caller: Caller) -> str:
        """Who asks for a change.

        Raises:
            RequestError: 403: whoever it is may not.
        """

    async def settle(self) -> None:
        """Wait until this worker serves what all are to serve now."""

    async def promote(self, name: str, version: int | None, *, allow_signature_change: bool, who: str) -> str:
        """Have a version served, the newest unless one is given: why nothing came of it, an empty text when it is."""


class Registry:
    """Every served model, and the state of the worker that serves them.

    What is served may be replaced while the worker runs (:meth:`serve`). Tables are made anew then and never changed,
    so a request goes on with what it began with.

    Args:
        settings: which models to serve, and how.
        models: what to serve, where it is settled already. Default: what the settings choose.
        alone: the name behind the routes that are for one model. Default: the only name.
        trials: the versions among them that are on trial.
        aliases: name, alias and version of those that somebody called so.
        live: name and version of those that answer requests which name no version. Default: the newest of each name
            that is not on trial.

    Raises:
        ModelNotFound: a model that was asked for is not in the repository.
        ModelRefused: a model's files are not the ones that were published.
    """

    def __init__(
        self,
        settings: Settings,
        models: Sequence[StoredModel] | None = None,
        alone: str | None = None,
        trials: Sequence[Trial] = (),
        aliases: Sequence[Alias] = (),
        live: Sequence[tuple[str, int]] = (),
    ) -> None:
        self.settings = settings
        self.ready = False
        """Whether every model is loaded and warmed up."""
        self.draining = False
        """Whether the worker was told to stop, and only serves on until callers have noticed."""
        self.replaced: Callable[[], bool] = lambda: False
        """Tells whether another worker has taken its place, if it was told to stop: the service does not end."""
        self.models: dict[str, Model]
        """The model behind each name: its live version."""
        self.versions: dict[tuple[str, int], Model]
        self.only: Model | None
        """The model behind the routes that are for one: of the only name when the service started, and of this name
        though others have come."""
        self.trials: dict[str, Split[Model]] = {}
        """The versions on trial, by name."""
        self.splits: dict[str, Split[Model]] = {}
        """Those that answer requests that name no version."""
        self._shadows: list[Shadow] = []
        self.aliases: dict[tuple[str, str], Model] = {}
        """Served versions by name and alias."""
        self._unserved: dict[str, str] = {}
        """Aliases of versions that are not served, and what is told of them."""
        self.budget = ByteBudget(settings.byte_limit)
        """The bytes of the bodies that this worker holds."""
        self.notes: Sequence[Note] = ()
        """What is to be told of versions that are not simply served."""
        self.changes: Changes | None = None
        """What changes what is served; None where nothing does."""
        self.measured: Callable[[Split[Model]], Tally] = lambda split: split.tally
        """What was counted of a version on trial."""
        self.arrivals = Arrivals()
        """Requests that are about to be queued, for whichever model."""
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="run")
        """Where longer runs go: one at a time, whatever the model. It starts with the first of them."""
        self._parts: list[Part] = []
        chosen = choose(settings) if models is None else models
        self._stored = {(stored.manifest.name, stored.manifest.version): stored for stored in chosen}
        made = [Model(stored, [], settings, self.budget) for stored in self._stored.values()]
        names = {model.name for model in made}
        self._tabulate(made, next(iter(names)) if alone is None and len(names) == 1 else alone, trials, aliases, live)

    def _tabulate(
        self,
        models: Iterable[Model],
        alone: str | None,
        trials: Sequence[Trial],
        aliases: Sequence[Alias],
        live: Sequence[tuple[str, int]],
    ) -> None:
        self.versions = {(model.name, model.version): model for model in sorted(models, key=_name_and_version)}
        tried = {(trial.name, trial.version) for trial in trials}
        self.models = {key[0]: model for key, model in self.versions.items() if key not in tried}  # the newest is last
        self.models |= {trial.name: self.versions[trial.name, trial.live] for trial in trials}
        self.models |= {key[0]: self.versions[key] for key in live if key in self.versions}
        self.aliases = {
            (name, alias): self.versions[name, version]
            for name, alias, version in aliases
            if (name, version) in self.versions
        }
        self._unserved = {
            f"{name}@{alias}": f"{name}@{alias} is {name}:{version}, which is not served: "
            f"ROWCAST_MODELS={name},{name}:{version} serves it as well"
            for name, alias, version in aliases
            if (name, version) not in self.versions
        }
        self._try(trials)
        numbers: dict[str, list[int]] = {}
        for name, version in self.versions:
            numbers.setdefault(name, []).append(version)
        for model in self.versions.values():
            model.versions = numbers[model.name]
        self._names = {(name, ""): served for name, served in self.models.items()}
        self._names |= {(name, str(version)): served for (name, version), served in self.versions.items()}
        self._names |= {(f"{name}@{alias}", ""): served for (name, alias), served in self.aliases.items()}
        self.only = None if alone is None else self.models.get(alone)

    def _try(self, trials: Sequence[Trial]) -> None:
        """Have versions on trial beside the live ones; what was counted of those that go on is kept."""
        counted = {split.trial.number: split.tally for split in self.trials.values()}
        self.trials = {
            trial.name: Split(
                trial,
                self.versions[trial.name, trial.live],
                self.versions[trial.name, trial.version],
                counted.get(trial.number) or Tally(),
            )
            for trial in trials
        }
        self.splits = {name: split for name, split in self.trials.items() if split.trial.canary is not None}

    def _compare(self) -> None:
        """Have the versions on trial compared with the live ones; on the event loop."""
        for shadow in self._shadows:
            shadow.end()
        self._shadows = []
        for split in self.trials.values():
            live, new, trial = split.live, split.new, split.trial
            assert live.run is not None, "it has begun"
            assert new.run is not None, "it has begun"
            costs: dict[Runs, float] = {live.run: live.seconds_per_row, new.run: new.seconds_per_row}
            if trial.shadow:
                self._shadows.append(
                    Shadow(live.run, new.run, trial.shadow, split.tally, costs, self.is_idle, is_new=True)
                )
            if trial.canary:  # what it answers is compared, too
                self._shadows.append(Shadow(new.run, live.run, 1.0, split.tally, costs, self.is_idle, is_new=False))

    def is_idle(self) -> bool:
        """Whether no rows wait, run or come, of any model."""
        return not self.arrivals.expected(time.perf_counter()) and all(
            served.batcher.idle for served in self.versions.values()
        )

    def join(self, part: Part) -> None:
        """Have somebody follow when other models are served."""
        self._parts.append(part)

    def prepare(self, stored: StoredModel) -> Model:
        """Open a version that may be served soon, and make all that is needed to serve it; not on the event loop.

        Raises:
            RowcastError: it cannot be opened.
        """
        model = Model(stored, [stored.manifest.version], self.settings, self.budget)
        model.open(stored, self.settings.device, time.thread_time)
        for part in self._parts:
            part.prepare(model)
        return model

    def serve(
        self,
        models: Iterable[Model],
        alone: str | None,
        trials: Sequence[Trial] = (),
        aliases: Sequence[Alias] = (),
        live: Sequence[tuple[str, int]] = (),
    ) -> None:
        """Answer new requests with these models, in one step; on the event loop.

        Those that began on another are answered by that one, which is gone with the last of them.

        Args:
            models: those that are served already, and others from :meth:`prepare`.
            alone: the name behind the routes that are for one model.
            trials: the versions among them that are on trial.
            aliases: name, alias and version of those that somebody called so.
            live: name and version of those that answer requests which name no version.
        """
        models = list(models)
        for model in models:
            if model.is_open:
                model.begin(self.thread, self.arrivals)
        self._tabulate(models, alone, trials, aliases, live)
        self._compare()
        self.follow()

    def follow(self) -> None:
        """Have everybody keep what belongs to the models that are served, and nothing of any other."""
        for part in self._parts:
            part.follow()

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
            words = self.unserved_in(name) or f"no model {which} is served"
            raise RequestError(f"{words}; GET /models lists those that are", status=404)
        if not self.ready:
            raise RequestError(LOADING, status=503)
        return served

    def unserved_in(self, path: str) -> str:
        """What is told of an alias in a path whose version is not served; an empty text for none."""
        called = _CALLED.search(path)
        return "" if called is None else self._unserved.get(called[0], "")

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
            served.load(stored, self.settings.device, self.thread, self.arrivals)
            logger.info("serving %s:%d on %s, in runs of up to %d rows", *key, served.provider, served.batcher.max_rows)
        self._stored.clear()  # the sessions have copies of the graphs
        self._compare()
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


def _name_and_version(model: Model) -> tuple[str, int]:
    return model.name, model.version
