"""Rows for a batcher, from a caller who awaits their answers."""

from __future__ import annotations

import asyncio
from typing import Any

from rowcast.service.engine.batcher import Batcher
from rowcast.service.engine.queue import QueuedRequest, Rows


class Answer(asyncio.Future[Any]):
    """What a request's rows are answered. Cancel it, and rows that still wait are not computed."""

    waiting: QueuedRequest

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


def submit(batcher: Batcher, rows: Rows, **options: Any) -> Answer:
    """Queue the rows of one request, as :meth:`Batcher.enqueue` does.

    Raises:
        QueueFull: too much waits already.
        DeadlineExceeded: they could not be answered by their deadline.
    """
    answer = Answer()
    answer.waiting = batcher.enqueue(rows, answer.take, **options)
    return answer
