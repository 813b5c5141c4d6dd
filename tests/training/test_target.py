"""The task follows from the target's values, and a target that cannot be learned is refused with the way out."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from rowcast.models.errors import ConfigError, TableError
from rowcast.models.reading import Reading
from rowcast.training.columns.target import Target, read_target, read_target_like
from rowcast.training.columns.target_rows import reading_of_target, with_target, with_target_like
from rowcast.training.config import make_config
from rowcast.training.data.table import Table, read_table
from rowcast.training.prepare import open_table


def texts(values: list[str | None]) -> Table:
    """A table with a target ``y`` of texts."""
    return read_table(pl.DataFrame({"x": ["a"] * len(values), "y": pl.Series(values, dtype=pl.String)}))


def in_file(table: Table) -> Table:
    """A table of texts as if it had been read from a text file; others as they are."""
    return replace(table, lines=np.arange(2, len(table) + 2)) if table.frame["y"].dtype == pl.String else table


def typed(values) -> Table:
    return read_table({"x": ["a"] * len(values), "y": values})


@pytest.mark.parametrize(
    ("table", "task", "classes", "first"),
    [
        (texts(["no", "yes"] * 3), "binary", ("no", "yes"), "no"),
        (texts(["c", "a", "b"] * 3), "multiclass", ("a", "b", "c"), "c"),
        (texts(["1", "0"] * 3), "binary", ("0", "1"), "1"),
        (texts(["10", "9", "-1"] * 3), "multiclass", ("-1", "9", "10"), "10"),
        (texts(["1.0", "0.0"] * 3), "binary", ("0", "1"), "1"),
        (texts([" 1", "+1", "2"] * 3), "binary", ("1", "2"), "1"),
        (texts(["True", "FALSE"] * 3), "binary", ("false", "true"), "true"),
        (texts(["001", "002"] * 3), "binary", ("001", "002"), "001"),
        (texts(["NA", "red"] * 3), "binary", ("NA", "red"), "NA"),
        (texts([" a", "a"] * 3), "binary", (" a", "a"), " a"),
        (texts([str(i % 20) for i in range(60)]), "multiclass", tuple(str(i) for i in range(20)), "0"),
        (typed([1, 0] * 3), "binary", ("0", "1"), "1"),
        (typed([2.0, 1.0, 3.0] * 3), "multiclass", ("1", "2", "3"), "2"),
        (typed([True, False] * 3), "binary", ("false", "true"), "true"),
        (typed(["x", "y"] * 3), "binary", ("x", "y"), "x"),
    ],
)
def test_text_booleans_and_few_whole_numbers_are_classes(table, task, classes, first):
    target = read_target(in_file(table), "y")
    assert (target.name, target.task, target.classes, target.values[0]) == ("y", task, classes, first)
    assert set(target.values) == set(classes)
    assert target.values.dtype == object


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (texts(["1.5", "2", "-3e1"]), [1.5, 2.0, -30.0]),
        (texts([str(i) for i in range(21)]), list(range(21))),
        (texts([f"{i}.0" for i in range(21)]), list(range(21))),
        (typed([0.5, 1.0, 1.0]), [0.5, 1.0, 1.0]),
        (typed(list(range(21))), list(range(21))),
        (typed(pl.Series([1, 2, 3]).cast(pl.Decimal(10, 2)) / 2), [0.5, 1.0, 1.5]),
    ],
)
def test_any_other_numbers_are_regression(table, values):
    target = read_target(table, "y")
    assert (target.task, target.classes) == ("regression", ())
    assert target.values.dtype == np.float64
    assert target.values.tolist() == values


def test_the_task_that_is_asked_for_is_the_task():
    assert read_target(texts(["1", "0", "2"]), "y", task="regression").values.tolist() == [1.0, 0.0, 2.0]
    assert read_target(texts(["1", "0"] * 2), "y", task="multiclass").task == "multiclass"
    many = read_target(texts([str(i % 30) for i in range(90)]), "y", task="multiclass")
    assert many.classes == tuple(str(i) for i in range(30))
    halves = read_target(texts(["0.5", "1.5"] * 3), "y", task="binary")
    assert (halves.classes, halves.values[0]) == (("0.5", "1.5"), "0.5")


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["1.0", "2.0"], ("1.0", "2.0")),
        (["10.0", "9.0"], ("9.0", "10.0")),
        (["True", "FALSE"], ("FALSE", "True")),
        ([" 1", "+1", "2.0"], ("1", "2.0")),
        (["1", "2"], ("1", "2")),
    ],
)
def test_classes_of_texts_in_a_frame_are_spelled_as_all_of_their_texts_are(values, classes):
    assert read_target(texts(values * 3), "y").classes == classes


def test_classes_that_were_asked_for_may_be_unlike_each_other():
    values = ["1"] * 19 + ["3+"]
    with pytest.raises(TableError, match=r"'y' holds '3\+' in row 20, which is not a number: correct it, or read .*"):
        read_target(texts(values), "y")
    assert read_target(texts(values), "y", task="multiclass").classes == ("1", "3+")


@pytest.mark.parametrize(
    ("table", "options", "fragments"),
    [
        (texts(["a", "b", None, None]), {}, ("holds no value in row 3 and 1 other row", "take such rows out")),
        (texts(["1.5", "2.5", "NA", "3.5"]), {}, ("'NA', which means null, in row 3",)),
        (texts(["1.5", "2.5", "?"]), {"null": ["?"]}, ("'?', which means null, in row 3",)),
        (typed([1.5, math.nan, 2.5]), {}, ("holds no value in row 2",)),
        (typed([True, None, False, None, None]), {}, ("in row 2 and 2 other rows",)),
        (texts(["a"] * 5), {}, ("'y' is 'a' in every row", "--target")),
        (texts(["1"] * 5), {}, ("'y' is '1' in every row",)),
        (texts(["1.5"] * 5), {}, ("'y' is 1.5 in every row", "--target")),
        (texts(["1", "1"]), {"task": "regression"}, ("'y' is 1 in every row",)),
        (texts(["1", "abc"]), {"task": "regression"}, ("'abc' in row 2", "not a number", "--task multiclass")),
        (texts(["1", "inf"]), {"task": "regression"}, ("'inf' in row 2", "finite")),
        (texts([*"123456789", "1e999"]), {}, ("'1e999' in row 10", "that a double can hold")),
        (texts([*(f"{i}.5" for i in range(30)), "1,234"]), {}, ("'1,234' in row 31", "write 1,234 as 1234")),
        (typed([0.5, math.inf]), {}, ("inf in row 2", "finite", "leave it empty, and the row is left out")),
        (typed([True, False]), {"task": "regression"}, ("True in row 1", "not a number")),
        (texts(["a", "b", "c"] * 3), {"task": "binary"}, ("3, 'a', 'b', 'c'", "--task multiclass")),
        (texts([str(i) for i in range(2002)] * 2), {"task": "multiclass"}, ("2,002 classes in 4,004 rows", "--target")),
        (texts([f"name {i}" for i in range(50)]), {}, ("50 classes in 50 rows", "--target")),
        (texts(["2013-07-01", "2013-07-02"]), {}, ("'y' holds dates", "derive a number")),
        (texts(["2013-07-01", "2013-07-02"]), {"task": "multiclass"}, ("'y' holds dates",)),
        (typed([dt.date(2013, 7, 1), dt.date(2013, 7, 2)]), {"task": "regression"}, ("'y' holds dates",)),
        (typed(pl.Series([[1], [2]])), {}, ("'y' holds List(Int64)", "derive one from it")),
        (typed(pl.Series([1, 2]).cast(pl.Duration("us"))), {}, ("'y' holds Duration", "of seconds")),
        (texts([f"{i}%" for i in range(60)]), {}, ("60 classes in 60 rows", "as plain numbers (26 for 26%")),
        (texts([f"${i}.31" for i in range(60)]), {}, ("60 classes in 60 rows", "1234.5 for $1,234.50)")),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused(table, options, fragments):
    with pytest.raises(TableError) as refusal:
        read_target(table, "y", **options)
    for fragment in ("data frame: ", *fragments):
        assert fragment in str(refusal.value)
    assert "--drop y" not in str(refusal.value)
    assert "--category y" not in str(refusal.value)


def test_a_target_that_is_no_column_is_refused_with_the_closest():
    with pytest.raises(TableError, match=r"no column 'Y', which --target names: .*columns are x, y"):
        read_target(texts(["1", "2"]), "Y")
    table = texts(["1", "2"]).rename({"y": "arr_delay"})
    with pytest.raises(TableError, match="did you mean 'arr_delay'"):
        read_target(table, "arr_dely")


def test_a_task_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="auto, regression, binary, multiclass, got --task ranking"):
        read_target(texts(["1", "2"]), "y", task="ranking")


def test_a_refusal_names_the_line_of_a_file(tmp_path):
    file = tmp_path / "my.csv"
    file.write_text('x,y\n"a\nb",1.5\nc,\n')
    with pytest.raises(TableError, match=r"my\.csv: .* 'y' holds no value in row 2 \(line 4\)"):
        read_target(read_table(file), "y")


def test_a_further_table_is_read_as_the_first_was():
    whole = read_target(texts(["1", "0"] * 2), "y")
    for table in (texts(["0", "1.0", " 1"]), typed([0, 1, 1]), typed([0.0, 1.0, 1.0])):
        assert read_target_like(table, whole).tolist() == ["0", "1", "1"]
    boolean = read_target(texts(["true", "false"] * 2), "y")
    for table in (texts(["TRUE", "False"]), typed([True, False])):
        assert read_target_like(table, boolean).tolist() == ["true", "false"]
    number = read_target(texts(["1.5", "0"]), "y")
    assert read_target_like(typed([1, 2]), number).tolist() == [1.0, 2.0]
    text = read_target(texts(["001", "1"] * 2), "y")
    assert read_target_like(texts(["1", "001"]), text).tolist() == ["1", "001"]


def test_a_further_table_may_hold_one_class_only():
    assert read_target_like(texts(["b", "b"]), Target("y", "binary", np.zeros(0), ("a", "b"))).tolist() == ["b", "b"]


@pytest.mark.parametrize(
    ("values", "target", "fragments"),
    [
        (["a", "zebra"], Target("y", "binary", np.zeros(0), ("a", "b")), ("'zebra' in row 2", "none of the classes")),
        (["a", None], Target("y", "binary", np.zeros(0), ("a", "b")), ("no value in row 2",)),
        (["1.5", "abc"], Target("y", "regression", np.zeros(0)), ("'abc' in row 2", "not a number")),
        (["1.5", "null"], Target("y", "regression", np.zeros(0)), ("'null', which means null, in row 2",)),
    ],
)
def test_a_further_table_with_another_target_is_refused(values, target, fragments):
    with pytest.raises(TableError) as refusal:
        read_target_like(texts(values), target)
    for fragment in fragments:
        assert fragment in str(refusal.value)


def test_a_further_table_without_the_target_is_refused():
    with pytest.raises(TableError, match="no column 'z', which the model predicts"):
        read_target_like(texts(["1"]), Target("z", "regression", np.zeros(0)))


@pytest.mark.parametrize(
    ("table", "options", "kept"),
    [
        (texts(["a", "b", None, " "]), {}, ["a", "b"]),
        (texts(["1.5", "2.5", "NA", "3.5"]), {}, ["1.5", "2.5", "3.5"]),
        (texts(["NA", "red", "?"]), {"null": ["?"]}, ["NA", "red"]),
        (texts(["1.5", "2.5", "?"]), {"null": ["?"]}, ["1.5", "2.5"]),
        (texts(["1.5", "-999", "-999.0", "2.5"]), {"null": ["-999.00"]}, ["1.5", "2.5"]),
        (typed([1.5, math.nan, 2.5]), {}, [1.5, 2.5]),
        (typed([1.5, -999.0, 2.5]), {"null": ["-999"]}, [1.5, 2.5]),
        (typed([0, 1, -999, 1]), {"null": ["-999"]}, [0, 1, 1]),
        (typed([True, None, False, None, None]), {}, [True, False]),
        (typed(["a", "unknown", "b"]), {"null": ["unknown"]}, ["a", "b"]),
    ],
)
def test_rows_without_a_target_are_left_out_and_told(table, options, kept):
    held = with_target(table, "y", **options)
    left_out = len(table) - len(kept)
    verbs = ("has", "is") if left_out == 1 else ("have", "are")
    assert held.frame["y"].to_list() == kept
    assert held.notes == (f"{left_out} of {len(table)} rows {verbs[0]} no 'y' and {verbs[1]} left out",)


def test_a_table_that_holds_a_target_in_every_row_is_as_it_was():
    table = texts(["1.5", "2.5"])
    assert with_target(table, "y") is table


@pytest.mark.parametrize("table", [texts([None, " "]), typed([math.nan] * 3), texts(["NA", "NaN"])])
def test_a_target_that_no_row_holds_is_refused(table):
    with pytest.raises(TableError, match=r"no row holds a value of the target 'y'.*--target"):
        with_target(table, "y")


def test_rows_of_a_further_table_without_a_target_are_left_out_too():
    number, label = Target("y", "regression", np.zeros(0)), Target("y", "binary", np.zeros(0), ("NA", "red"))
    count = Target("y", "binary", np.zeros(0), ("0", "1"))
    assert with_target_like(texts(["1", "NA", None]), number).frame["y"].to_list() == ["1"]
    assert with_target_like(typed([1.0, -999.0]), number, null=["-999"]).frame["y"].to_list() == [1.0]
    assert with_target_like(texts(["1", "N/A", " ? ", "unknown"]), number).frame["y"].to_list() == ["1"]
    assert with_target_like(texts(["red", "N/A", "?"]), label).frame["y"].to_list() == ["red"]
    assert with_target_like(texts(["NA", "red", None]), label).frame["y"].to_list() == ["NA", "red"]
    assert with_target_like(texts(["0", "NA", "-9.0"]), count, null=["-9"]).frame["y"].to_list() == ["0"]


@pytest.mark.parametrize(
    ("texts_of", "first", "told"),
    [
        (lambda i: f"{i}%", 0.0, "the target 'y' is read as numbers written like"),
        (lambda i: f"${1000 + i:,}.50", 1000.5, "the target 'y' is read as numbers written like"),
        (lambda i: f"{i},25", 0.25, "the target 'y' is read as numbers written like"),
        (lambda i: f"{i}.5" if i % 9 else "N/A", 1.5, "'N/A' means null in the target 'y'"),
        (lambda i: f"{i // 60:02}:{i % 60:02}", 0.0, "the target 'y' is read as seconds"),
    ],
)
def test_a_target_in_a_form_of_its_own_is_numbers(texts_of, first, told):
    table = texts([texts_of(i) for i in range(90)])
    held, target = open_table(table.frame, make_config(overrides={"data": {"target": "y"}}))
    assert (target.task, target.values[0]) == ("regression", first)
    assert any(note.startswith(told) for note in held.notes)
    further = with_target_like(texts([texts_of(1), None]), target)
    assert read_target_like(further, target).tolist() == [target.values[0 if first == 1.5 else 1]]
    with pytest.raises(TableError, match=r"'y' holds 'far' in row 1, which is not a number"):
        with_target_like(texts(["far"]), target)


def test_a_typed_duration_as_a_target_is_seconds():
    table = typed(pl.Series([1500 * i for i in range(90)]).cast(pl.Duration("ms")))
    _, target = open_table(table.frame, make_config(overrides={"data": {"target": "y"}}))
    assert (target.task, target.values[:2].tolist()) == ("regression", [0.0, 1.5])


@pytest.mark.parametrize("values", [["26%", "30%"] * 20, ["1.5", "2.5"] * 20, ["a", "b"] * 20, ["<1.0", "2"] * 20])
def test_few_texts_are_the_classes_they_are_and_plain_numbers_plain(values):
    assert reading_of_target(texts(values), "y")[0] == Reading()
