"""Rows that are made from a signature: values that callers might send."""

from __future__ import annotations

import numpy as np

from rowcast.models.signature import MISSING_TIMESTAMP, Column, Signature
from rowcast.service.columns.blocks import Layout
from rowcast.service.live.made_rows import ROWS, made_rows
from tests.support import handmade


def made(*columns: Column) -> list[list[object]]:
    """The values of each column."""
    layout = Layout(Signature(task="regression", target="y", columns=columns))
    rows = made_rows(layout)
    assert [block.shape for block in rows.blocks] == [(len(block), ROWS, 1) for block in layout.blocks]
    return [line[:, 0].tolist() for block in rows.blocks for line in block]


def test_they_hold_the_least_the_median_the_largest_and_mixtures_within_the_ranges_and_levels() -> None:
    distance, stops, night, carrier, departs = made(*handmade.COLUMNS)
    assert distance[:3] == [80.0, 872.0, 4983.0]
    assert all(80 <= value <= 4983 for value in distance)  # type: ignore[operator]
    assert len(set(distance)) == ROWS
    assert set(stops) == {0.0, 1.0, 2.0, 3.0}
    assert set(night) == {0.0, 1.0}
    assert set(carrier) == {"UA", "AA", "9E"}
    hour = 3_600_000_000
    first, last = handmade.EPOCH_2013, handmade.EPOCH_2013 + (365 * 24 - 1) * hour
    assert departs[::2][:2] == [first, last]
    assert all(first <= value <= last for value in departs)  # type: ignore[operator]
    assert made(*handmade.COLUMNS) == [distance, stops, night, carrier, departs]


def test_what_a_signature_does_not_say_is_made_up() -> None:
    kinds = ("number", "duration", "text", "category", "timestamp")
    number, duration, text, category, timestamp = made(*(Column(name=k, kind=k, nullable=True) for k in kinds))
    assert number[:3] == duration[:3] == [0.0, 1.0, 1.0]
    assert all(isinstance(value, str) and value for value in [*text, *category])
    assert set(timestamp) == {MISSING_TIMESTAMP}
    odd = Column(name="x", kind="number", nullable=True, minimum=-1.7e308, maximum=1.7e308, median=float("nan"))
    assert np.isfinite(made(odd)[0]).all()
    nonsense = Column(name="x", kind="timestamp", nullable=True, minimum="soon", example="2013-01-01T00:00:00Z")
    assert set(made(nonsense)[0]) == {handmade.EPOCH_2013}
