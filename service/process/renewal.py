"""All workers are replaced: new ones are started, and those before them are told to stop once as many new ones serve.

Circus tells them to stop in the moment in which it starts the new ones, which need seconds until they serve. Meanwhile
nobody would take a new connection of gRPC's, for which each worker listens by itself, and ``/readyz`` would say that
the service is about to end.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from rowcast.service.process.heartbeat import START_SECONDS
from rowcast.service.process.replacements import Replacements

logger = logging.getLogger("rowcast.service")


class Renewal:
    """The replacement of all workers of one of circus' watchers, which begins with this.

    Circus starts workers while there are fewer than ``numprocesses``, and tells the oldest to stop while there are
    more.

    Args:
        watcher: theirs.
        replacements: what looks after them.
    """

    def __init__(self, watcher: Any, replacements: Replacements) -> None:
        self._watcher = watcher
        self._replacements = replacements
        self._before = set(watcher.processes)
        self._asked = int(watcher.numprocesses)
        self._until = time.monotonic() + START_SECONDS
        watcher.numprocesses = 2 * self._asked

    def look(self) -> bool:
        """Whether circus may tell the oldest workers to stop: the newest serve, or are waited for no longer."""
        serving = set(self._replacements.serving().values())
        newest = sorted(self._watcher.processes.values(), key=lambda process: process.started)[-self._asked :]
        new = len({process.pid for process in newest} & serving - self._before)
        if new < self._asked:
            if time.monotonic() < self._until:
                return False
            logger.error(
                "%d of %d new workers serve after %.0f s: as many of those before them serve on as are missing",
                new,
                self._asked,
                START_SECONDS,
            )
            self._replacements.give_up(set(self._watcher.processes) - self._before - serving)
        self._watcher.numprocesses = self._asked
        return True
