"""The way to a service: directly, through its Unix socket, or through a proxy that the environment names."""

from __future__ import annotations

import urllib.request
from typing import Any

import httpcore
import httpx

from rowcast.client.errors import Unusable
from rowcast.client.wire import AsyncBackend, Backend
from rowcast.models.access import Address, shown

_LIMITS: dict[str, Any] = {"max_connections": 100, "max_keepalive_connections": 20, "keepalive_expiry": 5.0}
"""As httpx has them."""


class Route:
    """The way to one service.

    Args:
        address: of the service.

    Raises:
        Unusable: the environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        proxy = _proxy_of(address)
        self.shown = address.shown if proxy is None else f"{address.shown} through the proxy {shown(str(proxy.url))}"
        self._options: dict[str, Any] = {**_LIMITS, "uds": address.socket}
        try:
            if address.scheme == "https":
                self._options["ssl_context"] = httpx.create_ssl_context()
            if proxy is not None:
                self._options["proxy"] = httpcore.Proxy(
                    httpcore.URL(
                        scheme=proxy.url.raw_scheme,
                        host=proxy.url.raw_host,
                        port=proxy.url.port,
                        target=proxy.url.raw_path,
                    ),
                    proxy.raw_auth,
                )
        except (OSError, ValueError) as error:  # certificates that SSL_CERT_FILE names
            reason = str(error)
        else:
            return
        raise Unusable(f"TLS cannot be set up, look at SSL_CERT_FILE and SSL_CERT_DIR: {reason}")

    def pool(self) -> httpcore.ConnectionPool:
        """Connections that block."""
        return httpcore.ConnectionPool(**self._options, network_backend=Backend())

    def async_pool(self) -> httpcore.AsyncConnectionPool:
        """Connections that are awaited, in one event loop."""
        return httpcore.AsyncConnectionPool(**self._options, network_backend=AsyncBackend())

    def url(self, path: str) -> httpcore.URL:
        """What a request asks for."""
        address = self.address
        return httpcore.URL(
            scheme=address.scheme,
            host=address.host,
            port=address.port,
            target=address.prefix + path,
        )


def _proxy_of(address: Address) -> httpx.Proxy | None:
    """The proxy that the environment names for a service on another machine."""
    if address.is_local:
        return None
    named = urllib.request.getproxies()
    proxy = named.get(address.scheme) or named.get("all")
    if not proxy or urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
        return None
    try:
        return httpx.Proxy(proxy if "://" in proxy else f"http://{proxy}")
    except (ValueError, httpx.InvalidURL):
        pass
    raise Unusable(
        f"a proxy must be http://HOST:PORT, got {shown(proxy)!r} in {address.scheme}_proxy or all_proxy of the "
        "environment: correct it, or name the service in no_proxy"
    )
