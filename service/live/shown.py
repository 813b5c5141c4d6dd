"""What is served, what is not, and what is wrong, in the metrics; the workers of a service all say the same."""

from __future__ import annotations

from typing import TypeAlias

from prometheus_client import Gauge

from rowcast.service.engine.catalog import Catalog
from rowcast.service.metrics.counts import LIVE_VERSION, REFUSED_VERSION, REPOSITORY_FAULT

_Told: TypeAlias = dict[tuple[Gauge, tuple[str, ...]], int]
"""The values of gauges, by their labels."""


class Shown:
    """The metrics of one worker; what is not the case any more is 0."""

    def __init__(self) -> None:
        self._told: _Told = {}

    def show(self, catalog: Catalog) -> None:
        """Have the metrics tell what a catalog does."""
        told = _told(catalog)
        for key in self._told.keys() | told.keys():
            if self._told.get(key) != told.get(key):
                gauge, labels = key
                gauge.labels(*labels).set(told.get(key, 0))
        self._told = told


def _told(catalog: Catalog) -> _Told:
    told: _Told = {(LIVE_VERSION, (name,)): version for name, version in catalog.live}
    for note in catalog.notes:
        labels = note.name, note.kind
        if note.state == "UNAVAILABLE" and note.version:
            told[REFUSED_VERSION, labels] = max(note.version, told.get((REFUSED_VERSION, labels), 0))
        elif note.state == "UNAVAILABLE" and note.kind:  # it is a fault, and of no version
            told[REPOSITORY_FAULT, labels] = 1
    return told
