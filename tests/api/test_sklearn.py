"""RowcastClassifier and RowcastRegressor, as scikit-learn and those who know it use them."""

from __future__ import annotations

import importlib
import pickle
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from rowcast.models.errors import RowcastError
from rowcast.sklearn import EXPECTED_FAILED_CHECKS, InvalidInput, RowcastClassifier, RowcastRegressor

TINY = {"preset": "textbook", "epochs": 20, "optimizer": {"lr": 0.01}}
"""Enough for what is plain to see, on tables that are learned in a moment."""
ROWS = 120


@pytest.fixture(scope="module")
def houses():
    """Numbers, one of them missing, levels and a date for each row; and a number that follows from two of them."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": rng.normal(100, 30, ROWS),
            "place": rng.choice(["town", "village"], ROWS),
            "built": pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(0, 9000, ROWS), "D"),
        },
        index=np.arange(1000, 1000 + ROWS),
    )
    price = pd.Series(frame["size"] + 80 * (frame["place"] == "town"), name="price")
    frame.loc[1003, "size"] = np.nan
    return frame, price


@pytest.fixture(scope="module")
def of_frame(houses):
    """A classifier of a data frame whose classes are texts."""
    frame, price = houses
    return RowcastClassifier(**TINY).fit(frame, pd.Series(np.where(price > 140, "dear", "cheap"), name="worth"))


@pytest.fixture(scope="module")
def of_array(houses):
    """A regressor of an array of numbers."""
    frame, price = houses
    return RowcastRegressor(**TINY).fit(array_of(frame), price)


def array_of(frame):
    return np.column_stack([frame["size"].fillna(100), frame["place"] == "town"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rowcast.models.warnings.LeakageWarning")
@pytest.mark.parametrize("kind", [RowcastClassifier, RowcastRegressor])
def test_the_checks_of_scikit_learn_pass_but_for_those_that_cannot(kind):
    results = check_estimator(kind(**TINY), expected_failed_checks=EXPECTED_FAILED_CHECKS, on_fail=None, on_skip=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert failed == {}
    assert {r["check_name"] for r in results if r["status"] == "xfail"} == set(EXPECTED_FAILED_CHECKS)
    assert sum(result["status"] == "passed" for result in results) > 50


def test_a_data_frame_is_taken_as_it_is(houses, of_frame):
    frame, price = houses
    assert of_frame.classes_.tolist() == ["cheap", "dear"]
    assert (of_frame.n_features_in_, of_frame.feature_names_in_.tolist()) == (3, ["size", "place", "built"])
    assert of_frame.n_iter_ == 20
    kinds = {column.name: column.kind for column in of_frame.model_.signature.columns}
    assert kinds == {"size": "number", "place": "category", "built": "timestamp"}
    assert of_frame.model_.signature.target == "worth"
    assert of_frame.predict(frame).tolist() == list(of_frame.model_.predict(frame)["label"])
    assert of_frame.score(frame, np.where(price > 140, "dear", "cheap")) > 0.8
    assert np.array_equal(of_frame.predict_proba(frame), of_frame.model_.predict_proba(frame))


def test_nothing_is_published(of_frame):
    assert of_frame.model_.name is None


def test_a_fitted_estimator_travels_with_its_model(houses, of_frame):
    frame, _ = houses
    copy = pickle.loads(pickle.dumps(of_frame))
    assert np.array_equal(copy.predict_proba(frame), of_frame.predict_proba(frame))
    assert copy.model_.path != of_frame.model_.path


def test_arrays_and_frames_stand_for_each_other_by_position(houses, of_frame, of_array):
    frame, _ = houses
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        answers = of_frame.predict_proba(frame.to_numpy(dtype=object))
    assert np.array_equal(answers, of_frame.predict_proba(frame))
    numbers = array_of(frame)
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        answers = of_array.predict(pd.DataFrame(numbers, columns=["a", "b"]))
    assert np.array_equal(answers, of_array.predict(numbers))
    with pytest.raises(ValueError, match="X has 1 features, but RowcastRegressor is expecting 2 features as input"):
        of_array.predict(numbers[:, :1])


@pytest.mark.parametrize(
    ("labels", "own"),
    [([3, 20], True), ([2.0, 10.0], True), ([False, True], True), (["True", "False"], True), (["", "full"], False)],
)
def test_classes_come_back_in_the_targets_own_type(houses, labels, own):
    frame, price = houses
    y = np.array(labels)[(price > 140).to_numpy().astype(int)]
    fitted = RowcastClassifier(**TINY).fit(array_of(frame), y)
    assert (fitted.classes_.dtype, fitted.classes_.tolist()) == (y.dtype, sorted(labels))
    assert fitted.predict(array_of(frame)).dtype == y.dtype
    assert fitted.score(array_of(frame), y) > 0.8
    assert fitted.classes_[fitted.predict_proba(array_of(frame)).argmax(axis=1)].tolist() == list(
        fitted.predict(array_of(frame))
    )
    assert (set(fitted.model_.classes) == set(labels)) is own


def test_a_class_of_one_row_is_trained_on(houses):
    frame, price = houses
    y = np.where(price > 140, 1, 0)
    y[5] = 2
    fitted = RowcastClassifier(**TINY).fit(array_of(frame), y)
    assert fitted.predict_proba(array_of(frame)).shape == (ROWS, 3)


def test_rows_without_weight_count_for_nothing(houses):
    frame, _ = houses
    y = np.arange(ROWS) % 2 * 100.0 + np.random.default_rng(1).normal(0, 1, ROWS)
    fitted = RowcastRegressor(**TINY).fit(array_of(frame), y, sample_weight=np.arange(ROWS) % 2)
    assert fitted.predict(array_of(frame)).mean() > 90


def test_a_field_of_a_section_is_a_parameter():
    estimator = RowcastRegressor(network={"layers": [8]}, **TINY)
    assert estimator.get_params()["network__layers"] == [8]
    other = clone(estimator).set_params(network__members=2, epochs=3)
    assert (other.network, other.epochs) == ({"layers": [8], "members": 2}, 3)
    assert estimator.network == {"layers": [8]}
    with pytest.raises(ValueError, match="Invalid parameter 'netwrok'"):
        estimator.set_params(netwrok__members=2)


def test_a_grid_is_searched_over_fields_in_a_pipeline(houses):
    frame, price = houses
    numbers = ColumnTransformer([("scaled", StandardScaler(), ["size"])], remainder="passthrough")
    pipeline = make_pipeline(numbers.set_output(transform="pandas"), RowcastRegressor(**TINY))
    search = GridSearchCV(pipeline, {"rowcastregressor__network__layers": [[4], [32]]}, cv=2).fit(frame, price)
    assert search.best_params_ == {"rowcastregressor__network__layers": [32]}
    assert search.best_estimator_[-1].feature_names_in_.tolist() == [
        "scaled__size",
        "remainder__place",
        "remainder__built",
    ]


@pytest.mark.slow
def test_folds_are_fitted_in_processes_of_their_own(houses):
    frame, price = houses
    apart = cross_val_score(RowcastRegressor(**TINY), array_of(frame), price, cv=2, n_jobs=2)
    assert np.allclose(apart, cross_val_score(RowcastRegressor(**TINY), array_of(frame), price, cv=2), rtol=1e-3)
    assert apart.min() > 0.5


def test_calibration_and_importance_of_scikit_learn_take_them(houses, of_frame):
    frame, price = houses
    y = np.where(price > 140, "dear", "cheap")
    calibrated = CalibratedClassifierCV(RowcastClassifier(**TINY), cv=2).fit(frame, y)
    assert calibrated.predict_proba(frame).shape == (ROWS, 2)
    found = permutation_importance(of_frame, frame, y, n_repeats=2, random_state=0).importances_mean
    assert found.argmin() == 2, "the date tells nothing"


def test_what_breaks_a_rule_is_a_value_error(houses):
    frame, price = houses
    with pytest.raises(ValueError, match="preset") as found:
        RowcastRegressor(preset="fast").fit(frame, price)
    assert (found.type, issubclass(InvalidInput, RowcastError)) == (InvalidInput, True)
    with pytest.raises(ValueError, match="not a number that is finite"):
        RowcastRegressor(**TINY).fit(frame.assign(size=np.inf), price)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        RowcastRegressor(**TINY).fit(np.full((ROWS, 2), np.inf), price)
    with pytest.raises(ValueError, match="needs 2 classes at least, got 1 class in the rows that have a weight"):
        RowcastClassifier(**TINY).fit(array_of(frame), price > 140, sample_weight=price > 140)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        RowcastRegressor(**TINY).fit(frame, price[1:])


def test_without_scikit_learn_the_command_that_installs_it_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "rowcast.sklearn")
    with warnings.catch_warnings(), pytest.raises(ModuleNotFoundError, match=r"pip install 'rowcast\[train\]'"):
        importlib.import_module("rowcast.sklearn")


def test_folds_a_teacher_and_a_fit_on_all_rows_are_parameters_and_clones_keep_them():
    x, y = np.random.default_rng(0).normal(size=(120, 3)), np.arange(120) % 2
    given = {"folds": 2, "max_members": 4, "max_row_us": 1e6, "refit": True, "teacher": "lightgbm"}
    estimator = RowcastClassifier(**given)
    assert {name: clone(estimator).get_params()[name] for name in given} == given
    assert clone(estimator).set_params(folds=None, refit=False).get_params()["refit"] is False
    small = {"preset": "quick", "epochs": 1, "network": {"members": 4, "layers": [8]}}
    folded = clone(RowcastClassifier(folds=2, max_members=4, **small)).fit(x, y)
    assert folded.model_.stored.manifest.config["fit"]["folds"] == 2
    assert any(said.startswith("of 4 members of each of 2 folds ") for said in folded.model_.decisions)
    taught = RowcastClassifier(teacher="lightgbm", **small).set_params(fit_settings={"batch_size": 32}).fit(x, y)
    assert taught.model_.stored.manifest.data["teacher"]["name"] == "lightgbm"
    again = RowcastRegressor(refit=True, **small).fit(x, x[:, 0])
    assert again.model_.stored.manifest.data["refit"] == 120
    with pytest.raises(ValueError, match="every class needs 2 rows at least"):
        RowcastClassifier(folds=2, **small).fit(x, np.where(np.arange(120) == 5, 2, y))
