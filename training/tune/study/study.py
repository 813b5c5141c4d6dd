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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from rowcast.models.errors import TrainingError
from rowcast.training.fit.checkpoint import differences
from rowcast.training.tune.space import Space
from rowcast.training.tune.study.limits import limit_of
from rowcast.training.tune.study.owners import born, is_alive, is_recent, this_process
from rowcast.training.tune.study.rungs import Rungs
from rowcast.training.tune.study.storage import Storage

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
TRIES = 10
"""Times that values are sampled until some were not tried yet: a space of single values is small."""
BEAT_S = 20.0
"""Between two signs of life of a trial, at least."""
_DIFFERENCES = 5
_LASTING = ("start", "passed")
"""What is known of a trial and holds when it is tried again."""
_FORMAT = 1


class Room(Enum):
    """Why there is no trial to be had."""

    WAIT = "as many are finished or under way as are wanted"
    NONE = "as many are finished as are wanted"


@dataclass(frozen=True)
class Record:
    """A trial that is finished."""

    number: int
    """From 0, in the order in which they began."""
    value: float | None
    """What it is measured by, lower is better; of a pruned one at the rung that it was pruned at, if it got so far."""
    pruned: bool
    values: dict[str, Any]
    """Of the fields that are searched, by name."""
    seconds: float
    origin: str
    """``as given``, the name of a preset, or nothing where the values were sampled."""
    why: str
    """Why it was pruned."""
    cut_short: bool = False
    """Whether its time ended a fit of it, which might have done better with more."""
    limit_s: float = math.inf
    """Seconds that it might take; infinite where there was no end to them."""


class Study:
    """A study that this process takes part in; made by :func:`open_study`."""

    def __init__(self, storage: Storage, study: optuna.Study, space: Space, seed: int) -> None:
        self.storage = storage
        self.space = space
        self._study = study
        self._seed = seed
        self._owner = this_process()

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
        with self.storage.told(), _quiet():
            self._take_over()
            tries = 0
            while True:
                room = self._room(wanted)
                if room is not None:
                    return room
                trial = self._study.ask()
                trial.set_user_attr("beat", time.time())
                trial.set_user_attr("owner", self._owner)
                trial.set_user_attr("limit", None if math.isinf(limit_s) else round(limit_s, 3))
                if not self._is_within(trial.number, wanted):  # others asked at the same time
                    self._study.tell(trial, state=TrialState.FAIL)
                    return Room.WAIT
                self._study.sampler = optuna.samplers.TPESampler(seed=self._seed_of(trial, tries), constant_liar=True)
                self.space.suggest(trial)
                tries += 1
                if tries == TRIES or not self._was_tried(trial):
                    return trial
                self._study.tell(trial, state=TrialState.FAIL)

    def values(self, trial: optuna.Trial) -> dict[str, Any]:
        """What a trial is to try, by field."""
        with self.storage.told(), _quiet():
            return self.space.suggest(trial)

    def rung(self, trial: optuna.Trial, percent: int, value: float) -> None:
        """Take in how well a trial does at a rung.

        Raises:
            optuna.TrialPruned: it is not among the best that came so far.
        """
        with self.storage.told(), _quiet():
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
        with self.storage.told(), _quiet():
            self._fail(next(one for one in self._trials() if one.number == trial.number), counts=counts)

    def _end(self, trial: optuna.Trial, state: TrialState, value: float | None, end: Mapping[str, Any]) -> None:
        with self.storage.told(), _quiet():
            trial.set_user_attr("end", dict(end))
            self._study.tell(trial, value, state=state, skip_if_finished=True)

    # --- all of them --------------------------------------------------------------------------------------------------

    def finished(self) -> list[Record]:
        """All finished trials, by number."""
        with self.storage.told():
            return [self._record(trial) for trial in self._trials() if trial.state in FINISHED]

    def under_way(self) -> int:
        """How many trials are under way, in whatever process."""
        with self.storage.told():
            return sum(trial.state == TrialState.RUNNING for trial in self._trials())

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
        with self.storage.told(), _quiet():
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

    def _record(self, trial: FrozenTrial) -> Record:
        end = trial.user_attrs.get("end", {})
        value = trial.value
        if value is None and trial.intermediate_values:
            value = trial.intermediate_values[max(trial.intermediate_values)]
        return Record(
            number=trial.number,
            value=value,
            pruned=trial.state == TrialState.PRUNED,
            values=self.space.suggest(_Said(trial.params)),
            seconds=float(end.get("seconds", 0.0)),
            origin=str(trial.user_attrs.get("start", "")),
            why=str(end.get("why", "")),
            cut_short=bool(end.get("cut_short", False)),
            limit_s=limit_of(trial),
        )

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
        """Whether another trial, over or under way, has the same values."""
        return any(
            one.params == trial.params
            for one in self._trials()
            if one.number != trial.number and one.state in (*FINISHED, TrialState.RUNNING)
        )

    def _take_over(self) -> None:
        """Have the trials tried again whose owner is gone."""
        for trial in self._trials():
            if trial.state == TrialState.RUNNING and not is_alive(trial, self._owner):
                self._fail(trial, counts=True)

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


def open_study(
    storage: Storage, name: str, about: Mapping[str, Any], space: Space, starts: Sequence[tuple[str, Any]], seed: int
) -> Study:
    """Begin a study, or go on with it.

    Args:
        storage: where it is kept.
        name: of the study.
        about: what it is of, nested, as JSON holds it.
        space: what is searched.
        starts: where to begin: what each is called, and its values by field.
        seed: of what is sampled.

    Raises:
        TrainingError: there is one of this name that is of something else; says what differs.
    """
    about = json.loads(json.dumps({"format": _FORMAT, **about, "space": space.said()}))
    with storage.told(), _quiet(), storage.exclusive():
        study = _begun(storage, name)
        found = study.user_attrs.get("about")
        if found is None and not study.get_trials(deepcopy=False):
            study.set_user_attr("about", about)
        elif found != about:
            raise TrainingError(_refusal(name, storage, found, about))
        begun = {trial.user_attrs.get("start") for trial in study.get_trials(deepcopy=False)}
        for origin, values in starts:
            if origin not in begun:
                study.enqueue_trial(space.asked(values), user_attrs={"start": origin})
    return Study(storage, study, space, seed)


def _begun(storage: Storage, name: str) -> optuna.Study:
    """The study of a name; one that is there is only read."""
    with suppress(KeyError):
        return optuna.load_study(storage=storage.backend, study_name=name, pruner=Rungs())
    return optuna.create_study(
        storage=storage.backend, study_name=name, direction="minimize", pruner=Rungs(), load_if_exists=True
    )


def _refusal(name: str, storage: Storage, found: Any, about: Mapping[str, Any]) -> str:
    """Why a study cannot be gone on with."""
    way = "go on with those, or begin another study with --name"
    if not isinstance(found, dict):
        return f"a study goes on if tuning began it, but {name!r} in {storage.shown} is of something else: {way}"
    differing = differences(found, about)
    more = f" and {len(differing) - _DIFFERENCES} more" if len(differing) > _DIFFERENCES else ""
    return (
        f"a study goes on with the table, config and space it began with, but {name!r} in {storage.shown} is of others"
        f": {', '.join(differing[:_DIFFERENCES])}{more}; {way}"
    )


class _Said:
    """Suggests what a trial has been told."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def suggest_float(self, name: str, *_: Any, **__: Any) -> float:
        return float(self._params[name])

    def suggest_int(self, name: str, *_: Any, **__: Any) -> int:
        return int(self._params[name])

    def suggest_categorical(self, name: str, _: Any) -> Any:
        return self._params[name]


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna says nothing by itself: what there is to say, we say."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
