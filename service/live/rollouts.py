"""What ``rollout.json`` says of each name, as the supervisor reads it and writes it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from rowcast.models.errors import ModelError, ModelRefused
from rowcast.models.rollout import ROLLOUT_FILE, Rollout, change_rollout, choose_version, end_trial, read_rollout
from rowcast.service.rollout.trial import Trial

logger = logging.getLogger("rowcast.service")


class Rollouts:
    """The files of a repository, each read when it has changed. One that is nonsense changes nothing, and is told.

    Args:
        root: the repository.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._marks: dict[str, tuple[int, ...] | None] = {}
        self._said: dict[str, Rollout] = {}
        self._obeyed: dict[str, Rollout] = {}
        self.faults: dict[str, str] = {}
        """What is wrong with the file of a name."""
        self._warned = False

    def read(self, names: Iterable[str]) -> None:
        """Look at the files of these names, and forget all others."""
        names = set(names)
        for known in (self._marks, self._said, self._obeyed, self.faults):
            for name in known.keys() - names:
                del known[name]
        for name in sorted(names):
            mark = _mark(self._root / name / ROLLOUT_FILE)
            if name in self._marks and self._marks[name] == mark:
                continue
            self._marks[name] = mark
            try:
                self._said[name] = read_rollout(self._root / name)
                self.faults.pop(name, None)
            except ModelRefused as error:
                if self.faults.get(name) != str(error):
                    logger.error("%s; what was served is served on", error)
                self.faults[name] = str(error)

    def said(self, name: str) -> Rollout:
        """The last that was said of a name and is no nonsense."""
        return self._said.get(name) or Rollout()

    def asked(self, name: str) -> int | None:
        """The version that somebody has chosen since the last time that it was done; None for no such."""
        said = self.said(name)
        return said.live if self._obeyed.get(name) != said else None

    def done(self, name: str) -> None:
        """Take note that what is said of a name was done, or tried in vain."""
        self._obeyed[name] = self.said(name)

    def write_choice(
        self, name: str, version: int, versions: list[int], who: str, before: int | None, *, allowed: bool
    ) -> None:
        """Write down that somebody chose a version, if the repository can be written."""
        try:
            home = self._root / name
            choose_version(home, version, versions, who, before, allow_signature_change=allowed)
        except ModelError as error:
            logger.warning(
                "%s: so this service alone serves %s:%d, and only until it is started anew", error, name, version
            )
        self.read({*self._said, name})
        self.done(name)

    def write_change(self, name: str, before: int | None, after: int | None, why: str, who: str = "auto") -> None:
        """Write down what went live by itself, once for all services, if the repository can be written."""

        def changed(said: Rollout) -> Rollout:
            last = said.last_live
            if said.trial is not None or (last is not None and last.after == after):
                return said  # another service was first
            passed = after is not None and after > said.newest  # else the choice holds
            return said.model_copy(update={"live": None if passed else said.live}).with_change(
                f"{who}, on {socket.gethostname()}", before, after, why
            )

        if (self._root / name).is_dir():
            try:
                change_rollout(self._root / name, changed)
            except (ModelError, OSError) as error:
                if not self._warned:
                    self._warned = True
                    logger.warning("what goes live by itself is in this log alone: %s", error)
        self.read({*self._said, name})
        self.done(name)

    def end_trial(self, trial: Trial, how: Literal["rollback", "promoted"], why: str, who: str = "auto") -> bool:
        """Write down how a trial ended, once for all services; whether it is written. Any thread may."""
        try:
            end_trial(self._root / trial.name, trial.since, how, f"{who}, on {socket.gethostname()}", why)
        except ModelError as error:
            logger.error("how the trial of %s:%d ended is in this log alone: %s", trial.name, trial.version, error)
            return False
        return True


def _mark(file: Path) -> tuple[int, ...] | None:
    try:
        about = os.stat(file, follow_symlinks=False)
    except OSError:
        return None
    return about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino
