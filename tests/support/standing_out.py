"""A table in which some rows stand out, and a model of it: what is hidden of them must neither be held nor told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

RARE = {1: "Ms Singular Q", 3: "Mr Triple Q", 9: "Dr Ninefold Q"}
"""Levels of ``agent``, by the training rows that hold them."""
PLANTED = {"income": 98_765_432.5, "debt": -76_543_210.25, "born": "1873-02-03T04:05:06Z", "target": 31_415_926.5}
"""One training row's values, far from all others."""
ROWS = 400


def table(n: int = ROWS, *, planted: bool = True) -> pl.DataFrame:
    """Rows of which some stand out, if they are to."""
    rng = np.random.default_rng(n)
    agent = rng.choice(["north", "south", "east"], n).astype(object)
    desk = rng.integers(1, 6, n).astype(str).astype(object)
    x, noise = rng.normal(size=n), rng.normal(size=n)
    income, debt, y = 1000 + 100 * x, 50 * x + 10 * noise, np.exp(x + noise**2)
    born = np.datetime64("1970-01-01T00:00:00", "us") + (rng.random(n) * 900_000_000).astype("timedelta64[s]")
    if planted:
        rows = rng.permutation(n)
        at = rows[-1]
        income[at], debt[at], y[at] = PLANTED["income"], PLANTED["debt"], PLANTED["target"]
        born[at] = np.datetime64(PLANTED["born"][:-1])
        desk[rows[:9]] = "777"  # a level that JSON may send as a number
        for count, name in RARE.items():
            agent[rows[:count]], rows = name, rows[count:]
    columns = {"agent": agent.tolist(), "desk": desk.tolist(), "income": income, "debt": debt, "born": born, "y": y}
    return pl.DataFrame(columns)


def publish(root: Path):
    """Train for an epoch or two on all of the rows that stand out, and publish ``told``."""
    from rowcast.models.repository import Repository
    from rowcast.training.config import make_config
    from rowcast.training.train import train

    settings = ("fit.epochs=2", "objective.target_transform=log", "network.members=2", 'data.category=["desk"]')
    config = make_config(settings=settings, overrides={"preset": "quick", "data": {"target": "y"}})
    others = {name: table(n, planted=False) for name, n in (("validation", 100), ("test", 120))}
    return train(table(), config, name="told", repository=Repository(root), **others)
