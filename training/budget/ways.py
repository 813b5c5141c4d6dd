"""Settings of a fit that are tried where a budget leaves time: few, of training alone, none of which costs serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rowcast.training.config import Config


@dataclass(frozen=True)
class Way:
    """How one fit is trained."""

    called: str
    """In a decision."""
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Fields of the config that it sets, by section."""
    longer: float = 1.0
    """What it takes, as a multiple of a fit as configured."""

    def of(self, config: Config) -> Config:
        """The config of such a fit."""
        sections = {name: getattr(config, name).model_copy(update=dict(fields)) for name, fields in self.fields.items()}
        return config.model_copy(update=sections)


USUAL = Way("as configured")
OTHERS = (
    # the best of 15 optimizers on 17 tables (Gorishniy et al. 2026, "Benchmarking optimizers for MLPs in tabular deep
    # learning"); a step takes some products of each layer's matrix more
    Way("muon", {"optimizer": {"name": "muon"}}, longer=1.5),
    # what `rowcast tune` found on California; strong dropout and decay are in the published space of TabM
    Way("more dropout and weight decay", {"network": {"dropout": 0.35}, "optimizer": {"weight_decay": 0.08}}),
    # the other end of that space: on diamonds a fit without dropout was the better one
    Way("no dropout", {"network": {"dropout": 0.0}}),
    Way("half the learning rate", {"optimizer": {"lr": 1e-3}}),
)
"""Tried in this order."""


def ways_of(config: Config) -> list[Way]:
    """The ways that set nothing of what the caller has set."""

    def is_free(way: Way) -> bool:
        return not any(set(fields) & getattr(config, name).model_fields_set for name, fields in way.fields.items())

    return [way for way in OTHERS if is_free(way)]


def twice_as_long(epochs: int) -> Way:
    """Fits of twice as many epochs, for rows on which all of them were of use."""
    return Way(f"of {2 * epochs} epochs", {"fit": {"epochs": 2 * epochs}}, longer=2.0)
