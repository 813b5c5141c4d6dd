"""What the config says of tuning. No torch and no Optuna is imported here."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from rowcast.training.settings import ComponentConfig

OF_LAST_FIT = ("seeds", "folds", "refit", "max_members", "max_row_us", "until_spent")
"""Fields of ``fit`` that are for the last fit alone: no trial reads them, so they are not searched, and they may change
while a study goes on."""


class TuneConfig(ComponentConfig):
    """What `rowcast tune` searches; a training run does without it."""

    space: dict[str, Any] = Field(default_factory=dict)
    """Fields, each with a list of values or a table of low, high, log, step; empty: those of docs/tuning.md. What is
    given here stands in place of all of them."""
