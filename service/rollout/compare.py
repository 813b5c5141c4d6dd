"""The shadow: a version is run on rows that another has answered, when the worker has time, and the two are compared.

It never delays an answer by more than one short run. What it does it does on the event loop, between requests: a thread
beside the loop would hold the interpreter's lock at moments when the loop wants it. It begins only when no rows wait
and none come; it runs as many rows as take about half a millisecond, and rests nine times as long; longer, where the
run did not have the core for itself. A model whose single row takes longer is run by a thread at low priority, for ONNX
Runtime lets go of the lock. What there is no time for is dropped, and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rowcast.models.session import Predictions
from rowcast.service.rollout.tally import Tally

Blocks = Sequence[NDArray[Any]]
"""The columns of some rows, as the graphs of both versions take them."""

SHORT_SECONDS = 0.0005
"""How long a run on the event loop may take, as far as the last ones tell."""
_MOST_PENDING = 32
"""Runs that wait to be compared."""
_MOST_ROWS = 256
"""Of a run."""
_SOON_SECONDS = 0.0005
_REST = 9.0
"""How many times as long as a run. p99 at half load was 1.14 times that without a shadow with 3, and 1.13 with 9."""
_BUSY_MACHINE_SECONDS = 0.05
_BUSY_SECONDS = 0.002
_TIMED_FIRST, _TIMED_EVERY = 32, 8
"""Of the first runs, and of one in so many later ones, both versions are timed, side by side."""
_NICE = 19
_FAR = 0.1
"""Where a regression has no intervals, a prediction disagrees that lies a tenth of the other or more from it."""


class Answered(NamedTuple):
    """A run that was made."""

    blocks: Blocks
    predictions: Predictions

    def first(self, rows: int) -> Answered:
        """Some of its rows."""
        if rows >= len(self.predictions):
            return self
        return Answered([block[:, :rows] for block in self.blocks], self.predictions[:rows])


class Runs(Protocol):
    """What runs a version."""

    watch: Callable[[Blocks, Predictions], None] | None

    def predict(self, blocks: Blocks) -> Predictions: ...


class Shadow:
    """Runs one version on what the other has answered. Made on the event loop.

    Args:
        answers: the version whose runs are repeated.
        repeats: the one that repeats them.
        share: of the runs.
        tally: of the trial.
        seconds_per_row: what a row of the one that repeats them takes, as far as is known.
        idle: tells whether no rows wait or come.
        is_new: whether that one is the version on trial.
    """

    def __init__(
        self,
        answers: Runs,
        repeats: Runs,
        share: float,
        tally: Tally,
        seconds_per_row: float,
        idle: Callable[[], bool],
        *,
        is_new: bool,
    ) -> None:
        self._answers = answers
        self._repeats = repeats
        self._share = share
        self._due = 0.0
        self._tally = tally
        self._is_new = is_new
        self._seconds_per_row = seconds_per_row
        self._idle = idle
        self._pending: deque[Answered] = deque()
        self._loop = asyncio.get_running_loop()
        self._n = 0
        """Runs that were repeated."""
        self._thread: ThreadPoolExecutor | None = None
        self._scheduled = self._ended = False
        answers.watch = self.offer

    def end(self) -> None:
        """Watch no more."""
        self._ended = True
        if self._answers.watch == self.offer:
            self._answers.watch = None
        self._pending.clear()
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    def offer(self, blocks: Blocks, predictions: Predictions) -> None:
        """Take note of a run that was made; on whatever thread made it."""
        self._due += self._share
        if self._due < 1 or self._ended:  # a run that was under way tells of itself after the end
            return
        self._due -= 1
        if len(self._pending) >= _MOST_PENDING:
            self._tally.dropped += 1
            return
        self._pending.append(Answered(blocks, predictions).first(_MOST_ROWS))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._wait, _SOON_SECONDS)

    def _wait(self, seconds: float) -> None:
        self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """Repeat a run, if there is time for it."""
        if not self._pending:
            self._scheduled = False
        elif not self._idle():
            self._wait(_BUSY_SECONDS)
        elif self._seconds_per_row > SHORT_SECONDS:
            self._repeat_apart()
        else:
            rows = max(1, int(SHORT_SECONDS / max(self._seconds_per_row, 1e-9)))
            began = time.thread_time()
            took = self._take(self._pending.popleft().first(rows), time.perf_counter)
            had = time.thread_time() - began
            # where others want the core, there is no time for it, though no rows wait
            self._wait(_BUSY_MACHINE_SECONDS if took > 2 * had + _SOON_SECONDS else max(_SOON_SECONDS, _REST * took))

    def _repeat_apart(self) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow", initializer=_be_nice)
        run = self._pending.popleft().first(max(1, int(0.1 / self._seconds_per_row)))
        done = self._loop.run_in_executor(self._thread, self._take, run, time.thread_time)
        done.add_done_callback(lambda done: self._wait(max(_SOON_SECONDS, done.result())))

    def _take(self, run: Answered, clock: Callable[[], float]) -> float:
        """Repeat a run and compare; how long that took."""
        began, rows, tally = time.perf_counter(), len(run.predictions), self._tally
        timed = self._n < _TIMED_FIRST or self._n % _TIMED_EVERY == 0
        self._n += 1
        both = [self._repeats, self._answers] if timed else [self._repeats]
        if self._n % 2:
            both.reverse()  # the second finds the rows in the cache
        took: dict[Runs, float] = {}
        try:
            for version in both:
                started = clock()
                found = version.predict(run.blocks)
                took[version] = clock() - started
                if version is self._repeats:
                    repeated = found
        except Exception:  # noqa: BLE001 - whatever it is, the version has failed
            tally.run_failed += self._is_new
            return time.perf_counter() - began
        seconds = took[self._repeats]
        self._seconds_per_row += 0.1 * (min(seconds / rows, 10 * self._seconds_per_row) - self._seconds_per_row)
        old, new = (run.predictions, repeated) if self._is_new else (repeated, run.predictions)
        if not (old.finite and new.finite):
            tally.run_failed += self._is_new  # of what a canary answers, it has failed as a request
            return time.perf_counter() - began
        tally.runs += 1
        difference, differ, disagree = compared(old, new)
        tally.rows += rows
        tally.differ += differ
        tally.disagree += disagree
        tally.difference += float(difference.sum())
        tally.largest = max(tally.largest, float(difference.max()))
        if timed:
            times = took[self._answers], seconds
            tally.old_runs.add(times[not self._is_new])
            tally.new_runs.add(times[self._is_new])
        return time.perf_counter() - began


def compared(old: Predictions, new: Predictions) -> tuple[NDArray[np.float64], int, int]:
    """How two versions differ on the same rows.

    Args:
        old: what the live version says.
        new: what the one on trial does.

    Returns:
        of each row the difference of the predictions, or the largest of the probabilities; in how many the labels
        differ; and in how many the versions disagree: other labels, or a prediction outside of the live version's
        interval.
    """
    if old.labels is not None and new.labels is not None:
        assert old.probabilities is not None
        assert new.probabilities is not None
        difference = np.abs(old.probabilities.astype(np.float64) - new.probabilities).max(axis=1)
        differ = sum(a != b for a, b in zip(old.labels, new.labels, strict=True))
        return difference, differ, differ
    assert old.prediction is not None
    assert new.prediction is not None
    difference = np.abs(old.prediction - new.prediction)
    if old.lower is not None and old.upper is not None:
        apart = (new.prediction < old.lower) | (new.prediction > old.upper)
    else:
        apart = difference > _FAR * np.abs(old.prediction)
    return difference, 0, int(apart.sum())


def _be_nice() -> None:
    if sys.platform == "linux":  # elsewhere it would be the whole process
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)
