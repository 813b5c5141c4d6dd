"""What a shadow costs those who are answered: p99 at half of what the service can do, with it and without, in turns."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import rowcast
from proofs.client import Connection, post
from proofs.rollout.operating import Operator
from rowcast.loadtest.connection import Endpoint
from rowcast.loadtest.openloop import run, schedule

_COLUMNS = 20
_BODIES = 500
_CONNECTIONS = 16


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
    """The p99 at a rate, with a shadow and without, in turns; the order changes from round to round."""
    found = []
    endpoint = Endpoint.of(f"http://127.0.0.1:{port}")
    for number in range(rounds):
        figures: dict[float, Any] = {}
        for share in (0.0, 1.0) if number % 2 else (1.0, 0.0):
            await operator.begin(2, shadow=share)
            due = schedule(rate, seconds, seed=number)
            figures[share] = await run(endpoint, requests, due, seconds, fault=lambda _: None, lag_limit_ms=5.0)
        both = figures.values()
        failed = sum(sum(one.errors.values()) for one in both)
        void = "; ".join(one.void for one in both if one.void)
        found.append(Turn(figures[0.0].p99_ms, figures[1.0].p99_ms, failed, void))
    return found


def ratio(found: list[Turn]) -> float:
    """How many times the p99 without is the one with a shadow: the median over the rounds."""
    return statistics.median(turn.with_ms / turn.without_ms for turn in found)
