"""A column that gives the target away is named; an honest one is not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import rowcast
from rowcast.models.warnings import LeakageWarning
from rowcast.training.columns.infer import ColumnRule
from rowcast.training.columns.leakage import share_explained, suspected_leaks
from rowcast.training.columns.target import Target
from tests.support import tables

RNG = np.random.default_rng(0)
ROWS = 2000
VALUES = RNG.normal(size=ROWS)
CLASSES = Target("y", "multiclass", np.array(["a", "b", "c"], dtype=object)[np.digitize(VALUES, [-0.5, 0.5])])
AMOUNTS = Target("y", "regression", VALUES)


def leaks(kind, column, target):
    return suspected_leaks({"x": column}, [ColumnRule("x", kind, False, frozenset())], target)


@pytest.mark.parametrize("target", [CLASSES, AMOUNTS])
def test_a_copy_of_the_target_is_named_with_the_way_out(target):
    (said,) = leaks("number", VALUES * 1000 + 3, target)
    assert said.startswith("'x' alone tells 9")
    assert "--drop x" in said


def test_a_level_or_a_gap_that_gives_the_class_away_is_named():
    assert len(leaks("category", CLASSES.values, CLASSES)) == 1
    two = Target("y", "binary", np.where(VALUES > 1, "yes", "no").astype(object))
    assert len(leaks("number", np.where(VALUES > 1, RNG.normal(size=ROWS), np.nan), two)) == 1
    assert len(leaks("timestamp", np.where(VALUES > 1, 10**15, -(10**15)), two)) == 1


@pytest.mark.parametrize("target", [CLASSES, AMOUNTS])
def test_a_good_but_honest_column_is_not(target):
    assert leaks("number", VALUES + RNG.normal(size=ROWS) * 0.3, target) == []
    assert leaks("number", RNG.normal(size=ROWS), target) == []


def test_levels_that_single_out_rows_prove_nothing():
    assert leaks("category", np.array([f"row {i}" for i in range(ROWS)], dtype=object), CLASSES) == []
    assert leaks("category", np.array([f"row {i}" for i in range(ROWS)], dtype=object), AMOUNTS) == []


def test_a_handful_of_rows_proves_nothing():
    few = Target("y", "regression", VALUES[:20])
    assert suspected_leaks({"x": VALUES[:20]}, [ColumnRule("x", "number", False, frozenset())], few) == []


def test_a_thousand_classes_and_many_levels_are_searched_for_leaks_in_bounded_memory():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 1000, 400_000)
    target = Target("y", "multiclass", np.array([str(i) for i in labels], dtype=object), tuple(map(str, range(1000))))
    assert share_explained(labels * 300 + rng.integers(0, 300, 400_000), target) == pytest.approx(0.49, abs=0.02)
    assert share_explained(rng.integers(0, 300_000, 400_000), target) < 0


def test_python_warns_of_leakage_and_names_its_own_argument():
    frame = pl.DataFrame({"x": np.cos(np.arange(ROWS)), "told": VALUES * 2, "y": VALUES})
    with pytest.warns(LeakageWarning, match=r"""'told' alone tells .* leave it out with data={"drop": \["told"\]}$"""):
        rowcast.fit(frame, target="y", verbose=False, **tables.QUICK)
