"""Rows from many requests into one run of the model.

There is no timer. An idle batcher runs a request as soon as the event loop has handed over everything that arrived with
it; whatever arrives while a run is on gathers, and is the next batch. So one caller waits for nothing, and many callers
share runs without being told to.

A run leaves the event loop for a thread, except a short one: moving it there and back costs more than it takes. What
counts as short is measured, run by run.

A batch that fails is halved until only the request that makes it fail is left. The others get their answers.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

MAX_BATCH_ROWS = 256
"""Rows a run is filled up to: beyond it a row gets hardly cheaper, and its neighbours wait longer."""
SHORT_RUN_SECONDS = 0.0005
"""A run expected to end sooner stays on the event loop: it holds up others hardly longer than the hop would."""
_NEWEST_WEIGHT = 0.1
"""Weight of the newest run in the moving average of seconds a row."""


class Rows(Protocol):
    """Answers to some rows, in their order."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Any: ...


Answers = TypeVar("Answers", bound=Rows)
Run = Callable[[list[Any]], Answers]


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run did, for the metrics."""

    rows: int
    seconds: float
    """How long it took, halvings included."""
    waits: list[float]
    """Seconds each of its requests was queued."""


@dataclass(slots=True)
class _Waiting:
    rows: list[Any]
    answer: asyncio.Future[Any]
    since: float


class Batcher:
    """Gathers requests for one model on the running event loop.

    Args:
        run: answers a list of rows; called by one thread at a time.
        thread: where longer runs go; a worker has one, so that two models never compete for its core.
        max_rows: rows a run is filled up to. A request with more is a run of its own.
        seconds_per_row: a first guess, from the warm-up.
        report: told about every run, on the event loop.
    """

    def __init__(
        self,
        run: Run[Answers],
        thread: ThreadPoolExecutor,
        *,
        max_rows: int = MAX_BATCH_ROWS,
        seconds_per_row: float = 0.0,
        report: Callable[[RunReport], None] | None = None,
    ) -> None:
        self._run = run
        self._thread = thread
        self._max_rows = max_rows
        self._seconds_per_row = seconds_per_row
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Waiting] = deque()
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether a request that comes now has to wait for a run in the thread."""
        return self._busy

    def submit(self, rows: list[Any]) -> asyncio.Future[Any]:
        """Queue the rows of one request.

        Returns:
            A future of their answers. Cancel it (or set an exception), and rows that still wait are not computed.
        """
        answer = self._loop.create_future()
        self._queue.append(_Waiting(rows, answer, time.perf_counter()))
        if not self._busy and len(self._queue) == 1:
            self._loop.call_soon(self._start)
        return answer

    def _start(self) -> None:
        """Run the next batch, here or in the thread."""
        batch = self._take()
        if not batch:
            return
        started = time.perf_counter()
        if sum(len(item.rows) for item in batch) * self._seconds_per_row < SHORT_RUN_SECONDS:
            self._finish(batch, started, run_apart(self._run, [item.rows for item in batch]))
            return
        self._busy = True
        run = self._loop.run_in_executor(self._thread, run_apart, self._run, [item.rows for item in batch])
        run.add_done_callback(lambda run: self._finish(batch, started, run.result()))

    def _take(self) -> list[_Waiting]:
        """The longest-waiting requests that fit a run, leaving out those nobody waits for any more."""
        batch: list[_Waiting] = []
        rows = 0
        while self._queue:
            first = self._queue[0]
            if first.answer.done():
                self._queue.popleft()
                continue
            if batch and rows + len(first.rows) > self._max_rows:
                break
            batch.append(self._queue.popleft())
            rows += len(first.rows)
        return batch

    def _finish(self, batch: list[_Waiting], started: float, outcomes: list[Any]) -> None:
        """Hand out the answers, and see to the next batch."""
        seconds = time.perf_counter() - started
        for item, outcome in zip(batch, outcomes, strict=True):
            if item.answer.done():  # cancelled during the run
                continue
            if isinstance(outcome, Exception):
                item.answer.set_exception(outcome)
            else:
                item.answer.set_result(outcome)
        rows = sum(len(item.rows) for item in batch)
        self._seconds_per_row += _NEWEST_WEIGHT * (seconds / rows - self._seconds_per_row)
        self._busy = False
        if self._queue:
            self._loop.call_soon(self._start)
        if self._report is not None:
            self._report(RunReport(rows, seconds, [started - item.since for item in batch]))


def run_apart(run: Run[Answers], requests: list[list[Any]]) -> list[Answers | Exception]:
    """Run the rows of several requests as one batch, and give each its own answers back.

    When the run fails, the halves are run apart, down to the one request that makes it fail: its place in the list
    holds the exception.
    """
    try:
        answers = run(requests[0] if len(requests) == 1 else [row for rows in requests for row in rows])
    except Exception as error:  # noqa: BLE001 - whatever the run cannot do is the answer of the request it was for
        if len(requests) == 1:
            return [error]
        middle = len(requests) // 2
        return run_apart(run, requests[:middle]) + run_apart(run, requests[middle:])
    if len(requests) == 1:
        return [answers]
    outcomes: list[Answers | Exception] = []
    start = 0
    for rows in requests:
        outcomes.append(answers[start : start + len(rows)])
        start += len(rows)
    return outcomes
