"""Has all workers open a version beside the one that they serve, before any of them serves it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import count

from rowcast.service.engine.catalog import Stage
from rowcast.service.live.checks import Refused
from rowcast.service.live.slots import Order, order, verdict
from rowcast.service.process.heartbeat import Heartbeats
from rowcast.service.process.replacements import Replacements

OPEN_SECONDS = 120.0
"""How long workers may take to open a version that was tried."""
_LOOK_SECONDS = 0.01


class Interrupted(Exception):
    """What is served was settled anew meanwhile, or somebody wants something else served, as the text says; or the
    service stops."""


class Workers:
    """The workers that serve, as far as changing what they serve goes.

    Args:
        heartbeats: the memory that they share with the supervisor.
        replacements: what looks after them.
    """

    def __init__(self, heartbeats: Heartbeats, replacements: Sequence[Replacements]) -> None:
        self._slots = heartbeats.slots
        self._replacements = replacements
        self._numbers = count(1)
        self._orders: dict[int, int] = {}
        """The last order of each slot that was looked at."""

    def next_number(self) -> int:
        """A number for another attempt."""
        return next(self._numbers)

    def next_order(self) -> Order | None:
        """What somebody asked a worker for, and nobody has looked at."""
        for slot in self._serving():
            asked = order(self._slots[slot])
            if asked is not None and self._orders.get(slot) != asked.number:
                self._orders[slot] = asked.number
                return asked
        return None

    def wait_for(self, stage: Stage, goes_on: Callable[[], bool]) -> None:
        """Return when every worker that serves has opened what is staged.

        Args:
            stage: what the catalog has for them.
            goes_on: tells whether it still has.

        Raises:
            Refused: one could not, or has ended over it.
            Interrupted: it has not any more.
        """
        give_up = time.monotonic() + OPEN_SECONDS
        asked: dict[int, int] = {}
        ready: set[tuple[int, int]] = set()
        while goes_on():
            serving = self._serving()
            for slot, pid in serving.items():
                fault = verdict(self._slots[slot], stage.number)
                if fault:
                    raise Refused("worker", f"worker {pid} cannot open it: {fault}")
                if fault is not None:
                    ready.add((slot, pid))
            told = set().union(*(one.told_to_stop for one in self._replacements))
            if lost := {(slot, pid) for slot, pid in asked.items() - serving.items() - ready if pid not in told}:
                pids = " and ".join(str(pid) for _, pid in sorted(lost))
                raise Refused("worker", f"worker {pids} ended while it opened it")
            asked = serving
            if asked and asked.items() <= ready:
                return
            if time.monotonic() > give_up:
                if not asked:  # nobody serves at all, which is no fault of the version
                    break
                raise Refused("worker", f"the workers did not open it within {OPEN_SECONDS:g} s")
            time.sleep(_LOOK_SECONDS)
        raise Interrupted

    def _serving(self) -> dict[int, int]:
        return {slot: pid for one in self._replacements for slot, pid in one.serving().items()}
