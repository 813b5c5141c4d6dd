"""Pages that take milliseconds to make are made a few times a second, however often they are asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from rowcast.service.http.body import ASGIApp, Message, Receive, Scope, Send

PER_SECOND = 5
"""How often a page is made in a second; and as many times at once, after a second of rest."""


class PageCache:
    """ASGI app that keeps pages of another.

    Args:
        app: what makes the pages, the same for whoever asks.
        pages: the paths that are kept: how often in a second a page may be made (0: once, for it never changes), and
            what is called before it is made.
    """

    def __init__(self, app: ASGIApp, pages: Mapping[str, tuple[float, Callable[[], None]]]) -> None:
        self._app = app
        self._given = pages
        self._pages = {path: self._new(path) for path in pages}

    def _new(self, path: str) -> _Page:
        return _Page(self._app, *self._given[path])

    def forget(self, path: str) -> None:
        """Make a page anew when it is asked for next: what it tells has changed."""
        self._pages[path] = self._new(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a page, or pass the request on."""
        page = self._pages.get(scope["path"])
        if page is None or scope["method"] not in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        for message in await page.messages(scope):
            await send(message)


class _Page:
    """One page, as the messages of its answer."""

    def __init__(self, app: ASGIApp, per_second: float, before: Callable[[], None]) -> None:
        self._app = app
        self._per_second = per_second
        self._before = before
        self._made: list[Message] | None = None
        self._making: asyncio.Task[list[Message]] | None = None
        self._left = per_second or 1.0
        """How often it may be made now."""
        self._counted_at = time.monotonic()

    async def messages(self, scope: Scope) -> list[Message]:
        """The page, made now if it may be; whoever asks while it is made gets the same."""
        if self._making is None:
            if self._made is not None and not self._may_be_made():
                return self._made
            self._making = asyncio.create_task(self._make(scope))
        return await asyncio.shield(self._making)

    def _may_be_made(self) -> bool:
        now = time.monotonic()
        self._left = min(self._per_second, self._left + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    async def _make(self, scope: Scope) -> list[Message]:
        messages: list[Message] = []
        bodies: list[bytes] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def take(message: Message) -> None:
            if message["type"] == "http.response.start":
                messages.append(message)
            else:
                bodies.append(message.get("body", b""))

        try:
            self._before()
            await self._app({**scope, "method": "GET"}, receive, take)
            messages.append({"type": "http.response.body", "body": b"".join(bodies)})
            if messages[0]["status"] == 200:
                self._made = messages
        finally:
            self._making = None
        return messages
