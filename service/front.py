"""The way in: an ASGI app that answers the hot routes itself and hands everything else to BentoML's.

BentoML's own stack (five tracing spans, a request context, a timer, a schema rebuilt for each answer) serves several
hundred requests a second; ahead of it a worker serves several thousand. The routes are looked up whole, in a table made
when the app is built: a path never becomes a file name.
"""

from __future__ import annotations

import logging
import time

import orjson

from models.errors import RequestError
from service.http import (
    ASGIApp,
    ClientGone,
    Header,
    Receive,
    Scope,
    Send,
    check_headers,
    error_body,
    errors_in_json,
    read_body,
    refusal_body,
    respond,
)
from service.metrics import NO_MODEL, REQUESTS
from service.serving import Answer, ServedModel, Serving

logger = logging.getLogger("rowcast.service")

_ALLOW_POST: Header = (b"allow", b"POST")
_ALLOW_GET: Header = (b"allow", b"GET, HEAD")
_CLOSE: Header = (b"connection", b"close")


class Front:
    """ASGI app in front of BentoML's.

    Args:
        inner: BentoML's app, for every path that is not ours.
        serving: the models, and whether they are ready.
    """

    def __init__(self, inner: ASGIApp, serving: Serving) -> None:
        self._inner = inner
        self._serving = serving
        self._predict = predict_routes(serving)
        self._pages = _pages(serving)
        self._typed = (
            set() if serving.settings.front else {route for route in self._predict if "/versions/" not in route}
        )
        self._strangers = REQUESTS.labels(NO_MODEL, "4xx")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        path = scope["path"]
        served = self._predict.get(path)
        if served is not None and path not in self._typed:
            await self._answer(served, scope, receive, send)
        elif path in self._pages:
            await self._show(scope, send, 200, self._pages[path])
        elif path == "/livez":
            await self._show(scope, send, 200, b'{"live":true}')
        elif path == "/readyz":
            await self._show(scope, send, *self._readiness())
        elif served is None and (path == "/predict" or path.startswith("/models/")):
            self._strangers.inc()
            await self._respond(send, 404, error_body(self._whereabouts()))
        else:
            await self._inner(scope, receive, errors_in_json(send))

    async def _answer(self, served: ServedModel, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        if scope["method"] != "POST":
            status, body = 405, error_body("rows are sent with POST")
            await self._respond(send, status, body, _ALLOW_POST)
        else:
            try:
                status, body = await self._predicted(served, scope, receive)
            except ClientGone:
                return
            await self._respond(send, status, body)
        served.meter.request(status, time.perf_counter() - started)

    async def _predicted(self, served: ServedModel, scope: Scope, receive: Receive) -> Answer:
        if not self._serving.ready:
            return 503, error_body("the model is still being loaded: try again in a moment")
        try:
            check_headers(scope["headers"], served.max_body)
            rows = served.read(await read_body(receive, served.max_body))
            return await served.predict(rows, receive)
        except RequestError as error:
            return error.status, refusal_body(error)
        except ClientGone:
            raise
        except Exception:
            logger.exception("a request to %s failed", served.name)
            return 500, error_body("something went wrong on the server; its log says what")

    def _readiness(self) -> Answer:
        if self._serving.draining:
            return 503, error_body("the service is shutting down")
        if not self._serving.ready:
            return 503, error_body("the models are still being loaded")
        return 200, b'{"ready":true}'

    def _whereabouts(self) -> str:
        routes = ", ".join(route for route in self._predict if "/versions/" not in route)
        return f"there is no such model or route; rows are sent to {routes or 'no route: no model is served'}"

    async def _show(self, scope: Scope, send: Send, status: int, body: bytes) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            await self._respond(send, 405, error_body("this page is read with GET"), _ALLOW_GET)
        else:
            await self._respond(send, status, body)

    async def _respond(self, send: Send, status: int, body: bytes, *headers: Header) -> None:
        if self._serving.draining:  # so that no caller sends its next request into a closing connection
            headers = (*headers, _CLOSE)
        await respond(send, status, body, *headers)


def predict_routes(serving: Serving) -> dict[str, ServedModel]:
    """Every path that takes rows, and the model behind it."""
    routes = {f"/models/{name}/predict": served for name, served in serving.models.items()}
    if serving.only is not None:
        routes["/predict"] = serving.only
    for (name, version), served in serving.versions.items():
        routes[f"/models/{name}/versions/{version}/predict"] = served
    return routes


def _pages(serving: Serving) -> dict[str, bytes]:
    everything = [served.description for served in serving.models.values()]
    pages = {"/models": orjson.dumps({"models": everything})}
    for (name, version), served in serving.versions.items():
        pages[f"/models/{name}/versions/{version}"] = orjson.dumps(served.description)
    for name, served in serving.models.items():
        pages[f"/models/{name}"] = orjson.dumps(served.description)
    return pages
