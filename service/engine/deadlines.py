"""When to look for requests that cannot be answered in time any more: one timer for all that wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

from rowcast.service.engine.queue import QueuedRequest

_FEW = 64
"""Deadlines that are kept without asking whether they still matter."""


class Deadlines:
    """The deadlines of one queue.

    Args:
        late: told each request that waits beyond its deadline, on the event loop.
    """

    def __init__(self, late: Callable[[QueuedRequest], None]) -> None:
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, QueuedRequest]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._tidy_at = _FEW

    def __len__(self) -> int:
        return len(self._heap)

    def watch(self, item: QueuedRequest) -> None:
        """Look after a request that has a deadline."""
        if len(self._heap) >= self._tidy_at:
            # answered ones stay until their deadline comes, which may be far off
            self._heap = [entry for entry in self._heap if _waits(entry[2])]
            heapify(self._heap)
            self._tidy_at = max(_FEW, 2 * len(self._heap))
        heappush(self._heap, (item.deadline, next(self._numbers), item))
        self._set()

    def _set(self) -> None:
        first = self._heap[0][0]
        if self._timer is not None:
            if self._timer_at <= first:
                return
            self._timer.cancel()
        self._timer_at = first
        self._timer = self._loop.call_later(max(0.0, first - time.perf_counter()), self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.perf_counter()
        while self._heap and self._heap[0][0] <= now:
            item = heappop(self._heap)[2]
            if not _waits(item):
                continue
            if item.deadline > now:  # it has begun, and has until later
                heappush(self._heap, (item.deadline, next(self._numbers), item))
            else:
                self._late(item)
        while self._heap and not _waits(self._heap[0][2]):
            heappop(self._heap)
        if self._heap:
            self._set()


def _waits(item: QueuedRequest) -> bool:
    return item.on_response is not None and item.left > 0
