"""A small real HTTP server that speaks the service's contract and misbehaves exactly as a test tells it to.

It serves the handmade model, so a good answer is the right answer.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rowcast.models.signature import Signature
from tests.support.handmade import BINARY, late, score

SHA256 = "5e" * 32
_ROUTE = re.compile(r"/models/[a-z0-9_-]+(@[a-z]+|/versions/3)?(/predict)?")


@dataclass
class Reply:
    """How to answer one prediction request."""

    predictions: list
    status: int = 200
    version: int = 3
    delay_s: float = 0.0
    """The whole server stands still for so long, as one with a single worker would."""
    hang_up: bool = False
    """Close the connection without an answer."""
    close_after: bool = False
    """Answer, and say that the connection ends with it."""
    chunked: bool = False


def good(signature: Signature, rows: list[dict]) -> list:
    """The right predictions."""
    if signature.task == "regression":
        return [{"prediction": score(row), "lower": score(row) - 1, "upper": score(row) + 1} for row in rows]
    return [
        {
            "label": "late" if late(row) > 0.5 else "on time",
            "probabilities": {"on time": 1 - late(row), "late": late(row)},
        }
        for row in rows
    ]


Misbehave = Callable[[int, Reply], None]
"""Changes the reply to the n-th prediction request, counted from 1."""


@dataclass
class Stub:
    """A running server."""

    signature: Signature
    names: tuple[str, ...]
    misbehave: Misbehave
    port: int = 0
    rowcast: str = ""
    """The version that it says it is of."""
    paths: set[str] = field(default_factory=set)
    """What was asked for predictions."""
    asked: list[list[dict]] = field(default_factory=list)
    """The rows of every prediction request, in order."""
    connections: int = 0
    open_now: int = 0
    most_open: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def describe(self, name: str) -> dict:
        return {
            "name": name,
            "version": 3,
            "signature": self.signature.public().model_dump(mode="json"),
            "metrics": {},
            "sha256": SHA256,
            "example": {"rows": [self.signature.example_row()]},
        }

    def reply(self, method: str, path: str, body: bytes) -> tuple[Reply | None, int, dict]:
        """What a prediction request gets, or the status and the object that another one gets."""
        if (method, path) == ("GET", "/v2") and self.rowcast:
            return None, 200, {"name": "rowcast", "version": self.rowcast}
        if (method, path) == ("GET", "/models"):
            return None, 200, {"models": [self.describe(name) for name in self.names]}
        parts = path.split("/")
        name = parts[2].partition("@")[0] if len(parts) > 2 else ""
        if parts[1] != "models" or name not in self.names or not _ROUTE.fullmatch(path):
            return None, 404, {"error": f"no model at {path}"}
        if method == "GET":
            return None, 200, self.describe(name)
        self.paths.add(path)
        rows = json.loads(body)["rows"]
        self.asked.append(rows)
        reply = Reply(good(self.signature, rows))
        self.misbehave(len(self.asked), reply)
        return reply, reply.status, {"model": name, "version": reply.version, "predictions": reply.predictions}

    async def handle(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, standstill: asyncio.Lock
    ) -> None:
        self.connections += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            while await self._answer_one(reader, writer, standstill):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open_now -= 1
            writer.close()

    async def _answer_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, standstill: asyncio.Lock
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        lengths = [line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length:")]
        body = await reader.readexactly(int(lengths[0]) if lengths else 0)
        async with standstill:
            reply, status, answer = self.reply(method, path, body)
            if reply is not None:
                await asyncio.sleep(reply.delay_s)
        if reply is not None and reply.hang_up:
            return False
        payload = json.dumps(answer).encode()
        ends = reply is not None and reply.close_after
        if reply is not None and reply.chunked:
            framing = "Transfer-Encoding: chunked"
            payload = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (5, payload[:5], len(payload) - 5, payload[5:])
        else:
            framing = f"Content-Length: {len(payload)}"
        close = "Connection: close\r\n" if ends else ""
        start = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{close}{framing}\r\n\r\n"
        writer.write(start.encode() + payload)
        await writer.drain()
        return not ends


@contextmanager
def serving(
    misbehave: Misbehave = lambda n, reply: None,
    *,
    signature: Signature = BINARY,
    names: tuple[str, ...] = ("flights",),
    leave_after: int | None = None,
) -> Iterator[Stub]:
    """A server on a free port of the loopback, in a thread of its own, until the block ends.

    With ``leave_after`` it ends by itself at that prediction request.
    """
    stub = Stub(signature, names, misbehave)
    ready, stop = threading.Event(), asyncio.Event()

    def misbehave_and_leave(n: int, reply: Reply) -> None:
        misbehave(n, reply)
        if n == leave_after:
            stop.set()

    stub.misbehave = misbehave_and_leave
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        standstill = asyncio.Lock()
        handlers: set[asyncio.Task] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            handlers.add(task)
            try:
                await stub.handle(reader, writer, standstill)
            except asyncio.CancelledError:
                pass  # the server ends
            finally:
                handlers.discard(task)

        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            stub.port = server.sockets[0].getsockname()[1]
            loops.append(asyncio.get_running_loop())
            ready.set()
            await stop.wait()
            for task in list(handlers):
                task.cancel()
            await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.sleep(0)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield stub
    finally:
        if thread.is_alive():
            loops[0].call_soon_threadsafe(stop.set)
        thread.join()
