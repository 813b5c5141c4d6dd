"""The study: what is tried next, what came of it, and what of a process that is gone is tried again.

A trial that is over, whether it ran through or was pruned, is finished and stays so. One that is under way belongs to a
process, its owner. When the owner is gone, whoever comes next marks the trial as failed and has its values tried again;
so a kill, whatever the moment, costs the trials that were under way and nothing else.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from rowcast.training.tune.space import Space, key_of
from rowcast.training.tune.study.limits import is_longer, limit_of
from rowcast.training.tune.study.owners import (
    BEAT_S,
    LAST_SILENT_S,
    SILENT_S,
    born,
    is_alive,
    is_recent,
    this_process,
    whose,
)
from rowcast.training.tune.study.record import Record, record_of, values_of
from rowcast.training.tune.study.storage import Storage

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
TRIES, FEW_TRIES = 10, 3
"""Times that values are sampled until some were not tried yet; of a space whose configs can be listed, until one that
was not is taken from the list."""
_LASTING = ("start", "passed", "redone")
"""What is known of a trial and holds when it is tried again."""


class Room(Enum):
    """Why there is no trial to be had."""

    WAIT = "as many are finished or under way as are wanted"
    NONE = "as many are finished as are wanted"
    ALL = "all configs of the space are finished"


class Study:
    """A study that this process takes part in; made by :func:`rowcast.training.tune.study.opening.open_study`."""

    def __init__(self, storage: Storage, study: optuna.Study, space: Space, seed: int) -> None:
        self.storage = storage
        self.space = space
        self._study = study
        self._seed = seed
        self._owner = this_process()
        self.configs = space.configs()
        """All configs of the space, by :func:`key_of`; None where there is no end to them."""
        self.is_new_again = False
        """Whether it was of something else, of which nothing was finished, and begins anew."""

    @property
    def name(self) -> str:
        """Of the study."""
        return str(self._study.study_name)

    # --- a trial ------------------------------------------------------------------------------------------------------

    def ask(self, wanted: int | None, limit_s: float = math.inf) -> optuna.Trial | Room:
        """Get a trial to run.

        Args:
            wanted: how many are to be finished in all, by whatever process; None for no end.
            limit_s: seconds that it may take, which are kept with it; infinite for no end.
        """
        with self.storage.told(), quiet():
            self._take_over()
            tries = 0
            while True:
                room = self._room(wanted) or self._room_in_space()
                if room is Room.WAIT and self._take_over(LAST_SILENT_S):
                    continue
                if room is not None:
                    return room
                trial = self._study.ask()
                trial.set_user_attr("beat", time.time())
                trial.set_user_attr("owner", self._owner)
                trial.set_user_attr("limit", None if math.isinf(limit_s) else round(limit_s, 3))
                if not self._is_within(trial.number, wanted):  # others asked at the same time
                    self._fail(self._frozen(trial), counts=False)  # one that is to be tried goes back into the queue
                    return Room.WAIT
                self._study.sampler = optuna.samplers.TPESampler(seed=self._seed_of(trial, tries), constant_liar=True)
                self.space.suggest(trial)
                tries += 1
                if not self._was_tried(trial) or (self.configs is None and tries == TRIES):
                    return trial
                self._study.tell(trial, state=TrialState.FAIL)
                if self.configs is not None and tries % FEW_TRIES == 0:
                    self._ask_for_another(self._seed_of(trial, tries))

    def values(self, trial: optuna.Trial) -> dict[str, Any]:
        """What a trial is to try, by field."""
        with self.storage.told(), quiet():
            return self.space.suggest(trial)

    def rung(self, trial: optuna.Trial, percent: int, value: float) -> None:
        """Take in how well a trial does at a rung.

        Raises:
            optuna.TrialPruned: it is not among the best that came so far.
        """
        with self.storage.told(), quiet():
            trial.report(value, percent)
            passed = int(trial.user_attrs.get("passed", 0))  # before its process was gone
            if percent > passed and trial.should_prune():
                raise optuna.TrialPruned(f"after {percent}%")
            if percent > passed:
                trial.set_user_attr("passed", percent)

    def beat(self, trial: optuna.Trial) -> Callable[[], bool]:
        """What gives a sign of life of a trial, called as often as one likes; it ends nothing."""
        last = time.monotonic()

        def sign() -> bool:
            nonlocal last
            if time.monotonic() - last > BEAT_S:
                last = time.monotonic()
                with self.storage.told():
                    trial.set_user_attr("beat", time.time())
            return False

        return sign

    def finish(self, trial: optuna.Trial, value: float, seconds: float, *, cut_short: bool = False) -> None:
        """A trial ran through; ``cut_short``: its time ended a fit of it."""
        self._end(trial, TrialState.COMPLETE, value, {"seconds": round(seconds, 3), "cut_short": cut_short})

    def prune(self, trial: optuna.Trial, why: str, seconds: float) -> None:
        """A trial was ended for being no good."""
        self._end(trial, TrialState.PRUNED, None, {"seconds": round(seconds, 3), "why": why})

    def give_back(self, trial: optuna.Trial, *, counts: bool = False) -> None:
        """A trial was not run to its end for a reason that has nothing to do with it: it is tried again.

        ``counts``: so often as one that ends its process, and not for ever.
        """
        with self.storage.told(), quiet():
            self._fail(self._frozen(trial), counts=counts)

    def _end(self, trial: optuna.Trial, state: TrialState, value: float | None, end: Mapping[str, Any]) -> None:
        with self.storage.told(), quiet():
            trial.set_user_attr("end", dict(end))
            self._study.tell(trial, value, state=state, skip_if_finished=True)

    # --- all of them --------------------------------------------------------------------------------------------------

    def finished(self) -> list[Record]:
        """All finished trials, by number."""
        with self.storage.told():
            return [record_of(trial, self.space) for trial in self._trials() if trial.state in FINISHED]

    def under_way(self) -> int:
        """How many trials are under way, in whatever process."""
        with self.storage.told():
            return sum(trial.state == TrialState.RUNNING for trial in self._trials())

    def is_exhausted(self) -> bool:
        """Whether all configs of the space are finished."""
        with self.storage.told():
            return self._room_in_space() is Room.ALL

    def waited_for(self) -> list[str]:
        """Of each trial under way: whose it is, and how long one waits for it."""
        with self.storage.told():
            return [whose(one, self._owner) for one in self._trials() if one.state == TrialState.RUNNING]

    def redo(self, starts: Sequence[tuple[str, Any]], limit_s: float) -> int:
        """Have the configs to start with tried once more that a much shorter time has cut short; how many.

        Args:
            starts: what each is called, and its values by field.
            limit_s: seconds that a trial may take now.
        """
        redone = 0
        with self.storage.told(), quiet(), self.storage.exclusive():
            trials = [trial for trial in self._trials() if trial.state != TrialState.FAIL]
            for origin, values in starts:
                before = [trial for trial in trials if trial.user_attrs.get("start") == origin]
                if before and all(_was_cut_short(trial, limit_s) for trial in before):
                    attributes = {"start": origin, "redone": True}
                    self._study.enqueue_trial(self.space.asked(values), user_attrs=attributes)
                    redone += 1
        return redone

    @property
    def published(self) -> dict[str, Any]:
        """What was published of it, as :meth:`publish` kept it; empty where nothing was."""
        with self.storage.told():
            return dict(self._study.user_attrs.get("published", {}))

    def publish(self, what: Mapping[str, Any]) -> None:
        """Keep what was published of it, as JSON holds it."""
        with self.storage.told(), quiet():
            self._study.set_user_attr("published", dict(what))

    def crowd(self) -> int:
        """How many processes of this machine are at work on this study, this one among them."""
        with self.storage.told():
            trials = self._trials()
        owners = {json.dumps(one.user_attrs["owner"]) for one in trials if is_recent(one) and "owner" in one.user_attrs}
        here = [owner for owner in map(json.loads, owners) if owner["machine"] == self._owner["machine"]]
        others = [owner for owner in here if owner != self._owner and born(owner["process"]) == owner["born"]]
        return 1 + len(others)

    def importance(self) -> dict[str, float]:
        """How much each field mattered for being among the best, summing to 1; empty after too few trials.

        By PED-ANOVA (Watanabe et al. 2023), which asks how the best tenth of the trials differ from all.
        """
        names = {field.name for field in self.space.fields}
        with self.storage.told(), quiet():
            complete = [trial for trial in self._trials() if trial.state == TrialState.COMPLETE]
            if len(complete) < MIN_IMPORTANCE or len({trial.value for trial in complete}) < 2:
                return {}
            found = optuna.importance.get_param_importances(self._study)
        by_field: dict[str, float] = dict.fromkeys(sorted(names), 0.0)
        for parameter, share in found.items():
            field = parameter if parameter in names else parameter.rpartition(".")[0]
            field = field if field in names else field.rpartition(".")[0]
            by_field[field] += share
        return dict(sorted(by_field.items(), key=lambda item: -item[1]))

    def _frozen(self, trial: optuna.Trial) -> FrozenTrial:
        return next(one for one in self._trials() if one.number == trial.number)

    def _trials(self) -> list[FrozenTrial]:
        return list(self._study.get_trials(deepcopy=False))

    # --- who runs what ------------------------------------------------------------------------------------------------

    def _room(self, wanted: int | None) -> Room | None:
        """Why there is no trial to be had; None where there is."""
        if wanted is None:
            return None
        states = [trial.state for trial in self._trials()]
        finished = sum(state in FINISHED for state in states)
        if finished >= wanted:
            return Room.NONE
        return Room.WAIT if finished + states.count(TrialState.RUNNING) >= wanted else None

    def _is_within(self, number: int, wanted: int | None) -> bool:
        """Whether a trial under way is among as many as are wanted."""
        if wanted is None:
            return True
        trials = self._trials()
        finished = sum(one.state in FINISHED for one in trials)
        running = sorted((one.datetime_start, one.number) for one in trials if one.state == TrialState.RUNNING)
        return number in [one for _, one in running][: max(wanted - finished, 0)]

    def _seed_of(self, trial: optuna.Trial, tries: int) -> int:
        """Seeds what is sampled for a trial by how many are finished or under way of those before it.

        So neither a restart nor a second process draws what was drawn before, and after a kill the same is drawn that
        would have been without it: trials that failed count for nothing.
        """
        before = sum(
            one.number < trial.number and one.state in (*FINISHED, TrialState.RUNNING) for one in self._trials()
        )
        place = [before] if tries == 0 else [before, tries]
        return int(np.random.SeedSequence([self._seed, *place]).generate_state(1)[0])

    def _was_tried(self, trial: optuna.Trial) -> bool:
        """Whether another trial, over or under way, has the same values; of one that is redone, with as much time."""
        mine = key_of(self.space.suggest(trial))
        redone, limit_s = "redone" in trial.user_attrs, limit_of(self._frozen(trial))
        return any(
            key == mine and not (redone and is_longer(limit_s, limit_of(one)))
            for one, key in self._keys((*FINISHED, TrialState.RUNNING))
            if one.number != trial.number
        )

    def _keys(self, states: Sequence[TrialState]) -> Iterator[tuple[FrozenTrial, str]]:
        """The trials in some states that have all of their values, and these."""
        for one in self._trials():
            values = values_of(one, self.space) if one.state in states else None
            if values is not None:
                yield one, key_of(values)

    def _room_in_space(self) -> Room | None:
        """Why the space has no further config; None where it has, or where it cannot be said."""
        states = {trial.state for trial in self._trials()}
        if self.configs is None or TrialState.WAITING in states:
            return None
        tried = {key for _, key in self._keys((*FINISHED, TrialState.RUNNING))}
        if not self.configs.keys() <= tried:
            return None
        return Room.WAIT if TrialState.RUNNING in states else Room.ALL

    def _ask_for_another(self, seed: int) -> None:
        """Have a config tried that was not."""
        assert self.configs is not None
        tried = {key for _, key in self._keys((*FINISHED, TrialState.RUNNING))}
        others = [key for key in self.configs if key not in tried]
        if others:
            chosen = others[int(np.random.default_rng(seed).integers(len(others)))]
            self._study.enqueue_trial(self.space.asked(self.configs[chosen]))

    def _take_over(self, silent_s: float = SILENT_S) -> int:
        """Have the trials tried again whose owner is gone; how many.

        ``silent_s``: without a sign of life from another machine.
        """
        lost = [one for one in self._trials() if one.state == TrialState.RUNNING]
        lost = [one for one in lost if not is_alive(one, self._owner, silent_s)]
        for trial in lost:
            self._fail(trial, counts=True)
        return len(lost)

    def _fail(self, trial: FrozenTrial, *, counts: bool) -> None:
        """Mark a trial as failed, and have its values tried once more.

        ``counts``: as one that ended its process; one that always does is not tried for ever.
        """
        try:
            self._study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, RuntimeError, optuna.exceptions.UpdateFinishedTrialError):
            return  # another process was faster
        begun = {key: trial.user_attrs[key] for key in _LASTING if key in trial.user_attrs}
        again = int(trial.user_attrs.get("again", 0)) + counts
        asked = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        if asked and again <= MAX_AGAIN:
            self._study.enqueue_trial(asked, user_attrs={**begun, "again": again})


MIN_IMPORTANCE = 10
"""Trials that ran through, at least, for the importance of fields to mean something."""
MAX_AGAIN = 3
"""Times that the values of a trial are tried again."""


def _was_cut_short(trial: FrozenTrial, limit_s: float) -> bool:
    """Whether a trial that is over had so much less time that it might do better with this."""
    is_cut = bool(trial.user_attrs.get("end", {}).get("cut_short")) or trial.state == TrialState.PRUNED
    return trial.state in FINISHED and is_cut and is_longer(limit_s, limit_of(trial))


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna says nothing by itself: what there is to say, we say."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
