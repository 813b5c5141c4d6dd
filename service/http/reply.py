"""What a caller is told: a status, a body and headers."""

from __future__ import annotations

from typing import NamedTuple

from rowcast.models.errors import RequestError
from rowcast.service.engine.queue import QueuedRequest
from rowcast.service.errors import QueueFull
from rowcast.service.http.body import JSON, Header, refusal_body, retry_after
from rowcast.service.http.options import server_timing
from rowcast.service.metrics.counts import Meter


class Reply(NamedTuple):
    """What a caller is told."""

    status: int
    """The HTTP status."""
    body: bytes
    headers: tuple[Header, ...] = ()
    """Beyond those that every answer has."""
    content_type: bytes = JSON
    meter: Meter | None = None
    """Of the version that answered, where it is not the one that the route is of."""


def refused_with(error: RequestError) -> Reply:
    """What is told of a request that is refused."""
    headers = (retry_after(error.retry_after_seconds),) if isinstance(error, QueueFull) else ()
    return Reply(error.status, refusal_body(error), headers)


def timed(reply: Reply, waiting: QueuedRequest) -> Reply:
    """A reply with how long its rows were queued and run."""
    timing = server_timing(waiting.queue_seconds, waiting.compute_seconds)
    return reply._replace(headers=(*reply.headers, timing))
