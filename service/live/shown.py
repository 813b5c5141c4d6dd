"""What is served and what is not, in the metrics; the workers of a service all say the same."""

from __future__ import annotations

from rowcast.service.engine.catalog import Catalog
from rowcast.service.metrics.counts import LIVE_VERSION, REFUSED_VERSION


class Shown:
    """The metrics of one worker; what is not the case any more is 0."""

    def __init__(self) -> None:
        self._live: dict[str, int] = {}
        self._refused: dict[tuple[str, str], int] = {}

    def show(self, catalog: Catalog) -> None:
        """Have the metrics tell what a catalog does."""
        live = dict(catalog.live)
        for name in self._live.keys() | live.keys():
            if self._live.get(name) != live.get(name):
                LIVE_VERSION.labels(name).set(live.get(name, 0))
        refused: dict[tuple[str, str], int] = {}
        for note in catalog.notes:
            if note.state == "UNAVAILABLE":
                key = note.name, note.kind
                refused[key] = max(note.version, refused.get(key, 0))
        for key in self._refused.keys() | refused.keys():
            if self._refused.get(key) != refused.get(key):
                REFUSED_VERSION.labels(*key).set(refused.get(key, 0))
        self._live, self._refused = live, refused
