"""What an operator does to the rollout of flights, and what a service says of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from proofs.client import Connection, get
from rowcast.models.repository import Repository
from rowcast.models.rollout import Guards, begin_trial, read_rollout, roll_back

_SECONDS = 120.0


class Operator:
    """Puts versions on trial beside version 1.

    Args:
        root: the repository.
        port: of the service.
    """

    def __init__(self, root: Path, port: int) -> None:
        self._root = root
        self._home = root / "flights"
        self._port = port

    async def begin(self, version: int, guard: str = "", promote_after: float | None = None, **shares: float) -> None:
        """Put a version on trial, and wait until it is."""
        begin_trial(
            self._home,
            version,
            Repository(self._root).versions("flights"),
            "proof",
            1,
            canary=shares.get("canary"),
            shadow=shares.get("shadow"),
            guards=Guards.of(guard) if guard else Guards(),
            promote_after=promote_after,
        )
        since = read_rollout(self._home).since
        await self.until(lambda told: told["rollout"]["since"] == since)
        await asyncio.sleep(0.2)  # the other worker takes it within a twentieth of a second

    async def end(self) -> None:
        """End the trial, and wait until it is over."""
        versions = Repository(self._root).versions("flights")
        roll_back(self._home, None, versions, "proof", read_rollout(self._home))
        await self.until(lambda told: told["rollout"]["since"] is None)
        await asyncio.sleep(0.2)

    async def told(self) -> Any:
        """What ``/readyz?verbose`` tells of flights."""
        connection = Connection(self._port)
        try:
            content = orjson.loads((await connection.ask(get("/readyz?verbose")))[2])
        finally:
            connection.close()
        return next(model for model in content["models"] if model["name"] == "flights")

    async def until(self, condition: Callable[[Any], bool]) -> None:
        """Wait until something is told."""
        started = time.monotonic()
        while not condition(await self.told()):
            assert time.monotonic() < started + _SECONDS, await self.told()
            await asyncio.sleep(0.05)

    @property
    def last_why(self) -> str:
        """Why the last change was made."""
        return read_rollout(self._home).history[-1].why

    async def is_over(self, seconds: float = 10.0) -> None:
        """Wait until the file says that no version is on trial."""
        started = time.monotonic()
        while read_rollout(self._home).trial is not None:
            assert time.monotonic() < started + seconds, "it goes on"
            await asyncio.sleep(0.05)
