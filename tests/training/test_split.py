"""Every row stands in one part, the parts have their shares, and the same seed gives the same parts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rowcast.models.errors import ConfigError, TableError
from rowcast.training.data.split import Split, split_by_group, split_by_time, split_random

SHARES = st.sampled_from([(0.2, 0.16), (0.0, 0.2), (0.2, 0.0), (0.0, 0.0), (0.5, 0.4), (0.01, 0.01)])


def assert_each_row_once(split: Split, n_rows: int) -> None:
    parts = [split.train, split.validation, split.test]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(n_rows))
    assert all(np.all(np.diff(part) > 0) for part in parts)
    assert all(part.dtype == np.int64 for part in parts)


@given(n_rows=st.integers(10, 500), seed=st.integers(0, 9), shares=SHARES)
def test_a_random_split_holds_each_row_once_in_parts_of_the_shares(n_rows, seed, shares):
    test, validation = shares
    split = split_random(n_rows, seed=seed, test=test, validation=validation)
    assert_each_row_once(split, n_rows)
    assert len(split.test) == (max(1, round(n_rows * test)) if test else 0)
    assert len(split.validation) == (max(1, round(n_rows * validation)) if validation else 0)


def test_the_default_is_64_16_20():
    split = split_random(1000, seed=0)
    assert (len(split.train), len(split.validation), len(split.test)) == (640, 160, 200)


LABELS = st.lists(st.integers(3, 60), min_size=2, max_size=6).flatmap(
    lambda counts: st.permutations([f"class {i}" for i, n in enumerate(counts) for _ in range(n)])
)


@given(labels=LABELS.filter(lambda labels: len(labels) >= 10), seed=st.integers(0, 9), shares=SHARES)
def test_a_stratified_split_gives_every_class_its_share_and_a_row_in_every_part(labels, seed, shares):
    test, validation = shares
    labels = np.array(labels, dtype=object)
    split = split_random(len(labels), seed=seed, labels=labels, test=test, validation=validation)
    assert_each_row_once(split, len(labels))
    classes = set(labels)
    assert set(labels[split.train]) == classes
    for part, share in ((split.test, test), (split.validation, validation)):
        assert set(labels[part]) == (classes if share else set())
        # One row of each class may be more than its share, and a share of 0.9 may leave a class no more to give.
        assert abs(len(part) - len(labels) * share) <= len(classes)
        for name in classes:  # what rounding gives to one part another lacks: with a few rows that may be more than one
            assert abs(np.sum(labels[part] == name) - np.sum(labels == name) * share) < 2


def test_a_stratified_split_of_common_classes_has_parts_of_the_exact_shares():
    labels = np.array(["a"] * 333 + ["b"] * 333 + ["c"] * 334, dtype=object)
    split = split_random(1000, seed=0, labels=labels)
    assert (len(split.train), len(split.validation), len(split.test)) == (640, 160, 200)


def test_the_same_seed_gives_the_same_parts_and_another_seed_others():
    labels = np.array(["a", "b"] * 50, dtype=object)
    for options in ({}, {"labels": labels}):
        first, again, other = (split_random(100, seed=seed, **options).test for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("n_rare", "options", "fragments"),
    [
        (1, {}, ("every class needs 3 rows", "class 'rare' has 1 row;", "take it out")),
        (2, {}, ("class 'rare' has 2 rows",)),
        (1, {"test": 0}, ("every class needs 2 rows", "class 'rare' has 1 row;")),
    ],
)
def test_a_class_too_small_to_split_is_refused(n_rare, options, fragments):
    labels = np.array(["common"] * 20 + ["rare"] * n_rare, dtype=object)
    with pytest.raises(TableError) as refusal:
        split_random(len(labels), seed=0, labels=labels, **options)
    for fragment in fragments:
        assert fragment in str(refusal.value)


def test_counts_of_which_one_is_rare_are_most_likely_amounts():
    labels = np.array(["3", "5"] * 20 + ["14"], dtype=object)
    with pytest.raises(TableError, match=r"class '14' has 1 row; .*counts or ratings.* --task regression$"):
        split_random(len(labels), seed=0, labels=labels)


def test_a_table_too_small_to_split_is_refused():
    with pytest.raises(TableError, match="needs 10 rows at least to be split; it holds 9"):
        split_random(9, seed=0)
    with pytest.raises(TableError, match="needs 10 rows"):
        split_by_time(np.arange(9))


@pytest.mark.parametrize(("test", "validation"), [(0.6, 0.4), (-0.1, 0.2), (1.0, 0.0), (float("nan"), 0.1)])
def test_shares_that_leave_nothing_to_train_on_are_refused(test, validation):
    with pytest.raises(ConfigError, match="together less than 1"):
        split_random(100, seed=0, test=test, validation=validation)
    with pytest.raises(ConfigError, match="together less than 1"):
        split_by_time(np.arange(100), test=test, validation=validation)


@given(times=st.lists(st.integers(-50, 50), min_size=10, max_size=200), shares=SHARES)
def test_a_split_by_time_trains_on_the_past(times, shares):
    test, validation = shares
    times = np.array(times)
    n_parts = 1 + (test > 0) + (validation > 0)
    if len(np.unique(times)) < n_parts:
        with pytest.raises(TableError, match=f"needs {n_parts} different times"):
            split_by_time(times, test=test, validation=validation)
        return
    split = split_by_time(times, test=test, validation=validation)
    assert_each_row_once(split, len(times))
    assert (len(split.test) > 0, len(split.validation) > 0, len(split.train) > 0) == (test > 0, validation > 0, True)
    parts = [times[part] for part in (split.train, split.validation, split.test) if len(part)]
    assert all(earlier.max() < later.min() for earlier, later in pairwise(parts))


def test_a_split_by_time_of_distinct_times_has_the_exact_shares():
    times = np.random.default_rng(0).permutation(1000) / 8
    split = split_by_time(times)
    assert (len(split.train), len(split.validation), len(split.test)) == (640, 160, 200)
    assert times[split.test].min() == 800 / 8


def test_rows_of_one_time_stay_together():
    split = split_by_time(np.repeat([3, 1, 2], [4, 12, 4]))
    assert (split.test.tolist(), split.validation.tolist()) == ([0, 1, 2, 3], [16, 17, 18, 19])


def test_a_split_by_one_time_is_refused():
    with pytest.raises(TableError, match="needs 3 different times, one for each part; the column holds 1"):
        split_by_time(np.full(100, 7))


@given(st.lists(st.integers(0, 30), min_size=10, max_size=300), st.integers(0, 5))
def test_a_split_by_group_keeps_every_group_on_one_side(groups, seed):
    names = np.array([f"customer {g}" for g in groups], dtype=object)
    assume(len(set(groups)) >= 3)
    split = split_by_group(names, seed=seed)
    parts = [set(names[part]) for part in (split.train, split.validation, split.test)]
    assert all(parts)
    assert sum(map(len, parts)) == len(set(names))
    assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(len(groups)))
    again = split_by_group(names, seed=seed)
    assert np.array_equal(split.test, again.test)


def test_too_few_groups_to_split_are_refused():
    with pytest.raises(TableError, match=r"needs 3 groups, .* holds 2.*--group"):
        split_by_group(np.array(["a", "b"] * 10, dtype=object), seed=0)
