"""Every row is in one fold, classes are spread evenly, groups stay together, and time goes one way."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rowcast.models.errors import ConfigError, TableError
from rowcast.training.data.folds import NO_FOLD, check_groups, folds_in_time, folds_of_groups, random_folds
from rowcast.training.data.table import read_table

LABELS = st.lists(st.integers(3, 60), min_size=2, max_size=6).flatmap(
    lambda counts: st.permutations([f"class {i}" for i, n in enumerate(counts) for _ in range(n)])
)


@given(n_rows=st.integers(10, 200), k=st.integers(2, 10), seed=st.integers(0, 9))
def test_random_folds_are_equally_large(n_rows, k, seed):
    sizes = np.bincount(random_folds(n_rows, k=k, seed=seed), minlength=k)
    assert set(sizes) <= {n_rows // k, -(-n_rows // k)}


@given(labels=LABELS, seed=st.integers(0, 9))
def test_random_folds_hold_every_class_evenly(labels, seed):
    labels = np.array(labels, dtype=object)
    folds = random_folds(len(labels), k=3, seed=seed, labels=labels)
    for name in set(labels):
        n = int(np.sum(labels == name))
        assert set(np.bincount(folds[labels == name], minlength=3)) <= {n // 3, -(-n // 3)}


def test_random_folds_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="at least 2, got 1"):
        random_folds(10, k=1, seed=0)
    with pytest.raises(TableError, match="11 folds need 11 rows"):
        random_folds(10, k=11, seed=0)
    with pytest.raises(TableError, match="class 'b' has 2 rows"):
        random_folds(22, k=3, seed=0, labels=np.array(["a"] * 20 + ["b"] * 2, dtype=object))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=300), st.integers(2, 5), st.integers(0, 5))
def test_folds_of_groups_keep_every_group_in_one_fold_and_none_is_empty(groups, k, seed):
    names = np.array([f"customer {g}" for g in groups], dtype=object)
    assume(len(set(groups)) >= k)
    folds = folds_of_groups(names, k=k, seed=seed)
    assert all(len(set(folds[names == name])) == 1 for name in set(names))
    assert set(folds) == set(range(k))


def test_folds_of_equal_groups_are_equally_large():
    groups = np.array([f"g{i % 20}" for i in range(100)], dtype=object)
    assert np.bincount(folds_of_groups(groups, k=5, seed=0)).tolist() == [20] * 5
    assert not np.array_equal(folds_of_groups(groups, k=5, seed=0), folds_of_groups(groups, k=5, seed=1))


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(TableError, match="5 folds by group need 5 groups at least; the column holds 2"):
        folds_of_groups(np.array(["a", "b"] * 10, dtype=object), k=5, seed=0)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.integers(2, 5))
def test_folds_in_time_follow_one_another_and_none_is_empty(times, k):
    times = np.array(times)
    assume(len(set(times.tolist())) > k)
    folds = folds_in_time(times, k=k)
    assert set(folds) == {NO_FOLD, *range(k)}
    for fold in range(k):
        assert times[folds == fold].min() > times[folds < fold].max()


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.integers(2, 5))
def test_two_times_lie_before_the_first_fold_where_some_say_when_to_stop(times, k):
    times = np.array(times)
    assume(len(set(times.tolist())) > k + 1)
    folds, others = folds_in_time(times, k=k, before=2), folds_in_time(times, k=k)
    assert set(folds) == {NO_FOLD, *range(k)}
    assert len(set(times[folds == NO_FOLD])) >= 2
    if len(set(times[others == NO_FOLD])) >= 2:
        assert folds.tolist() == others.tolist()


def test_stretches_of_time_hold_as_many_rows():
    assert np.bincount(folds_in_time(np.arange(100)[::-1], k=4) + 1).tolist() == [20] * 5


def test_too_few_times_for_the_folds_are_refused():
    with pytest.raises(
        TableError, match=r"3 folds by time need 4 different times, one before the first fold; .* holds 3"
    ):
        folds_in_time(np.array([1, 2, 3] * 5), k=3)
    with pytest.raises(
        TableError, match=r"3 folds by time need 5 different times, two before the first fold, .* holds 4"
    ):
        folds_in_time(np.array([1, 2, 3, 4] * 5), k=3, before=2)


def test_a_group_in_two_folds_is_refused_with_its_rows():
    table = read_table(pl.DataFrame({"part": [0, 0, 1, 1], "who": ["a", "b", "b", "c"]}))
    groups = table.frame["who"].to_numpy()
    check_groups(np.array([0, 1, 1, 2]), groups, table, fold="part", group="who")
    with pytest.raises(
        TableError, match=r"folds must not share groups, but the 'who' of row 2 stands in another 'part' in row 3: put"
    ):
        check_groups(table.frame["part"].to_numpy(), groups, table, fold="part", group="who")
