"""What it takes to answer a body: memory at its peak, and the longest time that the event loop does nothing else."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

T = TypeVar("T")

LOOP_SECONDS = 0.05
"""What the service promises of any body of at most 16 MiB."""
SHARED_MACHINE = 3.0
"""How much longer a step may take where others use the processor's caches; what breaks the promise takes far longer."""


class Taken(NamedTuple):
    """What it took."""

    peak_bytes: int
    """Memory above what was held before, as Python and NumPy allocate it."""
    longest_seconds: float
    """Processor time between two turns of the event loop: what else runs on the machine does not count."""


async def taken(work: Callable[[], Awaitable[T]]) -> tuple[T, Taken]:
    """Do some work twice, once for its memory and once for its time: to watch memory makes it several times slower."""
    with settled():
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            result = await work()
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        return result, Taken(peak, await _longest_turn(work))


def taken_in_steps(work: Callable[[], Iterable[object]]) -> Taken:
    """The same of work that gives the event loop back after each step, where things are :func:`settled`."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in work():
            pass
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    longest = 0.0
    last = time.thread_time()
    for _ in work():
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    return Taken(peak, max(longest, time.thread_time() - last))


@contextmanager
def settled() -> Iterator[None]:
    """What a test process holds is not looked through by the collector while something is measured."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def _longest_turn(work: Callable[[], Awaitable[object]]) -> float:
    longest = 0.0
    last = time.thread_time()
    task = asyncio.ensure_future(work())
    while not task.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    await task
    return longest
