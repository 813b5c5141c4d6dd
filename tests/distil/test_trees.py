"""Boosted trees as teachers: fitted here on training rows alone, and never asked about a row that they have seen."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from rowcast.models.errors import ConfigError, MissingPackage
from rowcast.training.distil.boosters import BOOSTERS
from rowcast.training.distil.made_up import make_up
from rowcast.training.distil.teacher import TooLate
from rowcast.training.distil.trees import Columns, TreesTeacher, folds_of_training
from rowcast.training.distil.watch import Watch
from tests.support import tables
from tests.support.lessons import lesson, numbered


@pytest.mark.parametrize("name", BOOSTERS)
def test_each_library_learns_numbers_levels_and_dates(name):
    pytest.importorskip(name)
    given = lesson(numbered(300), distil={"folds": 2})
    taught = TreesTeacher(name).teach(given)
    target = given.prepared.train.target
    assert np.corrcoef(taught.train, target)[0, 1] > 0.7
    assert np.corrcoef(taught.validation, given.prepared.validation.target)[0, 1] > 0.7
    assert taught.notes[0].startswith(f"{name} {taught.facts['version']} was fitted with its defaults on 2 folds")


@pytest.mark.parametrize("name", BOOSTERS)
def test_each_library_says_probabilities_of_two_and_of_more_classes(name):
    pytest.importorskip(name)
    for target in ("class", "city"):
        table = tables.every_kind(240).drop("amount").drop_nulls(target)
        taught = TreesTeacher(name).teach(lesson(table, target, distil={"folds": 2}))
        assert taught.train.shape[1] == table[target].n_unique()
        np.testing.assert_allclose(taught.train.sum(axis=1), 1.0, rtol=1e-12)


def test_no_row_is_answered_by_trees_that_know_its_target():
    table = numbered(200)
    before = lesson(table)
    row = int(before.whole.split.train[10])
    other = float(before.prepared.train.target[50])
    amounts = pl.when(pl.int_range(pl.len()) == row).then(other).otherwise(pl.col("amount"))
    after = lesson(table.with_columns(amount=amounts))
    assert after.prepared.train.target[10] == other
    one, two = (TreesTeacher("lightgbm").teach(given) for given in (before, after))
    assert one.train[10] == two.train[10]
    assert (one.train != two.train).sum() > 50  # trees of the other folds have seen it
    made = [make_up(given.prepared, given.train, given.config) for given in (before, after)]
    at = made[0].base == 10
    assert at.any()
    np.testing.assert_array_equal(one.ask(made[0])[at], two.ask(made[1])[at])


def test_folds_follow_the_split():
    table = numbered(200).with_columns(shop=pl.int_range(pl.len()) % 11)
    given = lesson(table, data={"group": "shop"})
    fold_of, how = folds_of_training(given.train.table, given.target, given.config)
    shops = given.train.table.frame["shop"].to_numpy()
    assert all(len(set(fold_of[shops == shop])) == 1 for shop in set(shops))
    assert (len(set(fold_of)), how) == (5, "with rows of one 'shop' in one")
    given = lesson(numbered(200).drop_nulls("when"), data={"split_by_time": "when"})
    fold_of, how = folds_of_training(given.train.table, given.target, given.config)
    order = np.argsort(given.train.table.frame["when"].to_numpy(), kind="stable")
    assert fold_of[order].tolist() == sorted(fold_of.tolist())
    assert (len(set(fold_of)), how) == (5, "stretches along 'when'")


def test_a_class_of_two_rows_is_dealt_into_two_folds():
    table = numbered(120, "class").with_columns(
        pl.when(pl.int_range(pl.len()).is_in([3, 40, 77, 110]))
        .then(pl.lit("rare"))
        .otherwise(pl.col("class"))
        .alias("class")
    )
    given = lesson(table, "class")
    assert (given.prepared.train.target == "rare").sum() == 2
    fold_of, _ = folds_of_training(given.train.table, given.target, given.config)
    assert set(fold_of[given.prepared.train.target == "rare"]) == {0, 1} == set(fold_of)


def test_a_library_that_is_not_there_is_told_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "catboost", None)
    with pytest.raises(MissingPackage, match=r"^catboost is not installed: pip install 'rowcast\[catboost\]'$"):
        TreesTeacher("catboost").check()


@pytest.mark.parametrize("name", BOOSTERS)
@pytest.mark.parametrize(
    ("seconds", "rounds", "says"),
    [(30.0, 5, r"on 5 folds takes about (501|5001) s$"), (1.5, 1, r"on 5 folds takes about ")],
    ids=["told from a few rounds", "at once when the time is up"],
)
def test_trees_that_would_take_too_long_are_given_up_within_the_first_fold(name, seconds, rounds, says):
    pytest.importorskip(name)
    given, times = lesson(numbered()), []

    def clock():
        """A second for each look at it, of which there is one a round."""
        times.append(0)
        return float(len(times))

    with pytest.raises(TooLate, match=f"^{name} {says}"):
        TreesTeacher(name, clock=clock).teach(replace(given, seconds=seconds))
    assert len(times) == 2 + rounds  # when it began, when the fold did, and each round


def test_folds_that_would_take_too_long_are_not_waited_for():
    watch = Watch("lightgbm", 5, 2.0, 0.0, iter([0.0, 1.0]).__next__)
    watch.begin(0)
    with pytest.raises(TooLate, match=r"^lightgbm on 5 folds takes about 5 s$"):
        watch.end(0)


def test_what_a_library_says_of_rows_that_it_cannot_learn_is_told_in_a_line(monkeypatch):
    def fails(*_):
        raise RuntimeError("[10:12:01] data.cc:1234: Check failed: valid\nStack trace:\n  [bt] (0)")

    monkeypatch.setitem(BOOSTERS, "lightgbm", fails)
    said = (
        "lightgbm could not be fitted on fold 1 of 5, RuntimeError: [10:12:01] data.cc:1234: Check failed: valid; "
        "leave out --teacher, or name another"
    )
    with pytest.raises(ConfigError) as refused:
        TreesTeacher("lightgbm").teach(lesson(numbered()))
    assert str(refused.value) == said


def test_rows_of_one_value_need_no_trees(monkeypatch):
    """As of rare amounts, of which the other folds may hold none: one of the libraries refuses such a target."""
    calm = numbered(120)
    given = lesson(calm)
    rare = int(given.whole.split.train[0])
    amounts = pl.when(pl.int_range(pl.len()) == rare).then(7.0).otherwise(3.0)
    given = lesson(calm.with_columns(amount=amounts), data={"task": "regression"})

    def picky(x, y, weight, task):
        assert y.min() < y.max()
        return lightgbm(x, y, weight, task)

    lightgbm = BOOSTERS["lightgbm"]
    monkeypatch.setitem(BOOSTERS, "lightgbm", picky)
    taught = TreesTeacher("lightgbm").teach(given)
    assert taught.train[0] == 3.0


def test_numbers_beyond_what_the_libraries_hold_are_cut_off():
    table = numbered(120).with_columns(size=pl.Series([1e300, -1e300, *[float(i) for i in range(118)]]))
    part = lesson(table).prepared.train
    matrix = Columns(lesson(table).prepared.rules, part.columns).matrix(part.columns)
    assert np.isfinite(matrix[~np.isnan(matrix)].astype(np.float32)).all()
