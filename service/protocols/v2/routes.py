"""The Open Inference protocol (V2) over HTTP: every route under ``/v2``, ahead of BentoML.

Requests share runs with those of every other protocol. As in front, routes are looked up whole in a table that is made
before. A model that is not served yet, or in another version, is loaded for who may change what is served; none is
unloaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson

from rowcast.models.errors import RequestError
from rowcast.service.caller import Caller
from rowcast.service.engine.model import Model
from rowcast.service.engine.registry import Registry
from rowcast.service.http.body import ClientGone, Receive, Scope, Send, error_body
from rowcast.service.http.exchange import Exchange, Page
from rowcast.service.http.handlers import ShortRoute
from rowcast.service.http.split_route import ShortSplitRoute
from rowcast.service.metrics.counts import NO_MODEL, REQUESTS
from rowcast.service.protocols.v2 import metadata as v2_metadata
from rowcast.service.protocols.v2.endpoint import InferEndpoint
from rowcast.service.protocols.v2.loading import Load, load, wants_ready

NO_UNLOAD = "a model is served until its folder is removed from the repository, or ROWCAST_MODELS leaves it out"
_INDEX = "/v2/repository/index"
_MODELS = "/v2/repository/models/"
_LOAD = re.compile(re.escape(_MODELS) + "([a-z0-9_-]{1,64})/load")
_MAX_COMMAND_BYTES = 2**16
"""Bytes that the body of a repository's command may hold."""


class OpenInference:
    """ASGI app of the routes under ``/v2``.

    Args:
        registry: the models, and whether they are ready.
        exchange: answers their requests.
        inferences: what answers requests for each model.
    """

    def __init__(self, registry: Registry, exchange: Exchange, inferences: Mapping[Model, InferEndpoint]) -> None:
        self._exchange = exchange
        versions = list(registry.versions.values())
        self._pages: dict[str, Page] = {
            "/v2": lambda: _page(v2_metadata.SERVER),
            "/v2/health/live": lambda: _page({"live": True}),
            "/v2/health/ready": lambda: exchange.when_ready(b'{"ready":true}'),
            "/v2/models/stats": lambda: _page(v2_metadata.statistics(*versions)),
        }
        self._registry = registry
        self._unloads = {f"{_MODELS}{name}/unload" for name in registry.models}
        self._inferences = inferences
        self.infer: dict[str, ShortRoute] = {}
        """The paths that tensors are sent to, and what answers them."""
        for (name, version), served in registry.versions.items():
            self._add(f"/v2/models/{name}/versions/{version}", served)
        for (name, alias), served in registry.aliases.items():
            self._add(f"/v2/models/{name}@{alias}", served)
        for name, served in registry.models.items():
            self._add(f"/v2/models/{name}", served)
            split = registry.splits.get(name)
            if split is not None:
                both = self._inferences[served], self._inferences[split.new]
                self.infer[f"/v2/models/{name}/infer"] = ShortSplitRoute(split, *both)
        self._strangers = REQUESTS.labels(NO_MODEL, "4xx")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope["path"]
        if path in self.infer:
            await self._exchange.predict(self.infer[path], scope, receive, send)
        elif path in self._pages:
            await self._exchange.show(self._pages[path], scope, receive, send)
        elif path == _INDEX or path in self._unloads or _LOAD.fullmatch(path):
            await self._command(path, scope, receive, send)
        else:
            self._strangers.inc()
            known = self._registry.unserved_in(path) or "there is no such model or route"
            known = f"{known}; POST /v2/repository/index lists the models"
            await self._exchange.refuse(scope, receive, send, HTTPStatus.NOT_FOUND, error_body(known))

    def _add(self, path: str, served: Model) -> None:
        exchange = self._exchange  # a page that held this app would keep its models when others take their place
        ready = orjson.dumps({"name": served.name, "version": str(served.version), "ready": True})
        self._pages[path] = lambda: _page(v2_metadata.model(served))
        self._pages[f"{path}/ready"] = lambda: exchange.when_ready(ready)
        self._pages[f"{path}/config"] = lambda: _page(v2_metadata.config(served))
        self._pages[f"{path}/stats"] = lambda: _page(v2_metadata.statistics(served))
        self.infer[f"{path}/infer"] = self._inferences[served]

    async def _command(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what the repository is told."""
        if scope["method"] != "POST":
            await self._exchange.refuse_method(scope, receive, send, "this is sent with POST", b"POST")
            return
        try:
            body = await self._exchange.bodies.read(receive, _MAX_COMMAND_BYTES)
            reply = await self._obey(path, body, scope)
        except RequestError as error:
            await self._exchange.refuse(scope, receive, send, error.status, error_body(str(error)))
        except ClientGone:
            return
        else:
            await self._exchange.respond(send, *reply)

    async def _obey(self, path: str, body: bytes, scope: Scope) -> tuple[int, bytes]:
        if path == _INDEX:
            return _page(v2_metadata.index(self._registry, only_ready=wants_ready(body)))
        if path in self._unloads:
            return HTTPStatus.BAD_REQUEST, error_body(NO_UNLOAD)
        asked = Load.read(path.removeprefix(_MODELS).removesuffix("/load"), body)
        await load(self._registry, asked, Caller.of_scope(scope))
        return self._exchange.when_ready(b"{}")


def _page(content: Any) -> tuple[int, bytes]:
    return HTTPStatus.OK, orjson.dumps(content)
