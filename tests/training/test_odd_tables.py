"""Tables of odd columns: a look never crashes, and a few of those of `make fuzz-tables` are trained on here as well."""

from __future__ import annotations

import numpy as np
import pytest

import rowcast
from proofs.tables import Finding, try_table
from tests.support.odd_tables import COLUMNS, TARGETS, odd_table

SEEDS = (0, 5)


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_look_at_an_odd_column_says_something_of_it(kind):
    rng = np.random.default_rng(1)
    signal = rng.normal(size=120)
    values, _ = COLUMNS[kind](rng, 120, signal)
    found = rowcast.look({"odd": values, "y": signal.tolist()}, target="y")
    assert [column["name"] for column in found["columns"]] == ["odd", "y"]
    assert found["columns"][0]["kind"] != "unknown" or any("'odd'" in warning for warning in found["warnings"])


@pytest.mark.parametrize("kind", TARGETS)
def test_a_look_at_an_odd_target_tells_the_task_or_why_there_is_none(kind):
    rng = np.random.default_rng(2)
    signal = rng.normal(size=120)
    found = rowcast.look({"x": signal.tolist(), "y": TARGETS[kind](rng, signal)}, target="y")
    assert (found["task"] is None) == any("would refuse" in warning for warning in found["warnings"])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_table_of_odd_columns_is_trained_on_and_answers_alike_by_every_door(seed, tmp_path):
    finding = try_table(seed, tmp_path)
    assert finding == Finding(seed, "trained", "", finding.seconds), odd_table(seed).made_of
