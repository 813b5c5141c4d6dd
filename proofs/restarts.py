"""Proof: restarting costs no request, and a worker that is killed costs only those that it was working on.

Two instances stand behind a small balancer that follows their ``/readyz``, as one does in production; it never tries a
request twice, nor does the client, which sends at a steady rate whatever becomes of the answers. First the instances
are restarted in turn, twenty times, with SIGTERM: no request may fail. Then for a minute a worker is killed every five
seconds: only what was under way with it may fail, and each is back within five seconds.

    make proof-restarts
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from proofs.client import Connection, get, post
from tests.service.hostile_payloads import ROW
from tests.service.servers import Server, free_port, publish_flights, serving

REQUEST = post(json.dumps({"rows": [ROW] * 3}).encode())
POLL_SECONDS = 0.1
BACK_WITHIN_SECONDS = 5.0
NOTICED_WITHIN_SECONDS = 0.05
"""What is sent so soon after a kill may still go out on a connection whose end has not been noticed."""


@dataclass
class Instance:
    """One service behind the balancer."""

    start: Callable[[], AbstractContextManager[Server]]
    port: int
    running: AbstractContextManager[Server] | None = None
    server: Server | None = None
    ready: bool = False
    idle: deque[Connection] = field(default_factory=deque)
    under_way: int = 0
    kills: list[tuple[float, int]] = field(default_factory=list)
    """When a worker was killed, and how many requests were under way."""
    failures: list[float] = field(default_factory=list)

    def up(self) -> None:
        """Start it, and wait until it is ready."""
        self.running = self.start()
        self.server = self.running.__enter__()

    def down(self) -> None:
        """Stop it with SIGTERM, and wait until all of it is gone."""
        if self.running is not None:
            self.running.__exit__(None, None, None)
            self.running = self.server = None

    async def watch(self) -> None:
        """Ask again and again whether it is ready."""
        while True:
            probe = Connection(self.port)
            try:
                self.ready = (await probe.ask(get("/readyz"), seconds=1))[0] == 200
            except OSError:
                self.ready = False
            probe.close()
            if not self.ready:
                while self.idle:
                    self.idle.pop().close()
            await asyncio.sleep(POLL_SECONDS)

    async def until(self, ready: bool, seconds: float) -> float:
        """Wait until the balancer sees it (not) ready; how long it took."""
        started = time.monotonic()
        while self.ready != ready:
            assert time.monotonic() < started + seconds, f"not {'ready' if ready else 'gone'} within {seconds} s"
            await asyncio.sleep(0.02)
        return time.monotonic() - started

    def worker(self) -> psutil.Process:
        """Its only worker."""
        assert self.server is not None
        children = psutil.Process(self.server.process.pid).children()
        return next(child for child in children if child.status() != psutil.STATUS_ZOMBIE)


class Balancer:
    """Listens, and hands each request to the next instance that is ready; what fails there fails here."""

    def __init__(self, instances: list[Instance]) -> None:
        self.instances = deque(instances)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on the requests of one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                status, body = await self._pass_on(head + await reader.readexactly(length))
                writer.write(b"HTTP/1.1 %d -\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        except (OSError, EOFError):  # the client has finished
            writer.close()

    async def _pass_on(self, request: bytes) -> tuple[int, bytes]:
        self.instances.rotate()
        instance = next((instance for instance in self.instances if instance.ready), None)
        if instance is None:
            return 503, b"no instance is ready"
        connection = instance.idle.popleft() if instance.idle else Connection(instance.port)
        sent = time.monotonic()
        instance.under_way += 1
        try:
            status, _, body = await connection.ask(request)
        except OSError:
            instance.failures.append(sent)
            return 502, b"the instance did not answer"
        finally:
            instance.under_way -= 1
        if status >= 500:
            instance.failures.append(sent)
        instance.idle.append(connection)
        return status, body


class Load:
    """Sends at a steady rate, each request when it is due, and compares every answer.

    Args:
        port: of the balancer.
        rate: requests a second.
    """

    def __init__(self, port: int, rate: float) -> None:
        self._port = port
        self._rate = rate
        self._idle: deque[Connection] = deque()
        self._expected = b""
        self.sent = 0
        self.seconds: list[float] = []
        self.failed: list[str] = []

    async def run(self) -> None:
        """Send until cancelled."""
        self._expected = (await Connection(self._port).ask(REQUEST))[2]
        started = time.monotonic()
        under_way: set[asyncio.Task[None]] = set()
        try:
            while True:
                due = started + self.sent / self._rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self.sent += 1
                task = asyncio.create_task(self._send(due))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        finally:
            await asyncio.gather(*under_way)
            while self._idle:
                self._idle.pop().close()

    async def _send(self, due: float) -> None:
        connection = self._idle.popleft() if self._idle else Connection(self._port)
        try:
            status, _, body = await connection.ask(REQUEST)
        except OSError as error:
            self.failed.append(str(error))
            return
        if status != 200 or body != self._expected:
            self.failed.append(f"{status}: {body[:80]!r}")
        self.seconds.append(time.monotonic() - due)
        self._idle.append(connection)

    def summary(self) -> str:
        """How many were sent, how many failed, and how long they took."""
        ordered = sorted(self.seconds)
        p99 = ordered[len(ordered) * 99 // 100] * 1000
        return f"{self.sent:,} requests, {len(self.failed)} failed, p99 {p99:.0f} ms, slowest {ordered[-1]:.2f} s"


@contextlib.asynccontextmanager
async def balanced(instances: list[Instance], rate: float) -> AsyncIterator[Load]:
    """Instances that are up, watched and under load; yields the load."""
    for instance in instances:
        await asyncio.to_thread(instance.up)
    watchers = [asyncio.create_task(instance.watch()) for instance in instances]
    balancer = await asyncio.start_server(Balancer(instances).serve, "127.0.0.1", 0)
    load = Load(balancer.sockets[0].getsockname()[1], rate)
    sending: asyncio.Task[None] | None = None
    try:
        for instance in instances:
            await instance.until(ready=True, seconds=10)
        sending = asyncio.create_task(load.run())
        await asyncio.sleep(1)
        yield load
    finally:
        tasks = [*watchers, *([sending] if sending else [])]
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        balancer.close()
        for instance in instances:
            while instance.idle:
                instance.idle.pop().close()
            await asyncio.to_thread(instance.down)


async def rolling(instances: list[Instance], rate: float, restarts: int) -> bool:
    """Restart the instances in turn; True when no request failed."""
    async with balanced(instances, rate) as load:
        for n in range(restarts):
            instance = instances[n % len(instances)]
            await asyncio.to_thread(instance.down)
            await instance.until(ready=False, seconds=10)
            await asyncio.to_thread(instance.up)
            await instance.until(ready=True, seconds=10)
    print(f"{restarts} restarts: {load.summary()}")
    for fault in load.failed[:5]:
        print(f"  {fault}")
    return not load.failed


async def killing(instances: list[Instance], rate: float, seconds: float) -> bool:
    """Kill a worker every five seconds; True when nothing else suffered and each was back in time."""
    back: list[float] = []
    async with balanced(instances, rate) as load:
        stop = time.monotonic() + seconds
        n = 0
        while time.monotonic() < stop:
            started = time.monotonic()
            instance = instances[n % len(instances)]
            worker, n = instance.worker(), n + 1
            instance.kills.append((started, instance.under_way))
            worker.kill()
            await instance.until(ready=False, seconds=2)
            await instance.until(ready=True, seconds=20)
            back.append(time.monotonic() - started)
            await asyncio.sleep(max(0.0, started + 5 - time.monotonic()))
    under_way = sum(there for instance in instances for _, there in instance.kills)
    soon = before = 0
    for instance in instances:
        for sent in instance.failures:
            soon += any(0 <= sent - kill < NOTICED_WITHIN_SECONDS for kill, _ in instance.kills)
            before += any(0 < kill - sent < 1 for kill, _ in instance.kills)
    print(f"{n} kills: {load.summary()}; slowest back after {max(back):.1f} s")
    print(
        f"  {under_way} were under way: {before} failed, and {soon} sent within {NOTICED_WITHIN_SECONDS:g} s of a kill"
    )
    explained = before <= under_way and len(load.failed) == before + soon
    return explained and max(back) <= BACK_WITHIN_SECONDS


def main() -> int:
    """Restart and kill; 0 when nothing failed that need not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60, help="how long workers are killed for")
    parser.add_argument("--rate", type=float, default=100, help="requests a second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        publish_flights(repository)

        def instance(name: str) -> Instance:
            port = free_port()
            return Instance(lambda: serving(repository, Path(folder) / name, port=port, grace="1"), port)

        instances = [instance("a"), instance("b")]
        kept = [
            asyncio.run(rolling(instances, options.rate, options.restarts)),
            asyncio.run(killing(instances, options.rate, options.seconds)),
        ]
    print("kept" if all(kept) else "BROKEN")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
