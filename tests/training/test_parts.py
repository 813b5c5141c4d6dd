"""Which rows are training, validation and test rows: by a column that says so, by folds, with none to test on."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from rowcast.models import Repository
from rowcast.models.errors import ConfigError, TableError
from rowcast.models.warnings import Caution, RowcastWarning, TooFewRowsWarning
from rowcast.training.config import make_config
from rowcast.training.parts import split_table
from rowcast.training.prepare import open_table, prepare
from rowcast.training.train import train
from tests.support import tables


def config_for(target, **data):
    return make_config(overrides={**tables.QUICK, "data": {"target": target, **data}})


def with_parts(words):
    return tables.every_kind(len(words)).with_columns(pl.Series("part", words))


# ─── a column of parts ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "words", [("train", "validation", "test"), (" TRAIN", "Valid", "Test "), ("Train", "val", "TEST")]
)
def test_a_column_says_which_rows_are_for_what_and_is_no_input(words):
    table = with_parts([words[0]] * 70 + [words[1]] * 20 + [words[2]] * 10)
    prepared = prepare(table, config_for("amount", split="part"))
    parts = (prepared.train, prepared.validation, prepared.test)
    amounts = table["amount"].to_numpy()
    for part, rows in zip(parts, (amounts[:70], amounts[70:90], amounts[90:]), strict=True):
        assert np.array_equal(part.target, rows)
    assert "part" not in prepared.train.columns
    assert "split as 'part' says, which is no input" in prepared.decisions


def test_validation_rows_that_the_column_does_not_name_are_taken_from_its_training_rows():
    prepared = prepare(with_parts(["train"] * 80 + ["test"] * 20), config_for("class", split="part"))
    assert list(map(len, (prepared.train, prepared.validation, prepared.test))) == [64, 16, 20]
    note = "split as 'part' says, which is no input; it names no validation rows: 0.2 of its training rows are taken"
    assert any(decision.startswith(note) for decision in prepared.decisions)


def test_without_test_rows_in_the_column_there_are_none():
    prepared = prepare(with_parts(["train"] * 80 + ["val"] * 20), config_for("amount", split="part"))
    assert list(map(len, (prepared.train, prepared.validation, prepared.test))) == [80, 20, 0]


@pytest.mark.parametrize(
    ("words", "got"),
    [
        (["train"] * 58 + ["dev", "Holdout"], "got 'dev', 'Holdout', first in row 59"),
        (["train"] * 59 + [None], "got no value, first in row 60"),
        ([0] * 60, "got 0, first in row 1"),
        ([f"w{i}" for i in range(60)], "got 'w0', 'w1', 'w2', 'w3', 'w4' and 55 others, first in row 1"),
        ([["train"]] * 60, "first in row 1"),
    ],
)
def test_other_words_are_refused_and_listed(words, got):
    with pytest.raises(TableError, match=rf"'part', which --split names, must hold train, validation .* {got}"):
        prepare(with_parts(words), config_for("amount", split="part"))


def test_a_column_without_training_rows_is_refused():
    with pytest.raises(TableError, match="'part', which --split names, says train in none"):
        prepare(with_parts(["test"] * 30 + ["val"] * 30), config_for("amount", split="part"))


# ─── folds and pairs of ways ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_fit_holds_whole_folds_out_and_takes_them_for_no_input():
    table = tables.every_kind(100).with_columns(pl.Series("part", [i % 5 for i in range(100)]))
    config = config_for("amount", fold="part")
    whole, target = open_table(table, config)
    split = split_table(whole, target, config)
    folds = whole.frame["part"].to_numpy()
    assert [len(set(folds[part])) for part in (split.train, split.validation, split.test)] == [3, 1, 1]
    assert split.notes == ("whole folds of 'part' are held out, and it is no input",)
    with pytest.raises(TableError, match="a split by fold needs 3 folds, one for each part; the column holds 2"):
        prepare(table.with_columns(part=pl.col("part") % 2), config)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"split_by_time": "when"}, {"group": "city"}),
        ({"group": "city"}, {"split": "part"}),
        ({"split_by_time": "when"}, {"split": "part"}),
        ({"split": "part"}, {"fold": "count"}),
        ({"group": "city"}, {"fold": "count"}),
    ],
)
def test_a_table_is_split_in_one_way(first, second):
    flags = [f"--{name.replace('_', '-')}" for name in (*first, *second)]
    with pytest.raises(
        ConfigError, match=f"split in one way, got both {flags[0]} and {flags[1]}: leave one of them out"
    ):
        prepare(with_parts(["train"] * 60), config_for("amount", **first, **second))


@pytest.mark.parametrize("way", ["split", "fold"])
@pytest.mark.parametrize("own", ["validation", "test"])
def test_a_column_that_says_what_is_held_out_does_not_go_with_tables_of_held_out_rows(way, own):
    table = with_parts(["train"] * 60)
    with pytest.raises(ConfigError, match=f"--{way} says which rows .* does not go with --{own}, got both"):
        prepare(table, config_for("amount", **{way: "part"}), **{own: table})


def test_a_column_has_one_role():
    with pytest.raises(ConfigError, match="a column has one role, but --target and --weight both name 'amount'"):
        prepare(tables.every_kind(60), config_for("amount", weight="amount"))


# ─── nothing to test on, and too little ──────────────────────────────────────────────────────────────────────────────


def test_shares_that_leave_no_training_rows_are_refused_with_both_names():
    with pytest.raises(
        ConfigError, match=r"test_share' and 'data.validation_share' must together be less than 1, got 0.6"
    ):
        config_for("amount", test_share=0.6, validation_share=0.5)
    with pytest.raises(ConfigError, match=r"'data.validation_share' must be more than 0 and less than 1, got 0"):
        config_for("amount", validation_share=0)


@pytest.mark.parametrize("by_time", ["", "when"])
def test_without_test_rows_the_others_are_trained_and_validated_on(by_time):
    table = tables.every_kind(400).drop_nulls("when")
    prepared = prepare(table, config_for("amount", test_share=0, split_by_time=by_time))
    assert len(prepared.test) == 0
    assert len(prepared.train) + len(prepared.validation) == len(table)
    assert len(prepared.validation) == pytest.approx(0.16 * len(table), abs=1)
    if by_time:
        assert "split by time along 'when': the latest rows are the validation rows" in prepared.decisions


def test_a_model_without_test_rows_has_metrics_of_validation_rows_alone(tmp_path):
    trained = train(
        tables.every_kind(100), config_for("amount", test_share=0), name="m", repository=Repository(tmp_path)
    )
    summary = trained.summary()
    assert summary["rows"] == {"train": 84, "validation": 16, "test": 0}
    assert set(summary["metrics"]) == {"validation", "interval_coverage"}
    assert summary["parity"]["rows"] == 16


def test_ten_rows_say_that_ten_rows_prove_nothing():
    prepared = prepare(tables.every_kind(10), config_for("amount"))
    (caution,) = (decision for decision in prepared.decisions if isinstance(decision, Caution))
    assert caution.category is TooFewRowsWarning
    assert issubclass(TooFewRowsWarning, RowcastWarning)
    held = f"{len(prepared.validation)} validation rows and {len(prepared.test)} test rows"
    assert caution.startswith(f"10 rows prove nothing: metrics are those of {held}, and other rows would give others")


def test_a_hundred_rows_say_nothing_of_the_kind():
    prepared = prepare(tables.every_kind(100), config_for("amount"))
    assert not any(isinstance(decision, Caution) for decision in prepared.decisions)


def test_the_coverage_that_decisions_tell_is_the_one_of_the_metrics(tmp_path):
    trained = train(tables.every_kind(60), config_for("amount"), name="m", repository=Repository(tmp_path))
    measured = trained.summary()["metrics"]["interval_coverage"]["validation"]
    (told,) = (decision for decision in trained.summary()["decisions"] if decision.startswith("intervals"))
    assert f"they hold {measured:.4f} of the 10 validation rows" in told
