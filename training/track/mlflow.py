"""Runs of MLflow: an experiment for each model, a run for each fit."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rowcast.models.errors import ConfigError
from rowcast.training.fit.loop import Progress

_AT_ONCE = 100
"""Parameters that MLflow takes in one go."""
_LONGEST_KEY = 250


class MLflow:
    """A run in the experiment that is named like the model.

    Args:
        where: a folder, or a tracking URI.
        name: of the model.
        parameters: of the run.
    """

    def __init__(self, where: str, name: str, parameters: Mapping[str, str]) -> None:
        if "://" not in where and not where.startswith("file:"):
            where = Path(where).absolute().as_uri()
        if where.startswith("file:"):  # MLflow advises a database, but a folder was asked for
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        self._metric = Metric
        try:
            self._client: Any = MlflowClient(tracking_uri=where)
            experiment = self._client.get_experiment_by_name(name)
            known = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
            self._run: str = self._client.create_run(known).info.run_id
            every = [Param(_key(field), value) for field, value in parameters.items()]
            for start in range(0, len(every), _AT_ONCE):
                self._client.log_batch(self._run, params=every[start : start + _AT_ONCE])
        except (MlflowException, OSError) as error:
            first_line = next(iter(str(error).splitlines()), "")
            raise ConfigError(
                f"'track.mlflow' must be a folder, database or server that MLflow may write to, got {where!r}: "
                f"{first_line}"
            ) from None
        self._last = 0

    def look(self, number: int, progress: Progress) -> None:
        """A point on each curve."""
        self._last = number
        self._log(
            {
                "train_loss": progress.train_loss,
                "validation_loss": progress.validation_loss,
                "learning_rate": progress.learning_rate,
                "epoch": progress.epoch,
            }
        )

    def published(self, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Metrics, at the last look; and tags."""
        self._log(metrics)
        for tag, value in tags.items():
            self._client.set_tag(self._run, f"rowcast.{tag}", value)

    def close(self, *, failed: bool) -> None:
        """FINISHED or FAILED."""
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")

    def _log(self, metrics: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        points = [self._metric(_key(metric), value, now, self._last) for metric, value in metrics.items()]
        self._client.log_batch(self._run, metrics=points)


def _key(name: str) -> str:
    """A name that MLflow takes; that of a class may hold anything."""
    return re.sub(r"[^\w./: -]", "_", name)[:_LONGEST_KEY]
