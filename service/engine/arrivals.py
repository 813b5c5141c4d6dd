"""Requests that come in steps: begun, but not yet queued.

Over gRPC the steps of one request lie between those of others, and a library's thread hands each of them over. A
batcher that runs what it has as soon as it has it would run each request alone, and while it runs, nothing is handed
over. So it has its next run started from here, when no more requests are about to be queued. To read them is work that
has to be done in any case: nobody waits for an idle machine.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

MAX_GATHER_SECONDS = 0.005
"""How long a run waits for requests that keep coming."""
MAX_COMING_SECONDS = 0.002
"""A request that has begun and takes longer to come is not waited for: its caller is slow, or keeps it open."""
LOOKS = 3
"""Turns of the event loop after which a new request would have begun, if there were any."""
_MAX_SKIPS = 32
"""A caller who is alone is hardly ever looked for company: of so many of its requests, at one."""


class Arrivals:
    """Those of one event loop."""

    def __init__(self) -> None:
        self._begun: dict[object, float] = {}
        self._last_begun = -1.0
        self._gatherings: set[_Gathering] = set()
        self._skips_left = 0
        self._skips = 1

    def begin(self) -> object:
        """A request has begun to come; returns what :meth:`end` takes."""
        token = object()
        self._begun[token] = self._last_begun = time.perf_counter()
        return token

    def end(self, token: object) -> None:
        """It has come, and is queued or refused in this turn of the event loop; or it never will."""
        self._begun.pop(token, None)

    def expected(self, now: float) -> bool:
        """Whether a request has begun to come, and is not too slow.

        Args:
            now: on the clock of ``time.perf_counter``.
        """
        for begun in reversed(self._begun.values()):
            return begun > now - MAX_COMING_SECONDS
        return False

    def gather(self, start: Callable[[], None], full: Callable[[], bool], now: float) -> bool:
        """Call ``start``, once, when no request is about to be queued any more.

        Args:
            start: starts the run; called from the event loop.
            full: whether nothing more would find room in it.
            now: on the clock of ``time.perf_counter``.

        Returns:
            False where nothing comes in steps, or whoever does is alone: ``start`` will not be called.
        """
        if self._last_begun < now - MAX_COMING_SECONDS:
            return False
        if self._skips_left:
            self._skips_left -= 1
            return False
        gathering = _Gathering(self, start, full, now + MAX_GATHER_SECONDS)
        self._gatherings.add(gathering)
        gathering.go_on()
        return True

    def queued(self) -> None:
        """Another request has been queued: there may be more of them."""
        for gathering in self._gatherings:
            gathering.meet()

    def settle(self, now: float) -> None:
        """What had come is queued or refused: who waits only for that goes on."""
        if self._gatherings and not self.expected(now):
            for gathering in self._gatherings:
                gathering.wake()

    def over(self, gathering: _Gathering, *, met: bool) -> None:
        """One has gathered all there was, or was alone."""
        self._gatherings.discard(gathering)
        self._skips = 1 if met else min(2 * self._skips, _MAX_SKIPS)
        self._skips_left = 0 if met else self._skips - 1


class _Gathering:
    """A run that waits for arrivals."""

    def __init__(self, arrivals: Arrivals, start: Callable[[], None], full: Callable[[], bool], until: float) -> None:
        self._arrivals = arrivals
        self._start = start
        self._full = full
        self._until = until
        self._looks = LOOKS
        self._met = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def go_on(self) -> None:
        """Look in the next turn of the event loop."""
        self._loop.call_soon(self._look)

    def meet(self) -> None:
        """Take note of another request."""
        self._met = True
        self._looks = LOOKS

    def wake(self) -> None:
        """Go on, if it waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.go_on()

    def _look(self) -> None:
        now = time.perf_counter()
        if now < self._until and not self._full():
            if self._arrivals.expected(now):
                self._timer = self._loop.call_later(MAX_COMING_SECONDS, self.wake)
                return
            if self._looks:
                self._looks -= 1
                os.sched_yield()  # on one core, the thread that hands over gets no turn otherwise
                self.go_on()
                return
        self._arrivals.over(self, met=self._met)
        self._start()
