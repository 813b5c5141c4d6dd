from __future__ import annotations

import json
import math
from collections import Counter

import pytest

from rowcast.loadtest.payloads import UNSEEN_LEVEL, Payloads, probe_body
from rowcast.models.signature import Column, Signature
from rowcast.models.values import parse_timestamp
from tests.support.handmade import BINARY, COLUMNS


def signature_of(*columns: Column) -> Signature:
    return Signature(task="regression", target="y", columns=columns)


def values_of(column: Column, n: int = 2000) -> list:
    payloads = Payloads(signature_of(column), seed=7)
    return [payloads.row()[column.name] for _ in range(n)]


def test_the_same_seed_gives_the_same_bodies_and_another_seed_gives_others():
    one, same, other = (Payloads(BINARY, rows=3, seed=seed) for seed in (5, 5, 6))
    first = [one.body() for _ in range(20)]
    assert first == [same.body() for _ in range(20)]
    assert first != [other.body() for _ in range(20)]


def test_a_body_holds_as_many_rows_as_asked_for_and_every_column_of_the_signature():
    rows = json.loads(Payloads(BINARY, rows=4).body())["rows"]
    assert [list(row) for row in rows] == [["distance", "stops", "night", "carrier", "departs"]] * 4


def test_fewer_rows_than_one_are_refused():
    with pytest.raises(ValueError, match=r"`rows` must be at least 1, got rows=0"):
        Payloads(BINARY, rows=0)


def test_numbers_lie_between_the_ends_that_training_saw():
    values = values_of(COLUMNS[0])
    assert {type(value) for value in values} == {float}
    assert all(80.0 <= value <= 4983.0 for value in values)


def test_integers_are_whole_and_reach_both_ends():
    values = values_of(COLUMNS[1])
    assert {type(value) for value in values} == {int}
    assert set(values) == {0, 1, 2, 3}


def test_booleans_are_true_or_false_and_null_only_where_training_saw_nulls():
    assert set(values_of(COLUMNS[2])) == {True, False, None}
    assert set(values_of(COLUMNS[2].model_copy(update={"nullable": False}))) == {True, False}


def test_timestamps_lie_between_the_ends_that_training_saw():
    column = COLUMNS[4]
    moments = [parse_timestamp(value) for value in values_of(column) if value is not None]
    assert len(moments) > 1500
    assert min(moments) >= parse_timestamp(column.minimum)
    assert max(moments) <= parse_timestamp(column.maximum)


def test_levels_come_as_often_as_in_training_with_now_and_then_an_unseen_one():
    seen = Counter(values_of(COLUMNS[3].public(), n=8000))
    assert set(seen) == {"UA", "AA", UNSEEN_LEVEL}, "9E is too rare to be public"
    assert seen["UA"] / seen["AA"] == pytest.approx(50 / 30, rel=0.1)
    assert 40 <= seen[UNSEEN_LEVEL] <= 130


@pytest.mark.parametrize("kind", ["number", "integer", "timestamp"])
def test_where_the_signature_knows_no_ends_the_example_stands(kind):
    example = {"number": 2.5, "integer": 3, "timestamp": "2013-07-01T00:00:00Z"}[kind]
    assert set(values_of(Column(name="x", kind=kind, nullable=False, example=example), n=50)) == {example}


def test_a_category_whose_levels_are_all_private_sends_its_example():
    column = Column(name="x", kind="category", nullable=False, levels={}, example="b")
    assert set(values_of(column)) == {"b", UNSEEN_LEVEL}


def test_a_number_between_the_ends_of_all_doubles_stays_finite():
    column = Column(name="x", kind="number", nullable=False, minimum=-1.7e308, maximum=1.7e308)
    assert all(math.isfinite(value) for value in values_of(column))


def test_an_integer_column_with_one_value_sends_that_value():
    assert set(values_of(Column(name="x", kind="integer", nullable=False, minimum=4.0, maximum=4.0), n=20)) == {4}


def test_the_probe_is_the_example_row():
    assert json.loads(probe_body(BINARY)) == {
        "rows": [{"distance": 872.0, "stops": 1, "night": False, "carrier": "UA", "departs": "2013-07-01T00:00:00Z"}]
    }
