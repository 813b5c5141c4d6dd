"""Who may change what is served over the network, and how the change is asked for."""

from __future__ import annotations

from rowcast.models.errors import RequestError
from rowcast.service.caller import Caller
from rowcast.service.live.follow import Follower
from rowcast.service.middleware.keys import ADMIN_NEEDED, Keys


class NetworkChanges:
    """What is served, changed by those who may.

    Args:
        follower: passes orders on to the supervisor.
        keys: of the service; None for no such, and then whoever is on this machine may.
    """

    def __init__(self, follower: Follower, keys: Keys | None) -> None:
        self._follower = follower
        self._keys = keys

    def who(self, caller: Caller) -> str:
        """Who asks for a change, see :class:`rowcast.service.engine.registry.Changes`."""
        if self._keys is not None:
            holder = self._keys.admin(caller.headers)
            if holder is None:
                raise RequestError(ADMIN_NEEDED, status=403)
            return holder
        if caller.from_elsewhere:
            raise RequestError(
                "what is served may be changed from this machine alone, where there are no API keys; or with the key "
                f"of an admin, see ROWCAST_API_KEYS. This request is refused: {caller.from_elsewhere}",
                status=403,
            )
        return "this machine"

    async def settle(self) -> None:
        """Wait until this worker serves what all are to serve now."""
        await self._follower.settle()

    async def promote(self, name: str, version: int | None, *, allow_signature_change: bool, who: str) -> str:
        """Have a version served: why nothing came of it; an empty text when it is."""
        return await self._follower.order(name, version, allow_signature_change=allow_signature_change, who=who)
