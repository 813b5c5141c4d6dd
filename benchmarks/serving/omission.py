"""Coordinated omission: a server that stands still for a second, as several load tests see it.

A server answers at once, but stands still for 1 s of a 10 s run. Of requests that arrive evenly a tenth fall into that
second, and wait half of it on average: p99 of what users wait is 0.9 s, whatever the rate. Each load test runs against
a fresh server of that kind:

- ``rowcast loadtest check`` and the Locust file of this repository, which are open loops: requests leave when they are
  due, and are timed from then;
- a closed loop as of wrk, which asks again as soon as it is answered, with 8 connections;
- the same at the fixed rate: each of 8 connections asks every 8 / rate seconds, or as soon as it is answered where
  that is later, and is timed from when it asked;
- Locust with users of its own, 8 of them.

    make bench-omission
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.cells import RESULTS, ROOT, machine
from benchmarks.serving.compare import trained_model
from benchmarks.serving.harness.contenders import PEERS
from benchmarks.serving.harness.processes import free_port
from rowcast.loadtest import openloop
from rowcast.loadtest.connection import Connection, Endpoint, run_precisely
from rowcast.loadtest.payloads import Payloads
from rowcast.models.repository import StoredModel

STORE = RESULTS / "omission.md"
RATE = 200.0
SECONDS, AFTER_S, STALL_S = 10.0, 5.0, 1.0
CONNECTIONS = 8
LATE_S = 0.1
WITHIN = 0.1
"""How close an open loop has to come to the truth, as a share of it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a load test saw."""

    requests: int
    late: int
    """That took more than :data:`LATE_S`."""
    p99_ms: float
    p999_ms: float
    max_ms: float


def of_seconds(latencies: NDArray[np.float64]) -> Seen:
    """The figures of latencies in seconds."""
    p99, p999 = np.quantile(latencies, (0.99, 0.999)) * 1000
    late = int(np.sum(latencies > LATE_S))
    return Seen(len(latencies), late, float(p99), float(p999), float(latencies.max()) * 1000)


def truth() -> Seen:
    """What users of :data:`RATE` requests a second wait, who arrive evenly, at a server that answers at once."""
    due = np.arange(0, SECONDS, 1 / RATE)
    stalled = (due >= AFTER_S) & (due < AFTER_S + STALL_S)
    return of_seconds(np.where(stalled, AFTER_S + STALL_S - due, 0.0))


@contextmanager
def stalling(model: StoredModel) -> Iterator[Endpoint]:
    """A fresh server."""
    signature = model.manifest.signature.public()
    classes = signature.classes
    answer = {
        "model": model.manifest.name,
        "version": model.manifest.version,
        "predictions": [{"label": classes[0], "probabilities": dict.fromkeys(classes, 1 / len(classes))}],
    }
    description = {
        "name": model.manifest.name,
        "version": model.manifest.version,
        "sha256": model.sha256,
        "signature": signature.model_dump(mode="json"),
    }
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name, content in (("description", description), ("answer", answer)):
            files.append(Path(folder) / f"{name}.json")
            files[-1].write_bytes(orjson.dumps(content))
        port = free_port()
        command = [sys.executable, str(PEERS / "stalling.py"), str(port), *map(str, files), str(AFTER_S), str(STALL_S)]
        server = subprocess.Popen(command)
        try:
            endpoint = Endpoint.of(f"http://127.0.0.1:{port}")
            for _ in range(100):
                try:
                    asyncio.run(_touch(endpoint))
                    break
                except OSError:
                    time.sleep(0.1)
            yield endpoint
        finally:
            server.terminate()
            server.wait()


async def _touch(endpoint: Endpoint) -> None:
    _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    writer.close()


def requests_of(endpoint: Endpoint, model: StoredModel) -> list[bytes]:
    """Whole requests of one row."""
    payloads = Payloads(model.manifest.signature.public(), seed=0)
    path = f"/models/{model.manifest.name}/predict"
    return [endpoint.post(path, payloads.body()) for _ in range(64)]


def by_check(model: StoredModel) -> Seen:
    """Our open loop, as ``check`` runs it."""
    latencies = openloop.histogram()
    with stalling(model) as endpoint:
        run_precisely(
            openloop.run(
                endpoint,
                requests_of(endpoint, model),
                openloop.schedule(RATE, SECONDS, 0),
                SECONDS,
                fault=lambda body: None,
                latencies=latencies,
            )
        )
    return of_seconds(openloop.seconds_of(latencies))


def by_closed_loop(model: StoredModel, rate: float | None) -> Seen:
    """A closed loop, as fast as it is answered or at a rate."""
    with stalling(model) as endpoint:
        return of_seconds(np.array(asyncio.run(_closed_loop(endpoint, requests_of(endpoint, model), rate))))


async def _closed_loop(endpoint: Endpoint, requests: list[bytes], rate: float | None) -> list[float]:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []

    async def user(number: int) -> None:
        answered: asyncio.Future[None] = loop.create_future()

        def done(*_: object) -> None:
            if not answered.done():
                answered.set_result(None)

        connection = await endpoint.connect(lambda: Connection(done, done, lambda _: None))
        begun = loop.time()
        every = 0.0 if rate is None else CONNECTIONS / rate
        due = begun + every * number / CONNECTIONS
        turn = number
        while loop.time() < begun + SECONDS:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + every, loop.time())
            asked = loop.time()
            answered = loop.create_future()
            connection.send(requests[turn % len(requests)])
            await answered
            latencies.append(loop.time() - asked)
            turn += 1
        connection.abort()

    await asyncio.gather(*(user(number) for number in range(CONNECTIONS)))
    return latencies


def by_locust(model: StoredModel, file: Path, *arguments: str) -> Seen:
    """Locust without its page."""
    path = f"/models/{model.manifest.name}/predict"
    with stalling(model) as endpoint, tempfile.NamedTemporaryFile() as body:
        Path(body.name).write_bytes(Payloads(model.manifest.signature.public(), seed=0).body())
        command = [sys.executable, "-m", "locust", "-f", str(file), "--host", f"http://{endpoint.authority}"]
        done = subprocess.run(
            [*command, "--headless", "--json", "-t", f"{SECONDS:g}s", *arguments],
            cwd=ROOT,
            env={**os.environ, "BODY": body.name, "PREDICT": path},
            capture_output=True,
            text=True,
            check=False,
        )
    entry = next(entry for entry in json.loads(done.stdout) if entry["name"] == path)
    times = [(float(took), n) for took, n in entry["response_times"].items()]
    return of_seconds(np.repeat([took / 1000 for took, _ in times], [n for _, n in times]))


def report(rows: list[tuple[str, Seen]]) -> str:
    """The table, in Markdown."""
    true = rows[0][1]
    lines = [
        "# Coordinated omission",
        "",
        (
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. A server answers at once, but stands still for {STALL_S:g} s "
            f"of {SECONDS:g} s. Rates are {RATE:g} requests a second where there is one, and closed loops have "
            f"{CONNECTIONS} connections or users."
        ),
        "",
        f"| | requests | over {LATE_S * 1000:g} ms | share | p99, ms | p99.9, ms | longest, ms | p99, share seen |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for title, seen in rows:
        lines.append(
            f"| {title} | {seen.requests:,} | {seen.late:,} | {seen.late / seen.requests:.2%} | {seen.p99_ms:,.1f} "
            f"| {seen.p999_ms:,.1f} | {seen.max_ms:,.0f} | {seen.p99_ms / true.p99_ms:.1%} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print the table and write it; exit code 1 where an open loop does not see the stall whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=STORE, help="where the table stands")
    given = parser.parse_args()
    model = trained_model()
    users = ("-u", str(CONNECTIONS), "-r", str(CONNECTIONS))
    ours = (*users, "--user-rate", str(RATE / CONNECTIONS))
    rows = [
        ("**what users wait**, by arithmetic", truth()),
        ("`rowcast loadtest check`", by_check(model)),
        ("`loadtest/locustfile.py`", by_locust(model, ROOT / "loadtest" / "locustfile.py", *ours)),
        ("closed loop at the rate", by_closed_loop(model, RATE)),
        ("closed loop, as wrk", by_closed_loop(model, None)),
        ("Locust's own users", by_locust(model, PEERS / "locust_closed.py", *users)),
    ]
    text = report(rows)
    given.results.write_text(text)
    print(text)
    true = rows[0][1]
    missed = [title for title, seen in rows[1:3] if abs(seen.p99_ms / true.p99_ms - 1) > WITHIN]
    if missed:
        print(f"p99 is not within {WITHIN:.0%} of what users wait: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
