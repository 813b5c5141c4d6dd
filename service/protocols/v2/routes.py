"""The Open Inference protocol (V2) over HTTP: every route under ``/v2``, ahead of BentoML.

Requests share runs with those of every other protocol. As in front, routes are looked up whole in a table that is made
when the app is built. Which models are served is settled when the service starts: loading one that is served changes
nothing, and none is unloaded.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson

from rowcast.models.errors import RequestError
from rowcast.service.engine.model import Model
from rowcast.service.engine.registry import Registry
from rowcast.service.http.body import ClientGone, Receive, Scope, Send, error_body
from rowcast.service.http.exchange import Exchange, Page
from rowcast.service.metrics.counts import NO_MODEL, REQUESTS
from rowcast.service.protocols.v2 import metadata as v2_metadata
from rowcast.service.protocols.v2.endpoint import InferEndpoint

_MAX_COMMAND_BYTES = 2**16
"""Bytes that the body of a repository's command may hold."""


class OpenInference:
    """ASGI app of the routes under ``/v2``.

    Args:
        registry: the models, and whether they are ready.
        exchange: answers their requests.
    """

    def __init__(self, registry: Registry, exchange: Exchange) -> None:
        self._exchange = exchange
        self._pages: dict[str, Page] = {
            "/v2": lambda: _page(v2_metadata.SERVER),
            "/v2/health/live": lambda: _page({"live": True}),
            "/v2/health/ready": lambda: exchange.when_ready(b'{"ready":true}'),
            "/v2/models/stats": lambda: _page(v2_metadata.statistics(*registry.versions.values())),
        }
        self._commands: dict[str, Page] = {"/v2/repository/index": lambda: _page(v2_metadata.index(registry))}
        self._inferences = {served: InferEndpoint(served) for served in registry.versions.values()}
        self.infer: dict[str, InferEndpoint] = {}
        """The paths that tensors are sent to, and what answers them."""
        for (name, version), served in registry.versions.items():
            self._add(f"/v2/models/{name}/versions/{version}", served)
        for name, served in registry.models.items():
            self._add(f"/v2/models/{name}", served)
            self._commands[f"/v2/repository/models/{name}/load"] = lambda: exchange.when_ready(b"{}")
            self._commands[f"/v2/repository/models/{name}/unload"] = _no_unload
        self._strangers = REQUESTS.labels(NO_MODEL, "4xx")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope["path"]
        if path in self.infer:
            await self._exchange.predict(self.infer[path], scope, receive, send)
        elif path in self._pages:
            await self._exchange.show(self._pages[path], scope, receive, send)
        elif path in self._commands:
            await self._command(self._commands[path], scope, receive, send)
        else:
            self._strangers.inc()
            known = "there is no such model or route; POST /v2/repository/index lists the models"
            await self._exchange.refuse(scope, receive, send, HTTPStatus.NOT_FOUND, error_body(known))

    def _add(self, path: str, served: Model) -> None:
        ready = orjson.dumps({"name": served.name, "version": str(served.version), "ready": True})
        self._pages[path] = lambda: _page(v2_metadata.model(served))
        self._pages[f"{path}/ready"] = lambda: self._exchange.when_ready(ready)
        self._pages[f"{path}/config"] = lambda: _page(v2_metadata.config(served))
        self._pages[f"{path}/stats"] = lambda: _page(v2_metadata.statistics(served))
        self.infer[f"{path}/infer"] = self._inferences[served]

    async def _command(self, command: Page, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what the repository is told; its body says nothing that would change the answer."""
        if scope["method"] != "POST":
            await self._exchange.refuse_method(scope, receive, send, "this is sent with POST", b"POST")
            return
        try:
            await self._exchange.bodies.read(receive, _MAX_COMMAND_BYTES)
        except RequestError as error:
            await self._exchange.refuse(scope, receive, send, error.status, error_body(str(error)))
        except ClientGone:
            return
        else:
            await self._exchange.respond(send, *command())


def _page(content: Any) -> tuple[int, bytes]:
    return HTTPStatus.OK, orjson.dumps(content)


def _no_unload() -> tuple[int, bytes]:
    reason = "models are chosen when the service starts: set ROWCAST_MODELS and start it anew"
    return HTTPStatus.BAD_REQUEST, error_body(reason)
