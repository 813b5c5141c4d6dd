"""The service that ``bentoml serve`` starts: BentoML's class, its settings, and the moments of its life."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml

from rowcast.models.errors import RowcastError
from rowcast.service.engine.registry import Registry
from rowcast.service.http import connection as protocol
from rowcast.service.http.body import ASGIApp
from rowcast.service.http.fast_path import FastPath, FastPathProtocol
from rowcast.service.http.openapi import completed
from rowcast.service.http.root_path import WithoutRootPath, with_prefix
from rowcast.service.http.unix_socket import UNIX_SOCKET, listen_in_file
from rowcast.service.limits.descriptors import connection_caps
from rowcast.service.live.changes import NetworkChanges
from rowcast.service.live.follow import Follower
from rowcast.service.live.settling import settle
from rowcast.service.live.swaps import Swaps
from rowcast.service.metrics.counts import DROPPED_LINES, worker_started
from rowcast.service.middleware.log_limit import limit_log_lines
from rowcast.service.middleware.log_queue import queue_log_lines
from rowcast.service.middleware.stack import Middleware
from rowcast.service.platform_variables import EnvironmentRefused, log_lines
from rowcast.service.process.drain import drain_on_sigterm
from rowcast.service.process.folders import make_folders_late
from rowcast.service.process.grpc_port import settle_port
from rowcast.service.process.heartbeat import Pulse
from rowcast.service.process.parent import SUPERVISED_BY
from rowcast.service.process.start import Settled, settle_anew, settled
from rowcast.service.process.supervisor import Started, StartRefused, look_after_workers, refuse_to_start
from rowcast.service.process.tls import CIPHERS, bound_handshakes, check_pair
from rowcast.service.protocols.platforms.openapi import path_items
from rowcast.service.protocols.rows.bentoml_methods import typed_methods
from rowcast.service.router import Router, paths_of
from rowcast.service.settings import Settings

if TYPE_CHECKING:
    from rowcast.service.protocols.grpc.server import GrpcServer

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
    listed = given.catalog
    told = ((), (), ()) if listed is None else (listed.trials, listed.aliases, listed.live)
    registry = Registry(settings, given.models, given.alone, *told)
    middleware = Middleware(settings)
    follower = None
    if given.reader is not None and given.catalog is not None:
        follower = Follower(registry, given.reader, given.catalog)
        registry.changes = NetworkChanges(follower, middleware.keys)

    class FrontedService(bentoml.Service[Any]):  # type: ignore[misc]
        """A BentoML service with our router before its app."""

        def to_asgi(self, is_main: bool = True) -> ASGIApp:
            inner = super().to_asgi(is_main)
            # BentoML's worker runs uvicorn on the socket; what it does with a connection's bytes is ours from here on
            router = Router(inner, registry, paths_of(inner))
            protocol.Protocol.rows_wait = registry.rows_wait
            FastPathProtocol.fast_path = FastPath(
                registry, lambda: with_prefix(router.routes, settings.root_path), middleware.may_take_fast_path
            )
            protocol.install(protocol.Protocol if middleware.see_every_request else FastPathProtocol)
            app = middleware.around(router)
            return WithoutRootPath(app, settings.root_path) if settings.root_path else app

        @property
        def openapi_spec(self) -> Any:
            """BentoML's, with this service's own refusals and routes, of the models that are served now."""
            if settings.front:  # else its routes are these, and do not change
                self.apis = {method.name: method for method in typed_methods(registry).values()}
            return completed(super().openapi_spec, path_items(registry), settings.root_path)

    class Rowcast:
        """Rows in, predictions out."""

        grpc: GrpcServer | None

        @bentoml.on_deployment  # type: ignore[untyped-decorator]
        def check() -> None:
            """Before the first worker: refuse to start when no worker could serve."""
            try:
                registry.check()
                middleware.check()
                check_pair("ROWCAST_TLS", settings.tls_cert, settings.tls_key)
                settle_port(settings)
                for line in log_lines(os.environ, several=registry.only is None):
                    logger.info(line)
            except (RowcastError, EnvironmentRefused) as error:
                raise StartRefused(str(error)) from None
            given.log()
            look_after_workers(NAME, settings.grace, _swaps(given), lambda stop: settle_anew(given, settle, stop))
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
                await registry.start()
                pulse = _pulse()
                if follower is not None:
                    await follower.catch_up(None if pulse is None else pulse.slot)
                protocol.Protocol.most_connections = connection_caps().http
                middleware.start(asyncio.get_running_loop(), FastPathProtocol.fast_path.forget)
                if settings.grpc_port:
                    # its threads are no supervisor's business
                    from rowcast.service.protocols.grpc.server import serve_grpc

                    self.grpc = await serve_grpc(registry, middleware)
            except RowcastError as error:
                refuse_to_start(error)
            gc.collect()
            gc.freeze()  # what is loaded stays: the collector need not look at it again
            stop_grpc = self.grpc.announce_stop if self.grpc else (lambda: None)
            drain_on_sigterm(registry, asyncio.get_running_loop(), stop_grpc)
            worker_started(settings.workers)
            if pulse is not None:
                registry.replaced = pulse.is_replaced
                pulse.keep_beating(asyncio.get_running_loop())
            if follower is not None:
                follower.start(asyncio.get_running_loop())

        @bentoml.on_shutdown  # type: ignore[untyped-decorator]
        async def stop(self) -> None:
            """In each worker, after its last request over HTTP."""
            if self.grpc is not None:
                await self.grpc.stop()
            registry.stop()
            middleware.stop()

    for name, method in typed_methods(registry).items():
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


def _pulse() -> Pulse | None:
    """What shows the supervisor of this worker signs of life, if it is one."""
    worker = bentoml.server_context.worker_index
    if worker is None or SUPERVISED_BY not in os.environ:
        return None
    _, descriptor, first_slot = map(int, os.environ[SUPERVISED_BY].split(":"))
    return Pulse(descriptor, first_slot + worker)


def _swaps(given: Settled) -> Started:
    """What changes the versions that are served, while the service runs."""
    if given.owner is None:
        return lambda *_: None
    return Swaps(given.settings, given.owner).begin


queue_log_lines()  # before the first of them: nobody may be reading
if SUPERVISED_BY in os.environ:
    make_folders_late()
try:
    Rowcast = build(settled(settle))
except RowcastError as refusal:
    refuse_to_start(refusal)
