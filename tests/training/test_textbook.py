"""Losses of counts and amounts, ordered classes, and the textbook preset: from a table to what is served."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import mean_tweedie_deviance

from rowcast.models.errors import TableError
from rowcast.models.repository import Repository
from rowcast.models.summary import WEIGHTS_FILE, read_layers
from rowcast.training.config import make_config
from rowcast.training.predict import evaluate_table, predict_table
from rowcast.training.train import train


def claims(rows=600, seed=0):
    """Counts and amounts whose means are multiplied by columns, and a rating that rises with them."""
    rng = np.random.default_rng(seed)
    age, region = rng.uniform(18, 80, rows).round(1), rng.choice(["north", "south", "east"], rows)
    mean = np.exp(0.03 * (age - 45) + 0.7 * (region == "south"))
    count = rng.poisson(mean)
    size = rng.gamma(2.0, mean * 500.0).round(2) + 0.01
    rating = np.clip(1 + np.digitize(mean * rng.lognormal(0, 0.2, rows), [0.5, 1, 2, 4]), 1, 5)
    return pl.DataFrame(
        {
            "age": [None if i % 17 == 0 else value for i, value in enumerate(age)],
            "region": region,
            "count": count,
            "size": size,
            "total": np.where(count > 0, count * size, 0.0).round(2),
            "rating": rating,
        }
    )


def fitted(tmp_path, target, *, table=None, **sections):
    table = claims() if table is None else table
    others = [name for name in ("count", "size", "total", "rating") if name != target and name in table.columns]
    chosen = {"data": {"target": target, "drop": others}, "fit": {"epochs": 8}, "network": {"layers": 16}, "seed": 1}
    for name, fields in sections.items():
        chosen[name] = chosen.get(name, {}) | fields if isinstance(fields, dict) else fields
    return train(table, make_config(overrides=chosen), name="m", repository=Repository(tmp_path / "r")).model


@pytest.mark.parametrize(
    ("target", "objective"),
    [
        ("count", {"loss": "poisson"}),
        ("size", {"loss": "gamma", "intervals": "constant"}),
        ("total", {"loss": "tweedie", "power": 1.6}),
    ],
)
def test_counts_and_amounts_are_told_by_their_means_and_by_intervals_that_hold_them(tmp_path, target, objective):
    model = fitted(tmp_path, target, objective=objective, optimizer={"lr": 0.01})
    manifest = model.manifest
    assert (manifest.signature.task, manifest.config["data"]["task"]) == ("regression", "regression")
    new = claims(2000, seed=1)
    answers, actual = predict_table(model, new), new[target]
    assert answers["lower"].min() >= 0.0
    assert (answers["lower"] <= answers["prediction"]).all()
    assert (answers["prediction"] <= answers["upper"]).all()
    inside = ((answers["lower"] <= actual) & (actual <= answers["upper"])).mean()
    assert inside > 0.85
    assert answers["prediction"].mean() == pytest.approx(actual.mean(), rel=0.2)
    assert manifest.metrics["test"]["r2"] > 0.1
    power = {"count": 1.0, "size": 2.0, "total": 1.6}[target]
    deviance = evaluate_table(model, new)["metrics"]["deviance"]
    assert deviance == pytest.approx(mean_tweedie_deviance(actual, answers["prediction"], power=power))
    assert "deviance" not in manifest.metrics["test"]


def test_a_held_out_row_below_0_is_refused_before_the_fit(tmp_path):
    table = claims(100)
    below = table.with_columns(pl.when(pl.int_range(pl.len()) == 3).then(-2).otherwise(pl.col("count")).alias("count"))
    with pytest.raises(TableError, match=r"objective.loss=poisson is for a target of at least 0, got .* 'count' is -2"):
        fitted(tmp_path, "count", table=below, objective={"loss": "poisson"}, fit={"epochs": 1})
    assert not (tmp_path / "r").exists()


def test_a_rating_is_learned_in_its_order(tmp_path):
    model = fitted(tmp_path, "rating", objective={"loss": "ordinal"}, optimizer={"lr": 0.01})
    assert model.manifest.signature.classes == ("1", "2", "3", "4", "5")
    layers, _, _ = read_layers(model.path / WEIGHTS_FILE)
    assert layers[-1]["shape"] == [8, "rows", 4]
    new = claims(500, seed=1)
    answers = predict_table(model, new)
    probabilities = answers.select(pl.exclude("label")).to_numpy()
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-6
    away = np.abs(answers["label"].cast(pl.Int64).to_numpy() - new["rating"].to_numpy())
    assert away.mean() < 0.8


@pytest.mark.parametrize(
    ("target", "last", "decision"),
    [
        ("size", 1, "intervals are equally wide for every row"),
        ("rating", 5, "probabilities are left as they are, as objective.plain says"),
    ],
)
def test_the_textbook_preset_is_layers_of_standardised_numbers_and_one_hot_levels_and_nothing_else(
    tmp_path, target, last, decision
):
    optimizer = {"name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True}
    network = {"layers": [8, 4], "activation": "gelu", "normalisation": "batch"}
    model = fitted(tmp_path, target, preset="textbook", network=network, optimizer=optimizer)
    layers, n_values, _ = read_layers(model.path / WEIGHTS_FILE)
    weighty = [(layer["kind"], layer["shape"], layer["parameters"]) for layer in layers if layer["parameters"]]
    # the age and whether it is missing; three regions, and what stands for a missing and for an unknown one
    assert weighty == [
        ("Linear", [1, "rows", 8], (2 + 5) * 8 + 8),
        ("BatchNorm", [1, "rows", 8], 16),
        ("Linear", [1, "rows", 4], 8 * 4 + 4),
        ("BatchNorm", [1, "rows", 4], 8),
        ("Heads", [1, "rows", last], 4 * last + last),
    ]
    assert {"OneHot", "GELU"} <= {layer["kind"] for layer in layers}
    assert any(said.startswith(decision) for said in model.manifest.decisions)
    config = model.manifest.config
    assert (config["optimizer"]["average"], config["optimizer"]["schedule"], config["fit"]["clip"]) == (
        0,
        "constant",
        "none",
    )
    assert n_values > 0
