"""A supervisor's part and a worker's, together in this process: what is live follows the repository."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from proofs.client import get, post
from rowcast.service.engine.catalog import CatalogOwner, CatalogReader
from rowcast.service.engine.registry import Registry
from rowcast.service.http.body import Header
from rowcast.service.http.fast_path import FastPath
from rowcast.service.live.changes import NetworkChanges
from rowcast.service.live.follow import Follower
from rowcast.service.live.settling import settle
from rowcast.service.live.swaps import Swaps
from rowcast.service.middleware.stack import Middleware
from rowcast.service.process.heartbeat import Heartbeats, Pulse
from rowcast.service.router import Router
from rowcast.service.settings import Settings
from tests.service.live.versions import STOPS
from tests.service.test_router import Caller, inner
from tests.service.wire import Answer, Service

SECONDS = 60.0
ROWS = json.dumps({"rows": [STOPS]}).encode()
LOCALHOST: tuple[Header, ...] = ((b"host", b"localhost:3000"),)


class _OneWorker:
    """What looks after workers, of which this process is the only one."""

    def __init__(self, heartbeats: Heartbeats) -> None:
        self._heartbeats = heartbeats
        self.accidents = 0
        self.told_to_stop: set[int] = set()

    def serving(self) -> dict[int, int]:
        return {1: os.getpid()} if self._heartbeats.count(1) else {}


class Live:
    """What is served, as a caller sees it."""

    def __init__(self, service: Service, app: Any, watched: _OneWorker) -> None:
        self.service = service
        self.watched = watched
        self.app = app
        self.registry = service.serving

    async def ask(self, path: str = "/models/flights/predict", body: bytes = ROWS, key: str = "") -> Answer:
        """The answer to a request; with a key, if one is given."""
        request = post(body, path) if body else get(path)
        if key:
            request = request.replace(b"\r\n", b"\r\nx-api-key: %b\r\n" % key.encode(), 1)
        (answer,) = await self.service.say(request)
        return answer

    async def load(
        self,
        name: str = "flights",
        key: str = "",
        address: str | None = "127.0.0.1",
        headers: Iterable[Header] = LOCALHOST,
        **parameters: Any,
    ) -> tuple[int, str]:
        """Status and error of the V2 repository's load call, sent from an address, None for one that is not known."""
        body = json.dumps({"parameters": parameters}).encode()
        own = [(b"content-type", b"application/json"), (b"x-api-key", key.encode())]
        caller = Caller("POST", f"/v2/repository/models/{name}/load", body, headers=[*headers, *own])
        caller.scope |= {"client": address and (address, 50_000), "server": ("127.0.0.1", 3000)}
        status, _, content = await caller.answer(self.app)  # which may take a busy machine a minute
        return status, content.get("error", "")

    def reason(self, version: int, name: str = "flights") -> str:
        """Why a version is not served, with the kind of the reason; empty where nothing is told."""
        notes = [note for note in self.registry.notes if (note.name, note.version) == (name, version)]
        return next((f"{note.kind}: {note.reason}" for note in notes if note.state != "LOADING"), "")

    def version(self, name: str = "flights") -> int | None:
        """The version that is served."""
        served = self.registry.models.get(name)
        return None if served is None else served.version

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        started = time.monotonic()
        while not condition():
            assert time.monotonic() < started + SECONDS, (list(self.registry.versions), self.registry.notes)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def live(root: Path, **options: Any) -> AsyncIterator[Live]:
    """A service of a repository whose supervisor and only worker are this process."""
    settings = Settings(repository=root, device="cpu", workers=1, **options)
    owner = CatalogOwner()
    settle(settings, owner, lambda: False)
    reader = CatalogReader(owner.address)
    catalog, models = reader.open()
    registry, middleware = Registry(settings, models, catalog.alone, live=catalog.live), Middleware(settings)
    follower = Follower(registry, reader, catalog)
    registry.changes = NetworkChanges(follower, middleware.keys)
    router = Router(inner, registry, {"/"})
    fast_path = FastPath(registry, lambda: router.routes, middleware.may_take_fast_path)
    heartbeats = Heartbeats(2)
    pulse = Pulse(heartbeats.descriptor, 1)
    await registry.start()
    await follower.catch_up(pulse.slot)
    pulse.keep_beating(asyncio.get_running_loop())
    follower.start(asyncio.get_running_loop())
    swaps = Swaps(settings, owner)
    watched = _OneWorker(heartbeats)
    swaps.begin(heartbeats, [watched])  # type: ignore[list-item]
    app = middleware.around(router)
    try:
        yield Live(Service(registry, app, fast_path), app, watched)
    finally:
        swaps.end()
        registry.stop()
