"""The shadow: a version is run on rows that another has answered, when the worker has time, and the two are compared.

It never delays an answer by more than one short run, and hardly any answer by that. What it does it does on the event
loop, between requests: a thread beside the loop would hold the interpreter's lock at moments when the loop wants it. It
begins only when no rows wait and none come. It runs as many rows as take about half a millisecond, of all runs that
wait to be compared, for a row of a larger run takes less. Then it rests two hundred times as long: requests that come
in its time wait for it, and may be no more than the few that p99 does not see. A version whose single row takes longer
is run by a thread at low priority, for ONNX Runtime lets go of the lock. So is one, from then on, that has held up the
loop once: how long a row takes may depend on its values. What there is no time for is dropped, and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rowcast.models.session import Predictions
from rowcast.service.columns.named import Columns
from rowcast.service.rollout.tally import Tally

logger = logging.getLogger("rowcast.service")

Blocks = Sequence[NDArray[Any]]
"""The columns of some rows, as the graphs of both versions take them."""

SHORT_SECONDS = 0.0005
"""How long a turn on the event loop may take, as far as the last ones tell."""
_LONG_SECONDS = 0.1
"""The same of one in the thread."""
_MOST_SECONDS, _MOST_WALL_SECONDS = 0.01, 0.05
"""A turn on the event loop that took more of the processor's time, or of time, was the last one there."""
_MOST_PENDING = 64
"""Runs that wait to be compared."""
_MOST_ROWS = 256
"""Of a run."""
_SOON_SECONDS = 0.0005
_REST = 199.0
"""How many times as long as a turn. Callers who come in steps of a millisecond all wait for a turn in their step: with
9 times, every tenth request did."""
_BUSY_MACHINE_SECONDS = 0.05
_BUSY_SECONDS = 0.002
_TIMED_FIRST, _TIMED_EVERY = 32, 2
"""In the first turns, and in one of so many later ones, both versions are timed, side by side."""
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
        seconds_per_row: what a row of each of them takes, as far as is known.
        idle: tells whether no rows wait or come.
        is_new: whether the one that repeats them is the version on trial.
    """

    def __init__(
        self,
        answers: Runs,
        repeats: Runs,
        share: float,
        tally: Tally,
        seconds_per_row: Mapping[Runs, float],
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
        self._seconds_per_row = {version: seconds_per_row[version] for version in (answers, repeats)}
        self._idle = idle
        self._pending: deque[Answered] = deque()
        self._loop = asyncio.get_running_loop()
        self._turns = self._timed_turns = 0
        self._alone = 0
        """How many of the pending runs are to be repeated each by itself: together they failed."""
        self._is_short = True
        """Whether no turn on the event loop was a long one."""
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
        """Take note of a run that was made; on whatever thread made it. Most there is no time for: they cost nothing
        but to be counted."""
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
        """Repeat runs, if there is time for it."""
        if not self._pending:
            self._scheduled = False
            return
        if not self._idle():
            self._wait(_BUSY_SECONDS)
            return
        versions = self._next_versions()
        seconds_per_row = max(1e-9, sum(self._seconds_per_row[version] for version in versions))
        if seconds_per_row > SHORT_SECONDS or not self._is_short:
            self._take_apart(self._next_runs(_LONG_SECONDS / seconds_per_row), versions)
            return
        runs = self._next_runs(SHORT_SECONDS / seconds_per_row)
        began = time.thread_time()
        took = self._take(runs, versions, time.perf_counter)
        had = time.thread_time() - began
        if had > _MOST_SECONDS or took > _MOST_WALL_SECONDS:
            self._is_short = False
            logger.info("a shadow is run by a thread from now on: it held up the event loop for %.0f ms", 1000 * took)
        # where others want the core, there is no time for it, though no rows wait
        least = _BUSY_MACHINE_SECONDS if took > 2 * had + _SOON_SECONDS else _SOON_SECONDS
        self._wait(max(least, _REST * took if self._is_short else took))  # others run in the thread

    def _next_versions(self) -> list[Runs]:
        """Which of them the next turn runs, in this order: both are timed in some turns."""
        timed = self._turns < _TIMED_FIRST or self._turns % _TIMED_EVERY == 0
        self._turns += 1
        if not timed:
            return [self._repeats]
        self._timed_turns += 1
        both = [self._repeats, self._answers]
        return both if self._timed_turns % 2 else both[::-1]  # the second finds the rows in the cache

    def _next_runs(self, most_rows: float) -> list[Answered]:
        """Runs of so many rows at most; a longer one is cut."""
        runs = [self._pending.popleft().first(max(1, int(most_rows)))]
        if self._alone:
            self._alone -= 1
            return runs
        left = int(most_rows) - len(runs[0].predictions)
        while self._pending and len(self._pending[0].predictions) <= left:
            runs.append(self._pending.popleft())
            left -= len(runs[-1].predictions)
        return runs

    def _take_apart(self, runs: list[Answered], versions: list[Runs]) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow", initializer=_be_nice)
        done = self._loop.run_in_executor(self._thread, self._take, runs, versions, time.thread_time)
        done.add_done_callback(lambda done: self._wait(max(_SOON_SECONDS, done.result())))

    def _take(self, runs: list[Answered], versions: list[Runs], clock: Callable[[], float]) -> float:
        """Repeat runs and compare; how long that took."""
        began = time.perf_counter()
        blocks = Columns.joined([run.blocks for run in runs]).blocks
        answered = Predictions.joined([run.predictions for run in runs])
        took: dict[Runs, float] = {}
        try:
            for version in versions:
                started = clock()
                found = version.predict(blocks)
                took[version] = clock() - started
                if version is self._repeats:
                    repeated = found
        except Exception:  # noqa: BLE001 - whatever it is, the version has failed
            if len(runs) == 1:
                self._tally.run_failed += self._is_new
            elif not self._ended:  # perhaps in one of them
                self._pending.extendleft(reversed(runs))
                self._alone = len(runs)
            return time.perf_counter() - began
        for version, seconds in took.items():
            known, found_now = self._seconds_per_row[version], seconds / len(answered)
            if found_now > known and not self._is_short:  # in a single run there may be many such rows
                self._seconds_per_row[version] = found_now
            else:
                self._seconds_per_row[version] += 0.1 * (min(found_now, 10 * known) - known)
        old, new = (answered, repeated) if self._is_new else (repeated, answered)
        if self._count(runs, old, new) and len(took) == 2:
            self._tally.old_runs.add(took[self._answers if self._is_new else self._repeats])
            self._tally.new_runs.add(took[self._repeats if self._is_new else self._answers])
        return time.perf_counter() - began

    def _count(self, runs: list[Answered], old: Predictions, new: Predictions) -> bool:
        """Count what was found, of the rows of these runs; whether all of them are answered by both."""
        if old.finite and new.finite:
            self._compare(len(runs), old, new)
            return True
        end = 0
        for run in runs:
            start, end = end, end + len(run.predictions)
            one, other = old[start:end], new[start:end]
            if not one.finite:  # then it is not the other's fault
                continue
            if other.finite:
                self._compare(1, one, other)
            else:
                self._tally.run_failed += self._is_new  # of what a canary answers, it has failed as a request
        return False

    def _compare(self, runs: int, old: Predictions, new: Predictions) -> None:
        tally = self._tally
        difference, differ, disagree = compared(old, new)
        tally.runs += runs
        tally.rows += len(old)
        tally.differ += differ
        tally.disagree += disagree
        tally.difference += float(difference.sum())
        tally.largest = max(tally.largest, float(difference.max()))


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
