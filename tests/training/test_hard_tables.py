"""Tables that are small, wide, empty, repetitive or boundless: a model or a clear refusal, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rowcast.models import Repository, Session, TableError
from rowcast.models.errors import ConfigError
from rowcast.training.config import make_config
from rowcast.training.predict import evaluate_table, predict_table
from rowcast.training.prepare import prepare
from rowcast.training.train import train
from tests.support import tables

ROOT = Path(__file__).resolve().parents[2]
MEASURED = """
import json
import numpy as np, polars as pl
from rowcast.training.config import make_config
from rowcast.training.predict import evaluate_table, predict_table
from rowcast.training.prepare import prepare
from rowcast.training.fit_network import fit_network
from tests.support.memory import peak_bytes
import torch
rng = np.random.default_rng(0)

def frame(levels):
    values = {"x": rng.normal(size=len(levels)), "y": np.resize(["no", "yes"], len(levels))}
    return pl.DataFrame({"name": [f"level {i}" for i in levels], **values})

config = make_config(overrides={
    "data": {"target": "y", "category": ["name"]},
    "features": {"max_levels": 100_000, "declared_level_rows": 1},
    "network": {"members": 1, "layers": [8]},
    "fit": {"epochs": 1, "budget_s": 1},
})
often = np.arange(105_000) % 21 > 0
levels = rng.permutation(np.repeat(np.arange(105_000), np.where(often, 3, 2)))
prepared = prepare(frame(levels), config, validation=frame(levels[:500]), test=frame(levels[-500:]))
core, _, _ = fit_network(prepared, config, torch.device("cpu"))
peak = peak_bytes()
weights = core.network.categories.weight.numel()
known = set(core.encoder.vocabularies["name"])
commonest = known == {f"level {i}" for i in np.flatnonzero(often)}
print(json.dumps({"levels": len(known), "commonest": commonest, "peak": peak, "weights": weights}))
"""


def fitted(frame, tmp_path, **fields):
    config = make_config(overrides={**tables.QUICK, **fields, "data": {"target": "y", **fields.get("data", {})}})
    return train(frame, config, name="hard", repository=Repository(tmp_path))


@pytest.mark.parametrize("target", ["number", "class"])
def test_twenty_rows_make_a_model(tmp_path, target):
    rng = np.random.default_rng(0)
    x = rng.normal(size=20)
    y = x * 2 if target == "number" else np.resize(["a", "b"], 20)
    trained = fitted(pl.DataFrame({"x": x, "c": rng.choice(["u", "v"], 20), "y": y}), tmp_path)
    assert trained.rows == {"train": 13, "validation": 3, "test": 4}
    answers = Session.of(trained.model).run(Session.of(trained.model).missing_rows(1))
    assert len(answers) == 1
    if target == "number":
        assert answers.lower[0] <= answers.prediction[0] <= answers.upper[0]
    else:
        assert trained.model.manifest.decisions[-1].endswith("3 validation rows are too few to calibrate on")


@pytest.mark.slow
def test_two_thousand_columns_make_a_model(tmp_path):
    values = np.random.default_rng(0).normal(size=(120, 2000))
    frame = pl.DataFrame({f"c{i}": values[:, i] for i in range(2000)} | {"y": values[:, 0] + values[:, 1]})
    trained = fitted(frame, tmp_path, fit={"epochs": 1})
    assert len(trained.model.manifest.signature.columns) == 2000
    assert trained.model.manifest.parity["max_difference"] <= 1e-5


def test_a_table_of_empty_columns_is_refused_and_a_single_one_is_dropped(tmp_path):
    empty = [None] * 40
    y = np.arange(40) / 7
    with pytest.raises(
        TableError, match=r"no column of .* is left to learn from: 'a' is dropped: no training row holds"
    ):
        fitted(pl.DataFrame({"a": empty, "b": empty, "y": y}), tmp_path)
    trained = fitted(pl.DataFrame({"a": empty, "x": np.cos(y), "y": y}), tmp_path)
    assert trained.model.manifest.signature.names == ("x",)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        ([3.5] * 40, "the target 'y' is 3.5 in every row"),
        (["yes"] * 40, "the target 'y' is 'yes' in every row"),
        ([0.5] * 30 + [float(i) for i in range(10)], "the training rows hold one value of 'y' only, 0.5"),
        (["no"] * 30 + ["no", "yes"] * 5, "the training rows hold one class of 'y' only, 'no'"),
    ],
)
def test_a_target_that_is_constant_where_it_is_learned_is_refused_and_nothing_published(tmp_path, y, said):
    frame = pl.DataFrame({"x": np.cos(np.arange(40)), "t": range(40), "y": y})
    with pytest.raises(TableError, match=said):
        fitted(frame, tmp_path, data={"split_by_time": "t"})
    assert list(tmp_path.iterdir()) == []


def test_weights_of_classes_that_are_not_there_are_refused_before_the_fit(tmp_path):
    frame = pl.DataFrame({"x": np.cos(np.arange(40)), "y": ["no", "yes"] * 20})
    with pytest.raises(ConfigError, match=r"names classes of the target, 'no', 'yes', got 'maybe'"):
        fitted(frame, tmp_path, objective={"class_weights": {"maybe": 2.0, "yes": 1.0}})
    assert list(tmp_path.iterdir()) == []


# ─── duplicates ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_that_are_nearly_all_the_same_one_make_a_model_whose_intervals_hold_it(tmp_path):
    rng = np.random.default_rng(0)
    x = np.zeros(2000)
    x[:40] = rng.normal(size=40)
    frame = pl.DataFrame({"x": x, "c": ["a"] * 1960 + ["b"] * 40, "y": x * 3})
    metrics = fitted(frame, tmp_path).model.manifest.metrics
    assert metrics["interval_coverage"]["validation"] >= 0.9
    assert metrics["interval_coverage"]["test"] >= 0.9


def test_rows_that_differ_in_nothing_but_the_target_are_refused(tmp_path):
    with pytest.raises(TableError, match=r"left to learn from: 'x' is dropped: it is constant"):
        fitted(pl.DataFrame({"x": [1.0] * 50, "c": ["a"] * 50, "y": np.arange(50) / 3}), tmp_path)


# ─── levels without end ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_a_category_of_more_levels_than_are_kept_is_learned_in_bounded_memory():
    done = subprocess.run([sys.executable, "-c", MEASURED], cwd=ROOT, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    assert (measured["levels"], measured["commonest"]) == (100_000, True)
    assert measured["weights"] == 100_002 * 16
    assert measured["peak"] < 1.5 * 2**30


def test_a_column_named_as_category_is_kept_however_many_levels_it_has():
    frame = pl.DataFrame({"c": [f"id {i % 300}" for i in range(600)], "y": np.arange(600) / 7})
    prepared = prepare(frame, make_config(overrides={"data": {"target": "y", "category": ["c"]}}))
    assert [rule.kind for rule in prepared.rules] == ["category"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A model of a file in which -999 stands for null, some rows have no target, and one target is wild."""
    folder = tmp_path_factory.mktemp("odd")
    rng = np.random.default_rng(0)
    x, colour = rng.uniform(0, 100, 200).round(1), rng.choice(["red", "blue", "unknown"], 200)
    y = (x + 30 * (colour == "red") + rng.normal(size=200)).round(3)
    x[:40], y[100] = -999.0, 1e9
    frame = pl.DataFrame({"x": x, "colour": colour, "y": [None if i < 12 else v for i, v in enumerate(y)]})
    frame.write_csv(folder / "odd.csv")
    data = {"target": "y", "null": ["unknown"]}
    config = make_config(overrides={**tables.QUICK, "data": data, "objective": {"loss": "mae"}, "fit": {"epochs": 30}})
    return frame, y, train(folder / "odd.csv", config, name="odd", repository=Repository(folder))


def test_rows_without_a_target_sentinels_and_wild_targets_are_told(odd):
    _, _, trained = odd
    decisions = trained.model.manifest.decisions
    assert trained.rows == {"train": 120, "validation": 30, "test": 38}
    assert trained.model.manifest.data["rows"] == 188
    assert decisions[0] == "12 of 200 rows have no 'y' and are left out"
    assert any(told.startswith("'x' holds -999 in ") and "taken for missing" in told for told in decisions)
    assert any(told.startswith("1 of 120 training rows holds a 'y' beyond ") for told in decisions)


def test_a_sentinel_is_null_by_every_door_of_one_model(odd):
    frame, _, trained = odd
    null = frame.with_columns(pl.col("x").replace(-999.0, None), pl.col("colour").replace("unknown", None))
    by_frame = predict_table(trained.model, frame)
    assert by_frame.equals(predict_table(trained.model, null))
    session = Session.of(trained.model)
    raw = {
        c: frame[c].to_numpy().astype(session.signature.columns[i].dtype).reshape(-1, 1)
        for i, c in enumerate(("x", "colour"))
    }
    assert session.run(raw).prediction.tolist() == by_frame["prediction"].to_list()


def test_the_median_of_ordinary_rows_holds_with_a_wild_one(odd):
    frame, y, trained = odd
    error = np.abs(predict_table(trained.model, frame)["prediction"].to_numpy() - y)
    assert np.median(error) < 15  # of targets from 0 to 130


def test_rows_without_a_target_are_left_out_of_an_evaluation_too(odd):
    frame, _, trained = odd
    measured = evaluate_table(trained.model, frame)
    assert measured["rows"] == 188
    assert measured["decisions"] == ["12 of 200 rows have no 'y' and are left out"]
    assert measured["metrics"] == evaluate_table(trained.model, frame.drop_nulls("y"))["metrics"]
