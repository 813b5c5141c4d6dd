"""How many threads a fit has: no more than the cores that it may use; how they wait says ``waiting.py``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from rowcast.models.machine.limits import affinity, core_limit, usable_cores
from rowcast.training.waiting import considerate

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""By which users choose; PyTorch reads them when it is imported."""


class ThreadCount(NamedTuple):
    """How many threads, and what is to be told of it."""

    threads: int
    decisions: list[str]


@contextmanager
def usable_threads() -> Iterator[list[str]]:
    """Let PyTorch have as many threads as there are cores to use, for as long as this is entered.

    By itself it heeds the affinity of the process, and no CPU quota: in a container that may use half a core of 64 it
    would have 64 threads, which use up the quota waiting for each other.

    Yields:
        what was decided, in sentences.
    """
    before = torch.get_num_threads()
    threads, decisions = thread_count(before)
    if threads != before:  # to set a number, if only the same, may change the order in which products are added up
        torch.set_num_threads(threads)
    try:
        with considerate(threads, affinity(), always=core_limit().amount < threads):
            yield decisions
    finally:
        if threads != before:
            torch.set_num_threads(before)


def thread_count(given: int, environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> ThreadCount:
    """How many threads a fit is to have.

    Args:
        given: threads that PyTorch has.
        environment: where a user may have said how many; that is heeded.
        root: of the file system whose ``proc`` and ``sys`` say what may be used.
    """
    usable, limit = usable_cores(root), core_limit(root)
    chosen = next((name for name in VARIABLES if _number(environment.get(name, ""))), None)
    if chosen is not None:
        threads = min(given, _number(environment[chosen]))
        much = threads > usable
        note = (
            f"the fit has {threads} threads, as {chosen} says, though it may use {limit.amount:g} cores: leave {chosen}"
        )
        return ThreadCount(threads, [f"{note} out for one thread a core"] if much else [])
    threads = min(given, usable)
    if threads == given:
        return ThreadCount(threads, [])
    what = "1 thread" if threads == 1 else f"{threads} threads"
    cores = "1 core" if limit.amount == 1 else f"{limit.amount:.3g} cores"
    return ThreadCount(
        threads, [f"the fit has {what} instead of {given}, as it may use {cores}; OMP_NUM_THREADS sets another number"]
    )


def _number(text: str) -> int:
    """The first of the numbers that OpenMP takes, ``4`` or ``4,2``; 0 where it would take none."""
    first = text.partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0
