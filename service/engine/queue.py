"""Who waits for a run, and who goes first.

Small requests go first, and are never cut: they wait for the run that is on, and for their own. A large one is cut to
fill up what they leave of each run, of which they leave at least a quarter while it waits; and while small ones keep
coming, a run is only half filled with it. So a large request delays a small one by about one full run, half of it
before its own and half in it; and many small ones delay a large one fourfold at worst.

Among the small the order is that of their coming, among the large that in which each would end if it were alone: one is
overtaken by a smaller one that comes before its own work could be done, and by no other. Priority shifts the clock: a
level lower is as good as having come :data:`AGING_SECONDS` later. So a higher level overtakes, but not for ever.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, Protocol, TypeAlias

LEVELS = 8
"""Levels of priority: 1 is the highest, and whatever is beyond the lowest is the lowest."""
DEFAULT_LEVEL = 2
"""The level of a request that names none, so that some may go before it."""
AGING_SECONDS = 0.25
"""How long a request may be kept waiting by those a level above that came after it: about the longest that anybody
waits, so that a higher level overtakes a whole queue, and a flood of it stops nobody."""
SHARE_OF_LARGE = 4
"""One in so many rows of a run is kept for the large requests, while any waits."""
QUIET_SECONDS = 1.0
"""How long after the last small request the large ones have whole runs again, which are a few percent cheaper."""
NEVER = float("inf")


class Rows(Protocol):
    """The rows of a request, in whatever form the run takes them."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Any: ...


OnResponse: TypeAlias = Callable[[Any], None]
"""Told the answers to a request's rows, or the exception that they ended in."""


class QueuedRequest:
    """A request in the queue, or in the run."""

    # of the class until they are set: most requests never need them
    level = DEFAULT_LEVEL
    size = 0
    """Bytes that it came in."""
    end_by = NEVER
    """When its answer is due."""
    deadline = NEVER
    """Until when it is worth waiting: to begin, or for one that has begun, to end."""
    place = 0.0
    """Of a large one: who has the least is next."""
    taken = 0
    """Rows that are in a run, or were."""
    parts: list[Any] | None = None
    """The answers to the rows that were run, of a request that is cut."""
    compute_seconds = 0.0
    """How long the runs took that it was in."""
    ended = 0.0

    def __init__(self, rows: Rows, on_response: OnResponse, since: float) -> None:
        self.rows = rows
        self.on_response: OnResponse | None = on_response
        self.since = since

    @property
    def queue_seconds(self) -> float:
        """How long it was not in a run; known when its answer is told, as :attr:`compute_seconds` is."""
        return max(0.0, self.ended - self.since - self.compute_seconds)

    @property
    def left(self) -> int:
        """Rows that are in no run yet."""
        return len(self.rows) - self.taken

    def cancel(self) -> None:
        """Nobody waits for it any more: rows that still wait are not computed, and no one is told of them."""
        self.on_response = None


def level_of(priority: int) -> int:
    """The level of a priority as the open protocols have it: 1 is the highest, 0 is none in particular."""
    return min(max(priority, 1), LEVELS) if priority else DEFAULT_LEVEL


_place = attrgetter("place")


class Batch:
    """What a run is made of."""

    __slots__ = ("items", "late", "requests", "rows")

    def __init__(self) -> None:
        self.items: list[QueuedRequest] = []
        self.requests: list[Any] = []
        """The rows of each that are in this run."""
        self.rows = 0
        self.late: list[QueuedRequest] = []
        """Requests that are in no run, for their deadline has passed."""


class Queue:
    """The requests that wait for one model.

    Args:
        max_rows: rows of a run.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._kept = max_rows // SHARE_OF_LARGE
        self._half = max(1, max_rows // 2)
        self._last_small = -NEVER
        self._largest_small = max(1, self._kept)
        self._small: list[deque[QueuedRequest]] = [deque() for _ in range(LEVELS)]
        self._small_rows = [0] * LEVELS
        self._large: list[QueuedRequest] = []
        self.rows = 0
        """Rows that wait."""
        self.size = 0
        """Bytes that they came in."""
        self.begun_rows = 0
        """Rows among them of requests that have begun."""

    def __bool__(self) -> bool:
        return self.rows > 0

    def __iter__(self) -> Iterator[QueuedRequest]:
        for line in self._small:
            yield from line
        yield from self._large

    def push(self, item: QueuedRequest, seconds_per_row: float) -> None:
        """Let a request wait, of rows that take so long."""
        rows = len(item.rows)
        self.rows += rows
        self.size += item.size
        if rows <= self._largest_small:
            level = item.level - 1
            self._small[level].append(item)
            self._small_rows[level] += rows
        else:
            item.place = item.since + (item.level - 1) * AGING_SECONDS + rows * seconds_per_row
            insort(self._large, item, key=_place)

    def ahead(self, rows: int, level: int, now: float, seconds_per_row: float) -> int:
        """Rows that would be run before the last of a request of so many, which came now."""
        small = sum(self._small_rows[:level])
        if rows <= self._largest_small:
            return small
        place = now + (level - 1) * AGING_SECONDS + rows * seconds_per_row
        large = sum(item.left for item in self._large if item.place <= place)
        return large + min(small, (SHARE_OF_LARGE - 1) * (large + rows))

    def oldest(self, level: int, now: float) -> float:
        """Since when the longest-waiting small request has waited that goes before this level; now if there is none."""
        return min((line[0].since for line in self._small[:level] if line), default=now)

    def take(self, now: float) -> Batch:
        """The next run, without those whom nobody waits for any more."""
        run = Batch()
        large = self._first_large(now, run) if self._large else None
        if large is not None:
            # whoever is of a lower level, and has not aged, stands behind it
            self._take_small(self._max_rows - self._kept, now, now + (large.level - 1) * AGING_SECONDS, run)
            if run.rows:
                self._last_small = now
            quiet = now > self._last_small + QUIET_SECONDS
            most = self._max_rows if quiet else max(self._half, run.rows + self._kept)
            while large is not None and run.rows < most:
                self._cut(large, most - run.rows, run)
                large = self._first_large(now, run)
        if run.rows < self._max_rows:
            self._take_small(self._max_rows, now, NEVER, run)
        return run

    def tidy(self) -> None:
        """Take out whom nobody waits for any more; it takes as long as the queue is."""
        self._small = [deque(item for item in line if item.on_response is not None) for line in self._small]
        self._small_rows = [sum(len(item.rows) for item in line) for line in self._small]
        self._large = [item for item in self._large if item.on_response is not None]
        self.rows = sum(self._small_rows) + sum(item.left for item in self._large)
        self.begun_rows = sum(item.left for item in self._large if item.parts is not None)
        self.size = sum(item.size for item in self)

    def _take_small(self, most: int, now: float, before: float, run: Batch) -> None:
        """Move small requests into a run of at most so many rows, as far as they stand ``before`` that place."""
        lines = [line for line in self._small if line]
        while lines:
            line = lines[0] if len(lines) == 1 else min(lines, key=_place_of_first)
            level = line[0].level - 1
            latest = before - level * AGING_SECONDS
            full, passed = False, 0
            while line:
                item = line[0]
                rows = len(item.rows)
                if item.on_response is None:
                    pass
                elif item.deadline <= now:
                    run.late.append(item)
                elif run.rows + rows > most or item.since > latest:
                    full = True
                    break
                else:
                    item.taken = rows
                    run.items.append(item)
                    run.requests.append(item.rows)
                    run.rows += rows
                line.popleft()
                passed += rows
                self.size -= item.size
                if len(lines) > 1:  # the next may be another's
                    break
            self._small_rows[level] -= passed
            self.rows -= passed
            if full:
                return
            if not line:
                lines.remove(line)

    def _first_large(self, now: float, run: Batch) -> QueuedRequest | None:
        """The large request that is next."""
        while self._large:
            item = self._large[0]
            if item.on_response is not None:
                if item.deadline > now:
                    return item
                run.late.append(item)
            self._drop_first_large()
        return None

    def _cut(self, item: QueuedRequest, room: int, run: Batch) -> None:
        """Move as many rows of the first large request into a run as there is room for."""
        start, left = item.taken, item.left
        rows = min(room, left)
        part = item.rows
        if rows < len(part):
            part = part[start : start + rows]
            if item.parts is None:
                item.parts = []
                item.deadline = item.end_by
                self.begun_rows += left
        if rows == left:
            self._drop_first_large()
        else:
            self.rows -= rows
            self.begun_rows -= rows
        item.taken += rows
        run.items.append(item)
        run.requests.append(part)
        run.rows += rows

    def _drop_first_large(self) -> None:
        item = self._large.pop(0)
        self.rows -= item.left
        if item.parts is not None:
            self.begun_rows -= item.left
        self.size -= item.size


def _place_of_first(line: deque[QueuedRequest]) -> float:
    return line[0].since + (line[0].level - 1) * AGING_SECONDS
