"""Cross-validation, slices and warnings in Python."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

import rowcast
from rowcast.models.errors import ConfigError, TableError
from rowcast.models.warnings import TooFewRowsWarning
from tests.support import tables

QUICK = {"network": {"members": 2, "layers": [8]}, "fit": {"epochs": 1}}


@pytest.fixture(scope="module")
def frame():
    """Sixty rows, of which one has no amount; the class is a whole number."""
    table = tables.every_kind(60).drop("when", "class").to_pandas()
    table.loc[7, "amount"] = np.nan
    return table.set_index(np.arange(100, 160)).assign(late=lambda t: (t["count"] > 20).astype(int))


def test_predictions_are_in_the_family_of_the_table_with_its_index(frame):
    found = rowcast.crossvalidate(frame.drop(columns="late"), target="amount", folds=2, **QUICK)
    assert isinstance(found.predictions, pd.DataFrame)
    assert found.predictions.index.equals(frame.index)
    assert list(found.predictions) == ["prediction", "lower", "upper", "fold"]
    assert found.predictions.index[found.predictions["prediction"].isna()].tolist() == [107]
    assert len(found.folds) == 2
    assert set(found.mean) == set(found.deviation) == {"rmse", "mae", "r2"}
    held = found.predictions.join(frame["amount"]).dropna()
    shown = found._repr_html_()
    assert shown.count("<tr>") == 4  # names, two folds, their mean
    assert f"<td>{found.folds[1]['rmse']:.4g}</td>" in shown
    errors = [np.sqrt(np.mean((part["prediction"] - part["amount"]) ** 2)) for _, part in held.groupby("fold")]
    assert [metrics["rmse"] for metrics in found.folds] == pytest.approx(errors)


def test_labels_are_in_the_type_of_the_target(frame):
    frame = frame.drop(columns="amount")
    found = rowcast.crossvalidate(frame.drop(columns="late"), frame["late"], folds=2, **QUICK)
    assert found.predictions["label"].dtype == np.int64
    assert np.mean(found.predictions["label"] == frame["late"]) == pytest.approx(found.mean["accuracy"], abs=0.02)
    polars = rowcast.crossvalidate(pl.from_pandas(frame), target="late", folds=2, **QUICK).predictions
    assert polars["label"].dtype == pl.Int64
    assert polars["label"].to_list() == found.predictions["label"].tolist()


def test_groups_times_and_weights_may_be_arrays(frame):
    x, y = frame.drop(columns=["amount", "late", "city", "member"]).to_numpy(), frame["late"].to_numpy()
    months = np.arange(60) // 10
    found = rowcast.crossvalidate(x, y, folds=2, time=months, weight=np.arange(60) % 3, **QUICK)
    tested = ~np.isnan(found.predictions["fold"])
    assert tested.tolist() == [bool(month > 1 and i % 3) for i, month in enumerate(months)]
    grouped = rowcast.crossvalidate(x, y, folds=2, group=months, **QUICK).predictions
    assert all(len(set(grouped["fold"][months == month])) == 1 for month in range(6))


def test_errors_name_arguments(frame):
    with pytest.raises(ConfigError, match=r"got both time=\.\.\. and group=\.\.\.: leave one of them out"):
        rowcast.crossvalidate(frame, target="late", time="count", group="city")
    with pytest.raises(TableError, match=r"time=.* needs a timestamp or number column; 'city' is a category"):
        rowcast.crossvalidate(frame, target="late", time="city")
    with pytest.raises(TableError, match=r"3 folds by group need 3 groups at least; .* another with group="):
        rowcast.crossvalidate(frame.assign(half=np.arange(60) % 2), target="late", group="half", folds=3)
    with pytest.raises(TableError, match=r"the weight of a row must be .* of at least 0, but 'weight=' holds"):
        rowcast.crossvalidate(frame, target="late", weight=np.full(60, np.nan))


def test_few_rows_are_a_warning_of_their_own_and_slices_are_a_frame(frame):
    with pytest.warns(TooFewRowsWarning, match="30 rows prove nothing: metrics are those of 5 validation rows") as told:
        model = rowcast.fit(frame.head(30), target="late", **QUICK)
    assert told[0].filename == __file__
    slices = model.evaluate(frame, by="member")
    assert isinstance(slices, pd.DataFrame)
    assert slices["rows"].sum() == len(frame)
    assert {"few", "accuracy", "f1"} <= set(slices)
    assert isinstance(model.evaluate(pl.from_pandas(frame), by=["member"]), pl.DataFrame)
    assert all(isinstance(value, float) for value in model.evaluate(frame).values())
