"""What ``rollout.json`` says of each name, as the supervisor reads it and writes it."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Literal, NamedTuple

from rowcast.models.errors import ModelError, ModelRefused
from rowcast.models.listing import is_absent
from rowcast.models.plain_files import UnreadableError
from rowcast.models.rollout import (
    KEPT_FILE,
    ROLLOUT_FILE,
    Change,
    Rollout,
    change_rollout,
    choose_version,
    end_trial,
    keep_rollout,
    kept_rollout,
    makes_no_sense_after,
    read_rollout,
)
from rowcast.models.rollout.record import What
from rowcast.models.rollout.steps import last_change
from rowcast.service.rollout.trial import Trial

logger = logging.getLogger("rowcast.service")

End = Literal["rollback", "promoted"]

BY_HAND = "rollout.json"
"""Who says what no command has written there."""
_LOOKS_WITHOUT = 3
"""Looks in which a file has to be absent before it was removed: an editor may be about to write it anew."""
_LOOKS_BETWEEN = 50
"""Looks from one try to write it to the next, where there is no room for it."""


_UNWRITTEN: dict[End, str] = {
    "rollback": "%s:%d is not on trial any more, which this log alone says until it can be written down: %s",
    "promoted": "%s:%d has held its guards, and is promoted as soon as that can be written down: %s",
}


class _Ended(NamedTuple):
    """How a trial ended."""

    trial: Trial
    how: End
    why: str
    who: str


class _NotThereError(ModelRefused):
    """A file names a version that is not there, or not yet."""


class Rollouts:
    """The files of a repository, each read when it has changed. One that is nonsense changes nothing, and is told.

    Args:
        root: the repository.
        only_read: names of which nothing is kept: the service serves versions of them that it was told, and no others.
    """

    def __init__(self, root: Path, *, only_read: Set[str] = frozenset()) -> None:
        self._root = root
        self._only_read = only_read
        self._marks: dict[str, tuple[int, ...] | None] = {}
        self._said: dict[str, Rollout] = {}
        self._obeyed: dict[str, Rollout] = {}
        self.faults: dict[str, str] = {}
        """What is wrong with the file of a name."""
        self._looks_without: dict[str, int] = {}
        """For how many looks the file of a name has been absent that was there."""
        self._warned = False
        self._ends: dict[int, _Ended] = {}
        """What is to be written down of trials, by their numbers."""
        self._told: dict[int, End] = {}
        """What of it could not be, as the log has it."""
        self._going_on: dict[Trial, tuple[int, ...]] = {}
        """The files that were there when trials were found to go on."""

    def read(self, names: Iterable[str], kept: Iterable[str] = ()) -> None:
        """Look at the files of these names, and forget all others.

        Args:
            names: whose folders are there.
            kept: names of which the last that was said holds on, though their folders are not there just now, or
                cannot be read.
        """
        names = set(names)
        for known in (self._marks, self._said, self._obeyed, self.faults, self._looks_without):
            for name in known.keys() - names - set(kept):
                del known[name]
        for name in sorted(names):
            self._read(name)
            if self._marks[name] == () and name in self._looks_without:
                self._looks_without[name] += 1

    def _read(self, name: str) -> None:
        mark = _mark(self._root / name / ROLLOUT_FILE)
        if mark:
            self._looks_without[name] = 0
        if mark is not None and self._marks.get(name) == mark:
            return
        self._marks[name] = mark
        try:
            self._said[name] = self._sense(name)
            self.faults.pop(name, None)
        except ModelRefused as error:
            if isinstance(error, UnreadableError | _NotThereError):  # it may be otherwise in a moment, by the same file
                self._marks[name] = None
            if self.faults.get(name) != str(error):
                logger.error("%s; what was served is served on", error)
            self.faults[name] = str(error)
            if name not in self._said and (kept := kept_rollout(self._root / name)) is not None:
                self._said[name] = kept  # the service has started by it
        else:
            self._keep(name, is_there=mark != ())

    def _sense(self, name: str) -> Rollout:
        """What the file of a name says now. Any thread may ask.

        Raises:
            UnreadableError: the system does not let it be read.
            ModelRefused: it is nonsense, or after what was said last names a version that is not there.
        """
        home = self._root / name
        now, known = read_rollout(home), (self._said.get(name), kept_rollout(home))
        faults = [makes_no_sense_after(home, now, before) for before in known if before is not None]
        if faults and all(faults):  # else it names what was there once, and was removed since
            raise _NotThereError(faults[0])
        return now

    def _keep(self, name: str, *, is_there: bool) -> None:
        """Keep what is said for a start that finds nonsense, if the repository can be written; or nothing."""
        home = self._root / name
        if name in self._only_read:
            return
        with contextlib.suppress(OSError):
            if is_there:
                keep_rollout(home, self._said[name])
            else:
                (home / KEPT_FILE).unlink(missing_ok=True)

    def said(self, name: str) -> Rollout:
        """The last that was said of a name and is no nonsense."""
        return self._said.get(name) or Rollout()

    def is_known(self, name: str) -> bool:
        """Whether what is said of a name was ever read; else nobody knows whether anything is."""
        return name in self._said

    def was_removed(self, name: str) -> bool:
        """Whether the file of a name was there and is no more."""
        return self._looks_without.get(name, 0) >= _LOOKS_WITHOUT

    def try_later(self, name: str) -> None:
        """Take the file of a name for one that was not removed, for some looks: it cannot be written."""
        self._looks_without[name] = _LOOKS_WITHOUT - _LOOKS_BETWEEN

    def who_chose(self, name: str, version: int) -> str:
        """Who said that a version is to be live."""
        said = self.said(name)
        return BY_HAND if said.last_word is None or said.served != version else said.last_word.who

    def said_since(self, name: str) -> str:
        """Who said meanwhile that something else of a name is to be served than what was read last; empty for nobody.

        What takes seconds asks before its last step, so that it does not pass over what an operator wants.
        """
        home, known = self._root / name, self.said(name)
        mark = _mark(home / ROLLOUT_FILE)
        if mark is not None and mark == self._marks.get(name):
            return ""
        try:
            now = self._sense(name)
        except ModelRefused:  # nonsense changes nothing
            return ""
        return "" if _served(now) == _served(known) else f"somebody else was first: {last_change(home, now)}"

    def first_on_trial(self, name: str, trial: Trial | None, seen: int) -> str:
        """Who has said something else of a trial than what goes on here, or has ended it; empty for nobody.

        What is read is followed, and what a guard does is written down, a moment later: in between nobody may have won
        twice.

        Args:
            name: of the model.
            trial: that goes on here; None for none.
            seen: the number of the one that whoever asks has seen; 0 for none.
        """
        home, said = self._root / name, self.said(name)
        written = Trial.of(name, said)
        end = None if written is None else self._ends.get(written.number)
        if end is not None and end.how == "rollback" and end.trial.number not in self._told:
            return f"somebody else was first: {end.who} had {name}:{end.trial.live} answer again ({end.why})"
        if (trial is not None and trial != written) or (seen and (trial is None or trial.number != seen)):
            return f"somebody else was first: {last_change(home, said)}"
        return self.said_since(name)

    def asked(self, name: str) -> int | None:
        """The version that somebody has chosen since the last time that it was done; None for no such."""
        said = self.said(name)
        return said.live if self._obeyed.get(name) != said else None

    def done(self, name: str) -> None:
        """Take note that what is said of a name was done, or tried in vain."""
        self._obeyed[name] = self.said(name)

    def done_if(self, name: str, version: int | None) -> None:
        """The same where this version is what is said to be served, or may follow on it by itself.

        Args:
            name: of the model.
            version: that is served; None for none.
        """
        said = self.said(name)
        if said.live in (None, version) or (version is not None and version > said.newest):
            self.done(name)

    def write_choice(
        self,
        name: str,
        version: int,
        versions: list[int],
        who: str,
        before: int | None,
        *,
        allowed: bool,
        seen: Rollout | None = None,
        why: str = "promoted",
    ) -> str:
        """Write down that somebody chose a version, if the repository can be written.

        Args:
            name: of the model.
            version: what is to be served.
            versions: those that there are.
            who: chose it.
            before: the version that was served.
            allowed: whether its signature may be another one.
            seen: what was said when it was chosen: it gives way to whoever has said something since. None: it does not.
            why: for the history.

        Returns:
            who was first, and chose something else; an empty text for nobody.
        """
        home, written = self._root / name, False
        while not written:
            known = self.said(name)
            try:
                choose_version(
                    home,
                    version,
                    versions,
                    who,
                    before,
                    allow_signature_change=allowed,
                    why=why,
                    seen=seen or known,
                )
                written = True
            except ModelError as error:
                if first := self.said_since(name):
                    return first
                self._read(name)
                if self.said(name) == known:
                    words = "%s: so this service alone serves %s:%d, and only until it is started anew"
                    logger.warning(words, error, name, version)
                    break
                seen = None  # a version was named meanwhile, which is another matter
        self._read(name)
        if self.said(name).live == version or self.said(name) == known:
            self.done(name)
        return ""

    def write_change(
        self,
        name: str,
        before: int | None,
        after: int | None,
        why: str,
        who: str = "auto",
        seen: Rollout | None = None,
    ) -> None:
        """Write down what went live by itself, once for all services, if the repository can be written.

        Args:
            name: of the model.
            before: the version that was served; None for none.
            after: the version that is; None for none.
            why: for the history.
            who: for the history.
            seen: what was said when it went live: nothing is written where something else is said by now. None: no
                matter.
        """

        def changed(said: Rollout) -> Rollout:
            if seen is not None and said != seen:
                return said
            if said.trial is not None or said.served == after:
                return said  # another service was first
            passed = after is not None and after > said.newest  # else the choice holds
            return said.model_copy(update={"live": None if passed else said.live}).with_change(
                f"{who}, on {socket.gethostname()}", before, after, why
            )

        if (self._root / name).is_dir():
            try:
                change_rollout(self._root / name, changed)
            except (ModelError, OSError) as error:
                if who == "start":
                    logger.info("%s:%s is served, which this log alone says: %s", name, after, error)
                else:
                    self._warn(error)
        self._read(name)
        self.done_if(name, after)  # somebody may have chosen another meanwhile

    def write_by_hand(self, name: str, before: int | None, after: int, why: str, what: What) -> None:
        """Write into the history what somebody changed in the file by hand, once for all services.

        Args:
            name: of the model.
            before: the version that was served, or was on trial.
            after: the version that is.
            why: for the history.
            what: has changed.
        """
        seen = self.said(name)

        def changed(now: Rollout) -> Rollout:
            who = f"{BY_HAND}, on {socket.gethostname()}"
            return now if now != seen else now.with_change(who, before, after, why, what)

        if self._marks.get(name):
            try:
                change_rollout(self._root / name, changed)
            except (ModelError, OSError) as error:
                self._warn(error)
        self._read(name)

    def _warn(self, error: Exception) -> None:
        """Say once that nothing is written down."""
        if not self._warned:
            self._warned = True
            logger.warning("what goes live by itself, or by an edit of rollout.json, is in this log alone: %s", error)

    def end_trial(self, trial: Trial, how: End, why: str, who: str = "auto") -> None:
        """Have it written down how a trial ended, once for all services, by :meth:`write_ends`. Any thread may.

        Whoever asks does not wait: the lock of the folder may be held by a long publish, and the disk may be full.
        """
        self._ends[trial.number] = _Ended(trial, how, why, f"{who}, on {socket.gethostname()}")

    def is_writing(self, trial: Trial) -> bool:
        """Whether it is about to be written down how a trial ended, and that has not failed."""
        return trial.number in self._ends and trial.number not in self._told

    def write_ends(self) -> bool:
        """Write down how trials ended; whether nothing is left to be written. What fails is tried again."""
        for number in list(self._ends):
            trial, how, why, who = ended = self._ends[number]
            try:
                end_trial(self._root / trial.name, trial.since, how, who, why, trial.version)
            except ModelError as error:
                if self._told.get(number) != how:
                    self._told[number] = how
                    logger.error(_UNWRITTEN[how], trial.name, trial.version, error)
            else:
                if self._ends[number] is ended:  # else it broke a guard before it could be promoted
                    del self._ends[number]
                self._told.pop(number, None)
        return not self._ends

    def over(self, trial: Trial) -> Change | None:
        """What was said last of a trial, if it is said to be over; None where it goes on. Any thread may.

        Args:
            trial: that is on here.
        """
        mark = _mark(self._root / trial.name / ROLLOUT_FILE)
        if mark is None or self._going_on.get(trial) == mark:
            return None
        try:
            now = self._sense(trial.name)
        except ModelRefused:  # nonsense changes nothing
            return None
        if mark and now.trial is None and now.last_word is not None:
            return now.last_word
        self._going_on = {trial: mark} | {one: last for one, last in self._going_on.items() if one.name != trial.name}
        return None


def _served(said: Rollout) -> tuple[object, ...]:
    """All of what is said that decides who answers."""
    return said.live, said.canary, said.shadow, said.since


def _mark(file: Path) -> tuple[int, ...] | None:
    """What changes whenever a file does, and is empty where there is none; None where that cannot be told."""
    try:
        about = os.stat(file, follow_symlinks=False)
    except OSError as error:
        return () if is_absent(error) else None
    return about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino
