"""The middleware around the router: API keys, CORS, the access log, traces.

Each is there only if its setting is, and otherwise costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import cached_property

from starlette.middleware.cors import CORSMiddleware

from rowcast.service.http.body import (
    ASGIApp,
    Header,
    Receive,
    Scope,
    Send,
    error_body,
    has_body,
    respond,
    respond_early,
)
from rowcast.service.http.probes import PROBES, asks_for_details
from rowcast.service.middleware.access_log import ID, AccessLog, start_log
from rowcast.service.middleware.key_watch import KeyWatch
from rowcast.service.middleware.keys import NEEDED, UNKNOWN, Keys, key_in
from rowcast.service.middleware.tracing import Tracing, otlp_provider, traces_are_asked_for
from rowcast.service.rollout.trial import KEY
from rowcast.service.settings import Settings

_ASK_FOR_KEY: Header = (b"www-authenticate", b'Bearer realm="rowcast"')
_ASKED_WITH = (
    *("authorization", "x-api-key", ID.decode(), KEY.decode()),
    *("grpc-timeout", "want-server-timing", "traceparent"),
)
"""Headers that a page of another origin may send, beyond those that every page may."""
_TOLD_WITH = ("retry-after", "server-timing", ID.decode(), "inference-header-content-length")


class Middleware:
    """The middleware of a worker.

    Args:
        settings: the service's.

    Raises:
        ConfigError: a setting cannot be; names it.
    """

    def __init__(self, settings: Settings) -> None:
        self._watch = None if settings.api_keys is None else KeyWatch.of(settings.api_keys)
        self.keys = None if self._watch is None else self._watch.keys
        """They change when their file does."""
        self._key_file = settings.api_keys
        self.logs = settings.access_log
        self._origins = settings.origins
        self._traces = traces_are_asked_for()
        if self.logs:
            start_log()

    def check(self) -> None:
        """Make sure that there are keys, where keys are wanted: before the first worker is started.

        Raises:
            ConfigError: the file of keys is not as it must be.
        """
        if self._key_file is not None:
            Keys.read(self._key_file)

    @cached_property
    def tracing(self) -> Tracing | None:
        """What makes spans; it starts a thread, so the supervisor does not ask for it."""
        return Tracing(otlp_provider()) if self._traces else None

    @property
    def see_every_request(self) -> bool:
        """Whether no request may take the fast path."""
        return self.logs or self._traces

    def may_take_fast_path(self, headers: Iterable[Header]) -> bool:
        """Whether a request with these headers may take the fast path: it has its key, and no page sent it."""
        headers = list(headers)
        if self._origins and any(name == b"origin" for name, _ in headers):
            return False
        return self.keys is None or self.keys.holder(headers) is not None

    def around(self, app: ASGIApp) -> ASGIApp:
        """An app with the middleware around it; the outermost sees a request first."""
        if self.keys is not None:
            app = Guard(app, self.keys)
        if self._origins:  # outside: a browser asks for leave without a key
            app = CORSMiddleware(
                app,
                allow_origins=self._origins,
                allow_methods=("GET", "POST"),
                allow_headers=_ASKED_WITH,
                expose_headers=_TOLD_WITH,
            )
        if self.tracing is not None:
            app = self.tracing.around(app)
        if self.logs:
            app = AccessLog(app, self.keys)
        return app

    def start(self, loop: asyncio.AbstractEventLoop, forget: Callable[[], None]) -> None:
        """Look after the keys from now on, in a worker.

        Args:
            loop: the worker's.
            forget: called when the keys have changed: what was admitted before may not be any more.
        """
        if self._watch is not None:
            self._watch.keys.when_replaced(forget)
            self._watch.start(loop)

    def stop(self) -> None:
        """Send what is left of the traces."""
        if self.tracing is not None:
            self.tracing.stop()


class Guard:
    """ASGI app that passes on what comes with a key; whether the service is well, anyone may ask."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with 401 before its body is read."""
        open_to_all = scope["type"] != "http" or (scope["path"] in PROBES and not asks_for_details(scope))
        if open_to_all or self._keys.holder(scope["headers"]) is not None:
            await self._app(scope, receive, send)
            return
        body = error_body(NEEDED if key_in(scope["headers"]) is None else UNKNOWN)
        if has_body(scope["headers"]):
            await respond_early(receive, send, 401, body, _ASK_FOR_KEY)
        else:
            await respond(send, 401, body, _ASK_FOR_KEY)
