"""The supervisor's part in changing what is served: it notices a version, has it tried, and has all workers take it.

A version goes live in three steps. It is *tried* in a process of its own. It is *staged*: every worker opens it and
warms it up beside the one that it serves, off its event loop, and says how that went. When all have, it is *live*: the
catalog lists it, and each worker takes it for new requests within a few hundredths of a second. So no worker answers
with a version that another could not open, and one that takes another's place reads the same list.

All of that is done by one thread, one version at a time. The catalog is the only state that workers see.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rowcast.models.errors import ModelRefused
from rowcast.models.listing import MANIFEST_FILE, list_versions
from rowcast.models.repository import GRAPH_FILE, Manifest, open_files
from rowcast.models.rollout import ROLLOUT_FILE, Rollout
from rowcast.service.engine.catalog import Catalog, CatalogOwner, Entry, Stage
from rowcast.service.live.candidate import Candidate, try_version
from rowcast.service.live.checks import Refused
from rowcast.service.live.guard import Guard
from rowcast.service.live.look import Look, Mark, mark_of
from rowcast.service.live.on_trial import Trials
from rowcast.service.live.rollouts import BY_HAND, Rollouts
from rowcast.service.live.slots import Order
from rowcast.service.live.staging import Interrupted, Workers
from rowcast.service.live.telling import Telling
from rowcast.service.live.verdicts import RETRY_SECONDS, Key, Verdicts
from rowcast.service.process.heartbeat import Heartbeats
from rowcast.service.process.replacements import Replacements
from rowcast.service.rollout.trial import Trial
from rowcast.service.settings import Settings

logger = logging.getLogger("rowcast.service")

_LOOK_SECONDS = 0.2
_LOOKS_WITHOUT = 3
"""Looks in which a name's folder has to be absent before the name goes: it may be about to be replaced."""
_MOST_OUTCOMES = 32


class Swaps:
    """Changes what is served, from the supervisor.

    Args:
        settings: the service's.
        owner: of the catalog.
    """

    def __init__(self, settings: Settings, owner: CatalogOwner) -> None:
        self._settings = settings
        self._owner = owner
        choices = settings.choices
        self._pinned = {(name, version) for name, version in choices if version is not None}
        self._followed = [name for name, version in choices if version is None] if choices else None
        self._look = Look(settings.repository, self._followed)
        only_pinned = {name for name, version in choices if version is not None} - set(self._followed or ())
        self._rollouts = Rollouts(settings.repository, only_read=only_pinned)
        self._verdicts = Verdicts()
        self._trials = Trials(
            settings.repository, owner, self._rollouts, self._bring_beside, self._pinned, self._verdicts
        )
        self._guard = Guard(settings.repository, owner, self._trials, self._rollouts)
        self._marks: dict[Entry, Mark | None] = {}
        """The files of the versions that are served, as they were when they went live."""
        self._seen: dict[Key, Mark | None] = {}
        """The files of versions that may go live, as they were at the last look."""
        self._seen_served: dict[Key, Mark | None] = {}
        """The same of versions that are served, where they are not as they were then."""
        self._seen_asked: dict[Key, Mark | None] = {}
        """The same of versions that somebody chose."""
        self._missed: dict[str, int] = {}
        """How often a name's folder was not there."""
        self._floor: dict[str, int] = {}
        """Versions up to this one of a name do not go live by themselves: somebody chose one among them."""
        self._lived: dict[str, Entry] = {}
        """What was served of each name at the last look."""
        self._again: dict[str, Rollout] = {}
        """What was said of a name, and could not be done as things are."""
        self._telling = Telling(settings, owner, self._look, self._rollouts, self._verdicts, self._trials, self._floor)
        self._outcomes: list[tuple[int, str]] = []
        self._stopping = threading.Event()
        self._workers: Workers

    def begin(self, heartbeats: Heartbeats, replacements: Sequence[Replacements]) -> None:
        """Look from now on, in a thread that ends with the process."""
        self._workers = Workers(heartbeats, replacements)
        self._marks = {entry: mark_of(Path(entry.path)) for entry in self._owner.catalog.entries}
        self._lived = self._live(self._owner.catalog)
        self._settle_rollouts()
        self._telling.begin()
        self._guard.begin([heartbeats.slots[slot] for slot in range(len(heartbeats.slots))], replacements)
        threading.Thread(target=self._run, name="swaps", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._guard.end()
        self._stopping.set()

    def _settle_rollouts(self) -> None:
        """Take what is said of each name for done where it is served: it was heeded when the service started."""
        live = self._live(self._owner.catalog)
        self._rollouts.read(live)
        for name, entry in live.items():
            self._rollouts.done_if(name, entry.version)  # somebody may have chosen another since

    def _write_down_lost(self, live: dict[str, Entry]) -> None:
        """Write down what is served where somebody has removed the file that said so."""
        for name, entry in live.items():
            if self._rollouts.was_removed(name):
                self._floor.pop(name, None)  # which nobody remembers any more
                self._write_down(name, entry, f"{ROLLOUT_FILE} was removed", "auto")
                if self._rollouts.was_removed(name):
                    self._rollouts.try_later(name)
                    continue
                words = "%s of %s was removed, and what is served is written down anew: %s:%d"
                logger.warning(words, ROLLOUT_FILE, name, name, entry.version)

    def _write_down(self, name: str, entry: Entry, why: str = "served from a start on", who: str = "start") -> None:
        """Write down what is served, where nobody has said so: whoever reads the repository is to know.

        Where versions go live by hand alone, it is a choice: a service that starts later serves it as well. It is none
        while another that was served before is there, which this start could not have.
        """
        said = self._rollouts.said(name)
        versions = list_versions(self._settings.repository, name).numbers
        before = None if said.served == entry.version else said.served
        if entry.version not in versions or name in self._rollouts.faults:
            return
        if self._settings.reload == "manual" and said.live is None:
            if before not in versions:
                self._rollouts.write_choice(
                    name, entry.version, versions, who, before, allowed=False, seen=said, why=why
                )
        elif said.served != entry.version:
            self._rollouts.write_change(name, before, entry.version, why, who, said)

    def _run(self) -> None:
        started = sorted(self._lived.items(), reverse=True)
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                if started:  # one at a time: whoever holds the lock of a name is waited for
                    self._write_down(*started.pop())
            except Exception:
                logger.exception("what is served since the start is in this log alone")
            try:
                self.step()
            except Interrupted:
                continue
            except Exception:
                logger.exception("what is served is served on: looking for other versions failed")
                self._stopping.wait(RETRY_SECONDS)

    def step(self) -> None:
        """Look once, and do what is to be done next.

        Raises:
            Interrupted: it was in vain, for something else came between.
        """
        found: dict[str, list[int]] | None = None
        live = self._live(self._owner.catalog)
        try:
            found = self._look()
        except OSError as error:
            self._telling.unreadable(error)
        if found is not None:
            self._telling.readable(found, live)
            names = {*found, *(name for name, _ in self._pinned)}
            self._rollouts.read(names - self._look.faults.keys(), kept={*live, *self._look.faults})
            self._trials.show_aliases({*names, *live})
            self._write_down_lost(live)
        self._write_down_reload(live)
        if found is not None:
            self._forget_verdicts(found, live)
            self._telling.compare(found, live)
        self._show()
        asked = self._workers.next_order()
        if asked is not None:
            self._obey(asked, found, live)
        elif found is not None and not (self._follow_rollouts(found, live) or self._trials.follow(found, live)):
            candidate = self._come_again(live)
            if self._settings.reload == "auto":
                self._let_go(found, live)
                candidate = candidate or self._next(found, live)
                if candidate is not None:
                    self._bring_by_itself(candidate, live.get(candidate.name))

    def _follow_rollouts(self, found: dict[str, list[int]], live: dict[str, Entry]) -> bool:
        """Do what ``rollout.json`` of a name says, where it says something new; whether there was anything to do."""
        before, self._seen_asked = self._seen_asked, {}
        for name, versions in found.items():
            version, old = self._rollouts.asked(name), live.get(name)
            if version is None:
                continue
            if version not in versions:  # a mount may show it later than what is said; until then that is told
                continue
            if old is None or old.version != version:
                said, path = self._rollouts.said(name), self._settings.repository / name / str(version)
                mark = mark_of(path)
                if self._again.get(name) == said and self._verdicts.hold((name, version), mark, old):
                    continue
                who = self._rollouts.who_chose(name, version)
                if self._promote_from_trial(name, version, old, who):
                    self._did_as_said(name, version, old)
                    return True
                self._seen_asked[name, version] = mark
                if mark is None or before.get((name, version)) != mark:  # somebody may be about to write it
                    continue
                why = self._bring(Candidate(name, version, path, version in said.allowed), old, who, "promoted")
                if why:
                    self._again[name] = said  # it may have been an accident, or its files may change
                else:
                    self._did_as_said(name, version, old)
                return True
            self._rollouts.done(name)
        return False

    def _did_as_said(self, name: str, version: int, old: Entry | None) -> None:
        """Take note that a version is served as ``rollout.json`` says, whose history says so too from now on."""
        if self._rollouts.who_chose(name, version) == BY_HAND:
            before = None if old is None else old.version
            self._rollouts.write_by_hand(name, before, version, "as rollout.json says", "live")
        self._rollouts.done_if(name, version)  # somebody may have chosen another meanwhile

    def _write_down_reload(self, live: dict[str, Entry]) -> None:
        """Write down what is served since SIGHUP, which has it settled anew."""
        for name in sorted(self._lived.keys() | live.keys()):
            old, new = self._lived.get(name), live.get(name)
            if old != new:
                self._log(new, old, "SIGHUP", "settled anew")
                before, after = (None if one is None else one.version for one in (old, new))
                if before != after:
                    self._rollouts.write_change(name, before, after, "settled anew", who="SIGHUP")
        self._lived = dict(live)

    def _bring_by_itself(self, candidate: Candidate, old: Entry | None) -> None:
        if not self._bring(candidate, old, "auto", "published"):
            before = None if old is None else old.version
            self._rollouts.write_change(candidate.name, before, candidate.version, "published")

    def _promote_from_trial(self, name: str, version: int, old: Entry | None, who: str) -> bool:
        """Have a version that is on trial take the place of the live one; False where it is not on trial."""
        promoted = self._trials.promote(name, version, old, who)
        if promoted:
            self._lived = self._live(self._owner.catalog)
        return promoted

    def _bring_beside(self, candidate: Candidate, old: Entry, who: str, trial: Trial) -> str:
        """Have a version served on trial, beside the one that is live; an empty text, or why it is not."""
        return self._bring(candidate, old, who, trial.told, trial)

    def _live(self, catalog: Catalog) -> dict[str, Entry]:
        """The version of each name that another may replace."""
        return {
            entry.name: entry
            for entry in catalog.entries
            if (entry.name, entry.version) in catalog.live and (self._followed is None or entry.name in self._followed)
        }

    def _next(self, found: dict[str, list[int]], live: dict[str, Entry]) -> Candidate | None:
        """The version that is to be tried next: the newest of a name that was not refused as it is."""
        seen: dict[tuple[str, int], Mark | None] = {}
        chosen: Candidate | None = None
        on_trial = self._trials.names
        for name, versions in found.items():
            old = live.get(name)
            said = self._rollouts.said(name)
            if name in on_trial or said.trial is not None:  # others wait for its end
                continue
            newest = max(0 if old is None else old.version, self._floor.get(name, 0), said.newest)
            for version in reversed(versions):
                path = self._settings.repository / name / str(version)
                if chosen is not None or version <= newest:
                    break
                mark = mark_of(path)
                if mark is None or self._verdicts.hold((name, version), mark, old):
                    continue
                seen[name, version] = mark
                if self._seen.get((name, version)) == mark:  # else somebody may be about to write it
                    chosen = Candidate(name, version, path, version in said.allowed)
                break
        self._seen = seen
        return chosen

    def _come_again(self, live: dict[str, Entry]) -> Candidate | None:
        """A version whose folder holds another than the one that is served: it was removed, and its number came again.

        Where the files are not those of any version, that is told. They are read when two looks find the same.
        """
        seen: dict[Key, Mark | None] = {}
        found: Candidate | None = None
        on_trial = self._trials.names
        for name, old in live.items():
            key, path = (name, old.version), Path(old.path)
            mark = None if name in on_trial else mark_of(path)
            if mark is None or mark == self._marks.get(old) or self._verdicts.hold(key, mark, old):
                continue
            seen[key] = mark
            if self._seen_served.get(key) != mark:
                continue
            try:
                manifest, _ = open_files(path, MANIFEST_FILE, Manifest)
            except (ModelRefused, OSError) as error:
                if mark_of(path) == mark:
                    self._verdicts.add(key, mark, old, Refused("damaged", str(error)))
                continue
            if manifest.files.get(GRAPH_FILE) == old.sha256:  # somebody only touched its files
                self._marks[old] = mark
                self._verdicts.forget(key)
            elif self._settings.reload == "manual":
                words = "another was published under its number, and is served by a service that starts anew"
                self._verdicts.add(key, mark, old, Refused("another", words))
            else:
                found = found or Candidate(name, old.version, path, old.version in self._rollouts.said(name).allowed)
        self._seen_served = seen
        return found

    def _bring(self, candidate: Candidate, old: Entry | None, who: str, why: str, trial: Trial | None = None) -> str:
        """Have a version go live, or on trial; an empty text, or why it does not."""
        key, started = (candidate.name, candidate.version), time.monotonic()
        mark = mark_of(candidate.path)
        self._show(loading=candidate)
        try:
            entry = self._tried(candidate, old)
            tried = time.monotonic()
            try:
                self._stage(entry, old, trial)
            finally:
                self._owner.release([entry])
        except Refused as error:
            if mark_of(candidate.path) == mark:  # else it was written meanwhile, and is tried again
                self._verdicts.add(key, mark, old, error)
            self._show()
            return str(error)
        self._verdicts.forget(key)
        if trial is None:
            self._lived = self._lived | {entry.name: entry}
        self._marks = {one: self._marks.get(one) for one in self._owner.catalog.entries} | {entry: mark}
        self._show()
        self._log(entry, old, who, why, tried=tried - started, opened=time.monotonic() - tried)
        return ""

    def _tried(self, candidate: Candidate, old: Entry | None) -> Entry:
        """A version that was found good.

        Raises:
            Refused: it was not.
        """
        settings = self._settings
        try:
            return try_version(
                candidate,
                old,
                self._owner,
                device=settings.device,
                workers=settings.workers,
                stop=self._stopping.is_set,
            )
        except OSError as error:
            raise Refused("memory", f"it cannot be tried: {error.strerror}") from None

    def _stage(self, entry: Entry, old: Entry | None, trial: Trial | None) -> None:
        """Have every worker open a version, and then all take it, in the place of the old one or on trial beside it.

        Raises:
            Refused: one could not.
            Interrupted: what is served was settled anew meanwhile, or somebody wants something else served.
        """
        stage = Stage(self._workers.next_number(), entry)
        with self._owner.lock:
            catalog = self._owner.catalog
            if self._live(catalog).get(entry.name) != old:
                raise Interrupted
            self._owner.show(
                catalog.entries, alone=catalog.alone, stage=stage, notes=catalog.notes, outcomes=self._outcomes
            )
        try:
            self._workers.wait_for(stage, lambda: self._owner.catalog.stage == stage and not self._stopping.is_set())
            if first := self._rollouts.said_since(entry.name):
                raise Interrupted(first)
            with self._owner.lock:
                catalog = self._owner.catalog
                if catalog.stage != stage:
                    raise Interrupted
                kept = [
                    one
                    for one in catalog.entries
                    if (one.name, one.version) != (entry.name, entry.version)
                    and (one != old or (one.name, one.version) in self._pinned)
                ]
                beside = self._trials.of(entry.name)
                if trial is None and beside is not None and beside.live != entry.version:  # beside what goes
                    gone = {(entry.name, beside.version)} - self._pinned
                    kept = [one for one in kept if (one.name, one.version) not in gone]
                if trial is None:
                    self._serve([*kept, entry], catalog.alone, {entry.name: entry.version})
                else:
                    entries = sorted([*catalog.entries, entry], key=lambda one: (one.name, one.version))
                    self._owner.change(entries=entries, stage=None, trials=[*catalog.trials, trial])
        finally:
            with self._owner.lock:
                catalog = self._owner.catalog
                if catalog.stage == stage:
                    self._owner.show(catalog.entries, alone=catalog.alone, notes=catalog.notes, outcomes=self._outcomes)

    def _serve(self, entries: Sequence[Entry], alone: str | None, live: dict[str, int] | None = None) -> None:
        names = {entry.name for entry in entries}
        if alone not in names:
            alone = next(iter(names)) if len(names) == 1 else None
        ordered = sorted(entries, key=lambda entry: (entry.name, entry.version))
        self._owner.show(ordered, alone=alone, notes=self._owner.catalog.notes, outcomes=self._outcomes, live=live)

    def _let_go(self, found: dict[str, list[int]], live: dict[str, Entry]) -> None:
        """Serve names no more whose folders are gone, unless none would be left; those that were asked for stay."""
        absent = live.keys() - found.keys() if self._followed is None else set()
        self._missed = {name: self._missed.get(name, 0) + 1 for name in absent}
        gone = {name for name, looks in self._missed.items() if looks >= _LOOKS_WITHOUT}
        if not gone or not any(found.values()):
            return
        with self._owner.lock:
            catalog = self._owner.catalog
            kept = [entry for entry in catalog.entries if entry.name not in gone]
            if kept:
                self._serve(kept, catalog.alone)
                for name in sorted(gone):
                    self._lived.pop(name, None)
                    self._floor.pop(name, None)
                    self._log(None, live[name], "auto", "its folder was removed")

    def _obey(self, asked: Order, found: dict[str, list[int]] | None, live: dict[str, Entry]) -> None:
        """Do what somebody asked for, and say what came of it."""
        try:
            why = self._telling.fault if found is None else self._promote(asked, found, live)
        except Interrupted as error:
            why = str(error) or "what is served was settled anew meanwhile: try again"
        self._outcomes = [*self._outcomes, (asked.number, why)][-_MOST_OUTCOMES:]
        self._show()

    def _promote(self, asked: Order, found: dict[str, list[int]], live: dict[str, Entry]) -> str:
        name, old = asked.name, live.get(asked.name)
        if self._followed is not None and name not in self._followed:
            return f"ROWCAST_MODELS says what is served of {name}: change it there, and start the service anew"
        versions = found.get(name, [])
        version = asked.version if asked.version is not None else max(versions, default=None)
        if version is None or version not in versions:
            known = ", ".join(map(str, versions)) or "none"
            return f"no version {asked.version or ''} of {name} in {self._settings.repository}; versions: {known}"
        trial = self._trials.of(name)
        tried = self._rollouts.said(name).trial if trial is None else trial.version  # or is to be, in a moment
        if tried not in (None, version):
            return f"{name}:{tried} is on trial: rowcast rollout {name} --promote or --rollback ends that"
        if (old is None or old.version != version) and (first := self._first(asked, old, trial)):
            return f"{first}: look, and ask again"
        promoted = self._promote_from_trial(name, version, old, asked.who)
        if trial is not None and not promoted and trial.version == version:
            return f"the trial of {name}:{version} has ended just now: look, and ask again"
        if not promoted and (old is None or old.version != version):
            path = self._settings.repository / name / str(version)
            candidate = Candidate(name, version, path, asked.allow_signature_change)
            why = self._bring(candidate, old, asked.who, "promoted")
            if why:
                return why
        self._floor[name] = max(versions)
        before = None if old is None else old.version
        allowed = asked.allow_signature_change
        return self._rollouts.write_choice(name, version, versions, asked.who, before, allowed=allowed)

    def _first(self, asked: Order, old: Entry | None, trial: Trial | None) -> str:
        """Who changed what is served since whoever asks has looked; an empty text for nobody."""
        if asked.before != (0 if old is None else old.version):
            served = "nothing" if old is None else f"{asked.name}:{old.version}"
            return f"somebody else was first, and {served} is served since"
        return self._rollouts.first_on_trial(asked.name, trial, asked.trial)

    def _forget_verdicts(self, found: dict[str, list[int]], live: dict[str, Entry]) -> None:
        """Keep verdicts only on versions that are there and that might be served."""
        there = {(name, version) for name, versions in found.items() for version in versions}

        def might_be_served(name: str, version: int) -> bool:
            said, old = self._rollouts.said(name), live.get(name)
            return old is None or version >= old.version or version in (said.live, said.trial)

        self._verdicts.keep(lambda key: key in there and might_be_served(*key))

    def _show(self, loading: Candidate | None = None) -> None:
        self._telling.show(self._outcomes, loading)

    def _log(self, new: Entry | None, old: Entry | None, who: str, why: str, **seconds: float) -> None:
        """Write down what has changed: one line."""
        either = new or old
        assert either is not None
        change = {
            "model": either.name,
            "from": None if old is None else old.version,
            "to": None if new is None else new.version,
            "who": who,
            "why": why,
            **{f"{what}_s": round(value, 3) for what, value in seconds.items()},
        }
        logger.info("what is served has changed: %s", json.dumps(change))
