"""A model on ONNX Runtime's CUDA provider answers as on the CPU, in a session and through every protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest

import rowcast
from rowcast.models import Predictions, Repository, Session
from rowcast.models.errors import DeviceError
from rowcast.training.config import make_config
from rowcast.training.predict import columns_for, open_table, predict_columns
from rowcast.training.train import train
from tests.service.servers import Server, serving
from tests.support import tables

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
ROWS = 3_000
TOLERANCE = 1e-6
"""What holds between protocols, too."""


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return tables.every_kind(rows=ROWS)


@pytest.fixture(scope="module")
def repository(table: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    for target, other in (("amount", "class"), ("class", "amount")):
        data = {"target": target, "drop": [other]}
        overrides = {"network": {"layers": [256, 256]}, "fit": {"epochs": 5}, "data": data}
        train(table, make_config(overrides=overrides), name=target, repository=Repository(root))
    return root


def answers(repository: Path, name: str, table: pl.DataFrame, device: str) -> Predictions:
    model = Repository(repository).open(name)
    session = Session.of(model, device)
    assert session.provider == PROVIDERS[device]
    return predict_columns(session, columns_for(open_table(table, model.manifest), session.signature, name))


def furthest(found: Any, expected: Any) -> float:
    """The largest difference, absolute up to 1 and relative above."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max())


@pytest.mark.parametrize("rows", [1, 7, 64, ROWS])
def test_a_session_on_the_gpu_answers_as_one_on_the_cpu(repository: Path, table: pl.DataFrame, rows: int) -> None:
    classes, numbers = (
        {device: answers(repository, name, table.head(rows), device) for device in PROVIDERS}
        for name in ("class", "amount")
    )
    assert classes["cuda"].labels == classes["cpu"].labels
    assert furthest(classes["cuda"].probabilities, classes["cpu"].probabilities) <= TOLERANCE
    assert furthest(numbers["cuda"].prediction, numbers["cpu"].prediction) <= TOLERANCE
    assert furthest(numbers["cuda"].lower, numbers["cpu"].lower) <= TOLERANCE
    assert furthest(numbers["cuda"].upper, numbers["cpu"].upper) <= TOLERANCE


def test_auto_is_the_gpu(repository: Path) -> None:
    assert Session.of(Repository(repository).open("class"), "auto").provider == PROVIDERS["cuda"]


def test_a_gpu_beyond_the_last_is_refused(repository: Path) -> None:
    with pytest.raises(DeviceError, match="cuda:63 was demanded, but the driver reports"):
        Session.of(Repository(repository).open("class"), "cuda:63")


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(repository, tmp_path_factory.mktemp("served"), device="cuda", workers="2") as one:
        yield one


def test_the_log_tells_that_it_runs_on_the_gpu(server: Server) -> None:
    assert "serving class:1 on CUDAExecutionProvider" in server.log.read_text()


@pytest.mark.parametrize("protocol", ["json", "arrow"])
@pytest.mark.parametrize("rows", [1, 64, ROWS])
def test_a_service_on_the_gpu_answers_as_a_session_on_the_cpu(
    server: Server, repository: Path, table: pl.DataFrame, protocol: Literal["json", "arrow"], rows: int
) -> None:
    asked = table.drop("amount", "class").head(rows)
    expected = answers(repository, "class", asked, "cpu")
    with rowcast.Client(server.url, "class", protocol=protocol) as client:
        found = client.predict(asked)
    assert found["label"].to_list() == expected.labels
    assert (
        furthest(found.select(pl.selectors.starts_with("probability_")).to_numpy(), expected.probabilities) <= TOLERANCE
    )
