"""One line for each request, when it is asked for: who asked for what, under which id, and how it ended.

Nothing of a request's body, query or headers is in it but its id, and nothing of its key but the holder's name.
"""

from __future__ import annotations

import re
import sys
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

import orjson

from rowcast.service.http.body import ASGIApp, Header, Message, Receive, Scope, Send
from rowcast.service.http.probes import PROBES
from rowcast.service.middleware.keys import Keys
from rowcast.service.middleware.log_queue import LineWriter, writer_of

ID = b"x-request-id"
_QUIET = PROBES | {"/metrics"}
_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
"""Ids of callers that are taken over; whatever else comes could be anything."""
_PATH_CHARACTERS = 200


class _Output:
    """Where this process writes its lines."""

    writer: LineWriter | None = None


def start_log() -> None:
    """Have the lines written to standard output, each as it is; once in a worker.

    They are queued: an output that nobody reads stops no request. A process without an output writes none.
    """
    _Output.writer = None if sys.stdout is None else writer_of(sys.stdout.fileno())


def request_id(headers: Iterable[Header]) -> str:
    """The id that a caller gave a request, or a new one."""
    for name, value in headers:
        if name == ID and _ID.fullmatch(value):
            return value.decode()
    return uuid.uuid4().hex


def write_line(
    *, request: str, protocol: str, method: str, path: str, status: int | str | None, started: float, holder: str | None
) -> None:
    """Write the line of a request that has ended.

    Args:
        request: its id.
        protocol: ``http`` or ``grpc``.
        method: over HTTP its verb, over gRPC its name.
        path: over HTTP, without the query.
        status: None when the caller hung up before there was one.
        started: on the clock of ``time.perf_counter``.
        holder: of its key.
    """
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "id": request,
        "protocol": protocol,
        "method": method,
        "path": path[:_PATH_CHARACTERS],
        "status": status,
        "ms": round((time.perf_counter() - started) * 1e3, 3),
    }
    if holder is not None:
        line["key"] = holder
    if _Output.writer is not None:
        _Output.writer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


class AccessLog:
    """ASGI app that writes a line for every request to another, and gives every answer its request's id.

    Probes and scrapes that went well are left out: they come every few seconds, and say nothing.
    """

    def __init__(self, app: ASGIApp, keys: Keys | None) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and write its line when it has ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request = request_id(scope["headers"])
        status: int | None = None

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (ID, request.encode())]}
            await send(message)

        try:
            await self._app(scope, receive, named)
        finally:
            if status != 200 or scope["path"] not in _QUIET:
                write_line(
                    request=request,
                    protocol="http",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    started=started,
                    holder=None if self._keys is None else self._keys.holder(scope["headers"]),
                )
