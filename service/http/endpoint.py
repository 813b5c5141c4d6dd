"""What requests of every protocol over HTTP have in common, between their decoding and the sending of a reply."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from models.errors import RequestError
from service.engine.model import Model
from service.engine.queue import QueuedRequest
from service.engine.runner import Request
from service.http.body import ClientGone, Receive, error_body
from service.http.reply import Reply, refused_with, timed

logger = logging.getLogger("rowcast.service")

_WATCH_SECONDS = 0.005
"""How long rows are queued before anyone looks whether their caller is still there: looking costs as much as a row."""


class Endpoint:
    """Where requests of one protocol for one model are answered.

    Args:
        model: the model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def submit(
        self,
        rows: Request,
        write: Callable[[Any], Reply],
        done: Callable[[Reply], None],
        *,
        deadline: float | None = None,
        priority: int = 0,
        size: int = 0,
        with_times: bool = False,
    ) -> QueuedRequest | None:
        """Have the rows of a request run, and reply.

        Args:
            rows: of the request.
            write: makes the reply of what the run gives for them.
            done: told the reply, once; during this call when the request is refused, and later from the event loop.
            deadline: by when it has to be answered, on the clock of ``time.perf_counter``.
            priority: 1 is the highest; 0 is none in particular, the same as 2.
            size: bytes that the request came in.
            with_times: whether the reply tells how long the rows were queued and run.

        Returns:
            The queued request, to be cancelled when its caller is gone; None when the reply has been told.
        """
        waiting: QueuedRequest | None = None

        def tell(outcome: Any) -> None:
            try:
                failed = isinstance(outcome, Exception)
                reply = self.refused(self.model.refusal_of(outcome)) if failed else write(outcome)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
                reply = self.refusal(error)
            done(timed(reply, waiting) if with_times and waiting is not None else reply)

        waiting = self.model.submit(rows, tell, deadline=deadline, priority=priority, size=size)
        return waiting

    async def wait(
        self, handle: Callable[[Callable[[Reply], None]], QueuedRequest | None], receive: Receive | None
    ) -> Reply:
        """The reply to a request that ``handle`` starts.

        Cancelled while it waits, the rows are not computed.

        Args:
            handle: takes what is told the reply, and returns the queued request, or None when it has been told.
            receive: the request's, to notice that its caller hangs up while the rows are queued.

        Raises:
            ClientGone: the caller hung up; rows that still waited are not computed.
        """
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        must_wait = self.model.batcher.busy
        waiting = handle(lambda reply: None if answer.done() else answer.set_result(reply))
        watch: asyncio.TimerHandle | None = None
        if waiting is not None:
            answer.add_done_callback(lambda _: waiting.cancel())
            if must_wait and receive is not None:
                watch = answer.get_loop().call_later(_WATCH_SECONDS, _give_up_when_gone, answer, receive)
        try:
            return await answer
        finally:
            if watch is not None:
                watch.cancel()

    def refusal(self, error: Exception) -> Reply:
        """What is told of a request that was not queued; counts it, and logs what no caller is told."""
        if not isinstance(error, RequestError):
            logger.error("a request to %s failed", self.model.name, exc_info=error)
            return Reply(500, error_body("something went wrong on the server; its log says what"))
        self.model.count_refusal(error)
        return self.refused(error)

    def refused(self, error: RequestError) -> Reply:
        """A refusal as the protocol has it."""
        return refused_with(error)


def _give_up_when_gone(answer: asyncio.Future[Reply], receive: Receive) -> None:
    """Watch over a request that is being queued: when its caller hangs up, it is over."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not answer.done():
            answer.set_exception(ClientGone())

    if not answer.done():
        watcher = asyncio.ensure_future(watch())
        answer.add_done_callback(lambda _: watcher.cancel())
