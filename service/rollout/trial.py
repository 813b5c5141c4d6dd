"""What workers are told of a version that is on trial, and which requests it answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from rowcast.models.rollout import Rollout
from rowcast.models.rollout.record import percent

KEY = b"x-rowcast-key"
"""Header, or metadata over gRPC: requests with the same value are answered by the same version."""
_ENDS_BYTES = 2**15
"""Of a longer request its length and so many bytes of both ends are hashed."""
_RANGE = 2**64


@dataclass(frozen=True, slots=True)
class Trial:
    """A version that is on trial, beside the one of its name that is live."""

    name: str
    version: int
    live: int
    """The version that is."""
    canary: float | None
    """Share of the requests that it answers; None: it answers none."""
    shadow: float | None
    """Share of the requests that it is run on, without answering; None: it is run on none."""
    since: str
    """When it began; UTC, ISO 8601."""
    errors: float | None = None
    p99: float | None = None
    disagree: float | None = None
    promote_after: float | None = None

    @classmethod
    def of(cls, name: str, said: Rollout) -> Trial | None:
        """What ``rollout.json`` of a name says; None where no version is on trial."""
        if said.trial is None or said.live is None or said.since is None:
            return None
        canary = None if said.canary is None else said.canary.share
        shadow = None if said.shadow is None else said.shadow.share
        guards = said.guards
        return cls(
            name,
            said.trial,
            said.live,
            canary,
            shadow,
            said.since,
            guards.errors,
            guards.p99,
            guards.disagree,
            said.promote_after,
        )

    @property
    def number(self) -> int:
        """By which what workers count of it is known; the same in every process, and never 0."""
        text = f"{self.name}:{self.version} {self.since}".encode()
        return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") | 1

    @property
    def told(self) -> str:
        """It in a few words."""
        shares = {"canary": self.canary, "shadow": self.shadow}
        return ", ".join(f"{what} {percent(share)}" for what, share in shares.items() if share is not None)


class Sides:
    """Tells which requests the version on trial answers: the same in every worker, on every machine, and after a
    change of the share to a larger one.

    Args:
        name: of the model.
        version: that is on trial.
        share: of the requests that it answers.
    """

    def __init__(self, name: str, version: int, share: float) -> None:
        self._hash = blake2b(f"{name}:{version}\0".encode(), digest_size=8)
        self._below = round(share * _RANGE)

    def takes(self, text: bytes) -> bool:
        """Whether requests of this key are among them."""
        state = self._hash.copy()
        state.update(text)
        return int.from_bytes(state.digest(), "big") < self._below

    def takes_body(self, body: bytes) -> bool:
        """Whether a request without a key is."""
        if len(body) > 2 * _ENDS_BYTES:
            body = b"%d %b%b" % (len(body), body[:_ENDS_BYTES], body[-_ENDS_BYTES:])
        return self.takes(body)


def key_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The key of a request with these headers; None where it has none."""
    for name, value in headers:
        if name == KEY:
            return value.strip() or None
    return None
