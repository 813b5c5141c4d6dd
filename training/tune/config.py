"""What the config says of tuning. No torch and no Optuna is imported here."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from rowcast.training.settings import ComponentConfig


class TuneConfig(ComponentConfig):
    """What `rowcast tune` searches; a training run does without it."""

    space: dict[str, Any] = Field(default_factory=dict)
    """Fields, each with a list of values or a table of low, high, log, step; empty: those of docs/tuning.md. What is
    given here stands in place of all of them."""
