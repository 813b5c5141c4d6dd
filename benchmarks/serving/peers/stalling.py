"""A server of one process that answers every request alike, and stands still once.

    python stalling.py PORT DESCRIPTION.json ANSWER.json AFTER_S STALL_S

It speaks as much of the service's contract as a load test asks for: ``GET /models``, ``GET /models/{name}`` (the
description) and predictions (the answer). ``AFTER_S`` seconds after the first of these it stands still for ``STALL_S``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path


class Stalling(asyncio.Protocol):
    """A connection."""

    listing = description = answer = b""
    after_s = stall_s = 0.0
    begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            length = 0
            if b"content-length:" in head:
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self.data) < end + 4 + length:
                return
            self.data = self.data[end + 4 + length :]
            self.reply(head)

    def reply(self, head: bytes) -> None:
        body = self.listing if head.startswith(b"get /models ") else self.description
        if head.startswith(b"post"):
            body = self.answer
            if not Stalling.begun:
                Stalling.begun = True
                asyncio.get_running_loop().call_later(self.after_s, time.sleep, self.stall_s)
        self.transport.write(  # type: ignore[attr-defined]
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )


async def serve(port: int) -> None:
    """Answer until the end."""
    server = await asyncio.get_running_loop().create_server(Stalling, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    Stalling.description, Stalling.answer = (Path(file).read_bytes() for file in sys.argv[2:4])
    Stalling.listing = json.dumps({"models": [json.loads(Stalling.description)]}).encode()
    Stalling.after_s, Stalling.stall_s = map(float, sys.argv[4:6])
    asyncio.run(serve(int(sys.argv[1])))
