"""Models that are fitted once for all tests of the Python API."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import rowcast
from tests.support import tables

ROWS = 240


@pytest.fixture(scope="session")
def frame():
    """Columns of every kind, a number to predict, and a class that is 0 or 1."""
    found = tables.every_kind(ROWS).drop("class")
    took = pl.duration(seconds=pl.int_range(pl.len()) * 997 % 7_200)
    return found.with_columns(took=took, large=(pl.col("amount") > pl.col("amount").median()).cast(pl.Int64))


@pytest.fixture(scope="session")
def regression(frame):
    """A model of a number, not published."""
    return rowcast.fit(frame.drop("large"), target="amount", **tables.QUICK)


@pytest.fixture(scope="session")
def binary(frame):
    """A model of two classes, 0 and 1, not published."""
    return rowcast.fit(frame.drop("amount"), target="large", **tables.QUICK)


@pytest.fixture(scope="session")
def arrays():
    """Rows and columns without names, the last column constant, and a number for each row."""
    rng = np.random.default_rng(0)
    x = np.hstack([rng.normal(size=(ROWS, 3)), np.ones((ROWS, 1))])
    return x, x[:, 0] - 2 * x[:, 1] + rng.normal(0, 0.1, ROWS)


@pytest.fixture(scope="session")
def of_arrays(arrays):
    """A model that was fitted on arrays, not published."""
    return rowcast.fit(*arrays, **tables.QUICK)
