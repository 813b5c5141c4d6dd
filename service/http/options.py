"""What a request's headers say about its answer: by when it is wanted, and whether with the time it took.

``grpc-timeout`` is how gRPC says how long a caller waits, and what its gateways take from callers who send JSON: at
most eight digits and a unit, ``H``, ``M``, ``S``, ``m``, ``u`` or ``n`` for hours, minutes, seconds, milli-, micro-
and nanoseconds (gRPC over HTTP/2, "Requests"). So a deadline goes through proxies of both kinds as it is.

``want-server-timing: ?1`` asks for ``server-timing`` in the answer (W3C Server Timing), as ``want-content-digest`` asks
for its header (RFC 9530, section 4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from rowcast.models.errors import RequestError
from rowcast.service.errors import brief
from rowcast.service.http.body import Header

_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class RequestOptions(NamedTuple):
    """What a request asks for beyond an answer."""

    timeout: float | None = None
    """Seconds from its coming until its answer is of no use; None when it waits for as long as it takes."""
    timed: bool = False
    """Whether the answer tells how long it was queued and run."""

    def deadline(self, since: float) -> float | None:
        """By when it has to be answered, on the clock that ``since``, its coming, was read off."""
        return None if self.timeout is None else since + self.timeout


NO_OPTIONS = RequestOptions()
"""What nearly all ask for: nothing."""


def options_of(headers: Iterable[Header]) -> RequestOptions:
    """The options of a request.

    Raises:
        RequestError: 400 for a timeout that is none.
    """
    timeout: float | None = None
    timed = False
    for name, value in headers:
        if name == b"grpc-timeout":
            timeout = _seconds(value.strip())
        elif name == b"want-server-timing":
            timed = _wants(value.decode("latin-1"))
    return RequestOptions(timeout, timed) if timed or timeout is not None else NO_OPTIONS


def wants_times(metadata: Iterable[tuple[str, str | bytes]]) -> bool:
    """Whether the metadata of a call over gRPC ask for the time it took."""
    return any(name == "want-server-timing" and isinstance(value, str) and _wants(value) for name, value in metadata)


def _wants(value: str) -> bool:
    return value.strip() != "?0"


def server_timing(queue_seconds: float, compute_seconds: float) -> Header:
    """How long a request was queued and run, in milliseconds."""
    return (b"server-timing", b"queue;dur=%.3f, compute;dur=%.3f" % (queue_seconds * 1e3, compute_seconds * 1e3))


def _seconds(value: bytes) -> float:
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise RequestError(
            "grpc-timeout must be at most eight digits and one of H, M, S, m, u, n, such as 250m for 250 milliseconds, "
            f"got {brief(value.decode('latin-1'))}"
        )
    return int(match[1]) * _UNITS[match[2]]
