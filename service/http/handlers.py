"""What answers the requests on a path, once their headers are understood."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from rowcast.service.engine.model import Model
from rowcast.service.engine.queue import QueuedRequest
from rowcast.service.http.body import Header, Receive
from rowcast.service.http.reply import Reply

Handler: TypeAlias = Callable[[bytes, Callable[[Reply], None], float], QueuedRequest | None]
"""Answers a body in one go, on the event loop: ``done`` is told the reply, once, during this call or later from the
event loop; the number says when it came, on the clock of ``time.perf_counter``.

Returns the queued request, to be cancelled when its caller is gone, or None when the reply has been told. Raises
:class:`TakesLong`, and has told nothing, where the body is more than can be answered in one go."""

AsyncHandler: TypeAlias = Callable[[bytes, Receive, float], Awaitable[Reply]]
"""Answers a body of any length, with others' turns of the event loop in between, for a caller who may hang up: then it
raises :class:`rowcast.service.http.body.ClientGone`. The number says when it came."""


class TakesLong(Exception):
    """A request that cannot be answered in one go; nobody has been told anything."""


class Route(Protocol):
    """A path that predictions are asked on."""

    sent_with_post: str
    """What is told whoever uses another method."""

    @property
    def model(self) -> Model:
        """What answers there."""

    def async_handler(self, headers: list[Header]) -> AsyncHandler:
        """What answers requests with these headers.

        Raises:
            RequestError: they are not as they should be.
        """

    def refusal(self, error: Exception) -> Reply:
        """What is told of a request that is refused before it is read; counts it."""


class ShortRoute(Route, Protocol):
    """One whose requests may be answered in one go, on the fast path."""

    def handler(self, headers: list[Header]) -> Handler:
        """The same as :meth:`async_handler` for requests that are whole and short.

        Raises:
            RequestError: they are not as they should be.
        """
