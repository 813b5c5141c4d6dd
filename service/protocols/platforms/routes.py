"""Every route of the platforms' protocols, by its whole path, in a table that is made when the app is built."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

import orjson

from rowcast.models.arrow import MEDIA_TYPE
from rowcast.service.engine.model import Model
from rowcast.service.engine.registry import Registry
from rowcast.service.http.body import JSON, ASGIApp, Receive, Scope, Send, error_body
from rowcast.service.http.exchange import Exchange
from rowcast.service.http.handlers import Route
from rowcast.service.http.probes import OWN_PROBES
from rowcast.service.http.split_route import SplitRoute
from rowcast.service.platform_variables import routes_of
from rowcast.service.protocols.platforms import kserve_v1, mlflow, sagemaker, vertex
from rowcast.service.protocols.platforms.predictions import PlatformEndpoint, Understand, json_exchange
from rowcast.service.protocols.rows.route import RowsRoute
from rowcast.service.protocols.v2 import metadata as v2_metadata

_TEXT = b"text/plain; charset=utf-8"
_SEVERAL = "this route is for one model, and several are served: name one with ROWCAST_MODELS, or send rows to "


class Platforms:
    """The routes of the platforms. None of them holds this object, see :class:`rowcast.service.engine.model.Model`.

    Args:
        registry: the models, and whether they are ready.
        exchange: answers their requests.
        rows: every path that takes rows, and what answers there.
        variables: the environment, in which Vertex AI names its routes.
    """

    def __init__(
        self,
        registry: Registry,
        exchange: Exchange,
        rows: Mapping[str, RowsRoute],
        variables: Mapping[str, str] = os.environ,
    ) -> None:
        self._registry = registry
        self._exchange = exchange
        self._rows = {route.model: route.rows for route in rows.values()}
        self._splits = {split.live: split for split in registry.splits.values()}
        self.routes: dict[str, ASGIApp] = {}
        """What answers each path."""
        self.predict: dict[str, PlatformEndpoint] = {}
        """Those that take rows."""
        for path, served in kserve_v1.predict_paths(registry).items():
            self._add(path, served, json_exchange(kserve_v1.FORM))
        for path, content in kserve_v1.pages(registry).items():
            self._add_page(path, orjson.dumps(content))
        self._add(mlflow.INVOCATIONS, registry.only, sagemaker.handler)
        for path in (mlflow.PING, mlflow.HEALTH):
            self._add_page(path, b"\n", _TEXT)
        version = str(v2_metadata.SERVER["version"]).encode()
        self.routes[mlflow.VERSION] = partial(exchange.show, lambda: (HTTPStatus.OK, version), content_type=_TEXT)
        self._add_vertex(rows, variables)

    def _add_vertex(self, rows: Mapping[str, RowsRoute], variables: Mapping[str, str]) -> None:
        named = routes_of(variables)
        if named.predict is not None and named.predict not in self.predict:
            known = rows.get(named.predict)
            self._add(named.predict, self._registry.only if known is None else known.model, vertex.handler)
            if known is not None:
                self.routes[named.predict] = _but_arrow(self._exchange, self.routes[named.predict], known)
        if named.health is not None and named.health not in OWN_PROBES:
            self.predict.pop(named.health, None)  # it is asked without a key, and so answers nothing else
            self._add_page(named.health, b'{"ready":true}')

    def _add(self, path: str, model: Model | None, handler: Understand) -> None:
        if model is None:
            self.routes[path] = partial(_several, self._exchange, list(self._registry.models))
        else:
            endpoint = self.predict[path] = PlatformEndpoint(self._rows[model], handler)
            split = None if "/versions/" in path or "@" in path else self._splits.get(model)
            route: Route = endpoint
            if split is not None:
                route = SplitRoute(split, endpoint, PlatformEndpoint(self._rows[split.new], handler))
            self.routes[path] = partial(self._exchange.predict, route)

    def _add_page(self, path: str, body: bytes, content_type: bytes = JSON) -> None:
        """A page that is there when the models are ready."""
        page = partial(self._exchange.when_ready, body)
        self.routes[path] = partial(self._exchange.show, page, content_type=content_type)


async def _several(exchange: Exchange, names: list[str], scope: Scope, receive: Receive, send: Send) -> None:
    routes = ", ".join(f"/models/{name}/predict" for name in names)
    await exchange.refuse(scope, receive, send, HTTPStatus.NOT_FOUND, error_body(_SEVERAL + routes))


def _but_arrow(exchange: Exchange, instances: ASGIApp, rows: RowsRoute) -> ASGIApp:
    """A route of rows that takes instances, too: streams go to whoever answered there."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        arrow = MEDIA_TYPE.encode()
        types = [value.strip().lower() for name, value in scope["headers"] if name == b"content-type"]
        if any(value.startswith(arrow) for value in types):
            await exchange.predict(rows, scope, receive, send)
        else:
            await instances(scope, receive, send)

    return answer
