"""The ASGI app: answers the routes of predictions itself and hands everything else to BentoML's.

Most requests for predictions never come here: ``http/fast_path.py`` answers those that arrive whole, before ASGI.

BentoML's own stack (five tracing spans, a request context, a timer, a schema rebuilt for each answer) serves several
hundred requests a second; ahead of it a worker serves several thousand. The routes are looked up whole, in a table made
when the app is built: a path never becomes a file name.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path

import orjson
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from rowcast.service.engine.model import Model
from rowcast.service.engine.registry import Registry
from rowcast.service.http.body import ASGIApp, Header, Receive, Scope, Send, error_body, errors_in_json, with_header
from rowcast.service.http.exchange import Exchange, Page
from rowcast.service.http.handlers import ShortRoute
from rowcast.service.http.page_cache import PER_SECOND, PageCache
from rowcast.service.metrics.counts import NO_MODEL, REQUESTS
from rowcast.service.protocols.arrow.endpoint import ArrowEndpoint
from rowcast.service.protocols.platforms import kserve_v1
from rowcast.service.protocols.platforms.routes import Platforms
from rowcast.service.protocols.rows.endpoint import RowsEndpoint
from rowcast.service.protocols.rows.route import RowsRoute
from rowcast.service.protocols.v2.routes import OpenInference

_OWN_SCRIPTS_ONLY: Header = (
    b"content-security-policy",
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
)
"""BentoML's page at / would have a visitor's browser report to Google Tag Manager."""


class Router:
    """ASGI app in front of BentoML's.

    Args:
        inner: BentoML's app.
        registry: the models, and whether they are ready.
        inner_paths: the paths that are passed on to it. It makes a metric's label of every path it is asked for, so
            those that it does not know are kept from it.
    """

    def __init__(self, inner: ASGIApp, registry: Registry, inner_paths: Collection[str]) -> None:
        self._rendered = PageCache(
            inner, {"/metrics": (PER_SECOND, registry.flush_meters), "/docs.json": (0, lambda: None)}
        )
        self._inner = inner
        self._inner_paths = inner_paths
        self._predict = predict_routes(registry)
        """Every path that takes rows."""
        self._exchange = exchange = Exchange(registry)
        takes_rows = {
            model: RowsRoute(RowsEndpoint(model), ArrowEndpoint(model)) for model in registry.versions.values()
        }
        self.routes: dict[str, ShortRoute] = {
            path: takes_rows[model]
            for path, model in self._predict.items()
            if registry.settings.front or "/versions/" in path
        }
        """The paths that predictions are asked on, and what answers there."""
        open_inference = OpenInference(registry, exchange)
        self.routes |= open_inference.infer
        self._open_inference = open_inference
        self._platforms = Platforms(
            registry, exchange, {path: takes_rows[model] for path, model in self._predict.items()}
        )
        for path in self._platforms.routes:  # of which Vertex AI may name any
            self.routes.pop(path, None)
            open_inference.infer.pop(path, None)
        self._pages: dict[str, Page] = {path: partial(_found, body) for path, body in _pages(registry).items()}
        self._pages["/livez"] = partial(_found, b'{"live":true}')
        self._pages["/readyz"] = lambda: exchange.when_ready(b'{"ready":true}')
        self._strangers = REQUESTS.labels(NO_MODEL, "4xx")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        path = scope["path"]
        route = self.routes.get(path)
        if route is not None:
            await self._exchange.predict(route, scope, receive, send)
        elif path in self._platforms.routes:
            await self._platforms.routes[path](scope, receive, send)
        elif path == "/v2" or path.startswith("/v2/"):
            await self._open_inference(scope, receive, send)
        elif path in self._pages:
            await self._exchange.show(self._pages[path], scope, receive, send)
        elif path == "/" and kserve_v1.asks_for_life(scope["headers"]):
            await self._exchange.show(partial(_found, kserve_v1.ALIVE), scope, receive, send)
        elif path in self._inner_paths:
            send = errors_in_json(send)
            await self._rendered(scope, receive, with_header(send, _OWN_SCRIPTS_ONLY) if path == "/" else send)
        else:
            self._strangers.inc()
            await self._exchange.refuse(scope, receive, send, 404, error_body(self._whereabouts()))

    def _whereabouts(self) -> str:
        routes = ", ".join(route for route in self._predict if "/versions/" not in route)
        return f"there is no such model or route; rows are sent to {routes or 'no route: no model is served'}"


def _found(body: bytes) -> tuple[int, bytes]:
    return HTTPStatus.OK, body


def predict_routes(registry: Registry) -> dict[str, Model]:
    """Every path that takes rows, and the model behind it."""
    routes = {f"/models/{name}/predict": served for name, served in registry.models.items()}
    if registry.only is not None:
        routes["/predict"] = registry.only
    for (name, version), served in registry.versions.items():
        routes[f"/models/{name}/versions/{version}/predict"] = served
    return routes


def _pages(registry: Registry) -> dict[str, bytes]:
    everything = [served.description for served in registry.models.values()]
    pages = {"/models": orjson.dumps({"models": everything})}
    for (name, version), served in registry.versions.items():
        pages[f"/models/{name}/versions/{version}"] = orjson.dumps(served.description)
    for name, served in registry.models.items():
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
