"""What TensorBoard and MLflow are told of a fit, read back with their own readers."""

from __future__ import annotations

import importlib.util
import os

import pytest

from rowcast.models import Repository
from rowcast.models.errors import ConfigError
from rowcast.training.config import make_config
from rowcast.training.fit.loop import Progress
from rowcast.training.track.tracker import Trackers
from rowcast.training.train import train
from tests.support import tables


def fitted(folder, **track):
    config = make_config(overrides={**tables.QUICK, "data": {"target": "amount"}, "track": track})
    table = tables.every_kind(200).drop("class")
    return train(table, config, name="houses", repository=Repository(folder / "r"))


@pytest.mark.parametrize(
    ("track", "line"),
    [
        ({"tensorboard": "runs"}, "'track.tensorboard' needs tensorboard, which is not installed: pip install tensor"),
        ({"mlflow": "mlruns"}, "'track.mlflow' needs mlflow, which is not installed: pip install mlflow-skinny"),
        ({"mlflow": "sqlite:///m.db"}, r"'track\.mlflow' needs mlflow, which is not installed: pip install mlflow$"),
    ],
)
def test_a_tracker_that_is_absent_is_a_line_before_the_table_is_read(track, line, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    config = make_config(overrides={"data": {"target": "y"}, "track": track})
    with pytest.raises(ConfigError, match=line):
        train(tmp_path / "absent.csv", config, name="m", repository=Repository(tmp_path))


def test_tensorboard_reads_the_curves_and_the_metrics(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained = fitted(tmp_path, tensorboard=str(tmp_path / "runs"))
    (run,) = (tmp_path / "runs" / "houses").iterdir()
    events = EventAccumulator(str(run)).Reload()
    curve = [(point.step, point.value) for point in events.Scalars("loss/validation")]
    assert curve == [
        (n, pytest.approx(look.validation_loss, rel=1e-6)) for n, look in enumerate(trained.fit.history, 1)
    ]
    (rmse,) = events.Scalars("test/rmse")
    assert rmse.value == pytest.approx(trained.model.manifest.metrics["test"]["rmse"], rel=1e-6)


def test_mlflow_reads_parameters_curves_metrics_and_the_version(tmp_path):
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    from mlflow.tracking import MlflowClient

    trained = fitted(tmp_path, mlflow=str(tmp_path / "mlruns"))
    client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("houses")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert (run.data.params["fit.epochs"], run.data.params["network.layers"]) == ("3", "[16]")
    curve = client.get_metric_history(run.info.run_id, "validation_loss")
    assert [(point.step, point.value) for point in curve] == [
        (n, look.validation_loss) for n, look in enumerate(trained.fit.history, 1)
    ]
    assert run.data.metrics["test.rmse"] == trained.model.manifest.metrics["test"]["rmse"]
    assert run.data.tags["rowcast.path"] == str(trained.model.path)
    assert run.data.tags["rowcast.model"] == "houses:1"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_tracker_that_fails_is_told_nothing_more_and_the_fit_goes_on():
    class Gone:
        told = 0

        def look(self, number, progress):
            self.told += 1
            raise ConnectionError("refused\nand more")

    said, gone = [], Gone()
    trackers = Trackers({"mlflow": gone}, said.append)
    look = Progress(1, 1, 1.0, 0.5, 0.5, 1, learning_rate=0.1, seconds=1.0, best=True, ends_epoch=True)
    trackers.look(look)
    trackers.look(look)
    assert (gone.told, said) == (1, ["track.mlflow is told nothing more: refused"])
