"""Event files for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rowcast.models.errors import ConfigError
from rowcast.training.fit.loop import Progress


class TensorBoard:
    """A run in a folder of its own, ``<folder>/<name>/<time>``.

    Args:
        folder: of all runs, which TensorBoard is pointed at.
        name: of the model.
        parameters: shown as a text.
    """

    def __init__(self, folder: str, name: str, parameters: Mapping[str, str]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        run = Path(folder) / name / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        try:
            self._writer = SummaryWriter(str(run))
        except OSError as error:
            raise ConfigError(f"'track.tensorboard' must be a folder one may write, got {folder!r}: {error}") from None
        table = "\n".join(f"| {field} | {value} |" for field, value in parameters.items())
        self._writer.add_text("config", f"| field | value |\n|---|---|\n{table}")
        self._last = 0

    def look(self, number: int, progress: Progress) -> None:
        """A point on each curve."""
        self._last = number
        for tag, value in (
            ("loss/train", progress.train_loss),
            ("loss/validation", progress.validation_loss),
            ("learning_rate", progress.learning_rate),
            ("epoch", progress.epoch),
        ):
            self._writer.add_scalar(tag, value, number)
        self._writer.flush()

    def published(self, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Metrics, at the last look; tags as a text."""
        for metric, value in metrics.items():
            self._writer.add_scalar(metric.replace(".", "/"), value, self._last)
        self._writer.add_text("model", "\n\n".join(f"{tag}: {value}" for tag, value in tags.items()))

    def close(self, *, failed: bool) -> None:
        """TensorBoard knows no failed run."""
        self._writer.close()
