"""How many bytes of bodies a worker holds at once: of those that arrive, are decoded and wait, over all protocols.

A body is counted as it arrives, by what has come of it: who announces 16 MiB and sends nothing holds nothing. It stays
counted while it is decoded, and as rows that wait or are run, together with what was made of it. A request of few rows
that came in one packet is counted only while it waits, by the batcher's own sums.

When there is no room for more, whoever has lately sent the least lets go first, if there is one who has nearly stopped;
otherwise who asks for room is refused with 429. A body that is alone always finds room, however large.

A worker has one event loop, and a loop one budget.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from rowcast.service.errors import QueueFull

_BYTES_PER_SECOND = 100_000
"""At this rate a body keeps up: 16 MiB may take nearly three minutes."""
_STOPPED_SECONDS = 2.0
"""Who has not kept up for so long has nearly stopped sending, and lets go when others need the room."""
_RETRY_SECONDS = 1.0


def admit_all() -> None:
    """Decode whatever comes."""


class NoRoom(QueueFull):
    """A body that would take more memory than is left for bodies."""

    def __init__(self) -> None:
        super().__init__(_RETRY_SECONDS, "bodies that arrive and wait take all the memory that there is for them")


class Hold:
    """Bytes of one body."""

    __slots__ = ("_budget", "_give_up", "kept_up", "size")

    def __init__(self, budget: ByteBudget, give_up: Callable[[], None] | None) -> None:
        self._budget = budget
        self._give_up = give_up
        self.size = 0
        self.kept_up = time.monotonic()
        """Until when it has come as fast as it should."""

    def grow(self, size: int) -> None:
        """Count more bytes of it.

        Raises:
            NoRoom: there is no room for them. Those counted before are still counted.
        """
        now = time.monotonic()
        self.kept_up = min(self.kept_up + size / _BYTES_PER_SECOND, now)
        self._budget.make_room(size, self, now)
        self.size += size
        self._budget.held += size

    def give_up(self) -> None:
        """Let go while it is still arriving: whoever brings it is told that there was no room."""
        assert self._give_up is not None
        give_up = self._give_up
        self.release()
        give_up()

    def release(self) -> None:
        """Count nothing of it any more; more than once is as good as once."""
        self._budget.forget(self)
        self.size = 0


class Counting(Protocol):
    """Somebody who keeps count of bytes himself."""

    @property
    def bytes(self) -> int:
        """How many there are now."""


class ByteBudget:
    """The bytes of one worker.

    Args:
        limit: how many there may be.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        """Bytes of bodies that arrive or are decoded."""
        self._arriving: set[Hold] = set()
        self._counting: list[weakref.ref[Counting]] = []
        self._decoding = asyncio.Lock()

    @property
    def used(self) -> int:
        """All that is counted."""
        counting = (reference() for reference in self._counting)
        return self.held + sum(one.bytes for one in counting if one is not None)

    def count(self, counting: Counting) -> None:
        """Have the bytes counted, too, that somebody keeps count of himself, for as long as there is a use for him."""
        self._counting.append(weakref.ref(counting, self._counting.remove))

    def has_room(self, size: int) -> bool:
        """Whether so many more bytes may be held."""
        used = self.used
        return not used or used + size <= self.limit

    def hold(self, size: int = 0, give_up: Callable[[], None] | None = None) -> Hold:
        """Count a body of so many bytes, until it is released.

        Args:
            size: what there is of it.
            give_up: for one that is arriving: called, once, when it has to let go for others' sake.

        Raises:
            NoRoom: there is no room for it.
        """
        hold = Hold(self, give_up)
        if size:
            hold.grow(size)
        if give_up is not None:
            self._arriving.add(hold)
        return hold

    @asynccontextmanager
    async def decoding(self, size: int, admit: Callable[[], None] = admit_all) -> AsyncIterator[None]:
        """Count a long body while it is decoded; one at a time is, for that takes several times its length.

        Args:
            size: its bytes.
            admit: asked when its turn has come, whether it is still worth it: those before may have filled the queue.

        Raises:
            NoRoom: there is no room for it.
            RequestError: it is not admitted any more.
        """
        hold = self.hold(size)
        try:
            async with self._decoding:
                admit()
                yield
        finally:
            hold.release()

    def make_room(self, size: int, asks: Hold, now: float) -> None:
        """See that there is room for so many more bytes of a body.

        Raises:
            NoRoom: there is none.
        """
        while self.used - asks.size and self.used + size > self.limit:
            slowest = min(self._arriving - {asks}, key=lambda hold: hold.kept_up, default=None)
            if slowest is None or slowest.kept_up > now - _STOPPED_SECONDS:
                raise NoRoom
            slowest.give_up()

    def forget(self, hold: Hold) -> None:
        """Count a body no more."""
        self.held -= hold.size
        self._arriving.discard(hold)
