"""A request's body in, an answer out: the part of ASGI that every route shares."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, TypeAlias

import orjson

from rowcast.models.errors import RequestError
from rowcast.service.http.compressed import encoding_of, inflated
from rowcast.service.limits.byte_budget import ByteBudget, Hold, NoRoom
from rowcast.service.limits.timeouts import Timeouts

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]

JSON = b"application/json"
_JSON_HEADER: Header = (b"content-type", JSON)
CLOSE: Header = (b"connection", b"close")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""JSON in UTF-8 may have one before it, and it may be ignored (RFC 8259, section 8.1); so it is."""

_BODY_SECONDS = 8
"""How long a body may take to come if it does not keep up, and how long the rest of a refused one is taken in."""
_LOOK_SECONDS = 0.5
"""How often bodies that take their time are looked at."""


class ClientGone(Exception):
    """The caller hung up: there is nobody to answer."""


def negotiate_content_type(headers: Iterable[Header], max_body: int, other: str = "") -> bool:
    """Refuse what is not plain JSON of an allowed size, before any of it is read.

    A request that names no content type is taken for JSON.

    Args:
        headers: the request's.
        max_body: bytes that a body may hold.
        other: another content type that the route takes.

    Returns:
        whether the body is of that other type.

    Raises:
        RequestError: 415 for another content type, charset or encoding; 413 for a body declared too large.
    """
    headers = list(headers)
    is_other = False
    for name, value in headers:
        if name == b"content-type":
            is_other = _check_content_type(value, other)
        elif name == b"content-encoding":
            encoding_of(headers)
        elif name == b"content-length" and value.isdigit() and int(value[:20]) > max_body:
            raise _too_large(max_body)
    return is_other


class BodyReader:
    """Reads the bodies of requests on one event loop.

    Args:
        budget: what counts them while they come.
    """

    def __init__(self, budget: ByteBudget) -> None:
        self._timeouts = Timeouts(_LOOK_SECONDS)
        self._budget = budget

    async def read(self, receive: Receive, max_body: int, headers: Iterable[Header] = ()) -> bytes:
        """The body of a request whose headers were checked, inflated where they say so; once at a time in a task.

        Raises:
            RequestError: 413, as soon as more than ``max_body`` bytes have come, or come out of it; 408 when they come
                too slowly; 400 when it is not compressed as it says.
            NoRoom: too many bodies arrive and wait already.
            ClientGone: the caller hung up.
        """
        body = await self._read(receive, max_body)
        encoding = encoding_of(headers)
        return await inflated(body, encoding, max_body, self._budget) if encoding else body

    async def _read(self, receive: Receive, max_body: int) -> bytes:
        coming = _Coming(self._budget, self._timeouts)
        try:
            return await self._timeouts.wait(_gather(receive, max_body, coming), coming.until)
        except TimeoutError:
            if coming.gave_up:
                raise NoRoom from None
            raise RequestError(f"the body did not come within {_BODY_SECONDS} seconds", status=408) from None
        finally:
            coming.release()


class _Coming:
    """A body that has not come whole yet."""

    __slots__ = ("_budget", "_gathered", "_hold", "_started", "_task", "_timeouts", "gave_up", "size")

    def __init__(self, budget: ByteBudget, timeouts: Timeouts) -> None:
        self._started = time.monotonic()
        self._budget = budget
        self._timeouts = timeouts
        self._hold: Hold | None = None
        self._gathered = bytearray()
        self.size = 0
        self.gave_up = False
        """Whether it let go of the room it had."""

    def until(self) -> float:
        """By when more of it has to be there."""
        return _BODY_SECONDS + (self._started if self._hold is None else self._hold.kept_up)

    def add(self, chunk: bytes, most: int, *, last: bool) -> None:
        """Count a part of it.

        Raises:
            RequestError: 413, it is longer than ``most`` bytes.
            NoRoom: there is no room for it.
        """
        self.size += len(chunk)
        if self.size > most:
            raise _too_large(most)
        if self._hold is None and not last:
            self._task = asyncio.current_task()
            self._hold = self._budget.hold(0, self._let_go)
        if self._hold is not None:
            self._hold.grow(len(chunk))
            self._gathered += chunk

    def whole(self, chunk: bytes) -> bytes:
        """The whole body, of which this was the last part."""
        return chunk if self._hold is None else bytes(self._gathered)

    def release(self) -> None:
        """Keep nothing of it: the exception that a body ends in may live for as long as its rest is taken in."""
        self._gathered = bytearray()
        if self._hold is not None:
            self._hold.release()

    def _let_go(self) -> None:
        self.gave_up = True
        self._gathered = bytearray()
        assert self._task is not None
        self._timeouts.give_up(self._task)


async def _gather(receive: Receive, max_body: int, coming: _Coming) -> bytes:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        last = not message.get("more_body", False)
        coming.add(chunk, max_body, last=last)
        if last:
            return coming.whole(chunk)


async def respond(send: Send, status: int, body: bytes, *headers: Header, content_type: bytes = JSON) -> None:
    """Send an answer, in JSON unless it is said to be of another type."""
    head = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def respond_early(receive: Receive, send: Send, status: int, body: bytes, *headers: Header) -> None:
    """Answer a request whose body has not been read, and end the connection.

    The rest of the body is taken in for a while and thrown away: to close on a caller who is still sending resets the
    connection, and the answer is lost with it.
    """
    length = (b"content-length", b"%d" % len(body))
    head = [_JSON_HEADER, length, CLOSE, *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                pass
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b""})


def has_body(headers: Iterable[Header]) -> bool:
    """Whether a request with these headers brings a body."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0") for name, value in headers
    )


def retry_after(seconds: int) -> Header:
    """When a caller who was refused may come back."""
    return (b"retry-after", b"%d" % seconds)


def errors_in_json(send: Send) -> Send:
    """``send`` for an app that answers its errors in plain text: they become ``{"error": the status in words}``."""
    failed: int | None = None

    async def translated(message: Message) -> None:
        nonlocal failed
        if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.BAD_REQUEST:
            in_json = any(name == b"content-type" and b"json" in value for name, value in message["headers"])
            failed = None if in_json else message["status"]
        if failed is None:
            await send(message)
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            await respond(send, failed, error_body(HTTPStatus(failed).phrase))

    return translated


def with_header(send: Send, header: Header) -> Send:
    """``send`` for an app whose answers get one more header."""

    async def extended(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], header]}
        await send(message)

    return extended


def error_body(message: str) -> bytes:
    """``{"error": message}``."""
    return _written({"error": message})


def refusal_body(error: RequestError) -> bytes:
    """``{"error": the first fault, "errors": [{"path", "message"}, ...]}``; the second only where faults have paths."""
    content: dict[str, Any] = {"error": str(error)}
    if error.faults:
        content["errors"] = [{"path": fault.path, "message": fault.message} for fault in error.faults]
    return _written(content)


def _written(content: Any) -> bytes:
    """JSON that may repeat what a caller sent: half a surrogate pair, which UTF-8 has no bytes for, becomes "?"."""
    try:
        return orjson.dumps(content)
    except TypeError:  # orjson's own error is one
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _check_content_type(value: bytes, other: str) -> bool:
    """Whether a content type is the other one; refuses what is neither."""
    media_type, *parameters = value.decode("latin-1").lower().split(";")
    if other and media_type.strip() == other:
        return True
    if media_type.strip() != "application/json":
        also = f", or as {other}" if other else ""
        raise RequestError(f"a body must be JSON: send it with Content-Type: application/json{also}", status=415)
    for parameter in parameters:
        key, _, charset = parameter.partition("=")
        if key.strip() == "charset" and charset.strip().strip('"') not in {"utf-8", "utf8", "us-ascii"}:
            raise RequestError("a body must be JSON in UTF-8: send it without another charset", status=415)
    return False


def _too_large(max_body: int) -> RequestError:
    return RequestError(
        f"a body holds at most {max_body:,} bytes; send the rows in several requests, or raise ROWCAST_MAX_BODY",
        status=413,
    )
