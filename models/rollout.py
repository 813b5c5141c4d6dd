"""Which version of a model somebody chose to be served, and what was served when: ``<root>/<name>/rollout.json``.

It stands beside the versions, so that every service that mounts the repository reads the same, one that starts later
too. It is written whole or not at all, under the lock of the model's folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rowcast.models.errors import ModelError, ModelRefused
from rowcast.models.names import MAX_VERSION
from rowcast.models.plain_files import Folder, NoFolderError, flush_folder, locked, write_new
from rowcast.models.printable import printable
from rowcast.models.repository import LOCK, STAGING

ROLLOUT_FILE = "rollout.json"
_MOST_BYTES = 2**20
_MOST_CHANGES = 200
_SHOWN = 200


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Change(_Frozen):
    """What was served instead of what, and who said so."""

    time: str
    """UTC, ISO 8601."""
    who: str = Field(max_length=200)
    """The holder of a key, a user and a machine, or ``auto``."""
    before: int | None = Field(None, alias="from")
    """The version that was served; None for none."""
    after: int | None = Field(None, alias="to")
    """The version that is served since; None for none."""
    why: str = Field(max_length=1000)


class Rollout(_Frozen):
    """What ``rollout.json`` says of a model."""

    format: Literal[1] = 1
    live: int | None = Field(None, ge=1, le=MAX_VERSION)
    """The version that somebody chose; None: the newest that is good."""
    newest: int = Field(0, ge=0, le=MAX_VERSION)
    """The newest version there was when it was chosen. Later ones may follow by themselves, this one and those between
    may not."""
    allowed: tuple[int, ...] = Field((), max_length=1000)
    """Versions whose signature may be another one than that of the version before."""
    history: tuple[Change, ...] = Field((), max_length=_MOST_CHANGES)
    """The last changes, oldest first."""

    def with_change(self, who: str, before: int | None, after: int | None, why: str) -> Rollout:
        """The same with one change more; the oldest are forgotten."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        told = {"time": now, "who": printable(who)[:_SHOWN], "from": before, "to": after, "why": printable(why)[:1000]}
        history = (*self.history, Change.model_validate(told))[-_MOST_CHANGES:]
        return self.model_copy(update={"history": history})


def read_rollout(home: Path) -> Rollout:
    """What is said of a model; nothing in particular where there is no file.

    Args:
        home: the folder of the model, which holds its versions.

    Raises:
        ModelRefused: the file is none of ours, or cannot be read.
    """
    if not os.path.lexists(home / ROLLOUT_FILE):
        return Rollout()
    try:
        with Folder(home) as folder:
            text = folder.read(ROLLOUT_FILE, _MOST_BYTES)
    except NoFolderError:
        return Rollout()
    try:
        return Rollout.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = printable(".".join(str(part) for part in first["loc"])) or "it"
        words = f"{home / ROLLOUT_FILE} is not as `rowcast models promote` writes it: {where}: {first['msg']}"
        raise ModelRefused(words) from None


def change_rollout(home: Path, change: Callable[[Rollout], Rollout]) -> Rollout:
    """Change what is said of a model: the last word is of who comes last, and nothing of the others' is lost.

    Args:
        home: the folder of the model.
        change: given what is said now; says what is said next. It may raise, and then nothing is changed.

    Raises:
        ModelRefused: what is there is none of ours.
        ModelError: the lock cannot be had.
        OSError: the folder cannot be written, or the disk is full; nothing was changed.
    """
    with locked(home / LOCK):
        before = read_rollout(home)
        after = change(before)
        if after != before:
            made = home / f"{STAGING}{ROLLOUT_FILE}"
            with contextlib.suppress(FileNotFoundError):
                made.unlink()
            try:
                write_new(made, after.model_dump_json(indent=2, by_alias=True).encode() + b"\n")
                os.replace(made, home / ROLLOUT_FILE)
            except BaseException:
                made.unlink(missing_ok=True)
                raise
            flush_folder(home)
        return after


def choose_version(
    home: Path,
    version: int,
    versions: list[int],
    who: str,
    before: int | None,
    *,
    allow_signature_change: bool,
    seen: Rollout | None = None,
) -> Rollout:
    """Write down that somebody chose a version.

    Args:
        home: the folder of the model.
        version: what is to be served.
        versions: those that there are.
        who: chose it.
        before: the version that was served, as far as is known.
        allow_signature_change: whether its signature may be another one.
        seen: what was said when they chose. None: they choose whatever is said.

    Raises:
        ModelError: it cannot be written down, or somebody else has changed it since it was seen.
    """

    def chosen(said: Rollout) -> Rollout:
        if seen is not None and said != seen:
            raise ModelError(f"somebody else was first: {_last(said)}. Look, and promote again")
        allowed = {one for one in said.allowed if one in versions} | ({version} if allow_signature_change else set())
        update = {"live": version, "newest": max(versions), "allowed": tuple(sorted(allowed))}
        return said.with_change(who, before, version, "promoted").model_copy(update=update)

    def _last(said: Rollout) -> str:
        if not said.history:
            return f"{home / ROLLOUT_FILE} is another"
        last = said.history[-1]
        return f"{last.who} had {home.name}:{last.after} served at {last.time}"

    try:
        return change_rollout(home, chosen)
    except OSError as error:
        raise ModelError(f"{home / ROLLOUT_FILE} cannot be written: {error.strerror}") from None
