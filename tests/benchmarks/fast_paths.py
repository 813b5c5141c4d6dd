"""What each fast path and each store of known forms saves: the same requests with it and without it, in turns.

Requests go in at the protocol object of their connection, or at the method of the gRPC service, and their answers come
out there: decoding, queue, run and encoding are the service's own, and neither sockets nor gRPC's library are in the
figures. CPU time of the process; each figure is the least of many short rounds, in which both versions take turns.

    make bench-fast-paths
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import orjson
import uvloop
from uvicorn import Config
from uvicorn.server import ServerState

from loadtest.bench_serving import trained_model
from loadtest.cells import machine
from loadtest.connection import Endpoint
from loadtest.payloads import Payloads
from loadtest.protocols.tables import tables
from loadtest.protocols.wire import ARROW, GRPC, INFER_PATH, V2_BINARY, V2_JSON, Body
from models.signature import Signature
from service.columns import arrays, flat, json_rows
from service.columns.timestamps import usual_timestamps
from service.engine.registry import Registry
from service.http.fast_path import FastPath, FastPathProtocol
from service.protocols.grpc.methods import Methods
from service.router import Router
from service.settings import Settings

TABLE = Path(__file__).with_name("fast_paths.md")
ROUNDS = 40
BODIES = 64
ROUND_ROWS = 128
"""Rows of a round, at least."""
CELLS = {"1 row, alone": (1, 1), "1 row, 32 at once": (1, 32), "32 rows, alone": (32, 1)}
"""Rows of a request, and how many come at once."""
LEAST_SHARE = 0.05
"""Of the CPU of a request in one of these cells: a path that saves less is not worth its code."""


class Worker:
    """What answers requests in a worker, over models that several share."""

    def __init__(self, registry: Registry) -> None:
        async def inner(*_: Any) -> None:
            raise AssertionError("nothing is passed on")

        router = Router(inner, registry, ())
        self.fast_path = FastPath(registry, router.routes, lambda _: True)
        self.rows = router.routes["/predict"]
        self.tensors = router.routes["/v2/models/flights/infer"]
        self.platform = router._platforms.predict["/v1/models/flights:predict"]
        self.grpc = Methods(registry)
        self._protocol = type("Measured", (FastPathProtocol,), {"fast_path": self.fast_path})
        self._config = Config(router, lifespan="off", log_config=None)
        self._config.load()
        self._state = ServerState()
        self._state.default_headers = [(b"date", b"Sat, 28 Nov 2026 00:00:00 GMT"), (b"server", b"rowcast")]
        self._connections: list[Connection] = []
        self.around: Callable[[], AbstractContextManager[None]] = nullcontext
        """What its requests are answered in."""

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
    worker.grpc._reader._heads = _Unlearning()


def _no_answer_heads(worker: Worker) -> None:
    for model in worker.grpc._models.values():
        model.writer._heads = Forgetful()


def _no_arrow_heads(worker: Worker) -> None:
    worker.rows._streams._reader._known = Forgetful()


def _no_arrow_blocks(worker: Worker) -> None:
    _of_known_streams(worker, lambda known: known._replace(usual=None))


def _no_arrow_sizes(worker: Worker) -> None:
    def forget(known: Any) -> Any:
        known.usual._needed_by = Forgetful()
        return known

    _of_known_streams(worker, forget)


def _of_known_streams(worker: Worker, change: Callable[[Any], Any]) -> None:
    reader = worker.rows._streams._reader
    learned = reader._learned

    def changed(head: memoryview, schema: Any) -> Any:
        known = reader._known[bytes(head)] = change(learned(head, schema))
        return known

    reader._learned = changed


def _no_orders(worker: Worker) -> None:
    worker.tensors._reader._columns._orders = Forgetful()


def _no_usual_timestamps(worker: Worker) -> None:
    @contextmanager
    def around() -> Iterator[None]:
        modules: list[Any] = [arrays, flat, json_rows]
        for module in modules:
            module.usual_timestamps = lambda texts: None
        try:
            yield
        finally:
            for module in modules:
                module.usual_timestamps = usual_timestamps

    worker.around = around


def _no_renamed_rows(worker: Worker) -> None:
    async def unread(*_: Any) -> None:
        pass

    worker.platform._as_rows = unread  # type: ignore[method-assign]


def _no_row_columns(worker: Worker) -> None:
    def unread(bodies: list[bytes]) -> Any:
        raise json_rows.Unusual

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


def _single_precision(signature: Signature, rows: int) -> list[bytes]:
    """V2 JSON in other datatypes than the graph's own, as most clients send it."""
    requests = []
    for table in tables(signature, rows=rows, number=BODIES, seed=0, nulls=False):
        content = orjson.loads(V2_JSON.write(signature, table).content)
        for entry in content["inputs"]:
            entry["datatype"] = {"FP64": "FP32"}.get(entry["datatype"], entry["datatype"])
        requests.append(_post(INFER_PATH, orjson.dumps(content)))
    return requests


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
    Case("rows read column by column (`columns/json_rows.py`)", "rows", _rows, _no_row_columns),
    Case("instances read as rows (`platforms/predictions.py`)", "KServe V1", _instances, _no_renamed_rows),
    Case("timestamps read at once (`columns/timestamps.py`)", "rows", _rows, _no_usual_timestamps),
    Case("V2 JSON templates (`v2/known_json.py`)", "V2 JSON", _in(V2_JSON), _no_json_templates),
    Case("V2 binary texts (`v2/known_binary.py`)", "V2 binary", _in(V2_BINARY), _no_binary_texts),
    Case("orders of tensors (`columns/named.py`)", "V2 JSON, FP32", _single_precision, _no_orders),
    Case("heads of messages (`grpc/heads.py`)", "gRPC", _in(GRPC), _no_grpc_heads, calls=True),
    Case("heads of answers (`grpc/answer.py`)", "gRPC", _in(GRPC), _no_answer_heads, calls=True),
    Case("heads of streams (`arrow/stream.py`)", "Arrow", _in(ARROW), _no_arrow_heads),
    Case("streams read block by block (`arrow/columns.py`)", "Arrow", _in(ARROW), _no_arrow_blocks),
    Case("sizes of record batches (`arrow/columns.py`)", "Arrow", _in(ARROW), _no_arrow_sizes),
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
    with worker.around():
        for _ in range(2):
            await ask(next(together))
        started = time.process_time()
        for _ in range(times):
            await ask(next(together))
        return (time.process_time() - started) / times * 1e6


async def lines(wanted: str) -> list[str]:
    """The lines of the table."""
    stored = trained_model()
    registry = Registry(
        Settings(repository=stored.path.parent.parent, models=f"flights:{stored.manifest.version}", device="cpu")
    )
    await registry.start()
    found = ["| path | asked in | " + " | ".join(CELLS) + " |", "|---|---|" + "---|" * len(CELLS)]
    for case in CASES:
        if wanted not in case.name:
            continue
        figures = await measure(registry, case)
        cells = [f"{has:.1f} / {has_not:.1f} ({1 - has / has_not:+.0%})" for has, has_not in figures.values()]
        found.append(f"| {case.name} | {case.asked} | " + " | ".join(cells) + " |")
        print(found[-1], file=sys.stderr, flush=True)
    registry.stop()
    return found


def main() -> int:
    """Measure, print the table and write it beside this file."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    table = "\n".join(uvloop.run(lines(wanted)))
    title = "# What each fast path saves"
    note = (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. CPU microseconds a request with the path / without it, and the "
        f"share that it saves; the least of {ROUNDS} rounds that take turns, in one process and without a network."
    )
    text = f"{title}\n\n{note}\n\n{table}\n"
    print(text)
    if not wanted:
        TABLE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
