"""Stalls: how long the slowest requests of a minute take at half load, beside the server written by hand.

Half load is half of what the server by hand can take, and the same for both: an open loop sends one-row requests on a
seeded Poisson schedule, and each is timed from when it was due. The two have turns, Rowcast first; a server has one
core and the client the other.

    make bench-stalls
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from benchmarks.cells import RESULTS, machine
from benchmarks.serving.compare import trained_model
from benchmarks.serving.harness.contenders import OURS, PEER_LIST
from benchmarks.serving.harness.duel import LOADS, Plan, Running
from benchmarks.serving.harness.processes import pinned
from rowcast.loadtest import openloop
from rowcast.loadtest.connection import run_precisely
from rowcast.loadtest.payloads import Payloads

STORE = RESULTS / "stalls.md"
BY_HAND = next(peer for peer in PEER_LIST if peer.name == "by_hand")
CONNECTIONS = 32
DISTINCT_REQUESTS = 512


def minute(server: Running, payloads: Payloads, rate: float, seconds: float, seed: int) -> openloop.Result:
    """What the client sees of a server at this rate."""
    requests = [server.endpoint.post("/predict", payloads.body()) for _ in range(DISTINCT_REQUESTS)]
    due = openloop.schedule(rate, seconds, seed)
    server.server.go_on()
    try:
        return run_precisely(
            openloop.run(
                server.endpoint,
                requests,
                due,
                seconds,
                fault=lambda body: None if b'"predictions":[{' in body else "no predictions",
                connections=CONNECTIONS,
                timeout_s=10.0,
                lag_limit_ms=1000.0,
            )
        )
    finally:
        server.rest()


def table(rows: list[tuple[str, openloop.Result]], rate: float, seconds: float) -> str:
    """The figures, in Markdown."""
    lines = [
        "# Stalls at half load",
        "",
        (
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. One worker on one core, the client on another; one-row "
            f"requests, {rate:,.0f} a second (half of what the server by hand can take), {seconds:g} s a turn."
        ),
        "",
        "| | answered | failed | p50, ms | p99, ms | p99.9, ms | longest, ms | client late p99, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for title, r in rows:
        failed = sum(r.errors.values())
        lines.append(
            f"| {title} | {r.ok:,} | {failed} | {r.p50_ms:.2f} | {r.p99_ms:.2f} | {r.p999_ms:.2f} | {r.max_ms:.1f} "
            f"| {r.client_lag_p99_ms:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print the table and write it to `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a turn")
    parser.add_argument("--turns", type=int, default=1, help="turns of each server")
    parser.add_argument("--results", type=Path, default=STORE, help="where the table stands")
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("this benchmark needs two cores: one for the server, one for the client", file=sys.stderr)
        return 1
    model = trained_model()
    payloads = Payloads(model.manifest.signature, rows=1, seed=0)
    bodies: list[list[dict[str, Any]]] = [[payloads.row()] for _ in range(64)]
    rows: list[tuple[str, openloop.Result]] = []
    running: list[Running] = []
    with pinned(cores[0]):
        try:
            running = [Running(contender, model, cores[-1]) for contender in (OURS, BY_HAND)]
            capacity = running[1].measure(LOADS[1], bodies, Plan(5.0, 1, 3))["rate"]
            running[0].rest()
            for turn in range(given.turns):
                for server in running:
                    result = minute(server, payloads, capacity / 2, given.seconds, seed=turn)
                    rows.append((server.contender.title, result))
                    print(server.contender.title, orjson.dumps(asdict(result)).decode(), file=sys.stderr)
        finally:
            for server in running:
                server.server.end()
    text = table(rows, capacity / 2, given.seconds)
    given.results.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
