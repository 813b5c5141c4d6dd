"""What each fast path and each store of known forms saves: the same requests with it and without it, in turns.

Requests go in at the protocol object of their connection, or at the method of the gRPC service, and their answers come
out there: decoding, queue, run and encoding are the service's own, and neither sockets nor gRPC's library are in the
figures. CPU time of the process; each figure is the least of many short rounds, in which both versions take turns.

    make bench-fast-paths

or ``python -m benchmarks.serving.fast_paths NAME`` for the paths whose names hold that. A path that was removed for its
figures stays in the table.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

import uvloop
from uvicorn import Config
from uvicorn.server import ServerState

from benchmarks.cells import RESULTS, machine
from benchmarks.serving.compare import trained_model
from benchmarks.serving.tensors.tables import tables
from benchmarks.serving.tensors.wire import ARROW, GRPC, V2_BINARY, V2_JSON, Body
from rowcast.loadtest.connection import Endpoint
from rowcast.loadtest.payloads import Payloads
from rowcast.models.signature import Signature
from rowcast.service.columns import many_json_rows
from rowcast.service.engine.registry import Registry
from rowcast.service.http.fast_path import FastPath, FastPathProtocol
from rowcast.service.protocols.grpc.methods import Methods
from rowcast.service.router import Router
from rowcast.service.settings import Settings

STORE = RESULTS / "fast_paths.json"
TABLE = STORE.with_suffix(".md")
ROUNDS = 100
BODIES = 64
ROUND_ROWS = 128
"""Rows of a round, at least."""
CELLS = {"1 row, alone": (1, 1), "1 row, 32 at once": (1, 32), "32 rows, alone": (32, 1)}
"""Rows of a request, and how many come at once."""
LEAST_SHARE = 0.05
"""Of the CPU of a request in one of these cells: a path that saves less is not worth its code."""
TEXT = """# What each fast path saves

{date}, {machine}. CPU microseconds a request with the path / without it, and the
share that it saves; each is the least of {rounds} rounds that take turns, in one process. Sockets and gRPC's library
cost the same with and without, and are not in the figures: of the CPU of a whole server each share is smaller
(`benchmarks/results/protocols.md`).

A path stays if it saves at least {least} of a request's CPU in one of these cells.

{here}

## Removed, for they saved less

{gone}

Measured before they went. The heads of gRPC's answers took 3.5 us to make and 0.2 to find, each
alone: 1.5% of the 234 us that a call costs the whole server at 32 connections. ISO texts of 1,024 rows take 0.8 ms a
column one by one and 0.1 ms together, of 30 ms.
"""


class Worker:
    """What answers requests in a worker, over models that several share."""

    def __init__(self, registry: Registry) -> None:
        async def inner(*_: Any) -> None:
            raise AssertionError("nothing is passed on")

        router = Router(inner, registry, ())
        self.fast_path = FastPath(registry, lambda: router.routes, lambda _: True)
        self.rows = router.routes["/predict"]
        self.tensors = router.routes["/v2/models/flights/infer"]
        self.platform = router._table.platforms.predict["/v1/models/flights:predict"]
        self.grpc = Methods(registry)
        self._protocol = type("Measured", (FastPathProtocol,), {"fast_path": self.fast_path})
        self._config = Config(router, lifespan="off", log_config=None)
        self._config.load()
        self._state = ServerState()
        self._state.default_headers = [(b"date", b"Sat, 28 Nov 2026 00:00:00 GMT"), (b"server", b"rowcast")]
        self._connections: list[Connection] = []

    async def answer(self, requests: Sequence[bytes]) -> None:
        """Answer requests that come at once, each on a connection of its own."""
        while len(self._connections) < len(requests):
            self._connections.append(Connection(self._protocol(self._config, self._state, {})))
        due = [connection.ask(request) for connection, request in zip(self._connections, requests, strict=False)]
        for one in due:
            await one

    async def answer_calls(self, messages: Sequence[bytes]) -> None:
        """The same over gRPC."""
        answers = await asyncio.gather(*(self.grpc._infer(Call(message)) for message in messages))
        assert all(isinstance(answer, bytes) for answer in answers), answers[0]


class Connection(asyncio.Transport):
    """A transport without a network, and who asks at its other end."""

    def __init__(self, protocol: FastPathProtocol) -> None:
        super().__init__()
        self._answer: asyncio.Future[None] | None = None
        self._protocol = protocol
        protocol.connection_made(self)

    def ask(self, request: bytes) -> asyncio.Future[None]:
        """Send a request; done when its answer has come."""
        answer = self._answer = asyncio.get_running_loop().create_future()
        self._protocol.data_received(request)
        return answer

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take an answer."""
        assert self._answer is not None
        if not self._answer.done():  # uvicorn writes a head, and after it a body
            assert bytes(data[:12]) == b"HTTP/1.1 200", bytes(data)
            self._answer.set_result(None)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Nothing is known of it."""
        return default

    def is_closing(self) -> bool:
        """It stays open."""
        return False

    def get_write_buffer_size(self) -> int:
        """Whatever is written is gone."""
        return 0

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    def resume_reading(self) -> None:
        """Nothing comes by itself."""


class Call:
    """A call over gRPC, without the library."""

    def __init__(self, message: bytes) -> None:
        self._message = message

    async def read(self) -> bytes:
        """The message."""
        return self._message

    def time_remaining(self) -> None:
        """It waits for as long as it takes."""

    def invocation_metadata(self) -> tuple[()]:
        """It says nothing."""
        return ()


class Forgetful(dict[Any, Any]):
    """A store that keeps nothing."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


# ─── How each is switched off ────────────────────────────────────────────────────────────────────────────────────────


def _no_http_heads(worker: Worker) -> None:
    worker.fast_path.look_up = lambda head: None  # type: ignore[method-assign]


def _no_json_templates(worker: Worker) -> None:
    worker.tensors._reader._json = _Unlearning()


def _no_binary_texts(worker: Worker) -> None:
    worker.tensors._reader._binary = _Unlearning()


class _Unlearning:
    def read(self, *_: Any) -> None:
        pass

    keep = find = read


def _no_grpc_heads(worker: Worker) -> None:
    worker.grpc._table.reader._heads = _Unlearning()


def _no_arrow_heads(worker: Worker) -> None:
    worker.rows._streams._reader._known = Forgetful()


def _no_arrow_blocks(worker: Worker) -> None:
    reader = worker.rows._streams._reader
    learned = reader._learned

    def changed(head: memoryview, schema: Any) -> Any:
        known = reader._known[bytes(head)] = learned(head, schema)._replace(usual=None)
        return known

    reader._learned = changed


def _no_renamed_rows(worker: Worker) -> None:
    async def unread(*_: Any) -> None:
        pass

    worker.platform._as_rows = unread  # type: ignore[method-assign]


def _no_row_columns(worker: Worker) -> None:
    def unread(bodies: list[bytes]) -> Any:
        raise many_json_rows.Unusual

    worker.rows.rows.codec.decoder._row_columns = unread


# ─── What is asked ───────────────────────────────────────────────────────────────────────────────────────────────────


def _rows(signature: Signature, rows: int) -> list[bytes]:
    payloads = Payloads(signature, rows=rows, seed=0)
    return [_post("/predict", payloads.body()) for _ in range(BODIES)]


def _post(path: str, body: bytes) -> bytes:
    return Body(body, ("Content-Type: application/json",), path).post(Endpoint.of("http://h:80"))


def _instances(signature: Signature, rows: int) -> list[bytes]:
    """The same rows as KServe's V1 has them."""
    payloads = Payloads(signature, rows=rows, seed=0)
    bodies = [payloads.body().replace(b'"rows"', b'"instances"', 1) for _ in range(BODIES)]
    return [_post("/v1/models/flights:predict", body) for body in bodies]


def _tensors(protocol: Any, signature: Signature, rows: int) -> list[bytes]:
    asked = tables(signature, rows=rows, number=BODIES, seed=0, nulls=False)
    bodies = [protocol.write(signature, table) for table in asked]
    return [body.content if protocol.grpc else body.post(Endpoint.of("http://h:80")) for body in bodies]


Asked = Callable[[Signature, int], list[bytes]]


@dataclass(frozen=True)
class Case:
    """A path, what is asked on it, and how it is switched off."""

    name: str
    asked: str
    write: Asked
    off: Callable[[Worker], None]
    calls: bool = False


def _in(protocol: Any) -> Asked:
    return lambda signature, rows: _tensors(protocol, signature, rows)


CASES = (
    Case("fast path of known heads (`http/fast_path.py`)", "rows", _rows, _no_http_heads),
    Case("rows read column by column (`columns/many_json_rows.py`)", "rows", _rows, _no_row_columns),
    Case("instances read as rows (`platforms/predictions.py`)", "KServe V1", _instances, _no_renamed_rows),
    Case("V2 JSON templates (`v2/known_json.py`)", "V2 JSON", _in(V2_JSON), _no_json_templates),
    Case("V2 binary texts (`v2/known_binary.py`)", "V2 binary", _in(V2_BINARY), _no_binary_texts),
    Case("heads of messages (`grpc/heads.py`)", "gRPC", _in(GRPC), _no_grpc_heads, calls=True),
    Case("heads of streams (`arrow/stream.py`)", "Arrow", _in(ARROW), _no_arrow_heads),
    Case("streams read block by block (`arrow/columns.py`)", "Arrow", _in(ARROW), _no_arrow_blocks),
)


async def measure(registry: Registry, case: Case) -> dict[str, tuple[float, float]]:
    """CPU microseconds of a request in each cell: as it is, and without the path."""
    workers = Worker(registry), Worker(registry)
    case.off(workers[1])
    signature = next(iter(registry.models.values())).signature
    figures = {}
    for cell, (rows, at_once) in CELLS.items():
        requests = case.write(signature, rows)
        together = [requests[i : i + at_once] for i in range(0, BODIES, at_once)]
        least = [float("inf")] * len(workers)
        for n in range(ROUNDS):
            for i in (0, 1) if n % 2 else (1, 0):
                least[i] = min(least[i], await _round(workers[i], case, cycle(together), ROUND_ROWS // rows // at_once))
        figures[cell] = (least[0] / at_once, least[1] / at_once)
    return figures


async def _round(worker: Worker, case: Case, together: Iterator[list[bytes]], times: int) -> float:
    ask: Callable[[Sequence[bytes]], Awaitable[None]] = worker.answer_calls if case.calls else worker.answer
    for _ in range(2):
        await ask(next(together))
    started = time.process_time()
    for _ in range(times):
        await ask(next(together))
    return (time.process_time() - started) / times * 1e6


async def measure_all(cases: Sequence[Case]) -> None:
    """Measure cases, and keep each as soon as it is there."""
    stored = trained_model()
    registry = Registry(
        Settings(repository=stored.path.parent.parent, models=f"flights:{stored.manifest.version}", device="cpu")
    )
    await registry.start()
    for case in cases:
        found = {"asked": case.asked, "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine(), "rounds": ROUNDS}
        found |= {"cells": await measure(registry, case)}
        results = {**kept(), case.name: found}
        STORE.write_text(json.dumps(results, indent=2) + "\n")
    registry.stop()


def kept() -> dict[str, Any]:
    """What was measured, by case."""
    results: dict[str, Any] = json.loads(STORE.read_text()) if STORE.exists() else {}
    return results


def table() -> str:
    """All that was measured, and what is no more because of it."""
    results, here = kept(), {case.name for case in CASES}
    first = next(iter(results.values()))
    return TEXT.format(
        date=max(found["date"] for found in results.values()),
        machine=first["machine"],
        rounds=" to ".join(map(str, sorted({found["rounds"] for found in results.values()}))),
        least=f"{LEAST_SHARE:.0%}",
        here=_rows_of({name: found for name, found in results.items() if name in here}),
        gone=_rows_of({name: found for name, found in results.items() if name not in here}),
    )


def _rows_of(results: dict[str, Any]) -> str:
    lines = ["| path | asked in | " + " | ".join(CELLS) + " |", "|---|---|" + "---|" * len(CELLS)]
    for name, found in results.items():
        cells = [f"{has:.0f} / {has_not:.0f} ({1 - has / has_not:+.0%})" for has, has_not in found["cells"].values()]
        lines.append(f"| {name} | {found['asked']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print the table and write it to `benchmarks/results`."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    uvloop.run(measure_all([case for case in CASES if wanted in case.name]))
    TABLE.write_text(table())
    print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
