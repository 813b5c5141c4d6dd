"""The Open Inference protocol (V2) over HTTP: every route under ``/v2``, ahead of BentoML.

Requests share runs with those of every other protocol. As in front, routes are looked up whole in a table that is made
when the app is built. Which models are served is settled when the service starts: loading one that is served changes
nothing, and none is unloaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson

from models.errors import RequestError
from service import v2_metadata
from service.http import (
    BodyReader,
    ClientGone,
    Header,
    Receive,
    Refuse,
    Respond,
    Scope,
    Send,
    error_body,
)
from service.metrics import NO_MODEL, REQUESTS
from service.served import ServedModel
from service.serving import LOADING, Serving
from service.v2_infer import Inference

_MAX_COMMAND_BYTES = 2**16
"""Bytes that the body of a repository's command may hold."""


Page = Callable[[], tuple[int, Any]]
"""The status and the content of an answer that no request need be understood for."""


class OpenInference:
    """ASGI app of the routes under ``/v2``.

    Args:
        serving: the models, and whether they are ready.
        respond: sends an answer.
        refuse: sends one to a request whose body was perhaps not read.
    """

    def __init__(self, serving: Serving, respond: Respond, refuse: Refuse) -> None:
        self._serving = serving
        self._respond = respond
        self._refuse = refuse
        self._pages: dict[str, Page] = {
            "/v2": lambda: (200, v2_metadata.SERVER),
            "/v2/health/live": lambda: (200, {"live": True}),
            "/v2/health/ready": lambda: self._readiness({"ready": True}),
            "/v2/models/stats": lambda: (200, v2_metadata.statistics(*serving.versions.values())),
        }
        self._commands: dict[str, Page] = {"/v2/repository/index": lambda: (200, v2_metadata.index(serving))}
        self._inferences = {served: Inference(served) for served in serving.versions.values()}
        self.infer: dict[str, Inference] = {}
        """The paths that tensors are sent to, and what answers them."""
        for (name, version), served in serving.versions.items():
            self._add(f"/v2/models/{name}/versions/{version}", served)
        for name, served in serving.models.items():
            self._add(f"/v2/models/{name}", served)
            self._commands[f"/v2/repository/models/{name}/load"] = lambda: self._readiness({})
            self._commands[f"/v2/repository/models/{name}/unload"] = _no_unload
        self._body = BodyReader(serving.budget)
        self._strangers = REQUESTS.labels(NO_MODEL, "4xx")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope["path"]
        if path in self.infer:
            await self._answer(self.infer[path], scope, receive, send)
        elif path in self._pages:
            if scope["method"] in {"GET", "HEAD"}:
                status, content = self._pages[path]()
                await self._respond(send, status, orjson.dumps(content))
            else:
                await self._refuse_method(scope, receive, send, "this is read with GET", b"GET, HEAD")
        elif path in self._commands:
            await self._command(self._commands[path], scope, receive, send)
        else:
            self._strangers.inc()
            known = "there is no such model or route; POST /v2/repository/index lists the models"
            await self._refuse(scope, receive, send, HTTPStatus.NOT_FOUND, error_body(known))

    def _add(self, path: str, served: ServedModel) -> None:
        ready = {"name": served.name, "version": str(served.version), "ready": True}
        self._pages[path] = lambda: (200, v2_metadata.model(served))
        self._pages[f"{path}/ready"] = lambda: self._readiness(ready)
        self._pages[f"{path}/config"] = lambda: (200, v2_metadata.config(served))
        self._pages[f"{path}/stats"] = lambda: (200, v2_metadata.statistics(served))
        self.infer[f"{path}/infer"] = self._inferences[served]

    def _readiness(self, content: Any) -> tuple[int, Any]:
        if self._serving.draining:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the service is shutting down"}
        if not self._serving.ready:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": LOADING}
        return HTTPStatus.OK, content

    async def _answer(self, inference: Inference, scope: Scope, receive: Receive, send: Send) -> None:
        """Infer."""
        started = time.perf_counter()
        served = inference.served
        if scope["method"] != "POST":
            await self._refuse_method(scope, receive, send, "tensors are sent with POST", b"POST")
            served.meter.request(HTTPStatus.METHOD_NOT_ALLOWED, time.perf_counter() - started)
            return
        try:
            if not self._serving.ready:
                raise RequestError(LOADING, status=HTTPStatus.SERVICE_UNAVAILABLE)
            answer = inference.understand_long(scope["headers"])
            body = await served.bodies.read(receive, served.max_body, scope["headers"])
        except RequestError as error:
            headers = served.refusal(error).headers
            await self._refuse(scope, receive, send, error.status, error_body(str(error)), *headers)
            served.meter.request(error.status, time.perf_counter() - started)
            return
        except ClientGone:
            return
        try:
            reply = await answer(body, receive, started)
        except ClientGone:
            return
        await self._respond(send, reply.status, reply.body, *reply.headers, content_type=reply.content_type)
        served.meter.request(reply.status, time.perf_counter() - started)

    async def _command(self, command: Page, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what the repository is told; its body says nothing that would change the answer."""
        if scope["method"] != "POST":
            await self._refuse_method(scope, receive, send, "this is sent with POST", b"POST")
            return
        try:
            await self._body.read(receive, _MAX_COMMAND_BYTES)
        except RequestError as error:
            await self._refuse(scope, receive, send, error.status, error_body(str(error)))
        except ClientGone:
            return
        else:
            status, content = command()
            await self._respond(send, status, orjson.dumps(content))

    async def _refuse_method(self, scope: Scope, receive: Receive, send: Send, words: str, allowed: bytes) -> None:
        allow: Header = (b"allow", allowed)
        await self._refuse(scope, receive, send, HTTPStatus.METHOD_NOT_ALLOWED, error_body(words), allow)


def _no_unload() -> tuple[int, Any]:
    reason = "models are chosen when the service starts: set ROWCAST_MODELS and start it anew"
    return HTTPStatus.BAD_REQUEST, {"error": reason}
