"""Where gRPC listens: whether it can is settled once, before the first worker starts."""

from __future__ import annotations

import logging
import os
import socket
import ssl

from models.errors import RowcastError
from service.settings import Settings

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
    _check_certificate(settings)
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


def _check_certificate(settings: Settings) -> None:
    certificate, key = settings.grpc_tls_cert, settings.grpc_tls_key
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        given, left = ("CERT", "KEY") if key is None else ("KEY", "CERT")
        raise RowcastError(f"ROWCAST_GRPC_TLS_{left} must be set as well, however: only ROWCAST_GRPC_TLS_{given} is")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise RowcastError(
            f"ROWCAST_GRPC_TLS_CERT and ROWCAST_GRPC_TLS_KEY must be a certificate and its key in PEM, however: "
            f"{certificate} and {key} ({error.strerror or error})"
        ) from None
