"""One exchange over HTTP: a request for predictions and the reply to it, on whatever route; and answers to all else."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeAlias

from rowcast.models.errors import RequestError
from rowcast.service.engine.registry import LOADING, Registry
from rowcast.service.http.body import (
    CLOSE,
    JSON,
    BodyReader,
    ClientGone,
    Header,
    Receive,
    Scope,
    Send,
    error_body,
    has_body,
    respond,
    respond_early,
)
from rowcast.service.http.handlers import Route

SHUTTING_DOWN = "the service is shutting down"

Page: TypeAlias = Callable[[], tuple[int, bytes]]
"""The status and the body of an answer that no request need be understood for."""


class Exchange:
    """Answers requests of one worker.

    Args:
        registry: the models, and whether they are ready.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.bodies = BodyReader(registry.budget)

    async def predict(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for predictions: understand its headers, read its body, have it answered, reply."""
        started = time.perf_counter()
        meter = route.model.meter
        if scope["method"] != "POST":
            meter.request(HTTPStatus.METHOD_NOT_ALLOWED, time.perf_counter() - started)
            await self.refuse_method(scope, receive, send, route.sent_with_post, b"POST")
            return
        try:
            if not self._registry.ready:
                raise RequestError(LOADING, status=HTTPStatus.SERVICE_UNAVAILABLE)
            answer = route.async_handler(scope["headers"])
            body = await self.bodies.read(receive, route.model.max_body, scope["headers"])
        except RequestError as error:
            reply = route.refusal(error)
            meter.request(reply.status, time.perf_counter() - started)
            await self.refuse(scope, receive, send, reply.status, reply.body, *reply.headers)
            return
        except ClientGone:
            return
        try:
            reply = await answer(body, receive, started)
        except ClientGone:
            return
        await self.respond(send, reply.status, reply.body, *reply.headers, content_type=reply.content_type)
        (reply.meter or meter).request(reply.status, time.perf_counter() - started)

    async def show(
        self,
        page: Callable[[], tuple[int, bytes]],
        scope: Scope,
        receive: Receive,
        send: Send,
        content_type: bytes = JSON,
    ) -> None:
        """Answer a request that need not be understood.

        Args:
            page: gives the status and the body.
            scope: the request's.
            receive: the request's.
            send: the request's.
            content_type: of the body; refusals are in JSON.
        """
        if scope["method"] not in {"GET", "HEAD"}:
            await self.refuse_method(scope, receive, send, "this page is read with GET", b"GET, HEAD")
            return
        status, body = page()
        await self.respond(send, status, body, content_type=content_type if status == HTTPStatus.OK else JSON)

    def when_ready(self, body: bytes) -> tuple[int, bytes]:
        """A page that is there when every model is loaded, and no more when the service stops."""
        if self._registry.draining and not self._registry.replaced():
            return HTTPStatus.SERVICE_UNAVAILABLE, error_body(SHUTTING_DOWN)
        if not self._registry.ready:
            return HTTPStatus.SERVICE_UNAVAILABLE, error_body(LOADING)
        return HTTPStatus.OK, body

    async def respond(self, send: Send, status: int, body: bytes, *headers: Header, content_type: bytes = JSON) -> None:
        """Send the answer to a request that was read to its end."""
        if self._registry.draining:  # so that no caller sends its next request into a closing connection
            headers = (*headers, CLOSE)
        await respond(send, status, body, *headers, content_type=content_type)

    async def refuse(
        self, scope: Scope, receive: Receive, send: Send, status: int, body: bytes, *headers: Header
    ) -> None:
        """Answer a request whose body, if it has one, has not been read to its end."""
        if status == HTTPStatus.REQUEST_TIMEOUT:  # it has had its time
            await respond(send, status, body, CLOSE, *headers)
        elif has_body(scope["headers"]):
            await respond_early(receive, send, status, body, *headers)
        else:
            await self.respond(send, status, body, *headers)

    async def refuse_method(self, scope: Scope, receive: Receive, send: Send, words: str, allowed: bytes) -> None:
        """Refuse a request for its method."""
        allow: Header = (b"allow", allowed)
        await self.refuse(scope, receive, send, HTTPStatus.METHOD_NOT_ALLOWED, error_body(words), allow)
