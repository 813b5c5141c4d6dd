"""Intervals of several levels: further outputs of the graph, for Python and files, and in no protocol's way."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import polars as pl
import pytest

import rowcast
from rowcast.models.errors import RowcastError
from rowcast.models.session import Session
from rowcast.training.predict import predict_table

FURTHER = ["lower_50", "upper_50", "lower_80", "upper_80"]


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=800)
    return pl.DataFrame({"x": x, "y": np.abs(3 * x + rng.normal(size=800) * (1 + np.abs(x))).round()})


@pytest.fixture(
    scope="module",
    params=[{"intervals": "constant"}, {"intervals": "quantiles"}, {"loss": "poisson"}],
    ids=["constant", "quantiles", "counts"],
)
def model(frame: pl.DataFrame, request: pytest.FixtureRequest) -> rowcast.Model:
    objective = {"coverage": [0.9, 0.5, 0.8], **request.param}
    small = {"network": {"members": 2, "layers": [8]}, "fit": {"epochs": 2}, "data": {"task": "regression"}}
    return rowcast.fit(frame, target="y", objective=objective, verbose=False, **small)


def test_python_and_files_have_the_bounds_of_every_level_one_inside_the_other(
    model: rowcast.Model, frame: pl.DataFrame
) -> None:
    answers = model.predict(frame)
    assert answers.columns == ["prediction", "lower", "upper", *FURTHER]
    order = ["lower", "lower_80", "lower_50", "prediction", "upper_50", "upper_80", "upper"]
    assert all((answers[a] <= answers[b]).all() for a, b in itertools.pairwise(order))
    assert predict_table(model.stored, frame).equals(answers)
    assert list(model.predict(frame.row(0, named=True))) == answers.columns
    assert model.predict(frame.row(0, named=True))["lower_80"] == pytest.approx(answers["lower_80"][0])
    assert model.predict(frame.head(0)).columns == answers.columns


def test_the_share_that_each_level_holds_is_told(model: rowcast.Model) -> None:
    told = model.metrics["interval_coverage"]
    assert list(told) == ["level", "validation", "test", "further"]
    assert told["level"] == 0.9
    held = [told["further"][level]["validation"] for level in ("0.5", "0.8")]
    assert 0.5 <= held[0] <= held[1] <= told["validation"]
    assert held[1] >= 0.8
    (said,) = [decision for decision in model.decisions if decision.startswith("intervals")]
    assert f"asked to hold 0.8 of all rows; they hold {held[1]:.4f}" in said


def test_a_service_asks_the_graph_for_the_first_level_alone(model: rowcast.Model) -> None:
    session = Session.of(model.stored, "cpu")
    assert session.signature.outputs == ("prediction", "lower", "upper")
    assert [value.name for value in onnx.load_from_string(model.stored.graph).graph.output] == [
        *session.signature.outputs,
        *FURTHER,
    ]
    columns = {"x": np.zeros((3, 1))}
    few, every = session.run(columns), session.run_all(columns)
    assert few.further is None
    assert every.further is not None
    assert every.further.shape == (3, 4)
    assert few.lower.tolist() == every.lower.tolist()  # type: ignore[union-attr]


def test_a_column_named_as_a_further_bound_is_refused(frame: pl.DataFrame) -> None:
    table = frame.rename({"x": "lower_50"})
    with pytest.raises(RowcastError, match=r"no input may be named .*lower_50, upper_50, .* got 'lower_50'"):
        rowcast.fit(table, target="y", data={"task": "regression"}, objective={"coverage": [0.9, 0.5]}, verbose=False)
