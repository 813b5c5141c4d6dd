"""Boosted trees as teachers: fitted here on training rows alone, and never asked about a row that they have seen."""

from __future__ import annotations

import sys

import numpy as np
import polars as pl
import pytest

from rowcast.models.errors import MissingPackage
from rowcast.training.distil.boosters import BOOSTERS
from rowcast.training.distil.made_up import make_up
from rowcast.training.distil.teacher import TooLate
from rowcast.training.distil.trees import TreesTeacher, folds_of_training
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


def test_trees_that_would_take_too_long_are_not_waited_for():
    given = lesson(numbered())
    clock = iter(range(100))
    with pytest.raises(TooLate, match=r"^lightgbm on 5 folds takes about 5 s$"):
        TreesTeacher("lightgbm", clock=lambda: float(next(clock))).teach(type(given)(given.prepared, given.config, 2.0))
