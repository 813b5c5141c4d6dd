"""Columns that a benchmark makes of the target tell no row its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.training.accuracy.datasets import Parts
from benchmarks.training.made_columns import PRIOR_ROWS, level_means, target_statistics


def test_a_mean_by_level_is_drawn_towards_that_of_all():
    levels, values = np.array(["a", "a", "b"]), np.array([1.0, 1.0, 0.0])
    found = level_means(levels, values, np.array(["a", "b", "new"]), default=0.5)
    expected = [(2 + PRIOR_ROWS / 2) / (2 + PRIOR_ROWS), (PRIOR_ROWS / 2) / (1 + PRIOR_ROWS), 0.5]
    assert found == pytest.approx(expected)


def test_a_training_row_is_not_told_its_own_target():
    parts = Parts(Path(), {"task": "binary", "target": "y", "classes": ["no", "yes"]})
    train = pl.DataFrame({"town": [f"t{i % 3}" for i in range(60)], "y": ["yes", "no"] * 30})
    other = pl.DataFrame({"town": ["t0"]})
    before, _ = target_statistics(train, other, parts, ["town"])
    changed = train.with_columns(pl.Series("y", ["no", *train["y"].to_list()[1:]]))
    after, _ = target_statistics(changed, other, parts, ["town"])
    moved = before["yes by town"] != after["yes by town"]
    same_level = np.array([i % 3 == 0 for i in range(60)])
    assert moved[same_level][1:].any()
    of_all = 29 / 60 - 30 / 60  # what it is drawn towards has moved, and by no more does it move
    assert of_all <= after["yes by town"][0] - before["yes by town"][0] <= 0.0
