"""A study begun, or gone on with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import optuna
from optuna.trial import TrialState

from rowcast.models.errors import TrainingError
from rowcast.training.tune.space import Space
from rowcast.training.tune.study.owners import as_opener, is_about_to_begin, is_alive, this_process
from rowcast.training.tune.study.refusal import refusal_of
from rowcast.training.tune.study.rungs import Rungs
from rowcast.training.tune.study.storage import Storage
from rowcast.training.tune.study.study import FINISHED, Study, quiet

_FORMAT = 1


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
        TrainingError: there is one of this name that is of something else; says what differs. One of which nothing is
            finished, and that nobody is at, begins anew instead.
    """
    about = json.loads(json.dumps({"format": _FORMAT, **about, "space": space.said()}))
    with storage.told(), quiet(), storage.exclusive():
        study = _begun(storage, name)
        found = study.user_attrs.get("about")
        is_new_again = isinstance(found, dict) and found != about and _holds_nothing(study)
        if is_new_again:
            optuna.delete_study(study_name=name, storage=storage.backend)
            study = _begun(storage, name)
        if is_new_again or (found is None and not study.get_trials(deepcopy=False)):
            study.set_user_attr("about", about)
        elif found != about:
            raise TrainingError(refusal_of(name, storage.shown, found, about))
        begun = {trial.user_attrs.get("start") for trial in study.get_trials(deepcopy=False)}
        for origin, values in starts:
            if origin not in begun:
                study.enqueue_trial(space.asked(values), user_attrs={"start": origin})
        if starts:  # whoever has begun it, and not those who help
            study.set_user_attr("opener", as_opener())
    opened = Study(storage, study, space, seed)
    opened.is_new_again = is_new_again
    return opened


def _holds_nothing(study: optuna.Study) -> bool:
    """Whether nothing is finished, and nobody is at anything, or about to be."""
    me = this_process()
    return not is_about_to_begin(study.user_attrs.get("opener"), me) and not any(
        trial.state in FINISHED or (trial.state == TrialState.RUNNING and is_alive(trial, me))
        for trial in study.get_trials(deepcopy=False)
    )


def _begun(storage: Storage, name: str) -> optuna.Study:
    """The study of a name; one that is there is only read."""
    with suppress(KeyError):
        return optuna.load_study(storage=storage.backend, study_name=name, pruner=Rungs())
    return optuna.create_study(
        storage=storage.backend, study_name=name, direction="minimize", pruner=Rungs(), load_if_exists=True
    )
