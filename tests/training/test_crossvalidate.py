"""Cross-validation: every row is tested once, by a model that has not seen it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from rowcast.models.errors import ConfigError, TableError
from rowcast.training.config import make_config
from rowcast.training.crossvalidate import cross_validate, plan_folds
from rowcast.training.prepare import open_table
from tests.support import tables
from tests.support.command import run

ROWS = 120


def config_for(target, **data):
    return make_config(overrides={**tables.QUICK, "fit": {"epochs": 1}, "data": {"target": target, **data}})


@pytest.fixture(scope="module")
def table():
    """Rows with a customer, a part and a time each; two have no amount."""
    table = tables.every_kind(ROWS).with_columns(
        pl.Series("customer", [f"c{i % 12}" for i in range(ROWS)]),
        pl.Series("part", [i % 3 for i in range(ROWS)]),
        pl.Series("month", np.arange(ROWS) // 10),
    )
    return table.with_columns(amount=pl.when(pl.int_range(ROWS).is_in([3, 50])).then(None).otherwise(pl.col("amount")))


def test_a_copy_of_the_class_is_found_in_every_fold():
    table = tables.every_kind(150)
    told = table.with_columns(copy=table["class"])
    config = make_config(
        overrides={"network": {"members": 4, "layers": [32]}, "fit": {"epochs": 30}, "data": {"target": "class"}}
    )
    seen = []
    result = cross_validate(told, config, folds=3, report=lambda number, _: seen.append(number))
    assert seen == [1, 2, 3]
    assert all(fold["accuracy"] > 0.95 for fold in result.folds)
    assert result.predictions.columns == ["label", "probability_large", "probability_small", "fold"]
    right = (result.predictions["label"] == table["class"]).to_numpy()
    assert [right[result.predictions["fold"] == f].mean() for f in (1, 2, 3)] == pytest.approx(
        [fold["accuracy"] for fold in result.folds]
    )


def test_the_same_seed_gives_the_same_folds_and_answers():
    runs = [cross_validate(tables.every_kind(60), config_for("amount"), folds=2) for _ in range(2)]
    assert runs[0].folds == runs[1].folds
    assert runs[0].predictions.equals(runs[1].predictions)


def test_out_of_fold_answers_stand_in_the_order_of_the_rows_and_are_null_without_a_target(table):
    result = cross_validate(table, config_for("amount"), folds=2)
    assert len(result.predictions) == ROWS
    assert np.flatnonzero(result.predictions["prediction"].is_null()).tolist() == [3, 50]
    assert np.flatnonzero(result.predictions["fold"].is_null()).tolist() == [3, 50]
    held = result.predictions.drop_nulls()
    actual = table["amount"].drop_nulls().to_numpy()
    for number, metrics in enumerate(result.folds, 1):
        of_fold = (held["fold"] == number).to_numpy()
        errors = held["prediction"].to_numpy()[of_fold] - actual[of_fold]
        assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert result.mean["rmse"] == pytest.approx(np.mean([metrics["rmse"] for metrics in result.folds]))
    assert result.decisions == ("2 of 120 rows have no 'amount' and are left out",)


def plan(table, folds, **data):
    config = config_for("amount", **data)
    return plan_folds(*open_table(table, config), config, folds)


def test_a_group_is_in_one_fold_and_on_one_side_within_it(table):
    held = table.drop_nulls("amount")
    for split in plan(table, 3, group="customer"):
        parts = [set(held["customer"].to_numpy()[rows]) for rows in (split.train, split.validation, split.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 12
        assert all(parts)


def test_by_time_each_fold_is_tested_by_what_came_before_it(table):
    held = table.drop_nulls("amount")["month"].to_numpy()
    first, second = plan(table, 2, split_by_time="month")
    for split in (first, second):
        assert held[split.train].max() < held[split.validation].min()
        assert held[split.validation].max() < held[split.test].min()
    assert len(second.train) + len(second.validation) == len(first.train) + len(first.validation) + len(first.test)


def test_rows_before_the_first_fold_in_time_have_no_answer(table):
    result = cross_validate(table.drop_nulls("amount"), config_for("class", split_by_time="month"), folds=2)
    tested = result.predictions["fold"].is_not_null().to_numpy()
    months = table.drop_nulls("amount")["month"].to_numpy()
    assert (months[~tested].max(), months[tested].min()) == (3, 4)
    assert result.predictions["label"].is_not_null().to_numpy().tolist() == tested.tolist()


def test_a_column_of_folds_says_what_is_tested_together(table):
    result = cross_validate(table, config_for("class", fold="part"))
    assert result.predictions["fold"].to_list() == [i % 3 + 1 for i in range(ROWS)]
    assert [rows["test"] for rows in result.rows] == [40, 40, 40]


def test_folds_that_share_groups_are_refused(table):
    with pytest.raises(TableError, match="folds must not share groups, but the 'city' of row"):
        cross_validate(table, config_for("amount", fold="part", group="city"))
    config = config_for("amount", fold="part", group="customer")
    assert len(cross_validate(table, config).folds) == 3  # twelve customers in three parts


@pytest.mark.parametrize(
    ("column", "refused"),
    [
        ([None, *[0, 1] * 59, 1], "every row needs a fold, but 'own', which --fold names, holds no value in row 1"),
        ([0] * 120, "--fold needs a column of 2 to 100 different values, one for each fold; 'own' holds 1: name"),
        (list(range(120)), "different values, one for each fold; 'own' holds 120: name another column"),
    ],
)
def test_a_column_that_names_no_folds_is_refused(table, column, refused):
    with pytest.raises(TableError, match=refused):
        cross_validate(table.with_columns(pl.Series("own", column)), config_for("class", fold="own"))


def test_folds_are_made_in_one_way(table):
    with pytest.raises(ConfigError, match="got both --split-by-time and --group: leave one of them out"):
        cross_validate(table, config_for("amount", group="customer", split_by_time="month"))
    with pytest.raises(ConfigError, match="does not go with --split part: leave that out, or name a column of folds"):
        cross_validate(table, config_for("amount", split="part"))


def test_nothing_of_a_fold_is_learned_from_the_rows_it_is_tested_on(table):
    """Whatever the rows of a fold hold, the model that is tested on them is the same, so its other answers are too."""
    one, other = 5, 17  # both in the third part
    config = config_for("class", fold="part")
    changed = table.with_columns(
        size=pl.when(pl.int_range(ROWS) == one).then(1e9).otherwise(pl.col("size")),
        city=pl.when(pl.int_range(ROWS) == one).then(pl.lit("Atlantis")).otherwise(pl.col("city")),
    )
    before, after = (cross_validate(rows, config).predictions for rows in (table, changed))
    assert before.row(other) == after.row(other)
    assert before.row(one) != after.row(one)
    assert before.row(0) != after.row(0)  # tested by a model that has seen the change


def test_the_command_writes_out_of_fold_answers_and_prints_metrics_on_stdout(table, tmp_path, capfd):
    table.write_csv(tmp_path / "t.csv")
    given = ["crossvalidate", tmp_path / "t.csv", "--target", "amount", "--epochs", "1", "--folds", "2", "--seed", "3"]
    given += ["--set", "network.layers=[8]", "--set", "network.members=2", "--weight", "count"]
    _, out, _ = run(capfd, *given, "--out", tmp_path / "oof.parquet")
    assert [line.split()[0] for line in out.splitlines()] == ["fold", "fold", "mean", "deviation", "wrote"]
    assert len(pl.read_parquet(tmp_path / "oof.parquet")) == ROWS
    _, out, _ = run(capfd, *given, "--json")
    (line,) = out.splitlines()
    assert list(json.loads(line)) == ["folds", "mean", "deviation", "rows"]


def test_the_command_takes_the_number_of_folds_from_one_place(table, tmp_path, capfd):
    table.write_csv(tmp_path / "t.csv")
    code, _, told = run(
        capfd, "crossvalidate", tmp_path / "t.csv", "--target", "class", "--fold", "part", "--folds", "3"
    )
    assert (code, "--fold part says how many folds there are, so it does not go with --folds 3" in told) == (2, True)
