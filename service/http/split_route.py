"""A path that two versions answer: the live one and a canary. Paths without a canary never come here."""

from __future__ import annotations

import time
from collections.abc import Callable

from rowcast.service.engine.model import Model
from rowcast.service.engine.queue import QueuedRequest
from rowcast.service.http.body import Header, Receive
from rowcast.service.http.handlers import AsyncHandler, Handler, Route, ShortRoute
from rowcast.service.http.reply import Reply
from rowcast.service.rollout.split import Split
from rowcast.service.rollout.trial import key_of


class SplitRoute:
    """Has each request answered by one of two versions.

    Args:
        split: tells by which.
        live: what answers for the live version.
        new: what answers for the canary.
    """

    def __init__(self, split: Split[Model], live: Route, new: Route) -> None:
        self._split = split
        self._routes = live, new
        self.sent_with_post = live.sent_with_post

    @property
    def model(self) -> Model:
        """The live version; an answer says by which meter it is counted."""
        return self._routes[0].model

    def refusal(self, error: Exception) -> Reply:
        """What is told of a request that is refused before it is read: whichever version it was for."""
        return self._routes[0].refusal(error)

    def async_handler(self, headers: list[Header]) -> AsyncHandler:
        """What answers requests with these headers.

        Raises:
            RequestError: they are not as they should be.
        """
        handlers = [route.async_handler(headers) for route in self._routes]
        key, split = key_of(headers), self._split

        async def answer(body: bytes, receive: Receive, since: float) -> Reply:
            new = split.is_new(key, body)
            return self._counted(await handlers[new](body, receive, since), since, new=new)

        return answer

    def _counted(self, reply: Reply, since: float, *, new: bool) -> Reply:
        self._split.count(reply.status, time.perf_counter() - since, new=new)
        return reply._replace(meter=self._routes[1].model.meter) if new else reply


class ShortSplitRoute(SplitRoute):
    """One whose requests may be answered in one go.

    Args:
        split: tells by which version.
        live: what answers for the live version.
        new: what answers for the canary.
    """

    def __init__(self, split: Split[Model], live: ShortRoute, new: ShortRoute) -> None:
        super().__init__(split, live, new)
        self._short = live, new

    def handler(self, headers: list[Header]) -> Handler:
        """The same for requests that are whole and short.

        Raises:
            RequestError: they are not as they should be.
        """
        handlers = [route.handler(headers) for route in self._short]
        key, split = key_of(headers), self._split

        def handle(body: bytes, on_response: Callable[[Reply], None], since: float) -> QueuedRequest | None:
            new = split.is_new(key, body)
            return handlers[new](body, lambda reply: on_response(self._counted(reply, since, new=new)), since)

        return handle
