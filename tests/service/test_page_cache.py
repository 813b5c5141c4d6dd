"""A page that takes long to make is made a few times a second, and is never an old one while that is not too often."""

from __future__ import annotations

import asyncio

from rowcast.service.http.body import Message, Receive, Scope, Send
from rowcast.service.http.page_cache import PER_SECOND, PageCache


class Counting:
    """An app that answers with how often it was asked."""

    def __init__(self, status: int = 200) -> None:
        self.asked = 0
        self.status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        body = b"%d" % self.asked
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": body[:1], "more_body": True})
        await send({"type": "http.response.body", "body": body[1:]})


async def ask(app: PageCache, path: str, method: str = "GET") -> bytes:
    messages: list[Message] = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        messages.append(message)

    await app({"type": "http", "method": method, "path": path}, receive, send)
    return b"".join(message.get("body", b"") for message in messages)


def test_a_page_is_made_anew_until_it_was_made_too_often() -> None:
    inner, before = Counting(), []

    async def scenario() -> None:
        app = PageCache(inner, {"/page": (PER_SECOND, lambda: before.append(1))})
        first = [await ask(app, "/page") for _ in range(3)]
        assert first == [b"1", b"2", b"3"]
        for _ in range(1000):
            await ask(app, "/page", "HEAD")
        assert inner.asked <= 3 * PER_SECOND
        assert len(before) == inner.asked
        await asyncio.sleep(0.5)
        assert await ask(app, "/page") == b"%d" % inner.asked

    asyncio.run(scenario())


def test_whoever_asks_while_a_page_is_made_gets_that_one() -> None:
    inner = Counting()

    async def scenario() -> None:
        app = PageCache(inner, {"/page": (PER_SECOND, lambda: None)})
        assert set(await asyncio.gather(*(ask(app, "/page") for _ in range(50)))) == {b"1"}

    asyncio.run(scenario())


def test_a_page_that_never_changes_is_made_once_unless_that_failed() -> None:
    async def scenario() -> None:
        inner, failing = Counting(), Counting(500)
        for app in (PageCache(inner, {"/page": (0, lambda: None)}), PageCache(failing, {"/page": (0, lambda: None)})):
            for _ in range(3):
                await ask(app, "/page")
            await ask(app, "/page", "POST")
            await ask(app, "/other")
        assert inner.asked == 1 + 2
        assert failing.asked == 3 + 2

    asyncio.run(scenario())
