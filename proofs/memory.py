"""Proof: the service needs no more memory after many requests than after few, however they were meant.

Sends good requests until the worker is warm, looks how much memory it has, sends many more, and looks again; then the
same with hostile payloads, oversized heads, and connections cut off halfway. With ``--leak`` the service keeps some
of every request, and the proof must notice.

    make proof-memory
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import psutil

from proofs.client import Connection, post
from tests.service.hostile_payloads import GOOD, PAYLOADS, ROW, rows
from tests.service.servers import Server, publish_flights, serving

LARGEST_DRIFT = 0.05
LARGEST_GROWTH_BYTES = 2**20
"""For each hundred abusive requests."""
CONNECTIONS = 32
MIXED = [GOOD, rows(*[ROW] * 5), rows(*[{**ROW, "carrier": "new"}] * 40)]


def memory(server: Server) -> int:
    """Bytes that the worker holds (its resident set)."""
    (worker,) = psutil.Process(server.process.pid).children()
    return int(worker.memory_info().rss)


async def send(port: int, requests: int) -> None:
    """Send good requests by several connections, and make sure that each is answered."""
    todo = iter(range(requests))

    async def caller() -> None:
        connection = Connection(port)
        for n in todo:
            status, _, _ = await connection.ask(post(MIXED[n % len(MIXED)]))
            assert status == 200, status
        connection.close()

    await asyncio.gather(*(caller() for _ in range(CONNECTIONS)))


async def abuse(port: int, requests: int) -> None:
    """Send what no service should be sent."""
    bodies = [post(payload.body) for payload in PAYLOADS]
    bodies += [post(GOOD, content_type="text/plain"), post(GOOD, path="/models/../predict"), b"no HTTP\r\n\r\n"]
    bodies += [b"GET / HTTP/1.1\r\nx: " + b"a" * 50_000 + b"\r\n\r\n", post(GOOD)[:-9]]
    todo = iter(range(requests))

    async def caller() -> None:
        for n in todo:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(bodies[n % len(bodies)])
                if n % 3:  # the others hang up at once
                    async with asyncio.timeout(0.2):
                        await reader.read(64)
            except (OSError, TimeoutError):
                pass
            finally:
                writer.transport.abort()

    await asyncio.gather(*(caller() for _ in range(8)))


def main() -> int:
    """Measure; 0 when memory stays."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--abusive", type=int, default=3_000)
    parser.add_argument("--long", action="store_true", help="2,000,000 requests")
    parser.add_argument("--leak", action="store_true", help="have the service leak: the proof must then fail")
    options = parser.parse_args()
    requests = 2_000_000 if options.long else options.requests
    variables = {"PROOF_LEAKS": "yes"} if options.leak else {}
    with tempfile.TemporaryDirectory() as folder:
        publish_flights(Path(folder) / "repository")
        repository, home = Path(folder) / "repository", Path(folder) / "home"
        with serving(repository, home, variables, service="proofs.leaking:Rowcast") as server:
            # The largest bodies, several at a time, leave a heap as large as they needed: that is part of being warm.
            asyncio.run(abuse(server.port, options.abusive))
            asyncio.run(send(server.port, max(5_000, requests // 10)))
            warm = memory(server)
            started = time.monotonic()
            asyncio.run(send(server.port, requests))
            seconds = time.monotonic() - started
            after = memory(server)
            asyncio.run(abuse(server.port, options.abusive))
            asyncio.run(send(server.port, 1_000))
            abused = memory(server)
    drift, growth = after / warm - 1, (abused - after) / options.abusive * 100
    table = [
        ("warm", warm, ""),
        (f"after {requests:,} requests ({seconds:.0f} s)", after, f"{drift:+.1%}"),
        (f"after {options.abusive:,} abusive requests", abused, f"{growth / 1024:+.0f} KiB a hundred"),
    ]
    for what, held, change in table:
        print(f"{what:<36} {held / 2**20:8.1f} MiB  {change}")
    kept = drift < LARGEST_DRIFT and growth < LARGEST_GROWTH_BYTES
    print("kept" if kept else "BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
