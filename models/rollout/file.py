"""The file in which operators say what is served of a model: ``<root>/<name>/rollout.json``.

It stands beside the versions, so that every service that mounts the repository reads the same, one that starts later
too. It is written whole or not at all, under the lock of the model's folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from rowcast.models.errors import ModelRefused
from rowcast.models.faults import first_fault, repeated_key
from rowcast.models.listing import is_absent
from rowcast.models.names import LOCK, STAGING
from rowcast.models.plain_files import (
    Folder,
    NoFileError,
    NoFolderError,
    UnreadableError,
    flush_change,
    locked,
    write_new,
)
from rowcast.models.rollout.absent import makes_no_sense_after
from rowcast.models.rollout.record import Rollout

ROLLOUT_FILE = "rollout.json"
KEPT_FILE = ".rollout-last.json"
"""The last content of the other that made sense. A service that starts goes by it where that one is nonsense."""
_MOST_BYTES = 2**20


def read_rollout(home: Path) -> Rollout:
    """What is said of a model; nothing in particular where there is no file.

    Args:
        home: the folder of the model, which holds its versions.

    Raises:
        UnreadableError: the system does not let it be read: nobody knows what is said.
        ModelRefused: the file is none of ours.
    """
    file = home / ROLLOUT_FILE
    try:
        os.stat(file, follow_symlinks=False)
        with Folder(home) as folder:
            text = folder.read(ROLLOUT_FILE, _MOST_BYTES)
    except (NoFolderError, NoFileError):
        return Rollout()
    except OSError as error:
        if is_absent(error):
            return Rollout()
        raise UnreadableError(f"{file} cannot be read: {error.strerror}") from None
    fault = repeated_key(text)
    if fault is None:
        try:
            return Rollout.model_validate_json(text)
        except ValidationError as error:
            fault = first_fault(error)
    raise ModelRefused(f"{file} is not as `rowcast rollout` writes it: {fault}; correct or remove it")


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
            text = after.model_dump_json(indent=2, by_alias=True).encode() + b"\n"
            Rollout.model_validate_json(text)  # what nobody could read is not written
            _write_whole(home / f"{STAGING}{ROLLOUT_FILE}", text, home / ROLLOUT_FILE)
            flush_change(home, f"{home / ROLLOUT_FILE} is as it was changed")
            with contextlib.suppress(OSError):  # what counts is written
                keep_rollout(home, after)
        return after


def keep_rollout(home: Path, said: Rollout) -> None:
    """Keep what is said of a model, for a service that starts when the file is nonsense.

    What names a version that is not there does not take the place of what does not.

    Raises:
        OSError: the folder cannot be written, or the disk is full; what was kept is kept.
    """
    before = kept_rollout(home)
    if before is not None and makes_no_sense_after(home, said, before):
        return
    text = said.model_dump_json(indent=2, by_alias=True).encode() + b"\n"
    with contextlib.suppress(ModelRefused), Folder(home) as folder:
        if folder.read(KEPT_FILE, _MOST_BYTES) == text:
            return
    made = home / f"{STAGING}{secrets.token_hex(8)}{KEPT_FILE}"  # services do so without the lock
    _write_whole(made, text, home / KEPT_FILE)


def kept_rollout(home: Path) -> Rollout | None:
    """The last that was said of a model and made sense; None where nothing is kept that does."""
    try:
        with Folder(home) as folder:
            return Rollout.model_validate_json(folder.read(KEPT_FILE, _MOST_BYTES))
    except (ModelRefused, ValidationError):
        return None


def read_or_kept(home: Path) -> tuple[Rollout, str]:
    """What is said of a model, or where that is nonsense, the last that made sense; and what is wrong then.

    Args:
        home: the folder of the model.

    Raises:
        UnreadableError: the system does not let it be read, nor the last that made sense: nobody knows what is said.
    """
    kept = kept_rollout(home)
    try:
        said = read_rollout(home)
        fault = "" if kept is None else makes_no_sense_after(home, said, kept)
        if kept is None or not fault:
            return said, ""
    except (ModelRefused, OSError) as error:
        if kept is None and isinstance(error, UnreadableError):
            raise
        if kept is None:
            return Rollout(), f"{error}; nothing is kept that it said before"
        fault = str(error)
    return kept, f"{fault}; until then what it said last holds, which {KEPT_FILE} keeps"


def versions_named(home: Path) -> set[int]:
    """All versions that are named of a model; where the file is none of ours, by what is kept."""
    try:
        return read_rollout(home).named
    except ModelRefused:
        kept = kept_rollout(home)
        return set() if kept is None else kept.named


def _write_whole(made: Path, text: bytes, file: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        made.unlink()
    try:
        write_new(made, text)
        os.replace(made, file)
    except BaseException:
        made.unlink(missing_ok=True)
        raise
