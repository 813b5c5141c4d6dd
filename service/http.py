"""A request's body in, an answer out: the part of ASGI that every route shares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, TypeAlias

import orjson

from models.errors import RequestError

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]

_JSON_HEADER: Header = (b"content-type", b"application/json")


class ClientGone(Exception):
    """The caller hung up: there is nobody to answer."""


def check_headers(headers: Iterable[Header], max_body: int) -> None:
    """Refuse what is not plain JSON of an allowed size, before any of it is read.

    A request that names no content type is taken for JSON.

    Raises:
        RequestError: 415 for another content type, charset or encoding; 413 for a body declared too large.
    """
    for name, value in headers:
        if name == b"content-type":
            _check_content_type(value)
        elif name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            raise RequestError("a body must be sent as it is, however: it has a Content-Encoding", status=415)
        elif name == b"content-length" and value.isdigit() and int(value[:20]) > max_body:
            raise _too_large(max_body)


async def read_body(receive: Receive, max_body: int) -> bytes:
    """The body of a request whose headers were checked.

    Raises:
        RequestError: 413, as soon as more than ``max_body`` bytes have come.
        ClientGone: the caller hung up.
    """
    body = b""
    gathered: bytearray | None = None
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        if gathered is not None:
            gathered += chunk
        elif message.get("more_body", False):
            gathered = bytearray(chunk)
        else:
            body = chunk
        if len(body if gathered is None else gathered) > max_body:
            raise _too_large(max_body)
        if not message.get("more_body", False):
            return body if gathered is None else bytes(gathered)


async def respond(send: Send, status: int, body: bytes, *headers: Header) -> None:
    """Send an answer in JSON."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [_JSON_HEADER, length, *headers]})
    await send({"type": "http.response.body", "body": body})


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


def error_body(message: str) -> bytes:
    """``{"error": message}``."""
    return orjson.dumps({"error": message})


def refusal_body(error: RequestError) -> bytes:
    """``{"error": the first fault, "errors": [{"path", "message"}, ...]}``; the second only where faults have paths."""
    content: dict[str, Any] = {"error": str(error)}
    if error.faults:
        content["errors"] = [{"path": fault.path, "message": fault.message} for fault in error.faults]
    return orjson.dumps(content)


def _check_content_type(value: bytes) -> None:
    media_type, *parameters = value.decode("latin-1").lower().split(";")
    if media_type.strip() != "application/json":
        raise RequestError("a body must be JSON: send it with Content-Type: application/json", status=415)
    for parameter in parameters:
        key, _, charset = parameter.partition("=")
        if key.strip() == "charset" and charset.strip().strip('"') not in {"utf-8", "utf8", "us-ascii"}:
            raise RequestError("a body must be JSON in UTF-8: send it without another charset", status=415)


def _too_large(max_body: int) -> RequestError:
    return RequestError(
        f"a body holds at most {max_body:,} bytes; send the rows in several requests, or raise ROWCAST_MAX_BODY",
        status=413,
    )
