"""The middleware of gRPC: API keys, the access log, spans; each only when a setting asks for it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import grpc
from grpc_health.v1 import health

from rowcast.service.http.body import Header
from rowcast.service.middleware.access_log import ID, request_id, write_line
from rowcast.service.middleware.keys import NEEDED, UNKNOWN, Keys, key_in
from rowcast.service.middleware.stack import Middleware
from rowcast.service.middleware.tracing import Tracing
from rowcast.service.protocols.grpc.messages import SERVICE
from rowcast.service.protocols.grpc.refusal import Context, Refusal, refusing

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]

_PROBES = frozenset({f"/{SERVICE}/ServerLive", f"/{SERVICE}/ServerReady"})


def interceptors(middleware: Middleware) -> list[Any]:
    """What a server is told to put before its methods; the first sees a call first."""
    chosen: list[Any] = []
    if middleware.see_every_request:
        chosen.append(Watched(middleware))
    if middleware.keys is not None:
        chosen.append(Guarded(middleware.keys))
    return chosen


def _is_probe(method: str) -> bool:
    return method in _PROBES or method.startswith(f"/{health.SERVICE_NAME}/")


def _headers(metadata: Any) -> list[Header]:
    """Metadata as headers are; what is no text is left out."""
    return [(name.encode(), value.encode()) for name, value in metadata or () if isinstance(value, str)]


class Guarded(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Passes on what comes with a key; whether the service is well, anyone may ask."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def intercept_service(self, continuation: Continuation, details: Any) -> Any:
        """The method itself, or one that refuses."""
        headers = _headers(details.invocation_metadata)
        if _is_probe(details.method) or self._keys.holder(headers) is not None:
            return await continuation(details)
        words = (NEEDED if key_in(headers) is None else UNKNOWN).replace("Authorization", "authorization")

        async def refuse(_: Context) -> Refusal:
            return Refusal(grpc.StatusCode.UNAUTHENTICATED, words)

        return grpc.stream_unary_rpc_method_handler(refusing(refuse))  # a refusal is the same for every kind of method


class Watched(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Writes a line for each call of Open Inference, and makes a span of it."""

    def __init__(self, middleware: Middleware) -> None:
        self._logs = middleware.logs
        self._keys = middleware.keys
        self._tracing: Tracing | None = middleware.tracing

    async def intercept_service(self, continuation: Continuation, details: Any) -> Any:
        """The method, with what is to be done around it."""
        handler = await continuation(details)
        if handler is None or handler.stream_unary is None or _is_probe(details.method):
            return handler
        behave = handler.stream_unary
        metadata = [(name, value) for name, value in details.invocation_metadata or () if isinstance(value, str)]

        async def watched(requests: Any, context: Any) -> Any:
            started = time.perf_counter()
            request = request_id(_headers(metadata))
            span = nullcontext() if self._tracing is None else self._tracing.span(details.method.lstrip("/"), metadata)
            answered = False
            try:
                if self._logs:
                    await context.send_initial_metadata(((ID.decode(), request),))
                with span:
                    try:
                        answer = await behave(requests, context)
                        answered = True
                    finally:
                        if self._tracing is not None:
                            self._tracing.ended((0, "OK") if answered else _numbered(context))
                return answer
            finally:
                if self._logs:
                    self._write(details.method, request, metadata, started, "OK" if answered else _code(context))
                del requests, context  # a refusal keeps this frame, see rowcast.service.protocols.grpc.refusal

        return grpc.stream_unary_rpc_method_handler(watched)

    def _write(
        self, method: str, request: str, metadata: list[tuple[str, str]], started: float, status: str | None
    ) -> None:
        write_line(
            request=request,
            protocol="grpc",
            method=method.rpartition("/")[2],
            path=method,
            status=status,
            started=started,
            holder=None if self._keys is None else self._keys.holder(_headers(metadata)),
        )


def _numbered(context: Any) -> tuple[int, str] | None:
    code = context.code()
    return (code.value[0], code.name) if isinstance(code, grpc.StatusCode) else None


def _code(context: Any) -> str | None:
    """How a call ended that was not answered; None when its caller was gone."""
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else None
