"""Where a request comes from, and whether that is this machine: where there are no keys, such callers may do more.

An address says little by itself: a proxy and a sidecar ask from this machine for whoever asks them, and a browser for
any page. They add headers, and keep the name that they were asked for. A program on this machine does neither.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from rowcast.models.access import is_loopback

_OF_PROXIES = (
    *(b"forwarded", b"via", b"x-forwarded", b"x-original-", b"x-real-", b"x-scheme", b"proxy-", b"x-proxy-"),
    *(b"client-ip", b"true-client-ip", b"x-client-", b"x-cluster-client-", b"x-remote-", b"ssl-client-", b"x-ssl-"),
    *(b"x-envoy", b"x-istio-", b"l5d-", b"x-consul-", b"dapr-", b"k-proxy-", b"knative-", b"ngrok-", b"tailscale-"),
    *(b"x-nginx-", b"x-haproxy-", b"x-traefik-", b"x-kong-", b"x-consumer-", b"x-varnish", b"x-amzn-", b"x-amz-cf-"),
    *(b"cdn-loop", b"cf-", b"cloudfront-", b"fastly-", b"fly-", b"akamai-", b"x-akamai-", b"x-azure-", b"x-arr-"),
    *(b"incap-", b"x-sucuri-", b"x-vercel-", b"x-appengine-", b"x-goog-"),
)
"""How the names of headers begin that proxies, sidecars and networks that deliver content add for whom they ask."""
_OF_A_BROWSER = frozenset((b"origin", b"referer", b"sec-fetch-site"))
_HOST = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]*)?")
"""A name or an address, and perhaps a port."""


class Caller(NamedTuple):
    """What is known of who sent a request."""

    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case."""
    address: str | None
    """Of the other end of the connection; None where it has none, or is gone: then the system does not tell it."""
    in_file: bool = False
    """Whether the connection is one to a Unix socket, which has no address."""
    tells_host: bool = True
    """Whether headers tell the name that the service was asked for. gRPC's library keeps it to itself."""

    @classmethod
    def of_scope(cls, scope: Mapping[str, Any]) -> Caller:
        """The one of an ASGI request. The server of a Unix socket is a path without a port."""
        client, server = scope.get("client"), scope.get("server")
        in_file = server is not None and server[1] is None
        return cls(tuple(scope["headers"]), None if client is None else client[0], in_file)

    @classmethod
    def of_peer(cls, peer: str, metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
        """The one of a call over gRPC, by what grpc calls a peer, such as ``ipv4:127.0.0.1:50000``."""
        kind, _, rest = peer.partition(":")
        headers = tuple((name.encode(), v if isinstance(v, bytes) else v.encode()) for name, v in metadata)
        address = unquote(rest).rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else None
        return cls(headers, address, kind == "unix", tells_host=False)

    @property
    def from_elsewhere(self) -> str:
        """What says that the request does not come from a program on this machine; empty where nothing does."""
        if not self.in_file and self.address is None:
            return "its address is not known any more"
        if not self.in_file and not _is_loopback(self.address or ""):
            return f"it comes from {self.address}"
        for name, _ in self.headers:
            if name.replace(b"_", b"-").startswith(_OF_PROXIES):
                return f"it has the header {name.decode('latin-1')[:64]}, which proxies add"
            if name in _OF_A_BROWSER:
                return f"it has the header {name.decode()}, which browsers add"
        hosts = [value for name, value in self.headers if name == b"host"]
        if self.in_file or (all(map(_names_loopback, hosts)) and (hosts or not self.tells_host)):
            return ""
        return "its Host header must be localhost or a loopback address, such as 127.0.0.1"


def _is_loopback(address: str) -> bool:
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(number, ipaddress.IPv6Address) and number.ipv4_mapped is not None:
        number = number.ipv4_mapped
    return number.is_loopback


def _names_loopback(host: bytes) -> bool:
    match = _HOST.fullmatch(host.strip())
    return match is not None and is_loopback((match[1] or match[2]).decode())
