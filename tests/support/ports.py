"""Ports for services that tests start: of another range than the system's own, so that none is taken in between.

A port that was asked of the system (port 0) and let go may be given to any connection of any other process before the
service listens on it. Suites that run side by side, and the workers of one suite, begin at places of their own.
"""

from __future__ import annotations

import itertools
import os
import socket

FIRST, COUNT = 10_000, 20_000
"""Below 32768, where Linux begins to hand out ports by itself."""

_tried = itertools.count(os.getpid() * 101)


def free_port() -> int:
    """A port of the loopback that nobody listens on, and that this process has not given out before."""
    for n in itertools.islice(_tried, COUNT):
        port = FIRST + n % COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"no port from {FIRST} to {FIRST + COUNT - 1} is free")
