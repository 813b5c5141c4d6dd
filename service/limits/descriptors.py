"""File descriptors: how many connections a worker takes, so that there is always one for whoever asks how it is.

A process that has none left cannot accept, and then nobody is answered, health checks included. So connections are
capped below the limit. Beyond the cap whoever has been idle for longest makes room; where nobody is idle, a few more
connections are taken, on which probes alone are answered, and then none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

try:
    import resource
except ImportError:  # only Unix has limits
    resource = None  # type: ignore[assignment]

_MOST = 1 << 20
"""The highest limit that is asked for; containers are sometimes told a thousand times more, or infinity."""
_RESERVED = 48
"""For files that are opened now and then: models, metrics, keys, logs."""
_USED = 64
"""Descriptors that a worker has open before its first caller, where they cannot be counted."""
FOR_PROBES = 16
"""Connections beyond the cap on which probes are answered."""
_SHARE = 10
"""One in so many of the idle connections goes at a time: each look at all of them costs something."""


LINGERS = -1.0
"""Since when a connection is idle that is only kept until its caller has read a refusal."""


class Caps(NamedTuple):
    """Connections that a worker takes."""

    http: int
    grpc: int


def raise_limit() -> None:
    """Raise the soft limit of descriptors to the hard one, for this process and those that it starts."""
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connection_caps() -> Caps:
    """How many connections this worker may take, once it has loaded its models: twice as many of HTTP as of gRPC."""
    if resource is None:
        return Caps(_MOST, _MOST)  # type: ignore[unreachable]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return Caps(_MOST, _MOST)
    try:
        used = len(os.listdir("/proc/self/fd"))
    except OSError:
        used = _USED
    left = max(3, limit - used - _RESERVED - FOR_PROBES)
    return Caps(left - left // 3, left // 3)


class Connection(Protocol):
    """What makes room."""

    @property
    def idle_since(self) -> float | None:
        """On a clock of all of them; None while it is busy, :data:`LINGERS` when all was said."""
        ...

    def make_room(self) -> None:
        """Close."""
        ...


def make_room(connections: Iterable[Any], newest: Connection) -> bool:
    """Close some of the connections that have been idle for longest.

    Args:
        connections: all that there are; those that are no :class:`Connection` stay.
        newest: stays.

    Returns:
        Whether there were any; those that linger make no room that somebody may keep.
    """
    others = (connection for connection in connections if connection is not newest)
    idle = [
        (since, connection) for connection in others if (since := getattr(connection, "idle_since", None)) is not None
    ]
    idle.sort(key=lambda found: found[0])
    for _, connection in idle[: 1 + len(idle) // _SHARE]:
        connection.make_room()
    return any(since > LINGERS for since, _ in idle)
