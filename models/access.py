"""How a caller reaches a service: an address and an API key, checked when they are given, and told without secrets.

An error that repeats an address leaves out what could be a secret in it, and none repeats a key.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from rowcast.models.errors import ConfigError

KEY_VARIABLE = "ROWCAST_API_KEY"
_KEY = re.compile(r"[\x21-\x7e]+")
_UNIX = "unix:"
_PORTS = {"http": 80, "https": 443}
_SHOWN_CHARACTERS = 200


class Address(NamedTuple):
    """Where a service listens."""

    scheme: str
    """``http`` or ``https``."""
    host: str
    """A name or an IP address, in ASCII and without brackets."""
    port: int
    prefix: str
    """What every path begins with, percent-encoded: empty, or ``/a/b``."""
    socket: str | None = None
    """The path of a Unix socket, which is connected to instead."""
    shown: str = ""
    """The address as errors name it."""

    @property
    def authority(self) -> str:
        """The host, and the port where it is not the scheme's own, as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine: such requests never go through a proxy."""
        return self.socket is not None or is_loopback(self.host)


def checked_address(url: object) -> Address:
    """Take an address apart.

    Args:
        url: ``http://HOST:PORT/PREFIX``, ``https://...``, or ``unix:/PATH`` of a socket.

    Raises:
        ConfigError: it is none of these, or holds a password, a query or a fragment.
    """
    if not isinstance(url, str):
        raise ConfigError(f"an address must be text such as http://127.0.0.1:3000, got {type(url).__name__}")
    text = url.strip()
    if "@" in text:  # wherever it stands: what is before it may be a password
        raise ConfigError(
            f"an address must hold no user or password, got one before {shown(text)}: give a key as api_key= or in "
            f"{KEY_VARIABLE} instead"
        )
    if text.startswith(_UNIX):
        return _of_socket(text)
    if not text.isprintable() or any(map(str.isspace, text)):
        raise _no_address(text)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        if not host.isascii():
            host = host.encode("idna").decode()
    except ValueError:  # UnicodeError is one
        raise _no_address(text) from None
    if parts.scheme not in _PORTS or not host or port == 0:
        raise _no_address(text)
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ConfigError(f"an address must hold no query and no fragment, got one after {shown(text)}: leave it out")
    prefix = quote(parts.path.rstrip("/"), safe="/%:!$&'()*+,;=~")
    return Address(parts.scheme, host, port or _PORTS[parts.scheme], prefix, shown=text.rstrip("/"))


def checked_key(key: object) -> str:
    """An API key without the white space around it, such as the newline at the end of a file.

    Raises:
        ConfigError: it is no key; the error does not repeat it.
    """
    if isinstance(key, bytes):
        key = key.decode("latin-1")
    if not isinstance(key, str):
        raise ConfigError(f"an API key must be text, got {type(key).__name__}")
    key = key.strip()
    if not key:
        raise ConfigError(
            "an API key must be printable ASCII, got an empty one: leave api_key= out, or "
            f"{KEY_VARIABLE} unset, where the service asks for none"
        )
    if not _KEY.fullmatch(key):
        raise ConfigError(
            "an API key must be printable ASCII without spaces, got other characters in it (not shown): give it as "
            "`rowcast key` printed it"
        )
    return key


def key_of_environment() -> str | None:
    """The API key in ``ROWCAST_API_KEY``; None where that is not set.

    Raises:
        ConfigError: it is set, and to no key.
    """
    key = os.environ.get(KEY_VARIABLE)
    return None if key is None else checked_key(key)


def shown(url: str) -> str:
    """An address as an error may repeat it: without user, password, query and fragment."""
    text = re.split(r"[?#]", url.rpartition("@")[2])[0]
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text[:_SHOWN_CHARACTERS]


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or its number.

    >>> [is_loopback(host) for host in ("localhost", "127.1", "::1", "0.0.0.0", "example.com")]
    [True, True, True, True, False]
    """
    name = host.lower().rstrip(".").partition("%")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1 and 0x7f000001 are addresses as well
        except (OSError, ValueError):
            return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def _of_socket(text: str) -> Address:
    path = text.removeprefix(_UNIX)
    if path.startswith("//"):
        path = "/" + path.lstrip("/")
    if not path or not path.isprintable():
        raise ConfigError(f"the address of a socket must be unix:/PATH, got {shown(text)!r}")
    return Address("http", "localhost", _PORTS["http"], "", path, _UNIX + path)


def _no_address(text: str) -> ConfigError:
    return ConfigError(
        f"an address must be http://HOST:PORT or https://HOST:PORT, or unix:/PATH of a socket, got {shown(text)!r}"
    )
