"""A worker's part in changing what is served: it opens what is staged, and takes what is live.

It looks at the board of the catalog twenty times a second: eight bytes of shared memory. Whatever takes longer is done
by a thread of its own, and only the step from one set of tables to the next by the event loop. Requests know nothing
of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rowcast.models.errors import ModelRefused
from rowcast.service.engine.catalog import Catalog, CatalogReader, Entry
from rowcast.service.engine.model import Model
from rowcast.service.engine.registry import Registry
from rowcast.service.limits.heap import trim
from rowcast.service.live.counted import tallies_of, total, write_tallies
from rowcast.service.live.shown import Shown
from rowcast.service.live.slots import Order, say_order, say_verdict
from rowcast.service.metrics.rollouts import RolloutMetrics
from rowcast.service.process.slots import slots_beside
from rowcast.service.rollout.split import Split
from rowcast.service.rollout.tally import Tally

logger = logging.getLogger("rowcast.service")

T = TypeVar("T")

_LOOK_SECONDS = 0.05
_LOOKS_A_COUNT = 5
_ORDER_SECONDS = 300.0
"""How long the answer to an order is waited for."""
_NICE = 5
"""Of the thread that opens versions, where the system knows threads by priority."""
_SETTLE_SECONDS = 2.0
"""After a version was replaced, memory is given back when its last requests should have ended."""
_EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""


class Follower:
    """Keeps a worker's registry what the catalog says.

    Args:
        registry: of the worker.
        reader: of the catalog.
        catalog: that the registry was made of.
    """

    def __init__(self, registry: Registry, reader: CatalogReader, catalog: Catalog) -> None:
        self._registry = registry
        self._reader = reader
        self._catalog = catalog
        self._models = {entry: registry.versions[entry.name, entry.version] for entry in catalog.entries}
        """Those that are served, and those that are opened to be."""
        self._shown = Shown()
        self._metrics = RolloutMetrics()
        self._looks = 0
        self._tried = False
        self._slot: memoryview | None = None
        self._following: asyncio.Task[None] | None = None
        self._ordering = asyncio.Lock()
        self._answers: dict[int, asyncio.Future[str]] = {}
        """What is waited for, by the number of the order."""
        self._loop: asyncio.AbstractEventLoop

    async def catch_up(self, slot: memoryview | None) -> None:
        """Take what has changed since the registry was made; before the worker serves.

        Args:
            slot: of this worker, in the memory that it shares with the supervisor.

        Raises:
            RowcastError: it cannot be opened.
        """
        self._slot, self._loop = slot, asyncio.get_running_loop()
        self._registry.measured = self.measured
        self._shown.show(self._catalog)
        self._registry.notes = self._catalog.notes
        if self._catalog.stage is not None:  # it was up before this worker was
            with _Thread() as thread:
                await self._rehearse(thread, self._catalog)
        while self._reader.generation != self._catalog.generation:
            await self._follow()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again and again, on a loop."""
        if self._reader.generation != self._catalog.generation:
            self._look()
        self._looks += 1
        if (self._registry.trials or self._tried) and self._looks % _LOOKS_A_COUNT == 0:
            self._count()
        loop.call_later(_LOOK_SECONDS, self.start, loop)

    def _look(self) -> asyncio.Task[None]:
        """What takes what has changed: it is under way, or begins."""
        if self._following is None:
            self._following = self._loop.create_task(self._follow_or_end())
        return self._following

    def _count(self) -> None:
        """Say what was counted of versions on trial: in the metrics, and to whoever adds up what all workers did."""
        trials = self._registry.trials
        self._tried = bool(trials)
        self._metrics.write(trials)
        if self._slot is not None:
            write_tallies(self._slot, {split.trial.number: split.tally for split in trials.values()})

    def measured(self, split: Split[Model]) -> Tally:
        """What all workers have counted of a version on trial."""
        if self._slot is None:
            return split.tally
        return total(tallies_of(slots_beside(self._slot), split.trial.number))

    async def _follow_or_end(self) -> None:
        """Take what has changed. A worker that cannot take what all others have taken ends, and is replaced."""
        try:
            await self._follow()
        except Exception as error:
            logger.exception("a worker ends, for it cannot serve what all others do: %s", error)
            logging.shutdown()
            os._exit(_EXIT_CODE)
        finally:
            self._following = None

    async def _follow(self) -> None:
        catalog = self._reader.read()
        entries = set(catalog.entries)
        with _Thread() as thread:
            try:
                for entry in catalog.entries:
                    if entry not in self._models:
                        self._models[entry] = await self._on(thread, self._open, entry)
            except ModelRefused:
                if self._reader.generation == catalog.generation:
                    raise
                return  # others are served already, and its bytes are gone
            if catalog.stage is not None:
                await self._rehearse(thread, catalog)
        replaced = _served(self._catalog) != _served(catalog)
        staged = set() if catalog.stage is None else {catalog.stage.entry}
        gone = self._models.keys() - entries - staged
        if replaced:
            models = [self._models[entry] for entry in catalog.entries]
            self._registry.serve(models, catalog.alone, catalog.trials, catalog.aliases, catalog.live)
        elif gone:
            self._registry.follow()
        self._catalog = catalog
        self._registry.notes = catalog.notes
        self._shown.show(catalog)
        for number, why in catalog.outcomes:
            answer = self._answers.get(number)
            if answer is not None and not answer.done():
                answer.set_result(why)
        for entry in gone:
            weakref.finalize(self._models.pop(entry), self._tidy).atexit = False

    async def _rehearse(self, thread: ThreadPoolExecutor, catalog: Catalog) -> None:
        """Open what is staged, and say how that went."""
        assert catalog.stage is not None
        entry, fault = catalog.stage.entry, ""
        if entry not in self._models:
            try:
                self._models[entry] = await self._on(thread, self._open, entry)
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody serves it
                fault = str(error) or type(error).__name__
                self._registry.follow()  # nothing is kept of what was half made
        if self._slot is not None:
            say_verdict(self._slot, catalog.stage.number, fault)

    def _open(self, entry: Entry) -> Model:
        return self._registry.prepare(entry.open())

    async def _on(self, thread: ThreadPoolExecutor, work: Callable[[Entry], T], entry: Entry) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, work, entry)

    def _tidy(self) -> None:
        """Give the memory of a version back, once it is gone."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._trim_soon)

    def _trim_soon(self) -> None:
        self._loop.call_later(_SETTLE_SECONDS, self._trim)

    def _trim(self) -> None:
        with _Thread() as thread:
            thread.submit(trim)

    async def settle(self) -> None:
        """Wait until this worker serves what the catalog says now: who was told by another worker that a version is
        served finds it so here."""
        wanted = self._reader.generation
        while self._catalog.generation < wanted:
            await asyncio.shield(self._look())

    async def order(self, name: str, version: int | None, *, allow_signature_change: bool, who: str) -> str:
        """Have the supervisor have a version served; returns when it is, or never will be.

        Args:
            name: of the model.
            version: None for the newest.
            allow_signature_change: whether its signature may be another one.
            who: asks for it.

        Returns:
            Why it is not served; an empty text where it is.
        """
        if self._slot is None:
            return "what is served is settled when this process starts: start it anew"
        served = self._registry.models.get(name)
        before = 0 if served is None else served.version  # as it is now, not when those who came first are done
        split = self._registry.trials.get(name)
        trial = 0 if split is None else split.trial.number
        async with self._ordering:
            order = Order(secrets.randbits(63) | 1, name, version, allow_signature_change, who, before, trial)
            say_order(self._slot, order)
            answer = self._answers[order.number] = asyncio.get_running_loop().create_future()
            try:
                return await asyncio.wait_for(answer, _ORDER_SECONDS)
            except TimeoutError:
                return f"it was not served within {_ORDER_SECONDS:g} s; /readyz?verbose tells what keeps it"
            finally:
                del self._answers[order.number]


def _served(catalog: Catalog) -> tuple[object, ...]:
    """All of a catalog that requests are answered by."""
    return catalog.entries, catalog.alone, catalog.trials, catalog.aliases, catalog.live


class _Thread:
    """A thread at low priority that ends with its last work; nobody waits for that."""

    def __enter__(self) -> ThreadPoolExecutor:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="open", initializer=_be_nice)
        return self._pool

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False)


def _be_nice() -> None:
    if sys.platform == "linux":  # elsewhere it would be the whole process
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)
