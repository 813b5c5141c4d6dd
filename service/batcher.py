"""Rows from many requests into one run of the model.

What a request's rows are, and what an answer to them is, only the run knows: here they have a length.

There is no timer. An idle batcher runs a request as soon as the event loop has handed over everything that arrived with
it; whatever arrives while a run is on gathers, and is the next batch. So one caller waits for nothing, and many callers
share runs without being told to.

A run leaves the event loop for a thread, except a short one: moving it there and back costs more than it takes. What
counts as short is measured, run by run.

A batch that fails is halved until only the request that makes it fail is left. The others get their answers.

The queue is bounded, by rows and by the time a request would wait in it. What comes beyond that is refused at once, so
that whoever is accepted is answered soon, however many ask.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

from models.errors import RequestError

logger = logging.getLogger("rowcast.service")

MAX_BATCH_ROWS = 256
"""Rows a run is filled up to: beyond it a row gets hardly cheaper, and its neighbours wait longer."""
MAX_QUEUE_ROWS = 16_384
"""Rows that may wait: four requests of the most rows. A row waits in about a kilobyte, so this is some 16 MB."""
SHORT_RUN_SECONDS = 0.0005
"""A run expected to end sooner stays on the event loop: it holds up others hardly longer than the hop would."""
MAX_WAIT_SECONDS = 0.25
"""How long a request may expect to be queued. A caller who is told to come back loses a second, the least that
``Retry-After`` can say, so a short wait is better waited for; a longer queue only makes everybody late."""
MAX_WAIT_RUNS = 4
"""A large request may wait longer: this many times what its own run takes."""
_NEWEST_WEIGHT = 0.1
"""Weight of the newest run in the moving averages of seconds a row."""


class QueueFull(RequestError):
    """A request that would wait too long, and has not been queued.

    ``retry_after_seconds`` is a whole number, at least 1: when what waits now should be done.
    """

    def __init__(self, wait_seconds: float) -> None:
        super().__init__("too many rows are waiting: send this request again later, see Retry-After", status=429)
        self.retry_after_seconds = max(1, math.ceil(wait_seconds))


Run: TypeAlias = Callable[[list[Any]], Sequence[Any]]
"""Answers the rows of several requests at once: an outcome for each request, in their order."""
Done: TypeAlias = Callable[[Any], None]
"""Told the answers to a request's rows, or the exception that they ended in."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run did, for the metrics."""

    rows: int
    seconds: float
    """How long it took, halvings included."""
    waits: list[float]
    """Seconds each of its requests was queued."""


class Waiting:
    """A request in the queue, or in the run."""

    __slots__ = ("done", "rows", "since")

    def __init__(self, rows: Sized, done: Done, since: float) -> None:
        self.rows = rows
        self.done: Done | None = done
        self.since = since

    def cancel(self) -> None:
        """Nobody waits for it any more: rows that still wait are not computed, and no one is told of them."""
        self.done = None


class _Answer(asyncio.Future[Any]):
    """What a request's rows are answered, for a caller who awaits it, and may cancel."""

    waiting: Waiting

    def take(self, outcome: Any) -> None:
        """Settle it."""
        if self.done():
            return
        if isinstance(outcome, Exception):
            self.set_exception(outcome)
        else:
            self.set_result(outcome)

    def cancel(self, msg: Any | None = None) -> bool:
        self.waiting.cancel()
        return super().cancel(msg)


class Batcher:
    """Gathers requests for one model on the running event loop.

    Args:
        run: answers the rows of some requests; called by one thread at a time.
        thread: where longer runs go; a worker has one, so that two models never compete for its core.
        max_rows: rows a run is filled up to. A request with more is a run of its own.
        max_queue: rows that may wait. An empty queue takes any request.
        seconds_per_row: a first guess, from the warm-up, for a run of few rows.
        drain_seconds_per_row: a first guess for a full run.
        report: told about every run, on the event loop.
    """

    def __init__(
        self,
        run: Run,
        thread: ThreadPoolExecutor,
        *,
        max_rows: int = MAX_BATCH_ROWS,
        max_queue: int = MAX_QUEUE_ROWS,
        seconds_per_row: float = 0.0,
        drain_seconds_per_row: float = 0.0,
        report: Callable[[RunReport], None] | None = None,
    ) -> None:
        self._run = run
        self._thread = thread
        self._max_rows = max_rows
        self._max_queue = max_queue
        self._seconds_per_row = seconds_per_row
        self._drain_seconds_per_row = drain_seconds_per_row
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Waiting] = deque()
        self._queued_rows = 0
        self._tidied = False
        self._busy = False
        self._running_rows = 0
        self._started = 0.0
        self._last_finish: float | None = None  # None when nobody waited any more

    @property
    def busy(self) -> bool:
        """Whether a request that comes now has to wait for a run in the thread."""
        return self._busy

    @property
    def queued_rows(self) -> int:
        """Rows that wait."""
        return self._queued_rows

    def expected_wait(self) -> float:
        """Seconds that a request which comes now would be queued, as far as can be told."""
        wait = self._queued_rows * self._drain_seconds_per_row
        now = time.perf_counter()
        if self._busy:
            wait += max(0.0, self._running_rows * self._drain_seconds_per_row - (now - self._started))
        # whatever was expected: the next will hardly fare better than the one that waits longest
        return max(wait, now - self._queue[0].since) if self._queue else wait

    def admit(self, rows: int = 1) -> None:
        """Make sure that a request of so many rows may be queued.

        Raises:
            QueueFull: too much waits already.
        """
        if not self._queue and not self._busy:
            return
        if self._full(rows):
            self._tidy()
            if self._full(rows):
                raise QueueFull(self.expected_wait())

    def enqueue(self, rows: Sized, done: Done) -> Waiting:
        """Queue the rows of one request.

        Args:
            rows: of one request, in whatever form the run takes them.
            done: called once on the event loop, never before this returns, unless the request is cancelled.

        Raises:
            QueueFull: too much waits already.
        """
        self.admit(len(rows))
        waiting = Waiting(rows, done, time.perf_counter())
        self._queue.append(waiting)
        self._queued_rows += len(rows)
        if not self._busy and len(self._queue) == 1:
            self._loop.call_soon(self._start)
        return waiting

    def submit(self, rows: Sized) -> asyncio.Future[Any]:
        """Queue the rows of one request, for a caller who awaits.

        Returns:
            A future of their answers. Cancel it, and rows that still wait are not computed.

        Raises:
            QueueFull: too much waits already.
        """
        answer = _Answer(loop=self._loop)
        answer.waiting = self.enqueue(rows, answer.take)
        return answer

    def _full(self, rows: int) -> bool:
        if self._queue and self._queued_rows + rows > self._max_queue:
            return True
        wait = self.expected_wait()
        return wait > MAX_WAIT_SECONDS and wait > MAX_WAIT_RUNS * rows * self._drain_seconds_per_row

    def _tidy(self) -> None:
        """Take out of the queue whom nobody waits for any more; once a run, for it takes as long as the queue is."""
        if not self._tidied:
            self._tidied = True
            self._queue = deque(item for item in self._queue if item.done is not None)
            self._queued_rows = sum(len(item.rows) for item in self._queue)

    def _start(self) -> None:
        """Run the next batch, here or in the thread."""
        if self._busy:  # the end of that run sees to the next
            return
        batch = self._take()
        self._tidied = False
        if not batch:
            self._last_finish = None
            return
        started = self._started = time.perf_counter()
        self._running_rows = sum(len(item.rows) for item in batch)
        if self._running_rows * self._seconds_per_row < SHORT_RUN_SECONDS:
            self._finish(batch, started, run_apart(self._run, [item.rows for item in batch]))
            return
        self._busy = True
        run = self._loop.run_in_executor(self._thread, run_apart, self._run, [item.rows for item in batch])
        run.add_done_callback(lambda run: self._finish(batch, started, run.result()))

    def _take(self) -> list[Waiting]:
        """The longest-waiting requests that fit a run, leaving out those nobody waits for any more."""
        batch: list[Waiting] = []
        rows = 0
        while self._queue:
            first = self._queue[0]
            if first.done is None:
                self._queued_rows -= len(self._queue.popleft().rows)
                continue
            if batch and rows + len(first.rows) > self._max_rows:
                break
            batch.append(self._queue.popleft())
            rows += len(first.rows)
        self._queued_rows -= rows
        return batch

    def _finish(self, batch: list[Waiting], started: float, outcomes: Sequence[Any]) -> None:
        """Hand out the answers, and see to the next batch."""
        finish = time.perf_counter()
        seconds = finish - started
        for item, outcome in zip(batch, outcomes, strict=True):
            if item.done is None:  # cancelled during the run
                continue
            try:
                item.done(outcome)
            except Exception:
                logger.exception("an answer could not be handed out")
        rows = sum(len(item.rows) for item in batch)
        self._seconds_per_row += _NEWEST_WEIGHT * (seconds / rows - self._seconds_per_row)
        if rows * 2 >= self._max_rows:
            # Only a full run tells how fast a queue drains. What the loop does between two runs counts, too.
            since = started if self._last_finish is None else self._last_finish
            self._drain_seconds_per_row += _NEWEST_WEIGHT * ((finish - since) / rows - self._drain_seconds_per_row)
        self._last_finish = finish if self._queue else None
        self._busy = False
        if self._queue:
            self._loop.call_soon(self._start)
        if self._report is not None:
            self._report(RunReport(rows, seconds, [started - item.since for item in batch]))


def run_apart(run: Run, requests: list[Any]) -> Sequence[Any]:
    """Run several requests as one batch: the outcome of each, in their order.

    When the run fails, the halves are run apart, down to the one request that makes it fail: its outcome is the
    exception.
    """
    try:
        return run(requests)
    except Exception as error:  # noqa: BLE001 - whatever the run cannot do is the answer of the request it was for
        if len(requests) == 1:
            return [error]
        middle = len(requests) // 2
        return [*run_apart(run, requests[:middle]), *run_apart(run, requests[middle:])]
