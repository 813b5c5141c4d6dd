"""Where the microseconds of a request go: each step timed alone, in this process, for the serving benchmark's model.

The steps are the service's own, called as it calls them; what the network, the event loop and the operating system take
is not among them. CPU time, the lower quartile of many rounds that take turns.

    make bench-request
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import orjson

from benchmarks.cells import machine
from benchmarks.serving.compare import trained_model
from rowcast.loadtest.payloads import Payloads
from rowcast.models.session import Session
from rowcast.service.engine.batcher import Batcher
from rowcast.service.engine.model import Model
from rowcast.service.engine.registry import Registry
from rowcast.service.http.fast_path import FastPath
from rowcast.service.http.reply import Reply
from rowcast.service.protocols.arrow.endpoint import ArrowEndpoint
from rowcast.service.protocols.rows.endpoint import RowsEndpoint
from rowcast.service.protocols.rows.route import RowsRoute
from rowcast.service.settings import Settings

ROUNDS = 80
BATCHES = (1, 16, 64)


Step = Callable[[], object]


def steps(serving: Registry, served: Model, session: Session, thread: ThreadPoolExecutor, rows: int) -> dict[str, Step]:
    """The steps of a run of one-row requests, each for all of them, by name; some have to be awaited."""
    payloads = Payloads(served.signature, rows=1, seed=0)
    bodies = [orjson.dumps({"rows": [payloads.row()]}) for _ in range(rows)]
    routes = {"/predict": RowsRoute(RowsEndpoint(served), ArrowEndpoint(served))}
    lane = FastPath(serving, lambda: routes, lambda _: True)
    heads = [
        b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: %d" % len(body)
        for body in bodies
    ]
    requests = [head + b"\r\n\r\n" + body for head, body in zip(heads, bodies, strict=True)]
    common = [(b"date", b"Tue, 24 Nov 2026 00:00:00 GMT"), (b"server", b"uvicorn")]
    endpoint = RowsEndpoint(served)
    codec = endpoint.codec
    columns, _ = codec.read(bodies)
    assert columns is not None
    inputs = served.layout.inputs(columns.blocks)
    predictions = session.run(inputs)
    encoded = codec.write(predictions)
    batcher = Batcher(lambda requests: [[answer] for answer in encoded], thread)
    outputs = list(served.signature.outputs)

    def look_up() -> None:
        for request in requests:
            lane.look_up(request[: request.find(b"\r\n\r\n", 0, 1024)])

    async def gather() -> None:
        settled = asyncio.Event()
        told: list[object] = []

        def tell(answer: object) -> None:
            told.append(answer)
            if len(told) == rows:
                settled.set()

        for body in bodies:
            batcher.enqueue(codec.begin(body), tell)
        await settled.wait()

    def count() -> None:
        for _ in range(rows):
            served.meter.request(200, 0.001)

    return {
        "find the head among the known": look_up,
        "gather, and hand out the answers": gather,
        "read and validate the rows, into the graph's inputs": lambda: codec.read(bodies),
        "run the graph": lambda: session._session.run(outputs, inputs),
        "encode the rows": lambda: codec.write(predictions),
        "write the answers": lambda: [
            lane.write(Reply(200, codec.encoder.answer([row])), common, last=False) for row in encoded
        ],
        "count the requests": count,
    }


async def measure() -> dict[int, dict[str, float]]:
    """CPU microseconds of each step for each request, by requests in a run."""
    stored = trained_model()
    serving = Registry(Settings(repository=stored.path.parent.parent, models=f"flights:{stored.manifest.version}"))
    served = serving.models["flights"]
    session = Session.of(stored, "cpu")
    columns: dict[int, dict[str, float]] = {}
    with ThreadPoolExecutor(1) as thread:
        for rows in BATCHES:
            timed: dict[str, list[float]] = {}
            todo = steps(serving, served, session, thread, rows)
            for _ in range(ROUNDS):
                for name, step in todo.items():
                    started = time.process_time()
                    if asyncio.iscoroutine(result := step()):
                        await result
                    timed.setdefault(name, []).append((time.process_time() - started) / rows * 1e6)
            columns[rows] = {name: sorted(times)[ROUNDS // 4] for name, times in timed.items()}
    return columns


def main() -> int:
    """Measure and print."""
    columns = asyncio.run(measure())
    print(f"{machine()}; CPU microseconds a request\n")
    print("| step | " + " | ".join(f"{rows} in a run" for rows in BATCHES) + " |")
    print("|---|" + "---|" * len(BATCHES))
    for name in columns[1]:
        print(f"| {name} | " + " | ".join(f"{columns[rows][name]:.1f}" for rows in BATCHES) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
