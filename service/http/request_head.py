"""What HTTP/1.1 asks of a request's head beyond its grammar, which the parser knows.

Sources: RFC 9112, sections 3.2 (Host), 6.1 (Transfer-Encoding) and 2.5 (versions); RFC 9110, section 7.8 (a server may
ignore Upgrade, and this one does: HTTP/1.1 is all it speaks).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import NamedTuple

from rowcast.service.http.body import Header

_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
"""A name or an address and perhaps a port; empty where the target has no authority."""


class Refusal(NamedTuple):
    """The answer to what is no request; the connection ends with it."""

    status: HTTPStatus
    words: str


def fault_of_head(method: bytes, version: str, headers: Sequence[Header]) -> Refusal | None:
    """What is wrong with a head whose request could be read in two ways, or by nobody; None where nothing is.

    Args:
        method: as the parser gives it.
        version: of the protocol, such as ``1.1``.
        headers: names in lower case.
    """
    if version not in {"1.0", "1.1"}:
        return Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"must be HTTP/1.1 or HTTP/1.0, got HTTP/{version}")
    if method == b"CONNECT":
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "CONNECT is for proxies, and this is none")
    host = coding = None
    hosts = codings = 0
    has_length = False
    for name, value in headers:
        if name == b"host":
            host, hosts = value, hosts + 1
        elif name == b"transfer-encoding":
            coding, codings = value, codings + 1
        elif name == b"content-length":
            has_length = True
    if hosts != 1 and (hosts or version == "1.1"):
        return Refusal(HTTPStatus.BAD_REQUEST, f"a request must have one Host header, got {hosts}")
    if host is not None and not _HOST.fullmatch(host.strip()):
        return Refusal(HTTPStatus.BAD_REQUEST, "the Host header must be a name or an address, and perhaps a port")
    if coding is not None:
        if codings != 1 or version != "1.1" or coding.strip().lower() != b"chunked":
            return Refusal(HTTPStatus.BAD_REQUEST, "Transfer-Encoding must be chunked, once, and in HTTP/1.1")
        if has_length:
            return Refusal(HTTPStatus.BAD_REQUEST, "a request has Content-Length or Transfer-Encoding, not both")
    return None


def without_upgrade(method: bytes, target: bytes, version: str, headers: Iterable[Header]) -> bytes:
    """The bytes of a head as they would be had its caller not offered another protocol.

    Args:
        method: as the parser gives it; so with the target.
        target: what stands between the method and the version.
        version: such as ``1.1``.
        headers: as the parser gives them: no value has a line break.
    """
    lines = [b"%b: %b\r\n" % header for header in headers if header[0].lower() != b"upgrade"]
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, version.encode(), b"".join(lines))
