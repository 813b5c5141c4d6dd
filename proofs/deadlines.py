"""Proof: nobody is run after its deadline, and nobody is refused who could have been answered by it.

A thousand requests with random sizes, priorities and deadlines go through the batcher itself, over runs that take a
known time, at about the load that they can do. Whoever is refused at once for its deadline comes again in the same
moment without one, and so shows when the answer would have come: a refusal with more than one run to spare is one too
many. Who is told later had not begun when it was time to.

    make proof-deadlines
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from rowcast.service.engine.batcher import Batcher
from rowcast.service.errors import DeadlineExceeded, QueueFull
from tests.support.batching import submit

FIXED_SECONDS = 0.002
ROW_SECONDS = 0.0001
MAX_ROWS = 64
SECOND_TRY = -1
FULL_RUN_SECONDS = FIXED_SECONDS + MAX_ROWS * ROW_SECONDS
LATE_SECONDS = 0.002
"""Between the batcher's look at the clock and the run's lies the way to the thread."""
LOAD = 0.9
"""Of what full runs can do."""


@dataclass
class Handler:
    """One request, and what became of it."""

    number: int
    comes: float
    rows: int
    priority: int
    timeout: float
    due: float = 0.0
    runs: list[float] = field(default_factory=list)
    """When its parts were run."""
    outcome: str = ""
    would_have_ended: float | None = None
    """When the same request without a deadline was answered, of one that was refused at once."""


def asks(n: int, seed: int) -> list[Handler]:
    """Requests at random moments, most of them small."""
    rng = random.Random(seed)
    found, moment = [], 0.0
    for number in range(n):
        rows = rng.choice([1, 1, 1, 1, 2, 8, 30, 150])
        moment += rng.expovariate(1.0) * 24 * FULL_RUN_SECONDS / MAX_ROWS / LOAD
        timeout = rng.choice([0.0, FIXED_SECONDS, 0.02, 0.05, 0.1, 0.2, 1.0]) * rng.uniform(0.5, 1.5)
        found.append(Handler(number, moment, rows, rng.choice([0, 0, 0, 1, 3]), timeout))
    return found


async def play(load: list[Handler]) -> None:
    """Send every request when it comes, and note what becomes of it."""

    def run(requests: list[list[int]]) -> list[list[int]]:
        began = time.perf_counter()
        for number in {row for rows in requests for row in rows} - {SECOND_TRY}:
            load[number].runs.append(began)
        until = began + FIXED_SECONDS + ROW_SECONDS * sum(map(len, requests))
        while (left := until - time.perf_counter()) > 0:
            time.sleep(left)
        return requests

    with ThreadPoolExecutor(1) as thread:
        batcher = Batcher(
            run,
            thread,
            max_rows=MAX_ROWS,
            max_queue=10**6,
            seconds_per_row=FIXED_SECONDS,
            drain_seconds_per_row=FULL_RUN_SECONDS / MAX_ROWS,
        )
        began = time.perf_counter()

        async def ask(item: Handler) -> None:
            await asyncio.sleep(began + item.comes - time.perf_counter())
            item.due = time.perf_counter() + item.timeout
            try:
                answer = submit(batcher, [item.number] * item.rows, deadline=item.due, priority=item.priority)
            except QueueFull:
                item.outcome = "full"
                return
            except DeadlineExceeded:
                item.outcome = "refused"
                await submit(batcher, [SECOND_TRY] * item.rows, priority=item.priority)
                item.would_have_ended = time.perf_counter()
                return
            try:
                await answer
                item.outcome = "answered"
            except DeadlineExceeded:
                item.outcome = "dropped"

        await asyncio.gather(*map(ask, load))


def main() -> int:
    """Count; 0 when nobody was run too late and nobody was refused too soon."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    load = asks(options.requests, options.seed)
    asyncio.run(play(load))
    counts = Counter(item.outcome for item in load)
    late = [item for item in load if any(moment > item.due + LATE_SECONDS for moment in item.runs)]
    in_vain = [item for item in load if item.outcome != "answered" and item.rows <= MAX_ROWS // 4 and item.runs]
    too_soon = [
        item
        for item in load
        if item.would_have_ended is not None and item.would_have_ended + FULL_RUN_SECONDS < item.due
    ]
    print(f"{len(load):,} requests, runs of {MAX_ROWS} rows in {FULL_RUN_SECONDS * 1e3:.1f} ms, load {LOAD:.0%}")
    for words, n in (
        ("answered", counts["answered"]),
        ("refused at once", counts["refused"]),
        ("told while they waited", counts["dropped"]),
        ("refused for a full queue", counts["full"]),
        ("run after their deadline", len(late)),
        ("not to be cut, run and yet told 504", len(in_vain)),
        ("refused with more than a run to spare", len(too_soon)),
    ):
        print(f"  {words:<40} {n:>6,}")
    refusals = counts["refused"] > len(load) // 20 and counts["dropped"] > 0
    kept = not late and not in_vain and not too_soon and refusals
    print("kept" if kept else "BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
