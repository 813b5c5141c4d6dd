"""How long a caller is waited for: one timer looks after all of them, and only while there are any.

A timer for each costs as much as reading what it brings.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Timeouts:
    """Waits for what callers send, on one event loop.

    Args:
        look_seconds: how often those who take their time are looked at.
        most: how many may take their time; beyond it those who were waited for first are late.
    """

    def __init__(self, look_seconds: float, most: int | None = None) -> None:
        self._look_seconds = look_seconds
        self._most = most
        self._until: dict[asyncio.Task[Any], Callable[[], float]] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._looks = False

    async def wait(self, awaited: Awaitable[T], until: Callable[[], float]) -> T:
        """What is awaited; once at a time in a task.

        Args:
            awaited: what a caller sends.
            until: by when it has to come, on the clock of ``time.monotonic``; asked again at each look.

        Raises:
            TimeoutError: it did not.
        """
        task = asyncio.current_task()
        assert task is not None
        cancelled_before = task.cancelling()
        self._until[task] = until
        if not self._looks:
            self._looks = True
            task.get_loop().call_later(self._look_seconds, self._look, task.get_loop())
        try:
            return await awaited
        except asyncio.CancelledError:
            if task not in self._late or task.cancelling() > cancelled_before + 1:  # somebody else cancelled it
                raise
            raise TimeoutError from None
        finally:
            del self._until[task]
            if task in self._late:
                self._late.discard(task)
                task.uncancel()

    def give_up(self, task: asyncio.Task[Any]) -> None:
        """Let somebody wait no longer who waits: as if it were late."""
        if task in self._until and task not in self._late:
            self._late.add(task)
            task.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up those that are late."""
        now = time.monotonic()
        for task, until in list(self._until.items()):
            if task not in self._late and now > until():
                self.give_up(task)
        if self._most is not None:
            in_time = [task for task in self._until if task not in self._late]
            for task in in_time[: max(0, len(in_time) - self._most)]:
                self.give_up(task)
        self._looks = bool(self._until)
        if self._looks:
            loop.call_later(self._look_seconds, self._look, loop)
