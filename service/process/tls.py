"""TLS: certificates, checked before the first worker starts, and what is negotiated over HTTP."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

from rowcast.models.errors import RowcastError

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secret and authenticated alone, as over gRPC. Those of TLS 1.3 all are."""
_LOWEST = ssl.TLSVersion.TLSv1_2
_HANDSHAKE_SECONDS = 7.0
"""How long a caller may take to shake hands; so over gRPC."""


def check_pair(setting: str, certificate: Path | None, key: Path | None) -> None:
    """Make sure that a certificate and a key, if they are set, belong together.

    Args:
        setting: what comes before ``_CERT`` and ``_KEY`` in the names of the two settings.
        certificate: a file in PEM.
        key: another, without a password.

    Raises:
        RowcastError: they do not, or one is there without the other.
    """
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        given, left = ("CERT", "KEY") if key is None else ("KEY", "CERT")
        raise RowcastError(f"{setting}_{left} must be set as well; only {setting}_{given} is")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise RowcastError(
            f"{setting}_CERT and {setting}_KEY must be a certificate and its key in PEM, got "
            f"{certificate} and {key} ({error.strerror or error})"
        ) from None


def bound_handshakes(loop: asyncio.AbstractEventLoop) -> None:
    """Have the servers that are made on a loop give up handshakes that take too long, and speak TLS 1.2 at least.

    uvicorn makes its server with the defaults of asyncio, which wait for a minute, and passes no choice on.
    """
    create: Any = loop.create_server

    async def create_server(*args: Any, ssl: ssl.SSLContext | None = None, **options: Any) -> Any:
        if ssl is not None:
            ssl.minimum_version = _LOWEST
            options.setdefault("ssl_handshake_timeout", _HANDSHAKE_SECONDS)
        return await create(*args, ssl=ssl, **options)

    owner: Any = loop
    owner.create_server = create_server
