"""The gRPC server of a worker: its methods, its limits, its health, and its end.

Each worker has one; they share the port, and the kernel gives every new connection to one of them.
"""

from __future__ import annotations

import asyncio
import logging

import grpc
from grpc_health.v1 import health_pb2

from rowcast.models.errors import RowcastError
from rowcast.service.engine.registry import Registry
from rowcast.service.http.connection import MAX_HEAD_BYTES
from rowcast.service.limits.descriptors import connection_caps
from rowcast.service.middleware.stack import Middleware
from rowcast.service.process.grpc_port import address
from rowcast.service.protocols.grpc.messages import SERVICE
from rowcast.service.protocols.grpc.methods import Methods
from rowcast.service.protocols.grpc.middleware import interceptors
from rowcast.service.protocols.grpc.standard import add_standard_services
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")

_LAST_SECONDS = 3.0
"""How long calls that are under way may take at the end."""
_MAX_STREAMS = 256
"""Calls that a connection may have open."""
_MAX_CALLS = 4096
"""Calls that a worker may have open; one more is refused with RESOURCE_EXHAUSTED."""
_HANDSHAKE_MS = 7_000
"""How long a new connection may take to speak HTTP/2."""
_IDLE_MS = 30_000
"""After so long without a call, or before the first, a connection is closed; clients make a new one by themselves."""
_PING_MS = 10_000
"""Who pings more often is let go, after two warnings."""
_UNREAD_BYTES = 2**16
"""Bytes of a call that are taken in before its message is asked for."""
_UNCOMPRESSED = 1
"""The bit of "identity": a compressed message is refused, as a compressed body is over HTTP."""


async def serve_grpc(registry: Registry, middleware: Middleware) -> GrpcServer | None:
    """Start the server of a worker, on the running event loop, once the models are loaded.

    Args:
        registry: the models.
        middleware: who may ask, and what is written down of it.

    Returns:
        The server; None where the default port is taken, by HTTP of the same service for example.

    Raises:
        RowcastError: the port that was asked for is taken.
    """
    server = GrpcServer(registry, middleware)
    try:
        await server.start()
    except RowcastError as error:
        if registry.settings.grpc_port_is_chosen:
            raise
        logger.warning("gRPC is off: %s", error)
        return None
    return server


class GrpcServer:
    """The server of one worker; make it on the running event loop, once the models are loaded."""

    def __init__(self, registry: Registry, middleware: Middleware) -> None:
        self._server = grpc.aio.server(
            interceptors=interceptors(middleware),
            options=_options(registry.settings),
            maximum_concurrent_rpcs=_MAX_CALLS,
        )
        methods = Methods(registry)
        self._server.add_generic_rpc_handlers((methods.handler(),))
        self._health = add_standard_services(self._server, methods.incoming)
        self._settings = registry.settings
        self._ending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            RowcastError: the port is taken.
        """
        await self._health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        where = address(self._settings)
        try:
            if self._settings.grpc_certificate is None:
                self._server.add_insecure_port(where)
            else:
                certificate, key = (file.read_bytes() for file in self._settings.grpc_certificate)
                self._server.add_secure_port(where, grpc.ssl_server_credentials([(key, certificate)]))
        except (RuntimeError, OSError):
            raise RowcastError(f"cannot listen for gRPC on {where}: choose another ROWCAST_GRPC_PORT") from None
        await self._server.start()

    def announce_stop(self) -> None:
        """Tell who watches the health service that this worker is about to end; it serves on."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._health.enter_graceful_shutdown())

    async def stop(self) -> None:
        """Take no more calls; return when those under way are answered, or have had their time."""
        self.announce_stop()
        await self._server.stop(_LAST_SECONDS)


def _options(settings: Settings) -> list[tuple[str, int]]:
    """Limits, as gRPC's core names them."""
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", int(settings.max_body)),
        ("grpc.max_send_message_length", -1),  # an answer is as long as its rows, and those are bounded
        ("grpc.max_metadata_size", MAX_HEAD_BYTES // 2),
        ("grpc.absolute_max_metadata_size", MAX_HEAD_BYTES),
        ("grpc.max_concurrent_streams", _MAX_STREAMS),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.max_connection_idle_ms", _IDLE_MS),
        ("grpc.max_allowed_incoming_connections", connection_caps().grpc),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_MS),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.http2.lookahead_bytes", _UNREAD_BYTES),
        ("grpc.http2.bdp_probe", 0),  # a window grows when a message is asked for, and no sooner
        ("grpc.compression_enabled_algorithms_bitset", _UNCOMPRESSED),
    ]
