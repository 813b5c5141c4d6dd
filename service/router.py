"""The ASGI app: answers the routes of predictions itself and hands everything else to BentoML's.

Most requests for predictions never come here: ``http/fast_path.py`` answers those that arrive whole, before ASGI.

The tables are made for the models that are served. When others are, new ones take their place in one step; a request
goes on with the one that it was found in.

BentoML's own stack (five tracing spans, a request context, a timer, a schema rebuilt for each answer) serves several
hundred requests a second; ahead of it a worker serves several thousand. The routes are looked up whole, in a table made
before: a path never becomes a file name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

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
from rowcast.service.http.probes import asks_for_details
from rowcast.service.http.split_route import ShortSplitRoute
from rowcast.service.metrics.counts import NO_MODEL, REQUESTS
from rowcast.service.protocols.arrow.endpoint import ArrowEndpoint
from rowcast.service.protocols.platforms import kserve_v1
from rowcast.service.protocols.platforms.routes import Platforms
from rowcast.service.protocols.rows.endpoint import RowsEndpoint
from rowcast.service.protocols.rows.route import RowsRoute
from rowcast.service.protocols.v2.endpoint import InferEndpoint
from rowcast.service.protocols.v2.routes import OpenInference
from rowcast.service.rollout.promotion import waiting

_OWN_SCRIPTS_ONLY: Header = (
    b"content-security-policy",
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
)
"""BentoML's page at / would have a visitor's browser report to Google Tag Manager."""
_DOCS = "/docs.json"
_VERSION = re.compile(r"/models/([a-z0-9_-]{1,64})/versions/([1-9][0-9]{0,8})(?:/predict)?")


class _Endpoints(NamedTuple):
    """What answers requests for a model; it knows the forms that it has answered before."""

    rows: RowsRoute
    tensors: InferEndpoint

    @classmethod
    def of(cls, model: Model) -> _Endpoints:
        """Those of a model; it takes as long as the model has columns."""
        return cls(RowsRoute(RowsEndpoint(model), ArrowEndpoint(model)), InferEndpoint(model))


class _Table(NamedTuple):
    """Every path that belongs to models."""

    predict: Mapping[str, Model]
    """Every path that takes rows."""
    routes: dict[str, ShortRoute]
    """The paths that predictions are asked on, and what answers there."""
    open_inference: OpenInference
    platforms: Platforms
    pages: Mapping[str, Page]

    @classmethod
    def of(cls, registry: Registry, exchange: Exchange, endpoints: Mapping[Model, _Endpoints]) -> _Table:
        """The paths of the models that are served now."""
        predict = predict_routes(registry)
        splits = {split.live: split for split in registry.splits.values()}
        routes: dict[str, ShortRoute] = {}
        for path, model in predict.items():
            if registry.settings.front or names_version(path):
                rows, split = endpoints[model].rows, None if names_version(path) else splits.get(model)
                routes[path] = rows if split is None else ShortSplitRoute(split, rows, endpoints[split.new].rows)
        open_inference = OpenInference(registry, exchange, {model: both.tensors for model, both in endpoints.items()})
        routes |= open_inference.infer
        platforms = Platforms(registry, exchange, {path: endpoints[model].rows for path, model in predict.items()})
        for path in platforms.routes:  # of which Vertex AI may name any
            routes.pop(path, None)
            open_inference.infer.pop(path, None)
        return cls(predict, routes, open_inference, platforms, _pages(registry, exchange))


class Router:
    """ASGI app in front of BentoML's.

    Args:
        inner: BentoML's app.
        registry: the models, and whether they are ready.
        inner_paths: the paths that are passed on to it. It makes a metric's label of every path it is asked for, so
            those that it does not know are kept from it.
    """

    def __init__(self, inner: ASGIApp, registry: Registry, inner_paths: Collection[str]) -> None:
        self._rendered = PageCache(inner, {"/metrics": (PER_SECOND, registry.flush_meters), _DOCS: (0, lambda: None)})
        self._inner = inner
        self._registry = registry
        self._exchange = Exchange(registry)
        self._endpoints: dict[Model, _Endpoints] = {}
        self._table: _Table
        self.follow()
        # BentoML has routes for the models of the start, which may be gone
        self._inner_paths = frozenset(inner_paths) - (self._table.predict.keys() if registry.settings.front else set())
        self._strangers = REQUESTS.labels(NO_MODEL, "4xx")
        registry.join(self)

    @property
    def routes(self) -> dict[str, ShortRoute]:
        """The paths that predictions are asked on now, and what answers there."""
        return self._table.routes

    def prepare(self, model: Model) -> None:
        """Make what answers requests for a model that may be served soon."""
        self._endpoints[model] = _Endpoints.of(model)

    def follow(self) -> None:
        """Answer requests for the models that are served now, and for no others."""
        served = self._registry.versions.values()
        self._endpoints = {model: self._endpoints.get(model) or _Endpoints.of(model) for model in served}
        self._table = _Table.of(self._registry, self._exchange, self._endpoints)
        self._rendered.forget(_DOCS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        path, table = scope["path"], self._table
        route = table.routes.get(path)
        if route is not None:
            await self._exchange.predict(route, scope, receive, send)
        elif path in table.platforms.routes:
            await table.platforms.routes[path](scope, receive, send)
        elif path == "/v2" or path.startswith("/v2/"):
            await table.open_inference(scope, receive, send)
        elif path == "/readyz" and asks_for_details(scope):
            await self._exchange.show(self._details, scope, receive, send)
        elif path in table.pages:
            await self._exchange.show(table.pages[path], scope, receive, send)
        elif path == "/" and kserve_v1.asks_for_life(scope["headers"]):
            await self._exchange.show(partial(_found, kserve_v1.ALIVE), scope, receive, send)
        elif path in self._inner_paths:
            send = errors_in_json(send)
            await self._rendered(scope, receive, with_header(send, _OWN_SCRIPTS_ONLY) if path == "/" else send)
        else:
            self._strangers.inc()
            words = self._registry.unserved_in(path) or _whereabouts(table, path)
            await self._exchange.refuse(scope, receive, send, 404, error_body(words))

    def _details(self) -> tuple[int, bytes]:
        """Whether the worker is ready, what it serves, and what keeps other versions from it."""
        status, _ = self._exchange.when_ready(b"")
        return status, orjson.dumps(details(self._registry, ready=status == HTTPStatus.OK))


def details(registry: Registry, *, ready: bool) -> dict[str, Any]:
    """What ``/readyz?verbose`` tells."""
    notes = [note for note in registry.notes if note.version]
    models: dict[str, dict[str, Any]] = {
        name: {
            "name": name,
            "version": served.version,
            "versions": served.versions,
            "warnings": [note.reason for note in notes if note.name == name and note.state == "REMOVED"],
            "not_served": [],
            "rollout": _rollout(registry, name),
        }
        for name, served in registry.models.items()
    }
    for note in notes:
        if note.state != "REMOVED":
            about = {"version": note.version, "state": note.state, "kind": note.kind, "reason": note.reason}
            new: dict[str, Any] = {"name": note.name, "version": None, "versions": [], "warnings": [], "not_served": []}
            new["rollout"] = _rollout(registry, note.name)
            models.setdefault(note.name, new)["not_served"].append(about)
    warnings = [note.reason for note in registry.notes if not note.version]
    return {
        "ready": ready,
        "reload": registry.settings.reload,
        "models": [models[name] for name in sorted(models)],
        "warnings": warnings,
    }


def _rollout(registry: Registry, name: str) -> dict[str, Any]:
    """The version on trial, and what the aliases of a name stand for, as ``rowcast rollout status`` tells it."""
    aliases = {alias: served.version for (one, alias), served in registry.aliases.items() if one == name}
    split = registry.trials.get(name)
    trial = None if split is None else split.trial
    tally = None if split is None else registry.measured(split)
    shares = {"canary": trial and trial.canary, "shadow": trial and trial.shadow}
    return {
        **{
            what: None if trial is None or share is None else {"version": trial.version, "share": share}
            for what, share in shares.items()
        },
        "guards": {guard: trial and getattr(trial, guard) for guard in ("errors", "p99", "disagree")},
        "promote_after": trial and trial.promote_after,
        "promotion_waits_for": None if trial is None or tally is None else waiting(trial, tally) or None,
        "since": trial and trial.since,
        "aliases": aliases,
        "measured": None if tally is None else tally.told(),
    }


def _whereabouts(table: _Table, path: str) -> str:
    asked = _VERSION.fullmatch(path)
    served = None if asked is None else table.predict.get(f"/models/{asked[1]}/predict")
    if asked is not None and served is not None:
        versions = ", ".join(map(str, served.versions))
        return f"version {asked[2]} of {served.name} is not served; versions that are: {versions}"
    routes = ", ".join(route for route in table.predict if "/versions/" not in route)
    return f"there is no such model or route; rows are sent to {routes or 'no route: no model is served'}"


def _found(body: bytes) -> tuple[int, bytes]:
    return HTTPStatus.OK, body


def names_version(path: str) -> bool:
    """Whether a path that takes rows is of one version, whatever is on trial."""
    return "/versions/" in path or "@" in path


def predict_routes(registry: Registry) -> dict[str, Model]:
    """Every path that takes rows, and the model behind it."""
    routes = {f"/models/{name}/predict": served for name, served in registry.models.items()}
    if registry.only is not None:
        routes["/predict"] = registry.only
    for (name, version), served in registry.versions.items():
        routes[f"/models/{name}/versions/{version}/predict"] = served
    routes |= {f"/models/{name}@{alias}/predict": served for (name, alias), served in registry.aliases.items()}
    return routes


def _pages(registry: Registry, exchange: Exchange) -> dict[str, Page]:
    models, versions = registry.models, registry.versions
    everything = [served.description for served in models.values()]
    pages: dict[str, Page] = {"/models": _written_once(lambda: {"models": everything})}
    for (name, version), served in versions.items():
        page = _written_once(partial(getattr, served, "description"))
        pages[f"/models/{name}/versions/{version}"] = page
        if models[name] is served:
            pages[f"/models/{name}"] = page
    for (name, alias), served in registry.aliases.items():
        pages[f"/models/{name}@{alias}"] = pages[f"/models/{name}/versions/{served.version}"]
    pages["/livez"] = partial(_found, b'{"live":true}')
    pages["/readyz"] = lambda: exchange.when_ready(b'{"ready":true}')
    return pages


def _written_once(content: Callable[[], Any]) -> Page:
    """A page of JSON that is written when it is asked for first: of many columns it takes milliseconds."""
    written: list[bytes] = []

    def page() -> tuple[int, bytes]:
        if not written:
            written.append(orjson.dumps(content()))
        return _found(written[0])

    return page


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
