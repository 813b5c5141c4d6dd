"""Where gRPC listens: whether it can is settled once, before the first worker starts."""

from __future__ import annotations

import logging
import os
import socket

from models.errors import RowcastError
from service.settings import Settings
from service.tls import check_pair

logger = logging.getLogger("rowcast.service")

_SETTING = "ROWCAST_GRPC_PORT"


def address(settings: Settings) -> str:
    """Host and port, as gRPC wants them."""
    host = settings.grpc_host
    return f"[{host}]:{settings.grpc_port}" if ":" in host else f"{host}:{settings.grpc_port}"


def settle_port(settings: Settings) -> None:
    """Make sure that every worker will be able to listen, and that nobody else does.

    A default port that is taken is no reason not to serve over HTTP, as a second service on a machine would find: then
    the workers are told to do without gRPC.

    Raises:
        RowcastError: the port that was asked for is taken, there is no such host, or the certificate is none.
    """
    if not settings.grpc_port:
        return
    check_pair("ROWCAST_GRPC_TLS", settings.grpc_tls_cert, settings.grpc_tls_key)
    try:
        _try_port(settings)
    except RowcastError as error:
        if settings.grpc_port_is_chosen:
            raise
        logger.warning("gRPC is off: %s", error)
        os.environ[_SETTING] = "off"  # what the workers read


def _try_port(settings: Settings) -> None:
    try:
        found = socket.getaddrinfo(settings.grpc_host, settings.grpc_port, type=socket.SOCK_STREAM)
        family, _, _, _, listened = found[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(listened)
    except OSError as error:
        wrong = "ROWCAST_GRPC_HOST" if isinstance(error, socket.gaierror) else _SETTING
        raise RowcastError(
            f"cannot listen for gRPC on {address(settings)} ({error.strerror}): choose another {wrong}, "
            f"or turn gRPC off with {_SETTING}=off"
        ) from None
