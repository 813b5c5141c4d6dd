"""Certificates: whether a pair can be served with, said before the first worker starts."""

from __future__ import annotations

import ssl
from pathlib import Path

from models.errors import RowcastError


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
        raise RowcastError(f"{setting}_{left} must be set as well, however: only {setting}_{given} is")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise RowcastError(
            f"{setting}_CERT and {setting}_KEY must be a certificate and its key in PEM, however: "
            f"{certificate} and {key} ({error.strerror or error})"
        ) from None
