"""The way in: an ASGI app that answers the hot routes itself and hands everything else to BentoML's.

BentoML's own stack (five tracing spans, a request context, a timer, a schema rebuilt for each answer) serves several
hundred requests a second; ahead of it a worker serves several thousand. The routes are looked up whole, in a table made
when the app is built: a path never becomes a file name.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from http import HTTPStatus
from pathlib import Path

import orjson
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from models.arrow import MEDIA_TYPE
from models.errors import RequestError
from service.bulk import Bulk
from service.http import (
    CLOSE,
    JSON,
    ASGIApp,
    ClientGone,
    Header,
    Receive,
    Scope,
    Send,
    check_headers,
    error_body,
    errors_in_json,
    has_body,
    respond,
    respond_early,
    with_header,
)
from service.metrics import NO_MODEL, REQUESTS
from service.page_cache import PER_SECOND, PageCache
from service.platforms import kserve_v1
from service.platforms.routes import Platforms
from service.routes import RowsRoute, ShortRoute
from service.served import ServedModel
from service.serving import LOADING, Serving
from service.terms import terms_of
from service.v2_http import OpenInference

_ALLOW_POST: Header = (b"allow", b"POST")
_ALLOW_GET: Header = (b"allow", b"GET, HEAD")
_OWN_SCRIPTS_ONLY: Header = (
    b"content-security-policy",
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
)
"""BentoML's page at / would have a visitor's browser report to Google Tag Manager."""


class Front:
    """ASGI app in front of BentoML's.

    Args:
        inner: BentoML's app.
        serving: the models, and whether they are ready.
        inner_paths: the paths that are passed on to it. It makes a metric's label of every path it is asked for, so
            those that it does not know are kept from it.
    """

    def __init__(self, inner: ASGIApp, serving: Serving, inner_paths: Collection[str]) -> None:
        self._inner = inner
        self._rendered = PageCache(
            inner, {"/metrics": (PER_SECOND, serving.flush_meters), "/docs.json": (0, lambda: None)}
        )
        self._inner_paths = inner_paths
        self._serving = serving
        self._predict = predict_routes(serving)
        """Every path that takes rows."""
        self._bulk = {served: Bulk(served, serving.settings.max_rows) for served in serving.versions.values()}
        self._pages = _pages(serving)
        self.routes = {
            path: served for path, served in self._predict.items() if serving.settings.front or "/versions/" in path
        }
        """The paths whose requests are answered here, and the model behind each."""
        self._open_inference = OpenInference(serving, self._respond, self._refuse)
        self._platforms = Platforms(serving, self._respond, self._refuse, self._predict, self._answer)
        for path in self._platforms.routes:  # of which Vertex AI may name any
            self.routes.pop(path, None)
            self._open_inference.infer.pop(path, None)
        rows = {path: RowsRoute(served, self._bulk[served]) for path, served in self.routes.items()}
        self.short: dict[str, ShortRoute] = {**rows, **self._open_inference.infer}
        """The paths among them, and of Open Inference, whose requests may take the short way."""
        self._strangers = REQUESTS.labels(NO_MODEL, "4xx")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        path = scope["path"]
        served = self.routes.get(path)
        if served is not None:
            await self._answer(served, scope, receive, send)
        elif path in self._platforms.routes:
            await self._platforms.routes[path](scope, receive, send)
        elif path == "/v2" or path.startswith("/v2/"):
            await self._open_inference(scope, receive, send)
        elif path in self._pages:
            await self._show(scope, receive, send, 200, self._pages[path])
        elif path == "/livez":
            await self._show(scope, receive, send, 200, b'{"live":true}')
        elif path == "/readyz":
            await self._show(scope, receive, send, *self._readiness())
        elif path == "/" and kserve_v1.asks_for_life(scope["headers"]):
            await self._show(scope, receive, send, 200, kserve_v1.ALIVE)
        elif path in self._inner_paths:
            send = errors_in_json(send)
            await self._rendered(scope, receive, with_header(send, _OWN_SCRIPTS_ONLY) if path == "/" else send)
        else:
            self._strangers.inc()
            await self._refuse(scope, receive, send, 404, error_body(self._whereabouts()))

    async def _answer(self, served: ServedModel, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        if scope["method"] != "POST":
            served.meter.request(405, time.perf_counter() - started)
            await self._refuse(scope, receive, send, 405, error_body("rows are sent with POST"), _ALLOW_POST)
            return
        if not self._serving.ready:
            served.meter.request(503, time.perf_counter() - started)
            await self._refuse(scope, receive, send, 503, error_body(LOADING))
            return
        try:
            in_arrow = check_headers(scope["headers"], served.max_body, MEDIA_TYPE)
            terms = terms_of(scope["headers"])
            content = await served.bodies.read(receive, served.max_body, scope["headers"])
        except RequestError as error:
            reply = served.refusal(error)
            served.meter.request(reply.status, time.perf_counter() - started)
            await self._refuse(scope, receive, send, reply.status, reply.body, *reply.headers)
            return
        except ClientGone:
            return
        try:
            answer = self._bulk[served].answer if in_arrow else served.answer
            reply = await answer(content, receive, terms, started)
        except ClientGone:
            return
        await self._respond(send, reply.status, reply.body, *reply.headers, content_type=reply.content_type)
        served.meter.request(reply.status, time.perf_counter() - started)

    def _readiness(self) -> tuple[int, bytes]:
        if self._serving.draining:
            return 503, error_body("the service is shutting down")
        if not self._serving.ready:
            return 503, error_body("the models are still being loaded")
        return 200, b'{"ready":true}'

    def _whereabouts(self) -> str:
        routes = ", ".join(route for route in self._predict if "/versions/" not in route)
        return f"there is no such model or route; rows are sent to {routes or 'no route: no model is served'}"

    async def _show(self, scope: Scope, receive: Receive, send: Send, status: int, body: bytes) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            await self._refuse(scope, receive, send, 405, error_body("this page is read with GET"), _ALLOW_GET)
        else:
            await self._respond(send, status, body)

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, status: int, body: bytes, *headers: Header
    ) -> None:
        """Answer a request whose body, if it has one, has not been read to its end."""
        if status == HTTPStatus.REQUEST_TIMEOUT:  # it has had its time
            await respond(send, status, body, CLOSE, *headers)
        elif has_body(scope["headers"]):
            await respond_early(receive, send, status, body, *headers)
        else:
            await self._respond(send, status, body, *headers)

    async def _respond(
        self, send: Send, status: int, body: bytes, *headers: Header, content_type: bytes = JSON
    ) -> None:
        if self._serving.draining:  # so that no caller sends its next request into a closing connection
            headers = (*headers, CLOSE)
        await respond(send, status, body, *headers, content_type=content_type)


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


def paths_of(app: Starlette) -> frozenset[str]:
    """Every path that BentoML's app has something for: its routes, and the files of its folders."""
    return frozenset(path for route in app.routes for path in _paths_of_route(route))


def _paths_of_route(route: BaseRoute) -> Iterator[str]:
    if isinstance(route, Route):
        yield route.path
    elif isinstance(route, Mount) and isinstance(route.app, StaticFiles) and route.app.directory is not None:
        folder = Path(route.app.directory)
        for parent, _, files in os.walk(folder):
            yield from (f"{route.path}/{(Path(parent) / file).relative_to(folder).as_posix()}" for file in files)
