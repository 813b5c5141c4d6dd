"""What a client is told when it is made, checked then, and what both kinds say of a request."""

from __future__ import annotations

import math
import os
from typing import Any

import httpcore

from rowcast.client.arrivals import Arrival, Trouble, trouble_of
from rowcast.client.errors import Unusable
from rowcast.client.exchange import Protocol, RetryPolicy, Sent, Speaker
from rowcast.client.route import Route
from rowcast.client.wire import Attempt
from rowcast.models.access import checked_address, checked_key
from rowcast.models.errors import ConfigError

TROUBLES = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    OSError,  # of TLS as well
    RuntimeError,  # a pool or an event loop that was closed meanwhile
    ValueError,  # of an encoding
)
"""What goes wrong on the way."""
_MOST_SECONDS = 1_000_000.0


class Base:
    """What both have.

    Args:
        url: of the service, such as ``http://127.0.0.1:3000``, or ``unix:/PATH`` of its socket.
        model: ``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS``; may be left out where one model is served.
        api_key: sent as a bearer token.
        protocol: ``json``, ``arrow``, or ``auto``: JSON for a few rows, Arrow for many.
        timeout: seconds that one request may take, from connecting to the last byte of the answer, its retries and
            waits included. A large table is several requests.
        key: of a customer, say: while a canary answers a share of the requests, those of one key are all answered by
            it, or none of them is. Without one, that holds for each table.
        retries: how often a request is sent again when the service could not be reached, or answered 429 or 503.

    Raises:
        Unusable: one of these is not as it must be. No key and no password is repeated.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        protocol: Protocol = "auto",
        timeout: float = 60.0,
        retries: int = 5,
        key: str = "",
    ) -> None:
        if not (_is_number(timeout) and 0 < timeout <= _MOST_SECONDS):
            raise Unusable(f"a timeout is above 0 seconds and at most {_MOST_SECONDS:,.0f}, got {timeout!r}")
        if not (_is_number(retries) and retries >= 0):
            raise Unusable(f"retries are 0 or more, got {retries!r}")
        reason = ""
        try:
            address = checked_address(url)
            secret = "" if api_key is None else checked_key(api_key)
        except ConfigError as error:
            reason = str(error)
        if reason:
            raise Unusable(reason)
        self._speaker = Speaker(model, protocol, key)
        self._route = Route(address)
        self._key = _Secret(secret)
        self._timeout = float(timeout)
        self._retries = int(retries)
        self._known: frozenset[str] | None = None
        """The model's columns, once the service has refused a table for another one."""
        self._closed = False
        self._pid = os.getpid()
        self._inherited: list[object] = []
        """Connections of the process that this one was forked from: neither used here nor closed."""

    def _headers(self, sent: Sent) -> list[tuple[str, str]]:
        headers = [("host", self._route.address.authority), ("accept", "*/*"), ("user-agent", "rowcast")]
        headers.append(("accept-encoding", "identity"))
        if sent.media_type:
            headers.append(("content-type", sent.media_type))
        if sent.key:
            headers.append(("x-rowcast-key", sent.key))
        if self._key.text:
            headers.append(("authorization", f"Bearer {self._key.text}"))
        return headers

    def _options(self, sent: Sent, policy: RetryPolicy) -> dict[str, Any]:
        left = max(policy.left, 0.001)
        return {
            "method": "POST" if sent.body else "GET",
            "url": self._route.url(sent.asked.path),
            "headers": self._headers(sent),
            "content": sent.body or None,
            "extensions": {"timeout": {"connect": left, "read": left, "write": left, "pool": left}},
        }

    def _arrival(self, sent: Sent, response: httpcore.Response) -> Arrival:
        url = self._route.address.shown + sent.asked.path
        return Arrival(response.status, response.headers, sent, url, self._key.text)

    def _trouble(self, error: Exception, attempt: Attempt) -> Trouble:
        return trouble_of(error, attempt, self._route.shown, self._key.text)

    def _check_open(self) -> None:
        if self._closed:
            raise Unusable("the client is closed: make another")


class _Secret:
    """A text that no repr shows."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "***"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
