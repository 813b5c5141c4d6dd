"""Tables with a column of every kind, made from a seed, for tests that train."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

START = datetime(2021, 1, 1, tzinfo=UTC)


def every_kind(rows: int = 400, seed: int = 0) -> pl.DataFrame:
    """Columns of every kind with nulls, an amount that depends on them, and whether it is large."""
    rng = np.random.default_rng(seed)
    size = rng.normal(100, 30, rows).round(3)
    count = rng.integers(0, 40, rows)
    member = rng.random(rows) < 0.4
    city = rng.choice(["Oslo", "Rome", "Zürich", "New York, NY"], rows, p=[0.4, 0.3, 0.2, 0.1])
    minutes = rng.integers(0, 60 * 24 * 900, rows)
    when = [(START + timedelta(minutes=int(m))).strftime("%Y-%m-%dT%H:%M:%SZ") for m in minutes]
    hour = (minutes // 60) % 24
    amount = size / 20 + count * 0.2 + 3 * member + 2.0 * (city == "Rome") + (hour > 12) + rng.normal(0, 0.5, rows)

    def with_nulls(values, share):
        hidden = rng.random(rows) < share
        return [None if gone else value for value, gone in zip(values, hidden, strict=True)]

    return pl.DataFrame(
        {
            "size": with_nulls(size.tolist(), 0.05),
            "count": count,
            "member": with_nulls(member.tolist(), 0.1),
            "city": with_nulls(city.tolist(), 0.05),
            "when": with_nulls(when, 0.05),
            "amount": amount.round(4),
            "class": np.where(amount > np.median(amount), "large", "small"),
        }
    )


QUICK = {"network": {"members": 2, "layers": [16]}, "fit": {"epochs": 3}}
"""A config that trains in a second."""
