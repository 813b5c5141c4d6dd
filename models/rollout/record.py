"""The content of ``rollout.json``: what it says, and the rules that it keeps."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rowcast.models.errors import ConfigError
from rowcast.models.names import MAX_VERSION, is_alias
from rowcast.models.printable import printable

_MOST_CHANGES = 200
_MOST_ALIASES = 100
_SHOWN = 200
LONGEST_TRIAL_SECONDS = 10**9

Version = Annotated[int, Field(ge=1, le=MAX_VERSION)]
Share = Annotated[float, Field(ge=0, le=1)]

What = Literal["live", "canary", "shadow", "rollback", "alias"]
"""Of a change: another version is live; one is on trial as canary, or in the shadow; its trial was ended, and what was
live is; a version was named."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Change(_Frozen):
    """What changed, and who said so."""

    time: str
    """UTC, ISO 8601."""
    who: str = Field(max_length=200)
    """The holder of a key, a user and a machine, ``auto``, ``guard`` or, where it was edited, ``rollout.json``."""
    before: int | None = Field(None, alias="from")
    """The version that was served; None for none."""
    after: int | None = Field(None, alias="to")
    """The version that is served since, or is on trial; None for none."""
    why: str = Field(max_length=1000)
    what: What = "live"


class OnTrial(_Frozen):
    """A version that is on trial."""

    version: Version
    share: Share
    """Of requests: that it answers as a canary, or that it is run on in the shadow."""


class Guards(_Frozen):
    """What a version must keep to while it is on trial; None: no matter."""

    errors: Share | None = None
    """Share of its requests that may fail, beyond the share that fails on the live version."""
    p99: float | None = Field(None, gt=0, le=1000)
    """How many times the p99 of the live version its own may be."""
    disagree: Share | None = None
    """Share of rows in which it may disagree with the live version."""

    @classmethod
    def of(cls, text: str) -> Guards:
        """Read ``errors=0.1%,p99=1.2x,disagree=5%``.

        Raises:
            ConfigError: it is none.
        """
        found: dict[str, float] = {}
        for part in text.split(","):
            name, _, value = (piece.strip() for piece in part.partition("="))
            if name not in cls.model_fields or name in found:
                names = ", ".join(cls.model_fields)
                raise ConfigError(f"a guard must be one of {names}, each once, such as errors=0.1%, got {part!r}")
            if name == "p99":
                times = re.fullmatch(r"(\d+(?:\.\d+)?)x", value, re.ASCII)
                if times is None or not 0 < float(times[1]) <= 1000:
                    raise ConfigError(f"the guard p99 must be a ratio above 0, such as p99=1.2x, got {part!r}")
                found[name] = float(times[1])
            else:
                found[name] = share_of(value, f"the guard {name}")
        return cls(**found)

    def __str__(self) -> str:
        told = {"errors": self.errors, "disagree": self.disagree}
        parts = [f"{name}={percent(value)}" for name, value in told.items() if value is not None]
        return ",".join(parts + ([] if self.p99 is None else [f"p99={self.p99:g}x"]))


class Rollout(_Frozen):
    """What ``rollout.json`` says of a model."""

    format: Literal[1] = 1
    live: Version | None = None
    """The version that somebody chose; None: the newest that is good."""
    newest: int = Field(0, ge=0, le=MAX_VERSION)
    """The newest version there was when it was chosen. Later ones may follow by themselves, this one and those between
    may not."""
    allowed: tuple[int, ...] = Field((), max_length=1000)
    """Versions whose signature may be another one than that of the version before."""
    canary: OnTrial | None = None
    """The version that answers a share of the requests."""
    shadow: OnTrial | None = None
    """The version that is run on a share of the requests, and answers none of them."""
    guards: Guards = Guards()
    """Of the version on trial."""
    promote_after: float | None = Field(None, gt=0, le=LONGEST_TRIAL_SECONDS)
    """Seconds after which it is promoted, if its guards held; None for never by itself."""
    since: str | None = None
    """When its trial began; UTC, ISO 8601."""
    aliases: dict[str, Version] = Field(default_factory=dict, max_length=_MOST_ALIASES)
    """Versions by what somebody called them."""
    history: tuple[Change, ...] = Field((), max_length=_MOST_CHANGES)
    """The last changes, oldest first."""

    @field_validator("since")
    @classmethod
    def _is_a_time(cls, since: str | None) -> str | None:
        if since is not None:
            seconds_of(since)
        return since

    @field_validator("aliases")
    @classmethod
    def _are_aliases(cls, aliases: dict[str, int]) -> dict[str, int]:
        for alias in aliases:
            if not is_alias(alias):
                raise ValueError(f"{alias[:_SHOWN]!r} is no alias")
        return aliases

    @model_validator(mode="after")
    def _is_one_trial(self) -> Rollout:
        tried = {one.version for one in (self.canary, self.shadow) if one is not None}
        if len(tried) > 1:
            raise ValueError("canary and shadow must name one version, got two")
        if tried and (self.live is None or self.since is None):
            raise ValueError("with a canary or a shadow, live and since must be given")
        if self.live in tried:
            raise ValueError("a version must be live or on trial, got one that is both")
        return self

    @property
    def trial(self) -> int | None:
        """The version that is on trial."""
        one = self.canary or self.shadow
        return None if one is None else one.version

    @property
    def last_live(self) -> Change | None:
        """The last change of what is live."""
        return self.last_of("live")

    def last_of(self, *kinds: What) -> Change | None:
        """The last change of one of these kinds."""
        return next((one for one in reversed(self.history) if one.what in kinds), None)

    @property
    def last_word(self) -> Change | None:
        """The last change of who answers: what a version is called is none."""
        return self.last_of("live", "canary", "shadow", "rollback")

    @property
    def served(self) -> int | None:
        """The version that answers, as the history has it; None where it tells of none.

        A service that starts writes down what it serves, which may be another version than :attr:`live`.
        """
        last = self.last_word
        if last is None:
            return None
        return last.after if last.what in ("live", "rollback") else last.before

    @property
    def once_live(self) -> list[int]:
        """The versions that answered before, as the history has it: the last one first."""
        words = [one for one in reversed(self.history) if one.what != "alias"]
        after = [one.after if one.what in ("live", "rollback") else one.before for one in words]
        before = [one.before for one in words if one.what == "live"]
        return list(dict.fromkeys(one for one in (*after, *before) if one is not None))

    @property
    def held_back(self) -> set[int]:
        """The versions that are no substitute for another: on trial, tried and not promoted, or gone back from."""
        held: set[int | None] = {self.trial}
        for one in self.history:
            if one.what in ("canary", "shadow"):
                held.add(one.after)
            elif one.what in ("live", "rollback"):
                held.discard(one.after)
                if one.before is not None and one.after is not None and one.after < one.before:
                    held.add(one.before)
        return {version for version in held if version is not None}

    @property
    def named(self) -> set[int]:
        """All versions that are named here, each of which stays what it is called."""
        changed = [version for one in self.history for version in (one.before, one.after)]
        versions = [self.newest, self.live, self.trial, *self.allowed, *self.aliases.values(), *changed]
        return {version for version in versions if version}

    def told(self) -> str:
        """The trial in a few words."""
        parts = [
            f"{what} {percent(one.share)}"
            for what, one in (("canary", self.canary), ("shadow", self.shadow))
            if one is not None
        ]
        if (guards := str(self.guards)) and parts:
            parts.append(f"guards {guards}")
        if self.promote_after is not None and parts:
            parts.append(f"promoted after {self.promote_after:g} s")
        return ", ".join(parts)

    def without_trial(self) -> Rollout:
        """The same with no version on trial."""
        none = {"canary": None, "shadow": None, "guards": Guards(), "promote_after": None, "since": None}
        return self.model_copy(update=none)

    def with_change(self, who: str, before: int | None, after: int | None, why: str, what: What = "live") -> Rollout:
        """The same with one change more; the oldest are forgotten."""
        told = {
            "time": now(),
            "who": printable(who)[:_SHOWN],
            "from": before,
            "to": after,
            "why": printable(why)[:1000],
        }
        history = (*self.history, Change.model_validate(told | {"what": what}))[-_MOST_CHANGES:]
        return self.model_copy(update={"history": history})


def share_of(text: str, what: str) -> float:
    """A share as a person writes it.

    >>> share_of("5%", "--canary")
    0.05

    Raises:
        ConfigError: it is none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text, re.ASCII)
    if match is None or float(match[1]) > 100:
        raise ConfigError(f"{what} must be a share from 0% to 100%, such as 5%, got {text!r}")
    return float(match[1]) / 100


def percent(share: float) -> str:
    """A share as a person writes it."""
    return f"{share * 100:.6g}%"


def now() -> str:
    """This moment; UTC, ISO 8601, to the millisecond, so that two trials are told apart."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(time: str) -> float:
    """Seconds since 1970 of such a moment.

    Raises:
        ValueError: it is none.
    """
    moment = datetime.fromisoformat(time)
    if moment.tzinfo is None:
        raise ValueError(f"{time[:_SHOWN]!r} is no time in UTC")
    return moment.timestamp()
