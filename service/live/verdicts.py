"""Why versions do not go live: remembered, so that none is tried again that would fail again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from rowcast.service.engine.catalog import Entry, Note
from rowcast.service.live.checks import Refused
from rowcast.service.live.look import Mark

logger = logging.getLogger("rowcast.service")

Key: TypeAlias = tuple[str, int]
"""The name and the version of a model."""

TRIES = 3
"""How often a version is tried that may fail by accident, such as a worker that somebody kills meanwhile."""
RETRY_SECONDS = 5.0
"""After what may be an accident, or is the machine's fault."""
_TRANSIENT = frozenset({"memory", "device", "unreadable"})
"""Reasons that are the machine's."""
_ACCIDENTS = frozenset({"crashed", "worker", "busy"})
"""Reasons that may be an accident the first time."""
_AGAINST_OLD = frozenset({"signature", "example"})
"""Reasons that lie in the version that was to be replaced as well."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    mark: Mark | None
    """The version's files, as they were."""
    old: Entry | None
    """What it was to replace."""
    kind: str
    why: str
    retry_at: float
    tries: int


class Verdicts:
    """What is known of versions that were refused."""

    def __init__(self) -> None:
        self._known: dict[Key, _Verdict] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._known

    def hold(self, key: Key, mark: Mark | None, old: Entry | None) -> bool:
        """Whether a version with these files, for the place of that one, would be refused again."""
        last = self._known.get(key)
        if last is None or last.mark != mark or time.monotonic() >= last.retry_at:
            return False
        return last.kind not in _AGAINST_OLD or last.old == old

    def try_again(self, key: Key) -> bool:
        """Whether a version that was refused is tried again as it is: what was in its way may be gone by then."""
        last = self._known.get(key)
        return last is None or last.retry_at < float("inf")

    def add(self, key: Key, mark: Mark | None, old: Entry | None, error: Refused) -> None:
        """Remember why a version does not go live, and tell it, once for the same reason."""
        last = self._known.get(key)
        same = last is not None and (last.mark, last.kind) == (mark, error.kind)
        tries = last.tries + 1 if last is not None and same else 1
        again = error.kind in _TRANSIENT or (error.kind in _ACCIDENTS and tries < TRIES)
        retry_at = time.monotonic() + RETRY_SECONDS if again else float("inf")
        self._known[key] = _Verdict(mark, old, error.kind, str(error), retry_at, tries)
        if not same or not again:
            served = "nothing of this name is served" if old is None else f"{old.name}:{old.version} is served on"
            logger.error("%s:%d does not go live, and %s: %s", *key, served, error)

    def forget(self, key: Key) -> None:
        """A version went live after all."""
        self._known.pop(key, None)

    def keep(self, matters: Callable[[Key], bool]) -> None:
        """Forget versions that do not matter any more."""
        self._known = {key: one for key, one in self._known.items() if matters(key)}

    def notes(self) -> Iterator[Note]:
        """What is to be told of them."""
        for (name, version), one in self._known.items():
            yield Note(name, version, "UNAVAILABLE", one.why, one.kind)
