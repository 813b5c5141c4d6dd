"""OpenTelemetry spans, when a collector is named; what it takes is not even imported otherwise.

The variables are OpenTelemetry's own: ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``) turns
spans on, ``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_SERVICE_NAME``, ``OTEL_TRACES_SAMPLER`` and the rest do what they do
everywhere. Spans go out as OTLP over HTTP, in batches, from a thread.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from rowcast.models.errors import ConfigError
from rowcast.service.http.body import ASGIApp, Header, Message, Receive, Scope, Send
from rowcast.service.http.probes import PROBES

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_WANTED: Header = (b"want-server-timing", b"?1")
_TOLD = b"server-timing"
_OF_THE_CALLER = frozenset({b"user-agent", b"x-forwarded-for", b"x-real-ip", b"forwarded", b"cookie"})
_AS_IT_CAME = "rowcast.as_it_came"
"""Under this key the scope that OpenTelemetry is given has the whole one."""
_FAULTS_OF_THE_SERVER = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Status codes with which the span of a server is an error: OpenTelemetry's semantic conventions for gRPC."""
_TIMING = re.compile(rb"queue;dur=([0-9.]+), compute;dur=([0-9.]+)")


def traces_are_asked_for() -> bool:
    """Whether the environment names a collector.

    Raises:
        ConfigError: it does, and what sends spans there is not installed.
    """
    named = next((name for name in _ENDPOINTS if os.environ.get(name)), None)
    if named is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    try:
        there = find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:  # of a package above it
        there = False
    if not there:
        raise ConfigError(f"{named} asks for traces, and what sends them is missing: pip install 'rowcast[tracing]'")
    return True


def otlp_provider() -> Any:
    """OpenTelemetry's ``TracerProvider`` that sends spans to the collector of the environment, in batches."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME", "rowcast")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """Makes spans and sends them.

    Args:
        provider: OpenTelemetry's ``TracerProvider``.
    """

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("rowcast")

    def around(self, app: ASGIApp) -> ASGIApp:
        """An ASGI app with a span for every request, and inside of it one for the queue and one for the run."""
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        traced = OpenTelemetryMiddleware(
            _Stages(app, self._tracer),
            excluded_urls=",".join([*(f"{path}$" for path in sorted(PROBES)), "/metrics$"]),
            default_span_details=lambda scope: (f"{scope.get('method', '')} {scope['path'][:100]}", {}),
            tracer_provider=self._provider,
            exclude_spans=["receive", "send"],
        )

        async def without_person(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                # who puts a secret into a query would find it in the traces; and who asks, from where and with what,
                # concerns the app alone, which is given the request as it came: whom it obeys depends on that
                headers = [header for header in scope["headers"] if header[0] not in _OF_THE_CALLER]
                scope = {**scope, "query_string": b"", "client": None, "headers": headers, _AS_IT_CAME: scope}
            await traced(scope, receive, send)

        return without_person

    def span(self, name: str, headers: Iterable[tuple[str, str]]) -> Any:
        """A span of a call over gRPC, as a context manager; it belongs to the trace that its metadata name.

        A refusal is raised through it, and is no exception worth a stack trace: see :meth:`ended`.
        """
        from opentelemetry import propagate, trace

        context = propagate.extract(dict(headers))
        attributes = {"rpc.system": "grpc", "rpc.method": name}
        return self._tracer.start_as_current_span(
            name,
            context=context,
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )

    def ended(self, code: tuple[int, str] | None) -> None:
        """Say in the current span how a call over gRPC ended: by a status code and its name, None for a hang-up."""
        from opentelemetry import trace

        span = trace.get_current_span()
        if code is not None:
            span.set_attribute("rpc.grpc.status_code", code[0])
            if code[1] in _FAULTS_OF_THE_SERVER:
                span.set_status(trace.Status(trace.StatusCode.ERROR, code[1]))

    def stop(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()


class _Stages:
    """ASGI app that has an answer tell how long it was queued and run, and makes spans of that.

    What it passes on is the request as it came, not what OpenTelemetry was told of it.
    """

    def __init__(self, app: ASGIApp, tracer: Any) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = scope[_AS_IT_CAME]
        wanted = any(name == _WANTED[0] for name, _ in scope["headers"])

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                for name, value in message["headers"]:
                    if name == _TOLD:
                        self._note(value)
                if not wanted:
                    kept = [header for header in message["headers"] if header[0] != _TOLD]
                    message = {**message, "headers": kept}
            await send(message)

        if not wanted:
            scope = {**scope, "headers": [*scope["headers"], _WANTED]}
        await self._app(scope, receive, noted)

    def _note(self, timing: bytes) -> None:
        match = _TIMING.fullmatch(timing)
        if match is None:
            return
        queue, compute = (int(float(milliseconds) * 1e6) for milliseconds in match.groups())
        ended = time.time_ns()  # encoding what came out takes microseconds
        begun = ended - compute
        self._tracer.start_span("queue", start_time=begun - queue).end(begun)
        self._tracer.start_span("run", start_time=begun).end(ended)
