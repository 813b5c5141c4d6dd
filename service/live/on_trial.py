"""The supervisor's part in a trial: it has the version served that ``rollout.json`` puts on trial, and ends that again.

What is served is compared with what is said, and the difference is made good: so it does not matter when, by whom and
on which machine something was said.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Set
from pathlib import Path

from rowcast.models.rollout.record import What, percent
from rowcast.service.engine.catalog import CatalogOwner, Entry
from rowcast.service.live.candidate import Candidate
from rowcast.service.live.counted import MOST_TRIALS
from rowcast.service.live.look import Mark, mark_of
from rowcast.service.live.rollouts import BY_HAND, Rollouts
from rowcast.service.live.verdicts import Verdicts
from rowcast.service.rollout.trial import Trial

logger = logging.getLogger("rowcast.service")


class Trials:
    """Has versions served on trial.

    Args:
        root: the repository.
        owner: of the catalog.
        rollouts: what is said of each name.
        bring: has a version go live beside another; why it does not, empty where it does.
        pinned: versions that are served in any case.
        verdicts: what is known of versions that were refused.
    """

    def __init__(
        self,
        root: Path,
        owner: CatalogOwner,
        rollouts: Rollouts,
        bring: Callable[[Candidate, Entry, str, Trial], str],
        pinned: Set[tuple[str, int]],
        verdicts: Verdicts,
    ) -> None:
        self._root = root
        self._owner = owner
        self._rollouts = rollouts
        self._bring = bring
        self._pinned = pinned
        self._verdicts = verdicts
        self.ended: set[int] = set()
        """The numbers of trials that are over, whatever the file says."""
        self.faults: dict[str, str] = {}
        """Why what is said of a name cannot be done."""
        self._ignored: set[int] = set()
        """The numbers of trials that are over and that files still had at the last look."""
        self._has_shown_aliases = False
        self._seen: dict[tuple[str, int], Mark | None] = {}
        """The files of versions that are to be on trial, as they were at the last look."""

    @property
    def names(self) -> set[str]:
        """The names of which a version is on trial."""
        return {trial.name for trial in self._owner.catalog.trials}

    def of(self, name: str) -> Trial | None:
        """The trial that is on."""
        return next((trial for trial in self._owner.catalog.trials if trial.name == name), None)

    def follow(self, found: dict[str, list[int]], live: dict[str, Entry]) -> bool:
        """Make good one difference; whether there was any.

        Raises:
            Interrupted: it was in vain, for something else came between.
        """
        self.faults = {name: fault for name, fault in self.faults.items() if name in found}
        self._seen = {key: mark for key, mark in self._seen.items() if key[0] in found}
        seen, self._ignored = self._ignored, set()
        for name, versions in found.items():
            if not self._rollouts.is_known(name):  # it could not be read yet: what is on goes on
                continue
            on, said = self.of(name), self._rollouts.said(name)
            wanted = Trial.of(name, said)
            if wanted is not None and wanted.number in self.ended:
                self._ignore(wanted, seen)
                wanted = None
            elif wanted == on:
                self.faults.pop(name, None)
            if wanted == on:
                continue
            if wanted is None:
                assert on is not None
                self._end_as_said(on)
                return True
            if self._begin(wanted, on, versions, live.get(name)):
                return True
        return False

    def show_aliases(self, names: Set[str]) -> None:
        """Have workers know versions by what somebody called them."""
        before = self._owner.catalog.aliases
        known = {name for name in names if self._rollouts.is_known(name)}
        kept = [one for one in before if one[0] in names - known]  # of those nobody knows anything else
        said = [(name, *one) for name in known for one in self._rollouts.said(name).aliases.items()]
        aliases = sorted([*kept, *said])
        if tuple(aliases) != before:
            self._owner.change(aliases=aliases)
            if self._has_shown_aliases:
                self._log_aliases({one[:2]: one[2] for one in before}, {one[:2]: one[2] for one in aliases})
        self._has_shown_aliases = True

    def _log_aliases(self, before: dict[tuple[str, str], int], after: dict[tuple[str, str], int]) -> None:
        """Write down which aliases have changed: a line for each."""
        for name, alias in sorted(before.keys() | after.keys()):
            old, new = before.get((name, alias)), after.get((name, alias))
            if old != new:
                last = self._rollouts.said(name).last_of("alias")
                who = BY_HAND if last is None or last.after != new else last.who
                change = {"model": name, "from": old, "to": new, "who": who, "why": f"alias {alias}"}
                logger.info("what is served has changed: %s", json.dumps(change))

    def end(self, trial: Trial, who: str, why: str) -> None:
        """Serve a version on trial no more; any thread may."""
        self.ended.add(trial.number)
        with self._owner.lock:
            catalog = self._owner.catalog
            if trial not in catalog.trials:
                return
            gone = {(trial.name, trial.version)} - self._pinned
            entries = [entry for entry in catalog.entries if (entry.name, entry.version) not in gone]
            self._owner.change(entries=entries, trials=[one for one in catalog.trials if one != trial])
        self._log(trial, trial.version, trial.live, who, why)

    def promote(self, name: str, version: int, old: Entry | None, who: str) -> bool:
        """Have a version that is on trial take the place of the live one; False where it is not on trial."""
        with self._owner.lock:
            catalog, trial = self._owner.catalog, self.of(name)
            if trial is None or trial.version != version or old is None:
                return False
            self.ended.add(trial.number)
            entries = [one for one in catalog.entries if one != old or (one.name, one.version) in self._pinned]
            trials = [one for one in catalog.trials if one != trial]
            self._owner.change(entries=entries, trials=trials, live={name: version})
        self._log(trial, trial.live, trial.version, who, "promoted")
        return True

    def _end_as_said(self, trial: Trial) -> None:
        """Serve a version no more that the file has not on trial any more."""
        last = self._rollouts.said(trial.name).last_word
        if last is not None and last.what in ("live", "rollback"):
            self.end(trial, last.who, last.why)
            return
        self.end(trial, BY_HAND, "ended")  # no command has written that
        self._rollouts.write_by_hand(trial.name, trial.version, trial.live, "ended", "rollback")

    def _who_began(self, wanted: Trial, on: Trial | None) -> str:
        """Who said that a version is to be on trial as it is.

        Args:
            wanted: what is said of it.
            on: the trial that is on, and is another.
        """
        said = self._rollouts.said(wanted.name)
        last = said.last_of("canary", "shadow", "rollback")
        if last is None or last.what == "rollback" or last.after != wanted.version:
            return BY_HAND
        return BY_HAND if on is not None and last.why != said.told() else last.who

    def _note_by_hand(self, wanted: Trial, who: str) -> None:
        """Have the history tell of a trial that somebody began in the file itself, or changed there."""
        if who == BY_HAND:
            what: What = "shadow" if wanted.canary is None else "canary"
            told = self._rollouts.said(wanted.name).told()
            self._rollouts.write_by_hand(wanted.name, wanted.live, wanted.version, told, what)

    def _begin(self, wanted: Trial, on: Trial | None, versions: list[int], old: Entry | None) -> bool:
        """Have a version on trial, or in another way; whether that was tried."""
        name, version = wanted.name, wanted.version
        who = self._who_began(wanted, on)
        if old is None or old.version != wanted.live:
            served = "no version" if old is None else f"{name}:{old.version}"
            self._cannot(name, f"{name}:{version} is to be on trial beside {name}:{wanted.live}, and {served} is live")
            return False
        served_already = any((entry.name, entry.version) == (name, version) for entry in self._owner.catalog.entries)
        if not served_already and version not in versions:
            self._cannot(name, f"rollout.json of {name} puts version {version} on trial, which is not there")
            return False
        if on is None and len(self._owner.catalog.trials) >= MOST_TRIALS:
            self._cannot(name, f"{name}:{version} waits: {MOST_TRIALS} versions are on trial at a time")
            return False
        candidate = Candidate(name, version, self._root / name / str(version))
        key, mark = (name, version), mark_of(candidate.path)
        if not served_already and self._verdicts.try_again(key) and self._verdicts.hold(key, mark, old):
            return False  # its time has not come
        self.faults.pop(name, None)
        if served_already:
            with self._owner.lock:
                others = [one for one in self._owner.catalog.trials if one.name != name]
                self._owner.change(trials=[*others, wanted])
            self._log(wanted, wanted.live, version, who, self._rollouts.said(name).told())
            self._note_by_hand(wanted, who)
            return True
        if mark is None or self._seen.get(key) != mark:  # somebody may be about to write it
            self._seen[key] = mark
            return False
        if on is not None:
            self.end(on, who, f"{name}:{version} is on trial instead")
        why = self._bring(candidate, old, who, wanted)
        if why and self._verdicts.try_again(key):  # an accident, or this machine's: no matter to the others
            self.faults[name] = f"{name}:{version} is not on trial here yet, and is tried again: {why}"
        elif why:
            self._rollouts.end_trial(wanted, "rollback", f"{name}:{version} cannot be served: {why}")
            self.ended.add(wanted.number)
        else:
            self._note_by_hand(wanted, who)
        return True

    def _ignore(self, trial: Trial, seen: Set[int]) -> None:
        """Tell of a trial that is over and that the file still has, unless that is about to be written down.

        Args:
            trial: that is over.
            seen: the numbers of those that the last look found so; a first one may have come between.
        """
        self._ignored.add(trial.number)
        if trial.number not in seen or self._rollouts.is_writing(trial):
            return
        name, version = trial.name, trial.version
        shares = {"canary": trial.canary, "shadow": trial.shadow}
        flags = " ".join(f"--{what} {percent(share)}" for what, share in shares.items() if share is not None)
        self._cannot(
            name,
            f"rollout.json of {name} has {name}:{version} on trial ({trial.told}), and this service has ended that "
            f"trial and ignores it: `rowcast rollout {name} --rollback` ends it there as well, and `rowcast rollout "
            f"{name}:{version} {flags}` begins another",
        )

    def _cannot(self, name: str, why: str) -> None:
        if self.faults.get(name) != why:
            logger.error("what is served is served on: %s", why)
            self.faults[name] = why

    def _log(self, trial: Trial, before: int, after: int, who: str, why: str) -> None:
        change = {"model": trial.name, "from": before, "to": after, "who": who, "why": why}
        logger.info("what is served has changed: %s", json.dumps(change))
