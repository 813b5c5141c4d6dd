"""Which trackers are told of a fit."""

from __future__ import annotations

from rowcast.training.settings import ComponentConfig


class TrackConfig(ComponentConfig):
    """Experiment trackers that are told how the fit goes and what came of it. Both are off, and installed apart."""

    tensorboard: str = ""
    """Folder for TensorBoard's event files, such as runs; each fit gets a folder of its own in it."""
    mlflow: str = ""
    """Where MLflow keeps runs: a folder such as mlruns, a database such as sqlite:///mlflow.db, or a server's URL."""
