"""A worker, as circus starts one: it ends with its supervisor from its first instruction on."""

from __future__ import annotations

import os
import signal
from typing import Any

from circus.process import Process

from rowcast.models.machine.parent import end_with


class WorkerProcess(Process):  # type: ignore[misc]
    """A process that does not outlive the one that started it."""

    def spawn(self) -> None:
        """Start it."""
        self._supervisor = os.getpid()
        if forget := getattr(self.watcher, "forget_beats", None):
            forget(self.wid)
        super().spawn()

    def _null_streams(self, streams: list[Any]) -> None:
        """What circus does between fork and exec, and has no hook for."""
        if not end_with(self._supervisor, signal.SIGKILL):
            os._exit(1)
        super()._null_streams(streams)
