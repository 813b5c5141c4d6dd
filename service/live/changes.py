"""Who may change what is served over the network, and how the change is asked for."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from rowcast.models.errors import RequestError
from rowcast.service.http.body import Header
from rowcast.service.live.follow import Follower
from rowcast.service.middleware.keys import ADMIN_NEEDED, Keys

_FROM_ELSEWHERE = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"origin"})
"""A proxy on this machine passes on what others ask; and so does a browser, for any page."""


class NetworkChanges:
    """What is served, changed by those who may.

    Args:
        follower: passes orders on to the supervisor.
        keys: of the service; None for no such, and then whoever is on this machine may.
    """

    def __init__(self, follower: Follower, keys: Keys | None) -> None:
        self._follower = follower
        self._keys = keys

    def who(self, headers: Iterable[Header], host: str | None) -> str:
        """Who asks for a change, see :class:`rowcast.service.engine.registry.Changes`."""
        headers = list(headers)
        if self._keys is not None:
            holder = self._keys.admin(headers)
            if holder is None:
                raise RequestError(ADMIN_NEEDED, status=403)
            return holder
        if (host is None or _is_loopback(host)) and _FROM_ELSEWHERE.isdisjoint(name for name, _ in headers):
            return "this machine"
        raise RequestError(
            "what is served may be changed from this machine alone, where there are no API keys; or with the key of an "
            "admin, see ROWCAST_API_KEYS",
            status=403,
        )

    async def settle(self) -> None:
        """Wait until this worker serves what all are to serve now."""
        await self._follower.settle()

    async def promote(self, name: str, version: int | None, *, allow_signature_change: bool, who: str) -> str:
        """Have a version served: why nothing came of it; an empty text when it is."""
        return await self._follower.order(name, version, allow_signature_change=allow_signature_change, who=who)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback
