"""A small HTTP client for proofs: one connection, one request at a time, and never a second try."""

from __future__ import annotations

import asyncio

SECONDS = 30


def post(body: bytes, path: str = "/predict", content_type: str = "application/json") -> bytes:
    """The bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nhost: proof\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def get(path: str) -> bytes:
    """The bytes of a request without a body."""
    return f"GET {path} HTTP/1.1\r\nhost: proof\r\n\r\n".encode()


class Connection:
    """A connection that is opened when it is needed, and again when the other side has closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes, seconds: float = SECONDS) -> tuple[int, bytes, bytes]:
        """Send a request.

        Returns:
            status, head and body of the answer.

        Raises:
            OSError: there was no answer, or none in time.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(request)
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            raise ConnectionError(f"no answer: {error!r}") from None

    async def _ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        if self._streams is None or self._streams[0].at_eof() or self._streams[1].is_closing():
            self.close()
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        body = await reader.readexactly(int(length)) if length else await reader.read()
        if b"\r\nconnection: close\r\n" in head or not length:
            self.close()
        return int(head[9:12]), head, body

    def close(self) -> None:
        """Close it, whatever is under way."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
