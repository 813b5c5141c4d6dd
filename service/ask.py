"""What answers the requests on a path, once their headers are understood."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from service.http import Header, Receive
from service.reply import Reply
from service.served import ServedModel
from service.waiting import Waiting

Ask: TypeAlias = Callable[[bytes, Callable[[Reply], None], float], Waiting | None]
"""Answers a body in one go, on the event loop: ``done`` is told the reply, once, during this call or later from the
event loop; the number says when it came, on the clock of ``time.perf_counter``.

Returns the queued request, to be cancelled when its caller is gone, or None when the reply has been told. Raises
:class:`TakesLong`, and has told nothing, where the body is more than can be answered in one go."""

AskLong: TypeAlias = Callable[[bytes, Receive, float], Awaitable[Reply]]
"""Answers a body of any length, with others' turns of the event loop in between, for a caller who may hang up: then it
raises :class:`service.http.ClientGone`. The number says when it came."""


class TakesLong(Exception):
    """A request that cannot be answered in one go; nobody has been told anything."""


class Route(Protocol):
    """A path that predictions are asked on."""

    sent_with_post: str
    """What is told whoever uses another method."""

    @property
    def model(self) -> ServedModel:
        """What answers there."""

    def understand_long(self, headers: list[Header]) -> AskLong:
        """What answers requests with these headers.

        Raises:
            RequestError: they are not as they should be.
        """

    def refusal(self, error: Exception) -> Reply:
        """What is told of a request that is refused before it is read; counts it."""


class ShortRoute(Route, Protocol):
    """One whose requests may be answered in one go, on the fast path."""

    def understand(self, headers: list[Header]) -> Ask:
        """The same as :meth:`understand_long` for requests that are whole and short.

        Raises:
            RequestError: they are not as they should be.
        """
