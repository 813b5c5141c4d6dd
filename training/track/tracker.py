"""What a tracker does, and those of a fit put together."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rowcast.models.errors import ConfigError
from rowcast.training.fit.loop import Progress
from rowcast.training.track.config import TrackConfig


class Tracker(Protocol):
    """One run of a tracker, that of one fit."""

    def look(self, number: int, progress: Progress) -> None:
        """A look at the validation rows; ``number`` counts them from 1."""

    def published(self, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """The model is published. ``metrics`` are named like ``test.rmse``."""

    def close(self, *, failed: bool) -> None:
        """The run is over."""


class Trackers:
    """All trackers of a fit; each is told everything. One that fails is left out from then on, and the fit goes on.

    Args:
        trackers: by the name of their setting.
        say: told of one that fails.
    """

    def __init__(self, trackers: dict[str, Tracker], say: Callable[[str], None]) -> None:
        self._trackers = trackers
        self._say = say
        self._looks = 0

    def look(self, progress: Progress) -> None:
        """A look at the validation rows."""
        self._looks += 1
        self._tell(lambda tracker: tracker.look(self._looks, progress))

    def published(self, metrics: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """The model is published; ``metrics`` as ``model.json`` has them."""
        numbers = {name: float(value) for name, value in flat(metrics) if isinstance(value, int | float)}
        self._tell(lambda tracker: tracker.published(numbers, tags))

    def close(self, *, failed: bool) -> None:
        """The run is over."""
        self._tell(lambda tracker: tracker.close(failed=failed))

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for name, tracker in [*self._trackers.items()]:
            try:
                what(tracker)
            except Exception as error:  # noqa: BLE001 - a server that is gone must not cost the fit
                del self._trackers[name]
                first_line = next(iter(str(error).splitlines()), type(error).__name__)
                self._say(f"track.{name} is told nothing more: {first_line}")


def check_trackers(config: TrackConfig) -> None:
    """Make sure, before the table is read, that the trackers that are asked for are installed.

    Raises:
        ConfigError: one is not; says how to install it.
    """
    of_database = "://" in config.mlflow and not config.mlflow.startswith(("http://", "https://", "file:"))
    for field, package, install in (
        ("tensorboard", "tensorboard", "tensorboard"),
        ("mlflow", "mlflow", "mlflow" if of_database else "mlflow-skinny"),
    ):
        if getattr(config, field) and importlib.util.find_spec(package) is None:
            raise ConfigError(f"'track.{field}' needs {package}, which is not installed: pip install {install}")


@contextmanager
def tracked(
    config: TrackConfig, name: str, settings: Mapping[str, Any], say: Callable[[str], None]
) -> Iterator[Trackers]:
    """Runs of the trackers that are asked for, for as long as this is entered.

    Args:
        config: which.
        name: of the model, which is that of the experiment.
        settings: the config of the training, nested.
        say: told of a tracker that fails later on.

    Raises:
        ConfigError: a tracker cannot write where it is to.
    """
    trackers: dict[str, Tracker] = {}
    parameters = {field: str(value) for field, value in flat(settings)}
    if config.tensorboard:
        from rowcast.training.track.tensorboard import TensorBoard

        trackers["tensorboard"] = TensorBoard(config.tensorboard, name, parameters)
    if config.mlflow:
        from rowcast.training.track.mlflow import MLflow

        trackers["mlflow"] = MLflow(config.mlflow, name, parameters)
    all_of_them, failed = Trackers(trackers, say), True
    try:
        yield all_of_them
        failed = False
    finally:
        all_of_them.close(failed=failed)


def flat(fields: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of nested mappings, by their dotted names."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
