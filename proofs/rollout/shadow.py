"""What a shadow costs those who are answered: p99 at half of what the service can do, with it and without, in turns.

Without means that nothing is on trial: whatever a trial costs, its counts and its metrics too, is a part of the ratio.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

import rowcast
from proofs.client import Connection, post
from proofs.rollout.operating import Operator
from rowcast.loadtest.connection import Endpoint
from rowcast.loadtest.openloop import Result, run, schedule

_COLUMNS = 20
_BODIES = 500
_CONNECTIONS = 16
_SETTLE_SECONDS = 3.0
"""After a trial has begun or ended: two seconds later the worker gives back the memory of a version that is gone."""
_WARM_SECONDS = 1.0
"""Before each turn, of the same load: p99 is longer in the first seconds after the memory was given back."""
_RESAMPLES = 10_000


class Turn(NamedTuple):
    """One round."""

    without_ms: float
    with_ms: float
    failed: int
    void: str


def publish_two(root: Path) -> list[bytes]:
    """Publish two networks that were trained on a table of 20 columns; requests for them."""
    dice = np.random.default_rng(0)
    values = dice.normal(size=(2000, _COLUMNS))
    table = {f"x{i}": values[:, i] for i in range(_COLUMNS)}
    table["late"] = np.where(values[:, 0] + values[:, 1] * values[:, 2] + dice.normal(size=2000) > 0, "yes", "no")
    for seed in (0, 1):
        rowcast.fit(
            table,
            target="late",
            name="flights",
            repository=root,
            preset="quick",
            seed=seed,
            fit={"epochs": 3},
            verbose=False,
        )
    rows = [{f"x{i}": round(float(v), 4) for i, v in enumerate(line)} for line in values[:_BODIES]]
    return [post(json.dumps({"rows": [row]}).encode(), "/models/flights/predict") for row in rows]


async def capacity(port: int, requests: list[bytes], seconds: float) -> float:
    """Answers a second to callers who ask again at once."""
    done, until = 0, time.monotonic() + seconds

    async def caller(first: int) -> None:
        nonlocal done
        connection, i = Connection(port), first
        while time.monotonic() < until:
            status, _, _ = await connection.ask(requests[i % len(requests)])
            assert status == 200
            done, i = done + 1, i + 1
        connection.close()

    await asyncio.gather(*(caller(31 * n) for n in range(_CONNECTIONS)))
    return done / seconds


async def turns(
    operator: Operator, port: int, requests: list[bytes], rate: float, rounds: int, seconds: float
) -> list[Turn]:
    """The p99 at a rate, with a shadow and without, in turns; the order changes from round to round, and the last
    turn has a shadow."""
    found, on = [], False
    endpoint = Endpoint.of(f"http://127.0.0.1:{port}")

    async def asked(seconds: float, seed: int) -> Result:
        due = schedule(rate, seconds, seed)
        return await run(endpoint, requests, due, seconds, fault=lambda _: None, lag_limit_ms=5.0)

    for number in range(rounds):
        figures: dict[bool, Result] = {}
        for shadowed in (False, True) if (rounds - number) % 2 else (True, False):
            if shadowed != on:
                await (operator.begin(2, shadow=1.0) if shadowed else operator.end())
                await asyncio.sleep(_SETTLE_SECONDS)
                on = shadowed
            await asked(_WARM_SECONDS, rounds + number)
            figures[shadowed] = await asked(seconds, number)
        both = figures.values()
        failed = sum(sum(one.errors.values()) for one in both)
        void = "; ".join(one.void for one in both if one.void)
        found.append(Turn(figures[False].p99_ms, figures[True].p99_ms, failed, void))
    return found


def ratios(found: list[Turn]) -> list[float]:
    """How many times the p99 without is the one with a shadow, of each round."""
    return [turn.with_ms / turn.without_ms for turn in found]


def noise(found: list[Turn]) -> list[float]:
    """The same of turns without, one right after the other: what would be found if a shadow cost nothing."""
    pairs = zip(found[len(found) % 2 :: 2], found[len(found) % 2 + 1 :: 2], strict=True)
    return [after.without_ms / before.without_ms for before, after in pairs]


class Median(NamedTuple):
    """The median of some values, and where that of all would be 19 times out of 20 (bootstrap)."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Median:
        """That of these."""
        drawn = np.random.default_rng(0).choice(values, (_RESAMPLES, len(values)))
        low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
        return cls(statistics.median(values), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"
