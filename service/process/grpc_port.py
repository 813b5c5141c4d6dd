"""Where gRPC listens: whether it can is settled once, before the first worker starts, and holds from then on."""

from __future__ import annotations

import errno
import logging
import os
import random
import socket
import sys
import time
from typing import Any

from rowcast.models.errors import RowcastError
from rowcast.service.process.tls import check_pair
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")

SETTING = "ROWCAST_GRPC_PORT"
_TRIES = 5
_PAUSE_SECONDS = 0.02
"""Two services that try at the very same moment may both fail; they do not try again at the same moment."""

_held: list[socket.socket] = []
"""Sockets that hold the port for this process, and its workers, for as long as it lives."""
_held_for: list[Settings] = []


def address(settings: Settings) -> str:
    """Host and port, as gRPC wants them."""
    host = settings.grpc_host
    return f"[{host}]:{settings.grpc_port}" if ":" in host else f"{host}:{settings.grpc_port}"


def settle_port(settings: Settings) -> None:
    """Make sure that every worker will be able to listen, and that no other service does; call it in the supervisor.

    A default port that is taken is no reason not to serve over HTTP, as a second service on a machine would find: then
    the workers are told to do without gRPC.

    Raises:
        RowcastError: the port that was asked for is taken, there is no such host, or the certificate is none.
    """
    if not settings.grpc_port:
        return
    check_pair("ROWCAST_GRPC_TLS", settings.grpc_tls_cert, settings.grpc_tls_key)
    try:
        _held[:] = _hold_port(settings)
        _held_for[:] = [settings]
    except RowcastError as error:
        if settings.grpc_port_is_chosen:
            raise
        _turn_off(str(error))


def give_way(port: int) -> bool:
    """Let go of gRPC's port if it is ``port``, which HTTP is to listen on, and it was asked for by nobody.

    Returns:
        Whether it is free now, and gRPC off.
    """
    if not _held or _held_for[0].grpc_port != port or _held_for[0].grpc_port_is_chosen:
        return False
    while _held:
        _held.pop().close()
    _turn_off(f"HTTP listens on its port, {port}: choose another {SETTING}")
    return True


def _turn_off(why: str) -> None:
    logger.warning("gRPC is off: %s", why)
    os.environ[SETTING] = "off"  # what the workers read


def _hold_port(settings: Settings) -> list[socket.socket]:
    for left in reversed(range(_TRIES)):
        try:
            found = socket.getaddrinfo(settings.grpc_host, settings.grpc_port, type=socket.SOCK_STREAM)
            return _hold_all([(family, listened) for family, _, _, _, listened in found])
        except OSError as error:
            if error.errno == errno.EADDRINUSE and left:
                time.sleep(random.uniform(0, _PAUSE_SECONDS))
                continue
            wrong = "ROWCAST_GRPC_HOST" if isinstance(error, socket.gaierror) else SETTING
            raise RowcastError(
                f"cannot listen for gRPC on {address(settings)} ({error.strerror}): choose another {wrong}, "
                f"or turn gRPC off with {SETTING}=off"
            ) from None
    raise AssertionError("the last try returns or raises")


def _hold_all(addresses: list[tuple[int, Any]]) -> list[socket.socket]:
    """Hold the port on all addresses of a host that this machine has, and on one at least."""
    held: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, listened in addresses:
            try:
                held.append(_hold(family, listened))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error
        if not held and absent is not None:
            raise absent
    except OSError:
        for socket_ in held:
            socket_.close()
        raise
    return held


def _hold(family: int, listened: Any) -> socket.socket:
    """A socket that has an address for itself, and shares it from then on with this user's workers.

    To share a port, gRPC's workers use SO_REUSEPORT, and so could another service of the same user: the kernel would
    hand its callers to either. A socket with that option cannot find out whether it is the first. So this one listens
    for a moment without it, which only one can, and then shares what it is bound to, where it does not listen any more
    (Linux; elsewhere the port is only tried). Whoever else tries the address so, or without the option, is refused by
    the kernel; of whatever user, and whether one address is a part of the other or not.

    Raises:
        OSError: somebody else has it.
    """
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are ending are in nobody's way
        held.bind(listened)
        held.listen(1)
        if sys.platform != "linux":
            held.close()
            return held
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.shutdown(socket.SHUT_RD)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        held.close()
        raise
    return held
