"""Predictions in a table as a teacher: which line is for which row, and what is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from rowcast.models import ConfigError, RowcastError, TableError
from rowcast.training.config import make_config
from rowcast.training.crossvalidate import cross_validate
from rowcast.training.distil.file import FileTeacher
from tests.support import tables
from tests.support.lessons import lesson, numbered

NUMBER = "amount"
TABLE, CLASSES = numbered(), numbered(target="class")
SOFT = TABLE.select("id", prediction=pl.col("amount") + 0.25)
SHARES = CLASSES.select("id", probability_small=pl.lit(0.25), probability_large=pl.lit(0.75))


def said(predictions, table=TABLE, target="amount", **sections):
    """The lesson, and what the teacher says of its training rows."""
    given = lesson(table, target, **sections)
    teacher = FileTeacher(predictions)
    teacher.check()
    return given, teacher.teach(given)


@pytest.mark.parametrize(
    "predictions",
    [
        SOFT,
        SOFT.reverse(),
        SOFT.drop("id"),
        SOFT.drop("id").with_columns(row=pl.int_range(1, pl.len() + 1)).reverse(),
        SOFT.with_columns(lower=pl.lit(0.0), upper=pl.lit(9.0), fold=pl.lit(1)).reverse(),
    ],
    ids=["by key", "by key in another order", "in the order of rows", "by number of row", "beside other answers"],
)
def test_each_row_gets_its_own_prediction(predictions):
    given, taught = said(predictions)
    wanted = np.minimum(given.prepared.train.target + 0.25, given.target.values.max())
    np.testing.assert_allclose(taught.train, wanted, rtol=0, atol=1e-12)
    assert len(taught.validation) == len(given.prepared.validation)


def test_a_file_of_text_is_read_as_the_table_it_is_and_keys_are_numbers_however_written(tmp_path):
    table = TABLE.with_columns(id=pl.int_range(pl.len()) * 7)
    table.select(pl.col("id").cast(pl.Float64), prediction="amount").write_csv(tmp_path / "soft.csv")
    given, taught = said(tmp_path / "soft.csv", table)
    np.testing.assert_array_equal(taught.train, given.prepared.train.target)


def test_probabilities_come_in_the_order_of_the_classes_and_add_up_to_one():
    given, taught = said(SHARES, CLASSES, "class")
    assert given.target.classes == ("large", "small")
    np.testing.assert_array_equal(taught.train[0], [0.75, 0.25])
    rounded = SHARES.with_columns(probability_small=pl.lit(0.2504)).rename(
        {"probability_small": "small", "probability_large": "large"}
    )
    np.testing.assert_allclose(said(rounded, CLASSES, "class")[1].train.sum(axis=1), 1.0, rtol=1e-15)


def test_a_row_without_a_target_needs_no_line_and_may_have_one():
    holes = TABLE.with_columns(amount=pl.when(pl.int_range(pl.len()) < 5).then(None).otherwise(pl.col("amount")))
    for predictions in (SOFT, SOFT.tail(-5)):
        given, taught = said(predictions, holes)
        assert len(taught.train) == len(given.prepared.train)


def first(**columns):
    """An expression a column: these values in the first row, its own in the others."""
    return [
        pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(v)).otherwise(pl.col(k)).alias(k) for k, v in columns.items()
    ]


@pytest.mark.parametrize(
    ("predictions", "target", "error", "says"),
    [
        (SOFT.tail(-1), NUMBER, TableError, r"must hold a prediction for each .* none for row 1 of .* 'id' is 'r0'$"),
        (SOFT.tail(-3), NUMBER, TableError, r"none for row 1 .* 'id' is 'r0' and for 2 other rows"),
        (
            pl.concat([SOFT, SOFT.tail(1)]),
            "amount",
            TableError,
            r"row 120 and row 121 both have the 'id' 'r119'",
        ),
        (SOFT.with_columns(first(id="r7")), NUMBER, TableError, r"row 1 and row 8 both have the 'id' 'r7'"),
        (
            SOFT.with_columns(first(id="who")),
            "amount",
            TableError,
            r"none has the 'id' 'who' of row 1: take such",
        ),
        (
            SOFT.with_columns(first(id="")),
            "amount",
            TableError,
            r"prediction must have a 'id', but row 1 has none",
        ),
        (SOFT.drop("id").tail(-1), NUMBER, TableError, r"holds 119 and .* 120 rows: add a column 'row'"),
        (
            SOFT.drop("prediction"),
            "amount",
            TableError,
            r"'prediction', which --teacher lacks: its columns are",
        ),
        (SOFT.with_columns(prediction=None), NUMBER, TableError, r"finite number for each validation row, got none"),
        (
            SOFT.with_columns(first(prediction=float("inf"))),
            "amount",
            TableError,
            r"finite number for each row, got inf for row 1$",
        ),
        (
            SHARES.with_columns(first(probability_small=None)),
            "class",
            TableError,
            r"finite number for each row, got no number for row 1$",
        ),
        (
            SHARES.rename({"probability_small": "small", "probability_large": "large"}).with_columns(maybe=0.25),
            "class",
            TableError,
            r"but --teacher adds 'maybe': give",
        ),
        (
            SHARES.rename({"probability_small": "klein", "probability_large": "large"}),
            "class",
            TableError,
            r"but --teacher lacks 'small' and adds 'klein': give",
        ),
        (TABLE.rename({"amount": "prediction"}), NUMBER, ConfigError, r"share one column, .* --set distil.key=size"),
        (SHARES.drop("probability_small"), "class", TableError, r"'large', 'small', but --teacher lacks 'small': give"),
        (SHARES.with_columns(probability_huge=0.0), "class", TableError, r"but --teacher adds 'huge'"),
        (
            SHARES.drop("probability_large", "probability_small"),
            "class",
            TableError,
            r"such as 'probability_large'",
        ),
        (SHARES.with_columns(probability_small=0.5), "class", TableError, r"that add up to 1, got 1.25 for row"),
        (
            SHARES.with_columns(probability_small=-0.5),
            "class",
            TableError,
            r"of 0 to 1, got -0.5 for row",
        ),
    ],
)
def test_what_is_no_prediction_for_each_row_is_refused(predictions, target, error, says):
    with pytest.raises(error, match=says):
        said(predictions, TABLE if target == "amount" else CLASSES, target)


def places(table=TABLE):
    """Positions of the training, validation and test rows."""
    split = lesson(table).whole.split
    return split.train, split.validation, split.test


def without(rows):
    """Predictions of which these have none, in the lines that they have."""
    at = pl.Series(np.isin(np.arange(len(SOFT)), rows))
    return SOFT.with_columns(prediction=pl.when(at).then(None).otherwise(pl.col("prediction")))


def test_training_rows_without_an_answer_learn_their_own_targets_and_are_counted():
    train, _, _ = places()
    given, taught = said(without(train[:7]))
    target = given.prepared.train.target
    np.testing.assert_array_equal(taught.train[:7], target[:7])
    assert (taught.train[7:] != target[7:]).mean() > 0.9
    rows = f"7 of {len(train)} training rows, row {train[0] + 1} for one, have no answer in the table of predictions"
    assert taught.notes[0].startswith(rows)


def test_all_validation_rows_have_an_answer_and_all_test_rows_or_none():
    train, validation, test = places()
    assert said(without(test))[1].notes == said(SOFT.filter(~pl.int_range(pl.len()).is_in(test)))[1].notes
    for rows, says in (
        (test[1:4], rf"for each test row, got none for row {test[1] + 1} of data frame and for 2 other test rows$"),
        (validation[:1], rf"for each validation row, got none for row {validation[0] + 1} of data frame$"),
        (train, r"must say something of training rows, got nothing for row \d+ and all others$"),
    ):
        with pytest.raises(TableError, match=says):
            said(without(rows))
    with pytest.raises(TableError, match=rf"there is none for row {test[0] + 1} of"):
        said(SOFT.filter(pl.int_range(pl.len()) != test[0]))
    here = pl.int_range(pl.len()) == test[0]
    with pytest.raises(TableError, match=rf"got inf for row {test[0] + 1}$"):
        said(SOFT.with_columns(prediction=pl.when(here).then(float("inf")).otherwise(pl.col("prediction"))))


def test_what_cross_validation_in_time_says_may_teach(tmp_path):
    table = TABLE.with_columns(day=pl.int_range(pl.len()))
    config = make_config(overrides={**tables.QUICK, "data": {"target": "amount", "split_by_time": "day"}})
    found = cross_validate(table, config, folds=2)
    found.predictions.write_csv(tmp_path / "soft.csv")
    given, taught = said(tmp_path / "soft.csv", table, data={"split_by_time": "day"})
    n = int(found.predictions["prediction"].is_null().sum())
    assert taught.notes[0].startswith(f"{n} of {len(given.prepared.train)} training rows, row 1 for one,")


def test_columns_of_the_table_and_texts_beside_classes_are_no_answers():
    bare = SHARES.rename({"probability_small": "small", "probability_large": "large"})
    beside = bare.with_columns(CLASSES["size"], note=pl.lit("none"), fold=pl.lit(1))
    _, taught = said(beside, CLASSES, "class", distil={"key": "id"})
    np.testing.assert_array_equal(taught.train[0], [0.75, 0.25])


def test_the_key_may_be_named_and_must_be_a_rows_alone():
    both = TABLE.rename({"amount": "prediction"})
    given, taught = said(both, distil={"key": "id"})
    np.testing.assert_array_equal(taught.train, given.prepared.train.target)
    with pytest.raises(TableError, match=r"has no column 'nobody', which --set distil.key= names"):
        said(SOFT, distil={"key": "nobody"})
    twice = TABLE.with_columns(first(id="r7"))
    with pytest.raises(TableError, match=r"the key of a row must be its alone, but the 'id' 'r7' of row 8"):
        said(SOFT.with_columns(pl.col("id")).tail(-1), twice)


def test_a_file_that_cannot_be_read_is_told_with_its_flag(tmp_path):
    with pytest.raises(RowcastError, match=r"^--teacher '.*gone.csv': .*gone.csv"):
        FileTeacher(tmp_path / "gone.csv").check()
