"""How a client's connections are spread over the workers of a service on this machine.

Workers share one listening socket, and whichever runs first takes a connection: opened one after another, 64 of them
came to be anything from 34 and 30 to all at one worker. What a rate does to two workers depends on that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

_ESTABLISHED = "01"


def connections_by_process(port: int) -> list[int]:
    """How many open connections each process has that were made to a port of 127.0.0.1; of Linux, elsewhere empty."""
    try:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return []
    fields = [line.split() for line in lines]
    sockets = {f"socket:[{one[9]}]" for one in fields if one[1].endswith(f":{port:04X}") and one[3] == _ESTABLISHED}
    counts = []
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        count = 0
        with suppress(OSError):  # of another user, or it just ended
            for descriptor in os.scandir(descriptors):
                with suppress(OSError):
                    count += os.readlink(descriptor) in sockets
        counts.append(count)
    return sorted((count for count in counts if count), reverse=True)


def worker_of(spread: Sequence[int], workers: int, connections: int, seed: int) -> list[int]:
    """The worker of each connection, in an order that is drawn.

    Args:
        spread: connections of each worker that has any; where they are not known, empty, each is drawn.
        workers: how many there are.
        connections: of the client.
        seed: of what is drawn.
    """
    random = np.random.default_rng(seed)
    if not 0 < len(spread) <= workers:
        return [int(worker) for worker in random.integers(workers, size=connections)]
    shares = np.array([*spread, *[0] * (workers - len(spread))]) * connections / sum(spread)
    bounds = np.round(np.cumsum(shares)).astype(int)
    return [int(worker) for worker in random.permutation(np.searchsorted(bounds, np.arange(connections), side="right"))]
