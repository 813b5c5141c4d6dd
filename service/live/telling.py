"""What is told of versions that are not served, and of a repository or its files that are not as they should be.

Workers tell it in the V2 index, on ``/readyz?verbose`` and on ``/metrics``; the log tells each once.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from rowcast.models.listing import Listing
from rowcast.models.rollout import absent_versions
from rowcast.service.engine.catalog import CatalogOwner, Entry, Note
from rowcast.service.live.candidate import Candidate
from rowcast.service.live.look import Look, is_gone
from rowcast.service.live.on_trial import Trials
from rowcast.service.live.rollouts import Rollouts
from rowcast.service.live.verdicts import Key, Verdicts
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")

_LOOKS_WITHOUT = 3
"""Looks in which a repository has to hold nothing before that is told: it may be about to be mounted."""
_MOST_NOTES = 100

Found = Mapping[str, list[int]]
"""The versions of each name in the repository, oldest first."""


class Telling:
    """Has workers tell how things are.

    Args:
        settings: the service's.
        owner: of the catalog, in which workers read what they tell.
        look: at the repository.
        rollouts: what operators say.
        verdicts: on versions that were refused.
        trials: that go on.
        floor: by name, the version up to which none goes live by itself, for somebody chose one among them.
    """

    def __init__(
        self,
        settings: Settings,
        owner: CatalogOwner,
        look: Look,
        rollouts: Rollouts,
        verdicts: Verdicts,
        trials: Trials,
        floor: Mapping[str, int],
    ) -> None:
        self._settings = settings
        self._owner = owner
        self._look = look
        self._rollouts = rollouts
        self._verdicts = verdicts
        self._trials = trials
        self._floor = floor
        self.fault = ""
        """What is wrong with the repository: it cannot be looked at, or holds nothing."""
        self._looks_at_nothing = 0
        """How often it held nothing of what is served."""
        self._ignored: set[str] = set()
        """What looked like a model or a version at the last look and is none, as the log has it."""
        self._waiting: list[Key] = []
        """Versions that go live when somebody says so."""
        self._absent: dict[str, str] = {}
        """What ``rollout.json`` of a name chooses or calls something, and is not there."""
        self._moved: dict[str, str] = {}
        """Aliases of ``ROWCAST_MODELS`` that stand for another version than when the service started."""
        self._told: set[str] = set()
        """What the log has already."""

    def begin(self) -> None:
        """Take what is passed over now for told: whoever settled what is served has told it."""
        with contextlib.suppress(OSError):
            self._look()
            self._ignored = {*self._look.ignored}

    def unreadable(self, error: OSError) -> None:
        """Take note that the repository cannot be looked at."""
        self.fault = f"{self._settings.repository} cannot be read: {error.strerror}"

    def readable(self, found: Found, live: Mapping[str, Entry]) -> None:
        """Take note of what a look has found, and tell once what looks like a model or a version and is none."""
        is_empty = live and not any(found.values()) and not self._look.faults
        self._looks_at_nothing = self._looks_at_nothing + 1 if is_empty else 0
        self.fault = ""
        if self._looks_at_nothing >= _LOOKS_WITHOUT:
            which = " that ROWCAST_MODELS names without a version" if self._settings.choices else ""
            self.fault = f"{self._settings.repository} holds no model{which}"
        ignored = self._look.ignored
        for line in Listing(ignored=[line for line in ignored if line not in self._ignored]).warnings:
            logger.warning("%s", line)
        self._ignored = {*ignored}

    def compare(self, found: Found, live: Mapping[str, Entry]) -> None:
        """Find what waits, and what operators name that is not there."""
        self._waiting = [
            (name, newest)
            for name, versions in found.items()
            if (newest := self._newest_untried(name, versions)) and self._waits(name, newest, live)
        ]
        served = {(entry.name, entry.version) for entry in self._owner.catalog.entries}
        self._moved = {
            name: f"{name}@{alias} is {name}:{version} now, which is served from the next start or SIGHUP on"
            for name, alias in self._settings.called
            if (version := self._rollouts.said(name).aliases.get(alias)) is not None and (name, version) not in served
        }
        absent = {name: self._absent_of(name, versions, served) for name, versions in found.items()}
        self._absent = {name: "; ".join(lines) for name, lines in absent.items() if lines}

    def _newest_untried(self, name: str, versions: list[int]) -> int:
        """The newest version of a name that was not refused; 0 for none."""
        return max((version for version in versions if (name, version) not in self._verdicts), default=0)

    def _waits(self, name: str, version: int, live: Mapping[str, Entry]) -> bool:
        """Whether a version is newer than what is served, and does not go live by itself."""
        trial = self._trials.of(name)
        if (name in live and version <= live[name].version) or (trial is not None and trial.version == version):
            return False
        passed_over = max(self._floor.get(name, 0), self._rollouts.said(name).newest)
        return self._settings.reload == "manual" or version <= passed_over

    def _absent_of(self, name: str, versions: list[int], served: Set[Key]) -> list[str]:
        """What ``rollout.json`` of a name chooses or calls something, and is neither there nor served; a line each."""
        if name in self._look.faults:
            return []
        there = {*versions, *(version for one, version in served if one == name)}
        said = self._rollouts.said(name).without_trial()  # which is told where trials begin
        return absent_versions(name, said, there)

    def show(self, outcomes: Sequence[tuple[int, str]], loading: Candidate | None = None) -> None:
        """Have workers tell all of it, where they do not yet.

        Args:
            outcomes: what came of what was asked for.
            loading: what is being tried.
        """
        notes = self._notes(loading)
        faults = {self.fault, *self._look.faults.values(), *self._absent.values(), *self._moved.values()} - {""}
        for fault in sorted(faults - self._told):
            logger.error("what is served is served on: %s", fault)
        for note in notes:
            if note.state == "REMOVED" and note.reason not in self._told:
                logger.warning("%s", note.reason)
        self._told = {note.reason for note in notes if note.state == "REMOVED"} | faults
        with self._owner.lock:
            catalog = self._owner.catalog
            if (catalog.notes, catalog.outcomes) != (notes, tuple(outcomes)):
                self._owner.show(
                    catalog.entries, alone=catalog.alone, stage=catalog.stage, notes=notes, outcomes=outcomes
                )

    def _notes(self, loading: Candidate | None) -> tuple[Note, ...]:
        notes = []
        if loading is not None:
            notes.append(Note(loading.name, loading.version, "LOADING", "it is being tried"))
        for entry in self._owner.catalog.entries:
            if is_gone(Path(entry.path)):
                words = f"{entry.name}:{entry.version} is served on until it is replaced, though {entry.path} is gone"
                notes.append(Note(entry.name, entry.version, "REMOVED", words, "removed"))
        tried = None if loading is None else (loading.name, loading.version)
        served = {(entry.name, entry.version) for entry in self._owner.catalog.entries}
        for note in self._verdicts.notes():
            if (note.name, note.version) in served:
                words = f"{note.name}:{note.version} is served on until it is replaced, though its folder holds another"
                notes.append(Note(note.name, note.version, "REMOVED", f"{words}: {note.reason}", note.kind))
            elif (note.name, note.version) != tried:
                notes.append(note)
        for name, version in self._waiting:
            words = f"it waits for `rowcast models promote {name}:{version}`"
            notes.append(Note(name, version, "UNAVAILABLE", words, "waits"))
        for name, fault in (self._moved | self._absent | self._trials.faults | self._rollouts.faults).items():
            notes.append(Note(name, 0, "UNAVAILABLE", fault, "rollout"))
        for name, fault in self._look.faults.items():
            notes.append(Note(name, 0, "UNAVAILABLE", fault, "repository"))
        if self.fault:
            notes.append(Note("", 0, "UNAVAILABLE", self.fault, "repository"))
        return _most(sorted(notes, key=lambda note: (note.name, -note.version)))


def _most(notes: list[Note]) -> tuple[Note, ...]:
    """As many as workers are told of, and how many more there are."""
    if len(notes) <= _MOST_NOTES:
        return tuple(notes)
    kept, more = notes[: _MOST_NOTES - 1], len(notes) - _MOST_NOTES + 1
    words = f"{more:,} more reasons why versions are not served are left out here"
    return (*kept, Note("", 0, "UNAVAILABLE", words))
