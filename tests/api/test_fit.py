"""``rowcast.fit``: what it takes, what it refuses, and where a model lives."""

from __future__ import annotations

import gc
import pickle
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import rowcast
from rowcast import RowcastError
from rowcast.api.curves import learning_curves
from tests.support.tables import QUICK


def test_the_target_may_be_a_column_or_values_beside_the_table(arrays, of_arrays):
    x, y = arrays
    frame = pd.DataFrame(x, columns=["a", "b", "c", "d"])
    beside = rowcast.fit(frame, pd.Series(y, name="price"), **QUICK)
    column = rowcast.fit(frame.assign(price=y), target="price", **QUICK)
    assert beside.signature == column.signature
    assert beside.stored.graph == column.stored.graph
    assert beside.signature.target == "price"
    assert of_arrays.signature.target == "target"
    assert of_arrays.signature.names == ("x0", "x1", "x2")
    assert of_arrays.predict(x)["prediction"].tolist() == beside.predict(frame)["prediction"].tolist()


@pytest.mark.parametrize(
    ("y", "target"),
    [
        ([1, 2], "target_2"),
        ((1, 2), "target_2"),
        (np.array([[1], [2]]), "target_2"),
        ([[1], [2]], "target_2"),
        (pd.Series([1, 2]), "target_2"),
        (pd.Series([1, 2], name=0), "target_2"),
        (pd.DataFrame({"y": [1, 2]}), "y"),
        (pl.Series("y", [1, 2]), "y"),
        (pl.Series([1, 2]), "target_2"),
        (pl.DataFrame({"y": [1, 2]}), "y"),
        (pa.array([1, 2]), "target_2"),
        (pa.table({"y": [1, 2]}), "y"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_target_beside_the_table_has_its_own_name_or_a_free_one(y, target):
    from rowcast.api.given import given
    from rowcast.training.data.table import read_table

    found = given({"a": [3, 4], "target": [5, 6]}, y, None, {}, {})
    assert found.fields == {"target": target}
    read = read_table(found.source).frame
    assert (read.columns, read[target].to_list()) == (["a", "target", target], [1, 2])


def test_weights_splits_and_folds_become_columns_of_the_table():
    from rowcast.api.given import given
    from rowcast.training.data.table import read_table

    frame = pd.DataFrame({"weight": [1.0, 2.0], "y": [3, 4]})
    found = given(frame, None, "y", {"weight": np.array([0.5, 1]), "split": "weight", "fold": [7, 8]}, {})
    assert found.fields == {"target": "y", "weight": "weight=", "split": "weight", "fold": "fold"}
    assert read_table(found.source).frame.to_dicts() == [
        {"weight": 1.0, "y": 3, "weight=": 0.5, "fold": 7},
        {"weight": 2.0, "y": 4, "weight=": 1.0, "fold": 8},
    ]


FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]}, index=[10, 11, 12])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, 'a target is needed: y=, the values to predict, or target="..."'),
        ({"y": [1, 2]}, "y= must hold a value for each row of the table: it holds 2 and the table 3 rows"),
        ({"y": [1, 2, 3], "target": "b"}, "the target is given once: as y=, values beside the table, or as target="),
        ({"y": "a", "target": "b"}, "the target is given once, got y='a' and target='b'"),
        ({"y": np.ones((3, 2))}, "y= must be one value for each row, got 2 columns: a model predicts one target"),
        ({"y": FRAME}, "y= must be one value for each row, got 2 columns: a model predicts one target"),
        ({"y": 5}, "y= must be a value for each row, in a list, an array or a series, got builtins.int"),
        ({"y": np.array(5)}, "y= must be a value for each row, got an array of shape ()"),
        ({"y": FRAME["b"]}, "y= is named 'b', and the table holds a column of that name"),
        ({"y": pd.Series([1, 2, 3], [12, 11, 10])}, "y= must be in the order of the table: its index holds the same"),
        ({"target": ["a", "b"]}, "target= must be the name of one column, got ['a', 'b']: a model predicts one target"),
        ({"target": FRAME["a"]}, "target= must be the name of a column, got pandas."),
        ({"target": "c"}, "has no column 'c', which target= names"),
        ({"target": "a,b"}, "a model predicts one target: train one for each, with the others left out by data={"),
        ({"data": {"target": ["a", "b"]}}, "'data.target' must be the name of one column, got ['a', 'b']: a model pre"),
        ({"target": "a", "weight": [1, 2]}, "weight= must hold a value for each row of the table: it holds 2"),
        ({"target": "a", "weight": np.ones((3, 2))}, "weight= must be one value for each row, got 2 columns"),
        ({"target": "a", "budget": "soon"}, "budget= must be a positive number and s, m or h"),
        ({"target": "a", "fit": 5}, 'fit= must be a dict, such as fit={"field": value}, got 5'),
        ({"target": "a", "netwrok": {}}, "there is no field 'netwrok'"),
        ({"target": "a", "name": "No!"}, "a model's name is 1 to 64 of a-z, 0-9, '_' and '-', got 'No!'"),
        ({"target": "a", "validation": (FRAME, [1, 2, 3])}, "validation= is a pair of a table and a target where y="),
        ({"y": [1, 2, 3], "test": (FRAME, [1])}, "y of test= must hold a value for each row of the table"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_what_does_not_go_together_is_refused_in_terms_of_python(arguments, message):
    with pytest.raises(RowcastError) as refused:
        rowcast.fit(FRAME, **arguments)
    assert message in str(refused.value)
    assert "--" not in str(refused.value)


def test_rows_of_validation_and_test_may_be_pairs(arrays):
    x, y = arrays
    model = rowcast.fit(x[:100], y[:100], validation=(x[100:150], y[100:150]), test=(x[150:], y[150:]), **QUICK)
    measured = rowcast.fit(x[:150], y[:150], validation=(x[100:150], y[100:150]), test=(x[150:], y[150:]), **QUICK)
    assert set(model.metrics) == set(measured.metrics)
    assert model.metrics["test"]["rmse"] == pytest.approx(
        float(np.sqrt(np.mean((model.predict(x[150:])["prediction"] - y[150:]) ** 2)))
    )


def test_a_model_is_measured_on_a_table_with_its_target_or_on_a_pair(regression, of_arrays, frame, arrays):
    pair = (frame.drop("amount").to_pandas(), frame["amount"].to_numpy())
    assert regression.evaluate(pair) == regression.evaluate(frame)
    assert list(regression.evaluate(pair, by="city")["rows"]) == list(regression.evaluate(frame, by="city")["rows"])
    assert set(of_arrays.evaluate(arrays)) == {"rmse", "mae", "r2"}
    with pytest.raises(RowcastError, match="y= must hold a value for each row of the table: it holds 3 and the table"):
        regression.evaluate((frame, [1, 2, 3]))


def test_a_notebook_shows_what_a_model_predicts_and_how_well(binary):
    shown = binary._repr_html_()
    assert "large (binary: 0, 1)" in shown
    assert "size, count, member, city, when" in shown
    assert f"accuracy {binary.metrics['test']['accuracy']:.4g}" in shown


def test_a_notebook_shows_the_learning_curves_and_they_are_saved(binary, tmp_path):
    plot = binary.plot_history()
    shown = plot._repr_html_()
    assert (binary.history.height, shown.count("<path class=")) == (3, 2)
    assert [curve.count("L") for curve in re.findall(r'class="(?:training|validation)" d="([^"]+)"', shown)] == [2, 2]
    best = binary.history.filter(pl.col("best"))[-1]
    assert f"best, epoch {best['epoch'].item()}: {best['validation_loss'].item():.4g}" in shown
    saved = plot.save(tmp_path / "new" / "curves.svg")
    assert ET.parse(saved).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert plot.save(tmp_path / "curves.html").read_text().count(shown) == 1
    with pytest.raises(RowcastError, match=r"path must be a file of .svg or .html, got 'curves.png'"):
        plot.save("curves.png")


@pytest.mark.parametrize("losses", [[0.5], [1e-320, 2.0], [3.0, 3.0], [float("nan"), 1e9, -1e9], [float("inf")]])
def test_learning_curves_of_any_losses_are_a_picture(losses):
    n = len(losses)
    looks = {"epoch": [1] * n, "train_loss": losses, "validation_loss": losses, "best": [True] * n}
    shown = learning_curves(pl.DataFrame(looks)).svg
    assert ET.fromstring(shown).tag == "svg"
    assert "nan" not in shown
    assert "inf" not in shown


def test_a_model_of_before_histories_has_no_curves():
    with pytest.raises(RowcastError, match="the model keeps no history: it was published before histories were kept"):
        learning_curves(pl.DataFrame({"epoch": []}))


@pytest.mark.parametrize("package", ["torch", "polars"])
def test_without_the_packages_of_training_python_says_what_to_install(package):
    program = (
        f"import sys; sys.modules[{package!r}] = None; import rowcast\n"
        "try: rowcast.fit({'x': [1.5, 2, 3, 4] * 9, 'y': [1.5, 2, 3, 4] * 9}, target='y', fit={'epochs': 1})\n"
        "except ImportError as error: print(isinstance(error, rowcast.RowcastError), error.name, error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"True {package} {package} is not installed: pip install 'rowcast[train]'"


def test_a_budget_may_be_written_with_its_unit(frame):
    from rowcast.training.config import make_config

    assert make_config(overrides={"fit": {"budget_s": "20s"}}).fit.budget_s == 20
    assert make_config(settings=["fit.budget_s=2m"]).fit.budget_s == 120
    with pytest.raises(RowcastError, match=r"'fit.budget_s' must be"):
        make_config(overrides={"fit": {"budget_s": "soon"}})


# --- where a model lives ----------------------------------------------------------------------------------------------


def test_a_model_without_a_name_goes_away_with_it(frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = rowcast.fit(frame.drop("large").head(60), target="amount", network=QUICK["network"], fit={"epochs": 1})
    folder = model.path
    assert (model.name, model.version) == (None, None)
    assert (folder / "model.onnx").exists()
    assert list(tmp_path.iterdir()) == []
    again = rowcast.load(folder)
    assert again.path == folder
    del model
    gc.collect()
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_publishing_keeps_the_bytes_and_counts_versions(regression, frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = regression.publish("houses"), regression.publish("houses", tmp_path / "models" / "repository")
    assert (first.name, first.version, second.version) == ("houses", 1, 2)
    assert first.path == tmp_path / "models" / "repository" / "houses" / "1"
    for name in regression.stored.manifest.files:
        assert (first.path / name).read_bytes() == (regression.path / name).read_bytes()
    assert first.stored.manifest.files == regression.stored.manifest.files
    for name in ("houses:2", "houses", "houses:latest", second.path, str(second.path), "models/repository/houses"):
        assert rowcast.load(name).path == second.path, name
    assert rowcast.load("houses", 1).path == first.path
    assert second.predict(frame).equals(regression.predict(frame))
    monkeypatch.chdir("/")
    monkeypatch.setenv("ROWCAST_REPOSITORY", str(tmp_path / "models" / "repository"))
    assert rowcast.load("houses:1").path == first.path
    (second.path / "config.toml").write_text("")
    with pytest.raises(RowcastError, match=r"config.toml is not the file that was published"):
        second.publish("other", tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nobody", "no model 'nobody' in"),
        ("houses:0", "NAME:VERSION with a whole number from 1 to 999,999,999, or NAME:latest, got 'houses:0'"),
        ("houses@best", "no model 'houses' in"),
        ("./nowhere", "there is no folder nowhere"),
        (5, "a model is loaded by its name or folder, got builtins.int"),
    ],
)
def test_what_cannot_be_loaded_is_refused(model, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RowcastError) as refused:
        rowcast.load(model)
    assert message in str(refused.value)


def test_a_model_may_be_pickled(regression, frame, tmp_path):
    copied = pickle.loads(pickle.dumps(regression))
    assert copied.path != regression.path
    assert copied.predict(frame).equals(regression.predict(frame))
    published = regression.publish("houses", tmp_path)
    assert pickle.loads(pickle.dumps(published)).path == published.path


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "classes", "kind"),
    [
        ([0, 1], (0, 1), "i"),
        ([False, True], (False, True), "b"),
        ([0.0, 1.0], (0.0, 1.0), "f"),
        (["no", "yes"], ("no", "yes"), "O"),
        (["0", "1"], ("0", "1"), "O"),
    ],
    ids=repr,
)
def test_labels_are_of_the_targets_own_type(labels, classes, kind, tmp_path):
    values = np.arange(60.0)
    frame = pl.DataFrame({"a": values, "y": [labels[int(value > 30)] for value in values]})
    small = {"network": QUICK["network"], "fit": {"epochs": 1}}
    model = rowcast.fit(frame, target="y", **small)
    assert model.classes == classes
    assert [type(label) for label in model.classes] == [type(label) for label in classes]
    answers = model.predict(frame.to_pandas())
    assert set(answers["label"]) <= set(labels)
    assert answers["label"].to_numpy(object if kind == "O" else None).dtype.kind == kind
    probabilities = model.predict_proba(frame)
    assert (probabilities.shape, probabilities.dtype) == ((60, 2), np.float32)
    assert probabilities.tolist() == answers.drop(columns="label").to_numpy().tolist()
    assert model.signature.classes == tuple(str(label).lower().removesuffix(".0") for label in classes)


def test_labels_of_a_file_are_what_they_are_texts_of(tmp_path):
    pl.DataFrame({"a": [n / 7 for n in range(60)], "y": [int(n > 30) for n in range(60)]}).write_csv(tmp_path / "t.csv")
    model = rowcast.fit(tmp_path / "t.csv", target="y", network=QUICK["network"], fit={"epochs": 1})
    assert model.classes == (0, 1)
    with pytest.raises(RowcastError, match=r"predict_proba\(\) takes a model of classes"):
        rowcast.fit(tmp_path / "t.csv", target="a", network=QUICK["network"], fit={"epochs": 1}).predict_proba([])


@pytest.mark.parametrize(
    ("callbacks", "came"),
    [(print, "got a single one: put it into brackets"), ([print, "loss"], "got 'loss'"), (3, "got 3")],
    ids=("function", "text", "number"),
)
def test_callbacks_that_are_no_list_of_functions_are_refused_by_name(callbacks, came):
    with pytest.raises(RowcastError, match=f"^callbacks= must be a list of functions, {came}$"):
        rowcast.fit({"a": [1, 2], "y": [1, 2]}, target="y", callbacks=callbacks)


@pytest.mark.parametrize("budget", [0, -1, True, float("inf"), "0", "x"])
def test_a_budget_that_is_none_is_refused_by_the_name_of_its_argument(budget):
    with pytest.raises(RowcastError, match=r"^budget= must be "):
        rowcast.fit({"a": [1, 2], "y": [1, 2]}, target="y", budget=budget)


@pytest.mark.parametrize("flag", ["keep", "number", "category"])
def test_a_column_that_is_dropped_and_declared_is_told_as_the_contradiction_that_it_is(flag):
    with pytest.raises(RowcastError, match="a column is left out or used") as caught:
        rowcast.fit(
            {"a": list(range(20)), "b": list(range(20))},
            [i + 0.5 for i in range(20)],
            data={"drop": ["a"], flag: ["a"]},
        )
    said = f"""got 'a' in data={{"drop": [...]}} and in data={{"{flag}": [...]}}: take it out of one"""
    assert said in str(caught.value)


def test_labels_of_texts_are_spelled_as_they_came_and_other_spellings_are_found_again():
    x = np.arange(60.0)
    for first, second, also in (("1.0", "2.0", "2"), ("TRUE", "FALSE", "false"), ("+1", "+2", "2.0")):
        model = rowcast.fit({"x": x}, [first, second] * 30, **QUICK)
        assert set(model.classes) == {first, second}
        assert set(model.predict({"x": x})["label"]) <= {first, second}
        assert model.evaluate({"x": x[:4], "target": [first, also, also, first]}) == model.evaluate(
            {"x": x[:4], "target": [first, second, second, first]}
        )


def test_an_infinity_among_rows_to_predict_is_told_without_the_advice_for_training(of_arrays):
    with pytest.raises(RowcastError, match=r"which is not a number.*: correct it, or leave it empty$"):
        of_arrays.predict(np.array([[1.0, 2.0, np.inf, 3.0]] * 2))
