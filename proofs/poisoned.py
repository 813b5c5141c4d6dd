"""Proof: whoever shares a batch with a bad request gets the right answer, and who has left is not computed.

First through the batcher itself, over a real session: 10,000 batches of requests, some of which make the run fail and
some of whose callers have left before it. Then over HTTP: every hostile payload of the test suite among good ones.

    make proof-poisoned
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from proofs.client import Connection, post
from rowcast.models.session import Predictions, Session
from rowcast.service.columns.rows import GraphInputs
from rowcast.service.engine.batcher import Batcher
from tests.service.hostile_payloads import GOOD, PAYLOADS
from tests.service.servers import publish_flights, serving
from tests.support import handmade
from tests.support.batching import submit

TOLERANCE = 1e-6
POISONS: list[dict[str, Any]] = [{"distance": "far"}, {"stops": "two"}, {"departs": None}]
"""Values that no decoder lets through: each makes the whole run fail that it is in."""


def random_row(rng: random.Random) -> dict[str, Any]:
    """A validated row."""
    return {
        "distance": rng.choice([None, rng.uniform(80, 4983)]),
        "stops": float(rng.randrange(4)),
        "night": rng.random() < 0.5,
        "carrier": rng.choice(["UA", "AA", "9E", "other", ""]),
        "departs": handmade.EPOCH_2013 + rng.randrange(10**12),
    }


async def through_the_batcher(batches: int, counts: Counter[str]) -> None:
    """Submit ``batches`` batches, in the thread and on the loop, and count what becomes of their requests."""
    rng = random.Random(0)
    session = Session(handmade.graph())
    computed: set[int] = set()

    def run(requests: list[list[dict[str, Any]]]) -> list[Predictions]:
        counts["runs"] += 1
        rows = [row for request in requests for row in request]
        computed.update(map(id, rows))
        predictions = session.run(GraphInputs(session.signature)(rows))
        ends = list(accumulate(map(len, requests)))
        return [predictions[end - len(request) : end] for request, end in zip(requests, ends, strict=True)]

    with ThreadPoolExecutor(1) as thread:
        for _ in range(batches):
            batcher = Batcher(run, thread, max_rows=64, seconds_per_row=rng.choice([0.0, 1.0]))
            computed.clear()
            requests = [[random_row(rng) for _ in range(rng.choice([1, 1, 2, 5]))] for _ in range(rng.randint(2, 12))]
            poisoned = set(rng.sample(range(len(requests)), rng.randint(1, min(3, len(requests) - 1))))
            for n in poisoned:
                requests[n][rng.randrange(len(requests[n]))] |= rng.choice(POISONS)
            answers = [submit(batcher, rows) for rows in requests]
            gone = {n for n in range(len(requests)) if rng.random() < 0.1}
            for n in gone:
                answers[n].cancel()
            outcomes = await asyncio.gather(*answers, return_exceptions=True)
            for n, (rows, outcome) in enumerate(zip(requests, outcomes, strict=True)):
                if n in gone:
                    counts["gone"] += 1
                    counts["gone, computed all the same"] += any(id(row) in computed for row in rows)
                elif n in poisoned:
                    counts["poisoned"] += 1
                    counts["poisoned, answered all the same"] += not isinstance(outcome, Exception)
                else:
                    counts["innocent"] += 1
                    counts["innocent, failed"] += not right(session, rows, outcome)


def right(session: Session, rows: list[dict[str, Any]], outcome: Any) -> bool:
    """Whether an answer is what the rows get on their own."""
    if not isinstance(outcome, Predictions):
        return False
    alone = session.run(GraphInputs(session.signature)(rows))
    assert outcome.probabilities is not None
    assert alone.probabilities is not None
    same = np.abs(outcome.probabilities - alone.probabilities).max() <= TOLERANCE
    return bool(same) and outcome.labels == alone.labels


async def over_http(port: int, requests: int, counts: Counter[str]) -> None:
    """Send good and hostile requests by many connections at once."""
    expected = (await Connection(port).ask(post(GOOD)))[2]
    hostile = [payload for payload in PAYLOADS if len(payload.body) < 2**16]
    rng = random.Random(1)
    todo = iter(range(requests))

    async def caller() -> None:
        connection = Connection(port)
        for _ in todo:
            try:
                if rng.random() < 0.5:
                    counts["innocent"] += 1
                    status, _, body = await connection.ask(post(GOOD))
                    counts["innocent, failed"] += (status, body) != (200, expected)
                else:
                    payload = rng.choice(hostile)
                    counts["poisoned"] += 1
                    status, _, _ = await connection.ask(post(payload.body))
                    counts["poisoned, answered all the same"] += status != payload.status
            except OSError:
                counts["innocent, failed"] += 1
        connection.close()

    await asyncio.gather(*(caller() for _ in range(32)))


def verdict(where: str, counts: Counter[str]) -> bool:
    """Print what was counted; True when nobody failed for another."""
    faults = ("innocent, failed", "poisoned, answered all the same", "gone, computed all the same")
    print(where)
    for name in ("innocent", "poisoned", "gone", "runs", *faults):
        if counts[name] or name in faults[:1]:
            print(f"  {name:<32} {counts[name]:>9,}")
    return not any(counts[fault] for fault in faults) and bool(counts["innocent"]) and bool(counts["poisoned"])


def main() -> int:
    """Count; 0 when no innocent request failed and nobody was computed in vain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=20_000, help="over HTTP")
    options = parser.parse_args()
    inside: Counter[str] = Counter()
    asyncio.run(through_the_batcher(options.batches, inside))
    outside: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        publish_flights(Path(folder) / "repository")
        with serving(Path(folder) / "repository", Path(folder) / "home") as server:
            asyncio.run(over_http(server.port, options.requests, outside))
    kept = [verdict(f"{options.batches:,} batches", inside), verdict(f"{options.requests:,} requests", outside)]
    print("kept" if all(kept) else "BROKEN")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
