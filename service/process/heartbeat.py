"""Signs of life: each worker counts up in memory that it shares with its supervisor, for as long as its loop turns.

A beat is one store, twice a second. The supervisor compares counts and never clocks: a step of the clock, or a machine
that was asleep, makes nobody look dead.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable

from rowcast.service.process.slots import Slots, slot_of

BEAT_SECONDS = 0.5
"""How often a worker's loop beats."""
SILENT_SECONDS = 8.0
"""How long a worker that has served may be silent. Its loop never does anything that takes nearly as long: longer runs
have a thread of their own. Together with a start, which takes a few seconds, that keeps to fifteen."""
START_SECONDS = 300.0
"""How long a worker may take to load its models; a GPU's first use alone may take a minute."""
LOOK_SECONDS = 1.0
"""How often the supervisor looks at the counts."""
_COUNT = struct.Struct("Q")
_REPLACED_AT = _COUNT.size
"""Where the supervisor tells a worker that another has taken its place."""
PULSE_BYTES = _REPLACED_AT + _COUNT.size
"""Of a slot, from its start."""


class Heartbeats:
    """The supervisor's side: a count for each worker.

    Args:
        slots: how many workers there may be at a time.
    """

    def __init__(self, slots: int) -> None:
        self.slots = Slots(slots)
        """The first bytes of each are the count."""
        self.descriptor = self.slots.descriptor
        """To be inherited by the workers."""

    def clear(self, slot: int) -> None:
        """Forget what was counted in a slot; before a new worker takes it."""
        self.slots.clear(slot)

    def count(self, slot: int) -> int:
        """How often the worker of a slot has beaten; 0 until it serves."""
        return int(_COUNT.unpack_from(self.slots[slot])[0])

    def say_replaced(self, slot: int, replaced: bool) -> None:
        """Tell the worker of a slot why it is to end: another has taken its place, or else the service ends."""
        _COUNT.pack_into(self.slots[slot], _REPLACED_AT, replaced)


class Pulse:
    """A worker's side.

    Args:
        descriptor: the supervisor's.
        slot: of this worker.
    """

    def __init__(self, descriptor: int, slot: int) -> None:
        self.slot = slot_of(descriptor, slot)
        self._count = 0

    def beat(self) -> None:
        """Say that this worker is well."""
        self._count += 1
        _COUNT.pack_into(self.slot, 0, self._count)

    def is_replaced(self) -> bool:
        """Whether another has taken this worker's place, if it is told to end."""
        return bool(_COUNT.unpack_from(self.slot, _REPLACED_AT)[0])

    def keep_beating(self, loop: asyncio.AbstractEventLoop) -> None:
        """Beat for as long as a loop turns; from now on silence means that it does not."""
        self.beat()
        loop.call_later(BEAT_SECONDS, self.keep_beating, loop)


class Watch:
    """What the supervisor knows of one worker's pulse.

    Args:
        count: tells how often it has beaten.
        stopped: tells whether it is stopped by a signal; asked only while it is silent.
    """

    def __init__(self, count: Callable[[], int], stopped: Callable[[], bool]) -> None:
        self._count = count
        self._stopped = stopped
        self._last = 0
        self._looked = time.monotonic()
        self._stopped_seconds = 0.0
        self.silent_seconds = 0.0
        self.killed = False
        """Whether it was given up."""

    @property
    def has_served(self) -> bool:
        """Whether it has ever been ready."""
        return self._last > 0

    def look(self) -> bool:
        """Look again; whether the worker is to be given up.

        Each look adds little, however long ago the last one was: the supervisor itself may have been stopped, and the
        workers with it.
        """
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 2 * LOOK_SECONDS), now
        count = self._count()
        if count != self._last:
            self._last = count
            self.silent_seconds = self._stopped_seconds = 0.0
            return False
        self.silent_seconds += passed
        if self.has_served:
            return self.silent_seconds > SILENT_SECONDS
        self._stopped_seconds = self._stopped_seconds + passed if self._stopped() else 0.0
        return self._stopped_seconds > SILENT_SECONDS or self.silent_seconds > START_SECONDS
