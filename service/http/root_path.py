"""A service behind a path of a proxy's: ``ROWCAST_ROOT_PATH=/prefix``.

Some proxies take the prefix off a path before they pass a request on, others leave it there. Both work: a path that
begins with the prefix is read without it, and every path is known without it as well. The prefix alone leads to the
page at ``/prefix/``, whose links are relative. The OpenAPI document names the prefix as its server.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from rowcast.service.http.body import ASGIApp, Receive, Scope, Send, respond

_Route = TypeVar("_Route")


class WithoutRootPath:
    """ASGI app that reads paths without the prefix for another; outside of all that looks at a path.

    Args:
        app: the other.
        prefix: ``/prefix``.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix
        self._inside = prefix + "/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        path = scope.get("path", "")
        if path == self._prefix and scope.get("method") in {"GET", "HEAD"}:
            await respond(send, HTTPStatus.TEMPORARY_REDIRECT, b"{}", (b"location", self._inside.encode()))
            return
        if path.startswith(self._inside):
            raw: bytes = scope.get("raw_path") or b""
            bare: dict[str, Any] = {"path": path[len(self._prefix) :]}
            if raw.startswith(self._prefix.encode()):
                bare["raw_path"] = raw[len(self._prefix) :]
            scope = {**scope, **bare}
        await self._app(scope, receive, send)


def with_prefix(routes: Mapping[str, _Route], prefix: str) -> dict[str, _Route]:
    """Routes by their paths, with the prefix and without."""
    return {**routes, **{prefix + path: route for path, route in routes.items()}}
