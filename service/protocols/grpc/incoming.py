"""Messages of calls as they come, within the worker's budget of bytes.

How far a message has come, gRPC does not tell, nor how long it will be. Before it is asked for, no more than 64 KiB of
it are taken in; once it is, all of it may be. So a message that does not come at once is taken for one of the largest,
as soon as the process grows while it is waited for: whatever there is no room for is refused. Small messages come at
once, and slow ones make nothing grow.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from rowcast.models.errors import RequestError
from rowcast.service.limits.byte_budget import ByteBudget, Hold, NoRoom
from rowcast.service.limits.heap import Growth, trim
from rowcast.service.limits.timeouts import Timeouts

_LOOK_SECONDS = 0.02
"""How often messages that take their time are looked at."""
_LOOKS = 3
"""At which look a message that has not come does not come at once; the loop had its turns in between."""
_TRIM_SECONDS = 2.0
"""How long after the process has grown it gives back what it does not need any more."""
_MOST_WAITING = 2048
"""Calls whose message may be waited for at once: half of all calls, for whoever asks for health needs no key."""


class Incoming:
    """Reads the messages of calls on one event loop.

    Args:
        budget: the worker's.
        max_bytes: of a message.
        seconds: how long one may take to come.
    """

    def __init__(self, budget: ByteBudget, max_bytes: int, seconds: float) -> None:
        self.budget = budget
        self.max_bytes = max_bytes
        self.seconds = seconds
        self._timeouts = Timeouts(_LOOK_SECONDS, _MOST_WAITING)
        self._growth = Growth()
        self._trims = False

    async def read(self, context: Any) -> bytes:
        """The message of a call.

        Raises:
            RequestError: none comes, or not in time.
            NoRoom: there is no room for it.
        """
        body = await self.next(context)
        if body is None:
            raise RequestError("a request must hold one message, got none")
        return body

    async def next(self, context: Any) -> bytes | None:
        """The next message of a call; None when there are no more.

        Raises:
            RequestError: it does not come in time.
            NoRoom: there is no room for it.
        """
        coming = _Coming(self)
        try:
            body = await self._timeouts.wait(context.read(), coming.until)
        except TimeoutError:
            if coming.no_room:
                raise NoRoom from None
            if not coming.is_late:
                words = f"more than {_MOST_WAITING:,} calls wait for their message, and this one has for longest"
                raise RequestError(words, status=429) from None
            words = f"the message did not come within {self.seconds:.0f} seconds"
            raise RequestError(words, status=408) from None
        finally:
            coming.release()
        return body if isinstance(body, bytes) else None  # grpc.aio.EOF

    def presses(self) -> bool:
        """Whether messages that are coming take memory; what they leave is given back later."""
        if self._growth.bytes() <= self.budget.limit // 2:
            return False
        if not self._trims:
            self._trims = True
            asyncio.get_running_loop().call_later(_TRIM_SECONDS, self._trim)
        return True

    def _trim(self) -> None:
        self._trims = False
        asyncio.get_running_loop().run_in_executor(None, trim)


class _Coming:
    """A message that has not come."""

    __slots__ = ("_hold", "_incoming", "_looks", "_started", "no_room")

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._started = time.monotonic()
        self._hold: Hold | None = None
        self._looks = 0
        self.no_room = False
        """Whether it is waited for no longer because there is no room for it."""

    @property
    def is_late(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() >= self._started + self._incoming.seconds

    def until(self) -> float:
        """By when it has to be there; asked at every look."""
        self._looks += 1
        incoming = self._incoming
        if self._looks >= _LOOKS and self._hold is None and incoming.presses():
            try:
                self._hold = incoming.budget.hold(incoming.max_bytes, self._let_go)
                self._hold.kept_up = self._started
            except NoRoom:
                self.no_room = True
        return 0.0 if self.no_room else self._started + incoming.seconds

    def release(self) -> None:
        """Count it no more."""
        if self._hold is not None:
            self._hold.release()

    def _let_go(self) -> None:
        self.no_room = True
