"""Rows from many requests into one run of the model.

What a request's rows are, and what an answer to them is, only the run knows: here they have a length, and can be cut.

An idle batcher runs a request as soon as the event loop has handed over everything that arrived with it; where that is
more than one row, the loop looks once more: reading them took long enough for others to come. Whatever arrives while a
run is on gathers, and is the next batch. So one caller waits for nothing, and many callers share runs without being
told to. Where requests come in steps, a run waits for those that have begun to come
(:mod:`rowcast.service.engine.arrivals`).

A run leaves the event loop for a thread, except a short one: moving it there and back costs more than it takes. What
counts as short is measured, run by run.

A batch that fails is halved until only the request that makes it fail is left. The others get their answers.

The queue is bounded, by rows, by bytes and by the time a request would wait in it. What comes beyond that is refused at
once, so that whoever is accepted is answered soon, however many ask. So is a request that cannot be answered by its
deadline; one whose deadline passes while it waits is told so then, and never run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, TypeAlias

from rowcast.models.errors import RequestError
from rowcast.service.engine.arrivals import Arrivals
from rowcast.service.engine.batch_size import SIZES
from rowcast.service.engine.deadlines import Deadlines
from rowcast.service.engine.latency import LatencyEstimator
from rowcast.service.engine.queue import Batch, OnResponse, Queue, QueuedRequest, Rows, level_of
from rowcast.service.errors import DeadlineExceeded, QueueFull
from rowcast.service.limits.byte_rule import MAX_QUEUE_ROWS
from rowcast.service.metrics.counts import RunReport

logger = logging.getLogger("rowcast.service")

MAX_BATCH_ROWS = max(SIZES)
"""Rows a run is filled up to at most: beyond it a row gets hardly cheaper, and its neighbours wait longer."""
MAX_QUEUE_BYTES = 64 * 2**20
"""Bytes that the waiting rows may have come in, for rows of long texts: four bodies of the largest size."""
_FEW_BYTES = 2**20
"""Bytes that may wait for a model without anybody adding up what all of the worker holds."""
SHORT_RUN_SECONDS = 0.0025
"""A run expected to end sooner stays on the event loop, and holds up others hardly longer than the hop would. With the
run of 32 rows on the loop (1.5 ms before), and one more look at what has come, 32 connections share runs of 30 rows
instead of 22, and get 11% more answers with a fifth less p99."""
SHORT_RUN_SECONDS_ON_ONE_CORE = 0.02
"""The same for a worker with no second core: there the loop and the thread can only take the core from each other. With
runs of 256 rows on the loop 64-row requests got 5% more answers."""


Run: TypeAlias = Callable[[list[Any]], Sequence[Any]]
"""Answers the rows of several requests at once: an outcome for each request, in their order. One that turns out to hold
no rows has a :class:`RequestError` for its outcome."""
Join: TypeAlias = Callable[[list[Any]], Any]
"""Makes one outcome of those of a request that was cut, in the order of its rows."""


def _one_list(parts: list[Any]) -> list[Any]:
    return list(chain.from_iterable(parts))


class Batcher:
    """Gathers requests for one model on the running event loop.

    Args:
        run: answers the rows of some requests; called by one thread at a time.
        thread: where longer runs go; a worker has one, so that two models never compete for its core.
        join: puts the answers to a request together that was cut.
        max_rows: rows a run is filled up to. A request with more is cut.
        max_queue: rows that may wait. An empty queue takes any request.
        max_bytes: bytes that the waiting rows may have come in.
        seconds_per_row: a first guess, from the warm-up, for a run of few rows.
        drain_seconds_per_row: a first guess for a full run.
        short_run_seconds: a run expected to end sooner stays on the event loop.
        report: told about every run, on the event loop.
        arrivals: tells of requests that are about to be queued.
        has_room: tells whether the worker has room for so many more bytes of bodies, of whatever model.
    """

    def __init__(
        self,
        run: Run,
        thread: ThreadPoolExecutor,
        *,
        join: Join = _one_list,
        max_rows: int = MAX_BATCH_ROWS,
        max_queue: int = MAX_QUEUE_ROWS,
        max_bytes: int = MAX_QUEUE_BYTES,
        seconds_per_row: float = 0.0,
        drain_seconds_per_row: float = 0.0,
        short_run_seconds: float = SHORT_RUN_SECONDS,
        report: Callable[[RunReport], None] | None = None,
        arrivals: Arrivals | None = None,
        has_room: Callable[[int], bool] | None = None,
    ) -> None:
        self._run = run
        self._thread = thread
        self._join = join
        self.max_rows = max_rows
        self._max_queue = max_queue
        self._at_once = min(max_rows, max_queue)
        self._max_bytes = max_bytes
        self._has_room = has_room
        self._few_bytes = max_bytes if has_room is None else min(max_bytes, _FEW_BYTES)
        self._short_run_seconds = short_run_seconds
        self._report = report
        self._arrivals = arrivals
        self._loop = asyncio.get_running_loop()
        self._latency = LatencyEstimator(max_rows, seconds_per_row, drain_seconds_per_row)
        self._queue = Queue(max_rows)
        self._deadlines = Deadlines(_respond_late)
        self._tidied = False
        self._due = False  # the next run, in this turn of the loop
        self._busy = False
        self._running_rows = 0
        self._running_bytes = 0
        self._started = 0.0
        self._last_finish: float | None = None  # None when nobody waited any more

    @property
    def busy(self) -> bool:
        """Whether a request that comes now has to wait for a run in the thread."""
        return self._busy

    @property
    def idle(self) -> bool:
        """Whether nothing runs, nothing waits, and no run is about to begin."""
        return not (self._busy or self._due or self._queue.rows)

    @property
    def bytes(self) -> int:
        """Bytes that the rows came in that wait or are run."""
        return self._queue.size + self._running_bytes

    @property
    def queued_rows(self) -> int:
        """Rows that wait; of a request that has begun, none."""
        return self._queue.rows - self._queue.begun_rows

    def admit(self, rows: int = 1, priority: int = 0, size: int = 0) -> None:
        """Make sure that a request of so many rows and bytes may be queued.

        Raises:
            QueueFull: too much waits already.
        """
        queue = self._queue
        at_once = queue.rows + rows <= self._at_once
        if at_once and queue.size + size <= self._few_bytes:
            return  # it is in the next run
        if not self._busy and not queue.rows:
            return
        if at_once and self._room(size):
            return
        level = level_of(priority)
        if self._full(rows, level, size):
            self._tidy()
            if self._full(rows, level, size):
                now = time.perf_counter()
                self._latency.press(now)
                raise QueueFull(self._latency.drain(self._queue.rows) + self._rest(now))

    def enqueue(
        self, rows: Rows, on_response: OnResponse, *, deadline: float | None = None, priority: int = 0, size: int = 0
    ) -> QueuedRequest:
        """Queue the rows of one request.

        Args:
            rows: of one request, in whatever form the run takes them.
            on_response: called once on the event loop, never before this returns, unless the request is cancelled.
            deadline: by when they have to be answered, on the clock of ``time.perf_counter``. When it passes while they
                wait, ``on_response`` is called with :class:`DeadlineExceeded`.
            priority: 1 is the highest; 0 is none in particular, the same as 2.
            size: bytes that they came in.

        Raises:
            QueueFull: too much waits already.
            DeadlineExceeded: they could not be answered by their deadline.
        """
        self.admit(len(rows), priority, size)
        now = time.perf_counter()
        waiting = QueuedRequest(rows, on_response, now)
        if size:
            waiting.size = size
        if priority:
            waiting.level = level_of(priority)
        if deadline is not None:
            self._hold_to(deadline, waiting, now)
        self._queue.push(waiting, self._latency.drain_seconds_per_row)
        if not self._busy and not self._due:
            self._due = True
            if self._arrivals is None or not self._arrivals.gather(self._start, self._is_full, now):
                self._loop.call_soon(self._gather)
        elif self._arrivals is not None:
            self._arrivals.queued()
        if self._arrivals is not None:
            self._arrivals.settle(now)
        return waiting

    def _hold_to(self, deadline: float, item: QueuedRequest, now: float) -> None:
        """Refuse a request that cannot keep its deadline, and look after one that may.

        What is reckoned with is the least it can take, so that none is refused that could have been answered.
        """
        rows, latency = len(item.rows), self._latency
        ahead = self._queue.ahead(rows, item.level, now, latency.drain_seconds_per_row)
        if now + self._rest(now) + latency.least(ahead + rows) > deadline:
            raise DeadlineExceeded
        item.end_by = deadline
        item.deadline = deadline - latency.least(rows)
        self._deadlines.watch(item)

    def _rest(self, now: float) -> float:
        """Seconds until the run that is on should end."""
        return max(0.0, self._latency.run(self._running_rows) - (now - self._started)) if self._busy else 0.0

    def _wait(self, rows: int, level: int, now: float) -> float:
        ahead = self._queue.ahead(rows, level, now, self._latency.drain_seconds_per_row)
        wait = self._rest(now) + self._latency.drain(ahead)
        # whatever was expected of the run: the next will hardly fare better than the one that waits longest
        return max(wait, now - self._queue.oldest(level, now)) if self._busy else wait

    def _full(self, rows: int, level: int, size: int) -> bool:
        waiting = self.queued_rows
        if waiting and (waiting + rows > self._max_queue or not self._room(size)):
            return True
        now = time.perf_counter()
        return self._wait(rows, level, now) > self._latency.longest_wait(rows, now)

    def _room(self, size: int) -> bool:
        if self._queue.size + size > self._max_bytes:
            return False
        return self._has_room is None or self._has_room(size)

    def _tidy(self) -> None:
        """Take out of the queue whom nobody waits for any more; once a run, for it takes as long as the queue is."""
        if not self._tidied:
            self._tidied = True
            self._queue.tidy()

    def _is_full(self) -> bool:
        """Whether a run can be filled up."""
        return self._queue.rows >= self.max_rows

    def _gather(self) -> None:
        """Start at once with a row alone; else after one more look at what has come meanwhile."""
        if self._queue.rows > 1:
            self._loop.call_soon(self._start)
        else:
            self._start()

    def _start(self) -> None:
        """Run the next batch, here or in the thread."""
        self._due = False
        if self._busy:  # the end of that run sees to the next
            return
        self._tidied = False
        started = time.perf_counter()
        waited = self._queue.size
        run = self._queue.take(started)
        self._running_bytes = waited - self._queue.size
        for item in run.late:
            _respond_late(item)
        if not run.rows:  # all that waited was cancelled, or too late
            self._last_finish = None
            self._running_bytes = 0
            return
        self._started = started
        self._running_rows = run.rows
        if self._latency.longest_run(run.rows) < self._short_run_seconds:
            self._finish(run, started, run_apart(self._run, run.requests))
            return
        self._busy = True
        outcomes = self._loop.run_in_executor(self._thread, run_apart, self._run, run.requests)
        outcomes.add_done_callback(lambda outcomes: self._finish(run, started, outcomes.result()))

    def _finish(self, run: Batch, started: float, outcomes: Sequence[Any]) -> None:
        """Hand out the answers, and see to the next batch."""
        finish = time.perf_counter()
        seconds = finish - started
        for item, outcome in zip(run.items, outcomes, strict=True):
            on_response = item.on_response
            if on_response is None:  # cancelled during the run
                continue
            item.ended = finish
            item.compute_seconds += seconds
            if item.parts is not None:
                self._take_part(item, outcome)
                continue
            item.on_response = None  # it may know of its request: in a circle both would wait for the garbage collector
            try:
                on_response(outcome)
            except Exception:
                logger.exception("an answer could not be handed out")
        # what the loop does between two runs counts, too
        cycle_seconds = finish - (started if self._last_finish is None else self._last_finish)
        self._last_finish = finish if self._queue else None
        self._busy = False
        self._running_bytes = 0
        if self._queue and not self._due:
            self._due = True
            self._loop.call_soon(self._start)
        self._learn(run, outcomes, started, seconds, cycle_seconds)

    def _learn(self, run: Batch, outcomes: Sequence[Any], started: float, seconds: float, cycle_seconds: float) -> None:
        """Keep and report what a run tells; what it found to be no rows was not run."""
        items, rows = run.items, run.rows
        if any(isinstance(outcome, RequestError) for outcome in outcomes):
            ran = [i for i, outcome in enumerate(outcomes) if not isinstance(outcome, RequestError)]
            items = [items[i] for i in ran]
            rows = sum(len(run.requests[i]) for i in ran)
        if not rows:
            return
        self._latency.learn(rows, seconds, cycle_seconds)
        if self._report is not None:
            self._report(RunReport(rows, seconds, [started - item.since for item in items]))

    def _take_part(self, item: QueuedRequest, outcome: Any) -> None:
        """Keep the answers to a part of a request, until it has them all; when a part fails, it all does."""
        assert item.parts is not None
        if isinstance(outcome, Exception):
            _respond(item, outcome)
            item.cancel()
            return
        item.parts.append(outcome)
        if not item.left:
            _respond(item, self._join(item.parts))


def _respond(item: QueuedRequest, outcome: Any) -> None:
    on_response, item.on_response = item.on_response, None
    assert on_response is not None
    try:
        on_response(outcome)
    except Exception:
        logger.exception("an answer could not be handed out")


def _respond_late(item: QueuedRequest) -> None:
    """Tell a request that waits that its deadline has passed."""
    item.ended = time.perf_counter()
    _respond(item, DeadlineExceeded())
    item.cancel()


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
