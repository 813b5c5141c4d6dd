"""A model trained on a CUDA device is the model that the CPU trains, up to rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from rowcast.models import Repository
from rowcast.models.errors import DeviceError
from rowcast.training.config import Config, make_config
from rowcast.training.crossvalidate import cross_validate
from rowcast.training.train import Trained, train
from tests.support import tables

TASKS = {"regression": "amount", "binary": "class", "multiclass": "city"}
TOLD_BY = {"amount": "class", "class": "amount", "city": "class"}
"""The column that would give the target away, or that is left out to have as many."""
SCORE = {"regression": "rmse", "binary": "log_loss", "multiclass": "log_loss"}
SETTINGS = {
    "bfloat16": ["fit.precision=bfloat16"],
    "adam": ["optimizer.name=adam"],
    "sgd": ["optimizer.name=sgd", "optimizer.lr=0.05"],
    "several seeds": ["fit.seeds=2"],
    "augmented": ["augment.noise=0.1", "augment.swap=0.1", "augment.missing=0.1", "augment.mixup=0.1"],
    "smoothed": ["objective.label_smoothing=0.1", "objective.class_weights=balanced"],
    "focal": ["objective.loss=focal"],
}
LOSSES = ["mse", "mae", "huber", "pinball"]


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return tables.every_kind(rows=2_000)


def config_for(target: str, device: str, *settings: str) -> Config:
    overrides: dict[str, Any] = {
        "network": {"members": 4, "layers": [64]},
        "fit": {"epochs": 8},
        "data": {"target": target, "drop": [TOLD_BY[target]]},
        "device": device,
    }
    return make_config(settings=settings, overrides=overrides)


def trained(table: pl.DataFrame, target: str, device: str, folder: Path, *settings: str) -> Trained:
    rows = table.drop_nulls(target)
    return train(rows, config_for(target, device, *settings), name="one", repository=Repository(folder))


def test_a_table_in_shards_is_learned_as_on_the_cpu(table: pl.DataFrame, tmp_path: Path) -> None:
    table.drop("class").drop_nulls("amount").write_parquet(tmp_path / "t.parquet")
    scores = {}
    for device in ("cpu", "cuda"):
        config = make_config(
            settings=["data.in_memory=false", "fit.epochs=8", "network.members=4", "network.layers=[64]"],
            overrides={"data": {"target": "amount"}, "device": device},
        )
        done = train(tmp_path / "t.parquet", config, name="one", repository=Repository(tmp_path / "models"))
        scores[device] = done.model.manifest.metrics["validation"]["rmse"]
    assert scores["cuda"] == pytest.approx(scores["cpu"], rel=0.05)


@pytest.mark.parametrize("task", TASKS)
def test_the_gpu_learns_what_the_cpu_learns(table: pl.DataFrame, tmp_path: Path, task: str) -> None:
    both = {device: trained(table, TASKS[task], device, tmp_path) for device in ("cpu", "cuda")}
    scores = {device: one.model.manifest.metrics["validation"][SCORE[task]] for device, one in both.items()}
    assert scores["cuda"] == pytest.approx(scores["cpu"], rel=0.05)
    manifest = both["cuda"].model.manifest
    assert manifest.config["device"] == "cuda"
    assert manifest.parity["max_difference"] <= 1e-5
    assert manifest.parity["labels_equal"] is True


@pytest.mark.parametrize("name", SETTINGS)
def test_whatever_a_fit_is_told_it_does_on_the_gpu(table: pl.DataFrame, tmp_path: Path, name: str) -> None:
    chosen = trained(table, "class", "cuda", tmp_path, *SETTINGS[name])
    assert chosen.model.manifest.metrics["validation"]["roc_auc"] > 0.8


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_of_numbers_is_learned_on_the_gpu(table: pl.DataFrame, tmp_path: Path, loss: str) -> None:
    chosen = trained(table, "amount", "cuda", tmp_path, f"objective.loss={loss}")
    metrics = chosen.model.manifest.metrics["validation"]
    assert metrics["mae"] < 0.8 * np.abs(table["amount"] - table["amount"].median()).mean()


def test_a_cross_validation_runs_on_the_gpu(table: pl.DataFrame) -> None:
    found = cross_validate(table, config_for("class", "cuda"), folds=3)
    assert len(found.folds) == 3


def test_auto_is_the_gpu_and_the_cpu_is_left_alone(table: pl.DataFrame, tmp_path: Path) -> None:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    trained(table, "class", "auto", tmp_path)
    assert torch.cuda.max_memory_allocated() > before


def test_a_gpu_beyond_the_last_is_refused(table: pl.DataFrame, tmp_path: Path) -> None:
    beyond = torch.cuda.device_count()
    with pytest.raises(DeviceError, match=f"cuda:{beyond} was demanded, but PyTorch finds {beyond} CUDA devices"):
        trained(table, "class", f"cuda:{beyond}", tmp_path)
