"""The service that ``bentoml serve`` starts: BentoML's class, its settings, and the moments of its life."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml

from models.errors import RowcastError
from service import protocol
from service.descriptors import connection_caps
from service.drain import drain_on_sigterm
from service.edges import Edges
from service.folders import make_folders_late
from service.front import Front, paths_of
from service.grpc_port import settle_port
from service.heartbeat import Pulse
from service.http import ASGIApp
from service.lane import Lane, LaneProtocol
from service.log_limit import limit_log_lines
from service.log_queue import queue_log_lines
from service.metrics import DROPPED_LINES
from service.openapi import completed
from service.parent import SUPERVISED_BY
from service.platforms.environment import EnvironmentRefused, told
from service.platforms.openapi import path_items
from service.root_path import WithoutRootPath, with_prefix
from service.serving import Serving
from service.settings import Settings
from service.start import Settled, settled
from service.supervisor import StartRefused, look_after_workers, refuse_to_start
from service.tls import CIPHERS, bound_handshakes, check_pair
from service.typed import typed_methods
from service.unix_socket import UNIX_SOCKET, listen_in_file

if TYPE_CHECKING:
    from service.grpc_server import GrpcServer

logger = logging.getLogger("rowcast.service")
logger.setLevel(logging.INFO)  # a line for what is served and where, and for a stop; BentoML asks for warnings

NAME = "Rowcast"
_TIMEOUT_SECONDS = 60
"""How long BentoML's own routes may take."""


def build(given: Settled) -> bentoml.Service[Any]:
    """The BentoML service of what is settled.

    Raises:
        RowcastError: a model cannot be served.
    """
    settings = given.settings
    serving = Serving(settings, given.models)
    edges = Edges(settings)

    class FrontedService(bentoml.Service[Any]):  # type: ignore[misc]
        """A BentoML service with our front before its app."""

        def to_asgi(self, is_main: bool = True) -> ASGIApp:
            inner = super().to_asgi(is_main)
            front = Front(inner, serving, paths_of(inner))
            protocol.Protocol.rows_wait = serving.rows_wait
            LaneProtocol.lane = Lane(serving, with_prefix(front.routes, settings.root_path), edges.admit)
            protocol.install(protocol.Protocol if edges.see_every_request else LaneProtocol)
            app = edges.around(front)
            return WithoutRootPath(app, settings.root_path) if settings.root_path else app

        @property
        def openapi_spec(self) -> Any:
            """BentoML's, with this service's own refusals and routes."""
            return completed(super().openapi_spec, path_items(serving), settings.root_path)

    class Rowcast:
        """Rows in, predictions out."""

        grpc: GrpcServer | None

        @bentoml.on_deployment  # type: ignore[untyped-decorator]
        def check() -> None:
            """Before the first worker: refuse to start when no worker could serve."""
            try:
                serving.check()
                edges.check()
                check_pair("ROWCAST_TLS", settings.tls_cert, settings.tls_key)
                settle_port(settings)
                for line in told(os.environ, several=serving.only is None):
                    logger.info(line)
            except (RowcastError, EnvironmentRefused) as error:
                raise StartRefused(str(error)) from None
            given.tell()
            look_after_workers(NAME, settings.grace)
            if UNIX_SOCKET in os.environ:
                listen_in_file(Path(os.environ[UNIX_SOCKET]))

        @bentoml.on_startup  # type: ignore[untyped-decorator]
        async def start(self) -> None:
            """In each worker, before its first request."""
            self.grpc = None
            queue_log_lines(DROPPED_LINES.inc)
            limit_log_lines()
            bound_handshakes(asyncio.get_running_loop())
            try:
                await serving.start()
                protocol.Protocol.most_connections = connection_caps().http
                edges.start(asyncio.get_running_loop(), LaneProtocol.lane.forget)
                if settings.grpc_port:
                    from service.grpc_server import serve_grpc  # its threads are no supervisor's business

                    self.grpc = await serve_grpc(serving, edges)
            except RowcastError as error:
                refuse_to_start(error)
            gc.collect()
            gc.freeze()  # what is loaded stays: the collector need not look at it again
            tell = self.grpc.say_no_more if self.grpc else (lambda: None)
            drain_on_sigterm(serving, asyncio.get_running_loop(), tell)
            _beat()

        @bentoml.on_shutdown  # type: ignore[untyped-decorator]
        async def stop(self) -> None:
            """In each worker, after its last request over HTTP."""
            if self.grpc is not None:
                await self.grpc.stop()
            serving.stop()
            edges.stop()

    for name, method in typed_methods(serving).items():
        setattr(Rowcast, name, method)
    return bentoml.service(
        name=NAME,
        service_class=FrontedService,
        workers=settings.workers,
        traffic={"timeout": _TIMEOUT_SECONDS},
        logging={"access": {"enabled": False}},
        tracing={"excluded_urls": ".*"},
        **_tls(settings),
    )(Rowcast)


def _tls(settings: Settings) -> dict[str, Any]:
    """What BentoML is told of a certificate."""
    if settings.certificate is None:
        return {}
    certificate, key = map(str, settings.certificate)
    return {"ssl": {"enabled": True, "certfile": certificate, "keyfile": key, "ciphers": CIPHERS}}


def _beat() -> None:
    """Show the supervisor of this worker, if it is one, signs of life from now on."""
    worker = bentoml.server_context.worker_index
    if worker is not None and SUPERVISED_BY in os.environ:
        _, descriptor, first_slot = map(int, os.environ[SUPERVISED_BY].split(":"))
        Pulse(descriptor, first_slot + worker).keep_beating(asyncio.get_running_loop())


queue_log_lines()  # before the first of them: nobody may be reading
if SUPERVISED_BY in os.environ:
    make_folders_late()
try:
    Rowcast = build(settled())
except RowcastError as refusal:
    refuse_to_start(refusal)
