"""How soon a guard acts, and that one that is kept does not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proofs.client import Connection, post
from proofs.rollout.asking import row
from proofs.rollout.operating import Operator

LONGEST_SECONDS = 5.0
_RATE = 100.0


class Load:
    """Asks with rows at a steady rate, each when it is due.

    Args:
        port: of the service.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.bad = False
        """Whether one row in ten is one that a moody version has no answer to."""
        self.statuses: list[tuple[float, int, int]] = []
        """When each answer came, its status, and the version that it names; 0 for none."""

    async def run(self) -> None:
        """Ask until cancelled."""
        started, sent = time.monotonic(), 0
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                sent += 1
                await asyncio.sleep(max(0.0, started + sent / _RATE - time.monotonic()))
                given = row(sent) | ({"stops": 1e200} if self.bad and sent % 10 == 0 else {})
                task = asyncio.create_task(
                    self._ask(post(json.dumps({"rows": [given]}).encode(), "/models/flights/predict"))
                )
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        finally:
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, request: bytes) -> None:
        connection = Connection(self._port)
        try:
            status, _, body = await connection.ask(request)
        finally:
            connection.close()
        version = int(json.loads(body)["version"]) if status == 200 else 0
        self.statuses.append((time.monotonic(), status, version))


@asynccontextmanager
async def asked(port: int) -> AsyncIterator[Load]:
    """A load, for as long as it is wanted."""
    load = Load(port)
    asking = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def reaction(operator: Operator, port: int, version: int, guard: str, **shares: float) -> tuple[float, str, int]:
    """Seconds from the first sign that a version breaks a guard until all is answered by the live one; why; and how
    many requests failed."""
    async with asked(port) as load:
        await asyncio.sleep(2)
        await operator.begin(version, guard, **shares)
        load.statuses.clear()
        load.bad = True
        began = time.monotonic()
        while (await operator.told())["rollout"]["since"] is not None:
            assert time.monotonic() < began + 60, "no guard acts"
            await asyncio.sleep(0.02)
        ended = time.monotonic()
        load.bad = False
        await asyncio.sleep(1.0)
        signs = [at for at, status, by in load.statuses if status == 500 or by == version]
        late = [at for at in signs if at > ended + 0.2]
        assert not late, "the version answers on"
        failed = sum(status != 200 for _, status, _ in load.statuses)
    await operator.is_over()
    return ended - min([began, *signs]), operator.last_why, failed


async def promotion(operator: Operator, port: int, version: int, seconds: float) -> tuple[bool, str]:
    """Whether a version that keeps all guards is promoted after some time under load, and not before; and why."""
    async with asked(port) as load:
        await operator.begin(version, "errors=0.1%,p99=3x,disagree=5%", promote_after=seconds, canary=0.2)
        began = time.monotonic()
        await operator.is_over(2 * seconds + 10)
        took = time.monotonic() - began
        await operator.until(lambda told: told["version"] == version)
        failed = sum(status != 200 for _, status, _ in load.statuses)
    why = operator.last_why
    return not failed and took > seconds - 3 and why.startswith("promoted"), why
