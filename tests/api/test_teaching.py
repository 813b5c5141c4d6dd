"""``rowcast.fit(teacher=...)``: what may teach, and what is refused in Python's terms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest

import rowcast
from rowcast.api.teaching import teacher_at
from rowcast.training.config import make_config
from rowcast.training.distil.stored import StoredTeacher, unknown_rows
from rowcast.training.distil.teacher import TooLate
from tests.support import tables
from tests.support.command import run
from tests.support.lessons import lesson

DISTIL = {"weight": 1.0, "made_up": 0.0}


class Classifier:
    """Says how probable a large amount is, and keeps what it was asked about."""

    classes_ = np.array([1, 0])

    def __init__(self):
        self.seen = []

    def predict_proba(self, rows):
        """The first column is that of class 1."""
        self.seen.append(rows)
        share = np.where(np.nan_to_num(np.asarray(rows["size"], float)) > 100, 0.9, 0.2)
        return np.stack([share, 1 - share], axis=1)


class Regressor:
    """Twice the first column."""

    def predict(self, rows):
        """Numbers."""
        return 2 * np.nan_to_num(np.asarray(rows)[:, 0].astype(float))


def taught(teacher, table, target, **sections):
    """What a teacher says of a table, without a fit."""
    given = lesson(table, target, **sections)
    return given, teacher_at(teacher, None, table, given.config).teach(given)


def test_an_object_answers_rows_of_the_callers_own_frame_by_its_classes(frame):
    table, teacher = frame.drop("amount").to_pandas(), Classifier()
    given, said = taught(teacher, table, "large")
    assert [type(rows) for rows in teacher.seen] == [pd.DataFrame] * 2
    assert list(teacher.seen[0].columns) == [name for name in table.columns if name != "large"]
    large = np.nan_to_num(table["size"].to_numpy()[given.whole.split.train]) > 100
    np.testing.assert_allclose(said.train[:, given.target.classes.index("1")], np.where(large, 0.9, 0.2))


def test_arrays_and_frames_of_polars_are_asked_about_as_they_came(arrays, frame):
    x, y = arrays
    given = lesson({"x0": x[:, 0], "x1": x[:, 1], "target": y}, "target")
    said = teacher_at(Regressor(), None, x, given.config).teach(given)
    low, high = given.target.values.min(), given.target.values.max()
    np.testing.assert_allclose(said.train, np.clip(2 * x[given.whole.split.train, 0], low, high))
    teacher = Classifier()
    taught(teacher, frame.drop("amount"), "large")
    assert isinstance(teacher.seen[0], pl.DataFrame)


def test_made_up_rows_are_made_in_the_callers_family(frame):
    from rowcast.training.distil.made_up import make_up

    table, teacher = frame.drop("amount").to_pandas(), Classifier()
    given, said = taught(teacher, table, "large")
    made = make_up(given.prepared, given.train, given.config)
    assert said.ask(made).shape == (len(made.part), 2)
    np.testing.assert_array_equal(teacher.seen[2]["size"].to_numpy(), made.part.columns["size"])


def test_a_model_teaches_by_its_object_its_name_or_its_folder(binary, frame, tmp_path):
    published = binary.publish("shops", repository=tmp_path)
    table = frame.drop("amount")
    expected = binary.predict_proba(table)
    for named in (binary, "shops", "shops:1", published.path):
        given = lesson(table, "large")
        said = teacher_at(named, tmp_path, table, given.config).teach(given)
        np.testing.assert_allclose(said.train, expected[given.whole.split.train], atol=1e-6)
        assert said.notes == ()  # it was trained on these rows, split as they are here


def test_a_student_of_a_model_says_so_and_one_of_other_rows_cautions(binary, frame):
    table = frame.drop("amount")
    model = rowcast.fit(table, target="large", teacher=binary, distil=DISTIL, **tables.QUICK)
    assert model.stored.manifest.data["teacher"]["name"] == "the model that is not published"
    assert any(said.startswith("a student of the model that is not published (weight 1)") for said in model.decisions)
    _, said = taught(binary, table.head(200), "large")
    assert said.notes[0].startswith("what rows the model that is not published has learned from is not known here")


def test_a_model_whose_test_rows_stood_elsewhere_may_have_learned_those_of_the_student(frame):
    table = frame.drop("amount")
    model = rowcast.fit(table, target="large", test=table.head(40), **tables.QUICK)
    assert model.stored.manifest.data["apart"] == ["test"]
    _, said = taught(model, table, "large")
    assert said.notes[0].startswith("what rows the model that is not published has learned from is not known here")


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ({"drop": ["times"]}, {"weight": "times"}),
        ({"drop": ["times"], "null": ["-7"]}, {"drop": ["times"]}),
        ({"drop": ["times"]}, {"drop": ["times"], "validation_share": 0.2}),
    ],
    ids=["rows of weight 0", "rows without a target", "another share"],
)
def test_a_model_of_other_rows_of_the_same_table_cautions(frame, tmp_path, teacher, student):
    """Rows of no weight or without a target are taken out before the split, which is another then."""
    nulls = pl.when(pl.int_range(pl.len()) % 5 == 0).then(-7.0).otherwise(pl.col("amount"))
    table = frame.drop("large", "took").with_columns(amount=nulls, times=(pl.int_range(pl.len()) % 3).sign())
    rows = tmp_path / "rows.csv"
    table.write_csv(rows)
    model = rowcast.fit(rows, target="amount", data=teacher, **tables.QUICK)
    assert taught(model, rows, "amount", data=teacher)[1].notes == ()
    (note,) = taught(model, rows, "amount", data=student)[1].notes
    assert note.startswith("what rows the model that is not published has learned from is not known here")


def test_a_model_of_an_earlier_version_or_of_an_unknown_teacher_cautions(binary, frame):
    table = frame.drop("amount")
    known = binary.stored.manifest.data
    for facts in (
        {key: value for key, value in known.items() if key != "split"},
        known | {"teacher": {"name": "shops:1", "kept": True}},
    ):
        manifest = binary.stored.manifest.model_copy(update={"data": facts})
        teacher = StoredTeacher(replace(binary.stored, manifest=manifest), "old")
        assert teacher.teach(lesson(table, "large")).notes == (unknown_rows("old"),)
    for facts in ({"kept": False}, {"kept": True, "learned": "training rows"}):
        manifest = binary.stored.manifest.model_copy(update={"data": known | {"teacher": facts}})
        assert StoredTeacher(replace(binary.stored, manifest=manifest)).teach(lesson(table, "large")).notes == ()


def test_a_model_that_would_answer_too_slowly_is_given_up(binary, frame, monkeypatch):
    monkeypatch.setattr("rowcast.training.distil.stored.CHUNK_ROWS", 10)
    given = replace(lesson(frame.drop("amount"), "large"), seconds=1e-9)
    with pytest.raises(TooLate, match=r"^old on 192 rows takes about"):
        StoredTeacher(binary.stored, "old").teach(given)


def test_lazy_rows_that_an_object_is_asked_about_are_those_that_are_learned(frame):
    """A lazy frame that is collected twice may give its rows in another order."""
    rows, times = frame.drop("amount"), []

    def shuffled(batch):
        times.append(len(batch))
        return batch.sample(fraction=1.0, shuffle=True, seed=len(times))

    teacher = Classifier()
    lazy = rows.lazy().map_batches(shuffled, schema=rows.schema)
    rowcast.fit(lazy, target="large", teacher=teacher, distil=DISTIL, verbose=False, **tables.QUICK)
    assert times == [len(rows)]


def test_a_model_of_something_else_is_refused(binary, regression, frame):
    with pytest.raises(rowcast.RowcastError, match=r"classes of 'large', but --teacher .* says a number .*'amount'\)"):
        taught(regression, frame.drop("amount"), "large")
    with pytest.raises(rowcast.RowcastError, match=r"target of the fit, 'price', but --teacher .* predicts 'amount'"):
        taught(regression, frame.drop("large").rename({"amount": "price"}), "price")
    three = frame.drop("amount").with_columns(large=pl.when(pl.col("count") > 30).then(2).otherwise(pl.col("large")))
    with pytest.raises(rowcast.RowcastError, match=r"the classes of the target, '0', '1', '2', but .* lacks '2'"):
        taught(binary, three, "large")
    with pytest.raises(rowcast.RowcastError, match=r"--teacher '.*': data frame lacks 'took'|lacks 'took'"):
        taught(regression, frame.drop("large", "took"), "amount")


class Labels:
    def predict(self, rows):
        return np.ones(len(rows), int)


class Broken:
    def predict(self, rows):
        raise RuntimeError("out of order")


class Short:
    def predict(self, rows):
        return np.ones(len(rows) - 1)


class Elsewhere(Regressor):
    feature_names_in_ = np.array(["size", "weight"], object)


@pytest.mark.parametrize(
    ("teacher", "target", "says"),
    [
        (Labels(), "large", r"^teacher=Labels must say probabilities, but its predict gave int64: give one that has"),
        (Broken(), "amount", r"^the predict of teacher=Broken failed: RuntimeError: out of order$"),
        (
            Short(),
            "amount",
            r"^teacher=Short must predict a number for each row, got an array of shape \(153,\)",
        ),
        (Elsewhere(), "amount", r"^teacher=Elsewhere was fitted on 'weight', which the table lacks"),
        (3, "amount", r"^teacher= must be a model, the name .*, or an object with predict or .* got a builtins.int$"),
        ("", "amount", r"^teacher= must be the name of a model, .* got '', and there is no such file or folder$"),
        ("soft.csv", "amount", r"^teacher= must be the name of a model, .* got 'soft.csv', and there is no such file"),
        ("lightgmb", "amount", r"^teacher=\"lightgmb\": no model 'lightgmb' in .*did you mean 'lightgbm'"),
    ],
)
def test_what_cannot_teach_is_refused_before_any_fit(frame, teacher, target, says, tmp_path):
    table = frame.drop("amount" if target == "large" else "large")
    with pytest.raises(rowcast.RowcastError, match=says):
        rowcast.fit(table, target=target, teacher=teacher, repository=tmp_path, **tables.QUICK)
    assert list(tmp_path.iterdir()) == []


def test_an_object_cannot_be_asked_about_a_file(frame, tmp_path):
    frame.drop("large", "took").write_csv(tmp_path / "t.csv")
    with pytest.raises(rowcast.RowcastError, match=r"the table must be a data frame of pandas or polars, .* got a"):
        rowcast.fit(tmp_path / "t.csv", target="amount", teacher=Regressor())


def test_a_frame_of_predictions_teaches(frame):
    table = frame.drop("large")
    config = make_config(overrides={"data": {"target": "amount"}})
    teacher = teacher_at(pd.DataFrame({"prediction": table["amount"].to_numpy()}), None, table, config)
    given = lesson(table, "amount")
    np.testing.assert_array_equal(teacher.teach(given).train, given.prepared.train.target)


def test_the_command_refuses_a_teacher_in_one_line_and_publishes_nothing(frame, tmp_path, capfd):
    frame.drop("large", "took").write_csv(tmp_path / "t.csv")
    pl.DataFrame({"row": [1, 2, 2], "prediction": [1.0, 2.0, 3.0]}).write_csv(tmp_path / "soft.csv")
    where = ["--target", "amount", "--repository", tmp_path / "models"]
    code, _, err = run(capfd, "train", tmp_path / "t.csv", *where, "--teacher", tmp_path / "soft.csv")
    assert code == 1
    assert "soft.csv' must hold one prediction for each row, but row 2 (line 3) and row 3 (line 4) both have the" in err
    assert not (tmp_path / "models" / "t").exists()
