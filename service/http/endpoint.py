"""A request for predictions over HTTP, whatever its protocol: admit, decode, queue, run, encode, reply.

A protocol brings what decodes a body and what encodes an answer. The rest is written once, here.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from rowcast.models.errors import RequestError
from rowcast.service.columns.named import Columns
from rowcast.service.engine.model import Model
from rowcast.service.engine.queue import QueuedRequest
from rowcast.service.engine.runner import Request
from rowcast.service.http.body import ClientGone, Receive, error_body
from rowcast.service.http.handlers import TakesLong
from rowcast.service.http.options import NO_OPTIONS, RequestOptions
from rowcast.service.http.reply import Reply, refused_with, timed
from rowcast.service.limits.steps import Steps, in_turns

logger = logging.getLogger("rowcast.service")

_WATCH_SECONDS = 0.005
"""How long rows are queued before anyone looks whether their caller is still there: looking costs as much as a row."""


class Decoded(NamedTuple):
    """A request that has been read."""

    rows: Request
    write: Callable[[Any], Reply]
    """Makes the reply of what the run gives for the rows."""
    timeout: float | None = None
    """Seconds that its body gives the answer, from its coming; its headers may name a time, too."""
    priority: int = 0
    """1 is the highest; 0 is none in particular, the same as 2."""


class Claims(NamedTuple):
    """What a long body seems to ask for before it is decoded, so that it is not decoded only to be refused."""

    rows: int
    priority: int = 0
    """The highest that it may have."""


class Refuser:
    """Says what a caller is told of a request for one model that is refused.

    Args:
        model: the model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def refusal(self, error: Exception) -> Reply:
        """What is told of a request that was not queued; counts it, and logs what no caller is told."""
        if not isinstance(error, RequestError):
            logger.error("a request to %s failed", self.model.name, exc_info=error)
            return Reply(500, error_body("something went wrong on the server; its log says what"))
        self.model.count_refusal(error)
        return self.error_reply(error)

    def error_reply(self, error: RequestError) -> Reply:
        """A refusal as the protocol has it."""
        return refused_with(error)


class Endpoint(Refuser, ABC):
    """Where requests of one protocol for one model are answered. ``form`` is what headers said of the body's."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.at_once_bytes = model.max_body
        """Bytes of a body that is decoded in one go."""

    @abstractmethod
    def decode(self, body: bytes, form: Any) -> Decoded:
        """Read a body that can be read in one go.

        Raises:
            RequestError: it breaks a rule.
            TakesLong: it is more than is answered in one go.
        """

    def handle(
        self,
        body: bytes,
        on_response: Callable[[Reply], None],
        since: float = 0.0,
        *,
        options: RequestOptions = NO_OPTIONS,
        form: Any = None,
    ) -> QueuedRequest | None:
        """Answer a request: read it, have it run with whatever other requests wait, write the reply.

        Args:
            body: the request's.
            on_response: called with the reply, once; during this call when the request is refused, later from the event
                loop otherwise.
            since: when it came, on the clock of ``time.perf_counter``; a timeout counts from then.
            options: what its headers ask for.
            form: what its headers say of its body.

        Returns:
            The queued request, to be cancelled when its caller is gone; None when the reply has been told.

        Raises:
            TakesLong: it is more than is answered in one go; ``on_response`` was not called.
        """
        try:
            self.admit(body, form)
            if len(body) > self.at_once_bytes:
                raise TakesLong
            decoded = self.decode(body, form)
        except TakesLong:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            on_response(self.refusal(error))
            return None
        return self.submit(decoded, len(body), on_response, since, options=options)

    def admit(self, body: bytes, form: Any) -> None:
        """Make sure that a body may be queued, before it is decoded.

        Raises:
            QueueFull: there is no room for it.
        """
        self.model.batcher.admit(size=len(body))

    def submit(
        self,
        decoded: Decoded,
        size: int,
        on_response: Callable[[Reply], None],
        since: float = 0.0,
        *,
        options: RequestOptions = NO_OPTIONS,
    ) -> QueuedRequest | None:
        """Have a request run that has been read, and reply, as :meth:`handle` does.

        Args:
            decoded: the request.
            size: bytes that it takes while it waits.
            on_response: called with the reply.
            since: when it came.
            options: what its headers ask for.
        """
        rows, write, timeout, priority = decoded
        deadline = None
        if options.timeout is not None:
            timeout = options.timeout if timeout is None else min(timeout, options.timeout)
        if timeout is not None:
            deadline = since + timeout
        waiting: QueuedRequest | None = None

        def respond(outcome: Any) -> None:
            try:
                failed = isinstance(outcome, Exception)
                reply = self.error_reply(self.model.refusal_of(outcome)) if failed else write(outcome)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
                reply = self.refusal(error)
            on_response(timed(reply, waiting) if options.timed and waiting is not None else reply)

        waiting = self.model.submit(rows, respond, deadline=deadline, priority=priority, size=size)
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


class SteppedEndpoint(Endpoint):
    """An endpoint that reads long bodies in steps."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.at_once_bytes = model.small_body

    @abstractmethod
    def decode_steps(self, body: bytes, form: Any) -> Steps[Decoded]:
        """Read a long body.

        Raises:
            RequestError: it breaks a rule.
        """

    @abstractmethod
    def claims(self, body: bytes, form: Any) -> Claims:
        """What a long body seems to ask for, seen in much less time than it takes to decode it."""

    def admit(self, body: bytes, form: Any) -> None:
        """The same; a long body is held to the rows that it seems to hold, lest it be decoded and then refused."""
        rows, priority = self.claims(body, form) if len(body) > self.at_once_bytes else Claims(1)
        self.model.batcher.admit(max(1, min(rows, self.model.columns.max_rows)), priority, len(body))

    async def answer(
        self,
        body: bytes,
        receive: Receive | None = None,
        since: float = 0.0,
        *,
        options: RequestOptions = NO_OPTIONS,
        form: Any = None,
    ) -> Reply:
        """Answer a request, as :meth:`handle` does, for a caller who awaits.

        A long body is read step by step, and others have their turns in between. ``receive`` is the request's, to
        notice that its caller hangs up while the rows are queued.

        Raises:
            ClientGone: the caller hung up; rows that still waited are not computed.
        """
        if len(body) <= self.at_once_bytes:
            return await self.wait(partial(self.handle, body, since=since, options=options, form=form), receive)
        try:
            admit = partial(self.admit, body, form)
            admit()
            async with self.model.budget.decoding(len(body), admit):
                decoded = await in_turns(self.decode_steps(body, form))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            return self.refusal(error)
        assert isinstance(decoded.rows, Columns)  # whatever is read here is read
        size = len(body) + decoded.rows.bytes
        return await self.wait(partial(self.submit, decoded, size, since=since, options=options), receive)


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
