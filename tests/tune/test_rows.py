"""Trials see training and validation rows, and never a test row."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from rowcast.models.errors import TableError
from rowcast.training.config import make_config
from rowcast.training.parts import split_table
from rowcast.training.prepare import open_table, prepare
from rowcast.training.tune.carry import read_rows, write_rows
from rowcast.training.tune.rows import rows_of
from tests.support import tables

ROWS = 150


@pytest.fixture(scope="module")
def table():
    return tables.every_kind(ROWS).with_columns(
        pl.Series("customer", [f"c{i % 12}" for i in range(ROWS)]), pl.Series("month", np.arange(ROWS) // 10)
    )


def config_of(target="amount", **data):
    return make_config(overrides={"data": {"target": target, **data}})


def test_the_rows_of_trials_are_those_of_the_training_run_without_its_test_rows(table):
    config = config_of(drop=["class"])
    whole, target = open_table(table, config)
    split = split_table(whole, target, config)
    rows = rows_of(table, config, None)
    assert sorted(rows.table.rows - 1) == sorted([*split.train, *split.validation])
    (prepared,) = rows.prepared(config)
    trained = prepare(table, config)
    assert len(prepared.test) == 0
    assert prepared.encoder.fingerprint() == trained.encoder.fingerprint()
    for part in ("train", "validation"):
        assert np.array_equal(getattr(prepared, part).target, getattr(trained, part).target)


def test_other_test_rows_change_nothing_that_trials_see(table):
    config = config_of(drop=["class"])
    whole, target = open_table(table, config)
    test = set(split_table(whole, target, config).test.tolist())
    other = table.with_columns(
        amount=pl.Series([1e6 if i in test else v for i, v in enumerate(table["amount"])]),
        size=pl.Series([-1e6 if i in test else v for i, v in enumerate(table["size"])], dtype=pl.Float64),
    )
    one, two = rows_of(table, config, None), rows_of(other, config, None)
    assert one.table.frame.equals(two.table.frame)
    assert np.array_equal(one.target.values, two.target.values)


@pytest.mark.parametrize("data", [{}, {"group": "customer"}, {"split_by_time": "month"}])
def test_folds_divide_training_and_validation_rows(table, data):
    config = config_of(drop=["class"], **data)
    rows = rows_of(table, config, 3)
    held = [split.validation for split in rows.splits]
    assert [len(split.test) for split in rows.splits] == [0, 0, 0]
    assert all(not set(split.train) & set(split.validation) for split in rows.splits)
    everywhere = np.sort(np.concatenate(held))
    assert len(set(everywhere)) == len(everywhere)
    if not data:
        assert len(everywhere) == len(rows.table)
    if "group" in data:
        customers = rows.table.frame["customer"].to_numpy()
        assert all(not set(customers[s.train]) & set(customers[s.validation]) for s in rows.splits)
    if "split_by_time" in data:
        months = rows.table.frame["month"].to_numpy()
        assert all(months[s.train].max() < months[s.validation].min() for s in rows.splits)


def test_too_few_rows_for_the_folds_are_refused(table):
    said = "9 folds need 9 rows at least; the table holds 8; use fewer folds; 9 folds divide what the test rows leave"
    with pytest.raises(TableError, match=said):
        rows_of(table.head(10).drop("class"), config_of(), 9)


def test_a_fold_needs_no_rows_to_stop_by_beside_itself(table):
    """Two groups, and two rows of a class beside the test rows, are enough for two folds."""
    groups = table.drop("class").with_columns(shop=pl.int_range(pl.len()) % 3)
    splits = rows_of(groups, config_of(group="shop"), 2).splits
    assert [(len(split.train), len(split.validation)) for split in splits] == [(50, 50)] * 2
    rare = table.drop("amount").with_columns(pl.Series("class", ["rare"] * 3 + ["often"] * (ROWS - 3)))
    held = rows_of(rare, config_of("class"), 2)
    assert [(held.target.values[split.validation] == "rare").sum() for split in held.splits] == [1, 1]


def test_a_class_that_the_fit_of_a_fold_does_not_learn_is_refused_by_what_divides_the_rows(table):
    one_shop = table.drop("amount").with_columns(
        pl.Series("class", ["rare" if i % 6 == 2 else "often" if i % 2 else "also" for i in range(ROWS)]),
        shop=pl.int_range(pl.len()) % 6,
    )
    said = "the fit of every fold must learn every class, but none of the .* is of class 'rare' of 'class': use fewer"
    with pytest.raises(TableError, match=said):
        rows_of(one_shop, config_of("class", group="shop", test_share=0.0), 2)


def test_nothing_that_a_table_knows_of_itself_is_lost_on_the_way_to_other_processes(tmp_path):
    table = tables.every_kind(60).drop("class").with_columns(mixed=pl.Series([1, "a"] * 30, dtype=pl.Object))
    rows = rows_of(table.with_columns(pl.col("city").cast(pl.Categorical)), config_of(), None)
    write_rows(rows, tmp_path)
    one, two = rows.table, read_rows(tmp_path).table
    for field in dataclasses.fields(one):
        held, again = getattr(one, field.name), getattr(two, field.name)
        if field.name == "frame":
            assert held.equals(again)
        elif field.name == "mixed":
            assert held.keys() == again.keys() == {"mixed"}
            assert held["mixed"].tolist() == again["mixed"].tolist()
        elif field.name != "sha256":  # of the whole table, which is in what the rows are about
            assert np.array_equal(held, again), field.name


@pytest.mark.parametrize("target", ["amount", "class"])
def test_the_rows_that_other_processes_get_are_the_same(table, target, tmp_path):
    config = config_of(target, category=["month"])
    rows = rows_of(table.with_columns(pl.col("city").cast(pl.Categorical)), config, None)
    write_rows(rows, tmp_path)
    again = read_rows(tmp_path)
    assert again.about == rows.about
    one, two = rows.prepared(config)[0], again.prepared(config)[0]
    assert one.encoder.fingerprint() == two.encoder.fingerprint()
    assert one.decisions == two.decisions
    assert one.target.classes == two.target.classes
    assert np.array_equal(one.validation.target, two.validation.target)
    assert (one.rules, one.train.columns.keys()) == (two.rules, two.train.columns.keys())
