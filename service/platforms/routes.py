"""Every route of the platforms' protocols, by its whole path, in a table that is made when the app is built."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson

from models.arrow import MEDIA_TYPE
from service import v2_metadata
from service.access_log import OWN_PROBES
from service.http import ASGIApp, Header, Receive, Refuse, Respond, Scope, Send, error_body
from service.platforms import kserve_v1, mlflow, sagemaker, vertex
from service.platforms.environment import routes_of
from service.platforms.predictions import PredictRoute, Understand, json_exchange
from service.served import ServedModel
from service.serving import LOADING, Serving

_ALLOW_GET: Header = (b"allow", b"GET, HEAD")
_TEXT = b"text/plain; charset=utf-8"
_SEVERAL = "this route is for one model, and several are served: name one with ROWCAST_MODELS, or send rows to "

Page = Callable[[], tuple[int, bytes, bytes]]
"""The status, the body and the content type of an answer that no request need be understood for."""
RowsAnswer = Callable[[ServedModel, Scope, Receive, Send], Any]


class Platforms:
    """The routes of the platforms.

    Args:
        serving: the models, and whether they are ready.
        respond: sends an answer.
        refuse: sends one to a request whose body was perhaps not read.
        rows: every path that takes rows, and the model behind it.
        answer_rows: answers a request on one of those.
        variables: the environment, in which Vertex AI names its routes.
    """

    def __init__(
        self,
        serving: Serving,
        respond: Respond,
        refuse: Refuse,
        rows: Mapping[str, ServedModel],
        answer_rows: RowsAnswer,
        variables: Mapping[str, str] = os.environ,
    ) -> None:
        self._serving = serving
        self._respond = respond
        self._refuse = refuse
        self.routes: dict[str, ASGIApp] = {}
        """What answers each path."""
        self.predict: dict[str, PredictRoute] = {}
        """Those that take rows."""
        for path, served in kserve_v1.predict_paths(serving).items():
            self._add(path, served, json_exchange(kserve_v1.FORM))
        for path, content in kserve_v1.pages(serving).items():
            self._add_page(path, self._when_ready(orjson.dumps(content)))
        self._add(mlflow.INVOCATIONS, serving.only, sagemaker.understand)
        for path in (mlflow.PING, mlflow.HEALTH):
            self._add_page(path, self._when_ready(b"\n", _TEXT))
        version = str(v2_metadata.SERVER["version"]).encode()
        self._add_page(mlflow.VERSION, lambda: (HTTPStatus.OK, version, _TEXT))
        self._add_vertex(rows, answer_rows, variables)

    def _add_vertex(
        self, rows: Mapping[str, ServedModel], answer_rows: RowsAnswer, variables: Mapping[str, str]
    ) -> None:
        asked = routes_of(variables)
        if asked.predict is not None and asked.predict not in self.predict:
            served = rows.get(asked.predict, self._serving.only)
            self._add(asked.predict, served, vertex.understand)
            if asked.predict in rows:
                self.routes[asked.predict] = _but_arrow(self.routes[asked.predict], rows[asked.predict], answer_rows)
        if asked.health is not None and asked.health not in OWN_PROBES:
            self.predict.pop(asked.health, None)  # it is asked without a key, and so answers nothing else
            self._add_page(asked.health, self._when_ready(b'{"ready":true}'))

    def _add(self, path: str, served: ServedModel | None, understand: Understand) -> None:
        if served is None:
            self.routes[path] = self._several
        else:
            self.routes[path] = self.predict[path] = PredictRoute(
                served, self._serving, understand, self._respond, self._refuse
            )

    def _add_page(self, path: str, page: Page) -> None:
        async def show(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] not in {"GET", "HEAD"}:
                words = "this page is read with GET"
                await self._refuse(scope, receive, send, HTTPStatus.METHOD_NOT_ALLOWED, error_body(words), _ALLOW_GET)
                return
            status, body, content_type = page()
            await self._respond(send, status, body, content_type=content_type)

        self.routes[path] = show

    def _when_ready(self, body: bytes, content_type: bytes = b"application/json") -> Page:
        def page() -> tuple[int, bytes, bytes]:
            if self._serving.draining:
                return HTTPStatus.SERVICE_UNAVAILABLE, error_body("the service is shutting down"), b"application/json"
            if not self._serving.ready:
                return HTTPStatus.SERVICE_UNAVAILABLE, error_body(LOADING), b"application/json"
            return HTTPStatus.OK, body, content_type

        return page

    async def _several(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = ", ".join(f"/models/{name}/predict" for name in self._serving.models)
        await self._refuse(scope, receive, send, HTTPStatus.NOT_FOUND, error_body(_SEVERAL + names))


def _but_arrow(instances: ASGIApp, served: ServedModel, answer_rows: RowsAnswer) -> ASGIApp:
    """A route of rows that takes instances, too: streams go to whoever answered there."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        arrow = MEDIA_TYPE.encode()
        if any(name == b"content-type" and value.strip().lower().startswith(arrow) for name, value in scope["headers"]):
            await answer_rows(served, scope, receive, send)
        else:
            await instances(scope, receive, send)

    return answer
