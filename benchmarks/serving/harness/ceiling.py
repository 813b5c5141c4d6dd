"""A server that does nothing: it answers every request with the same bytes. What the client can drive at most.

``python -m benchmarks.serving.harness.ceiling PORT ROWS``: an answer as long as a prediction of so many rows.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import cast

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_PREDICTION = b'{"label":"on time","probabilities":{"late":0.25464484,"on time":0.7453552}}'


class _Constant(asyncio.Protocol):
    def __init__(self, rows: int) -> None:
        body = b'{"predictions":[%b]}' % b",".join([_PREDICTION] * rows)
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._answer += body
        self._transport: asyncio.Transport | None = None
        self._missing = 0
        """Bytes of the request that are still to come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            length = _LENGTH.search(data)
            self._missing = data.index(b"\r\n\r\n") + 4 + (int(length[1]) if length else 0)
        self._missing -= len(data)
        if not self._missing and self._transport is not None:
            self._transport.write(self._answer)


async def main(port: int, rows: int) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Constant(rows), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
