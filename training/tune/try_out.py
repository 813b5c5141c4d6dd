"""The loop of a study: ask what is to be tried, try it, say what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

import optuna
import torch

from rowcast.models.errors import ConfigError, ExportRefused, RowcastError, TableError, TrainingError
from rowcast.training.config import Config
from rowcast.training.tune.clock import Clock
from rowcast.training.tune.objective import GivenUp, OutOfTime, Trials
from rowcast.training.tune.space import with_values
from rowcast.training.tune.study.storage import StorageLost
from rowcast.training.tune.study.study import Room, Study

_WAIT_S = 0.1
"""Between two questions for whether other processes have ended their trials."""
_CHANCES = 3
"""Trials in a row that may fail for a reason of their own before any ran through."""
_OF_ITS_VALUES = (TrainingError, ConfigError, TableError, ExportRefused, MemoryError, torch.OutOfMemoryError)
"""What the values of a trial may be to blame for: the table itself could be read as the config says."""


class Telling(Protocol):
    """Told after each trial."""

    taken: list[float]
    """Seconds of the trials that ran through."""
    cut_short: bool
    """Whether the time cut one of these short."""

    def __call__(self) -> None: ...

    def waits(self) -> None:
        """Told once, where others are at all that is left to try."""


def try_out(
    study: Study,
    fits: Trials,
    config: Config,
    wanted: int | None,
    clock: Clock,
    *,
    tell: Telling,
    helping: Callable[[], None] = lambda: None,
) -> str:
    """Run trials until as many are finished as are wanted, the time is up, or a signal ends it.

    Processes that try configs of the study on one machine share its threads: two that each took all of them would wait
    for each other.

    Args:
        study: what is tried.
        fits: fits a config.
        config: the one that trials change.
        wanted: how many trials are to be finished in all.
        clock: says what each may take.
        tell: called after each trial, and while there is none to run.
        helping: called likewise: looks after the other processes.

    Returns:
        what a trial lacked time for, which ended them: it is given back, and tried again by whoever goes on; else
        nothing.

    Raises:
        TrainingError: the first trials all failed, or the storage cannot be used any more.
    """
    threads = torch.get_num_threads()
    try:
        return _try_out(study, fits, config, wanted, clock, threads, tell, helping)
    finally:
        torch.set_num_threads(threads)


def _try_out(
    study: Study,
    fits: Trials,
    config: Config,
    wanted: int | None,
    clock: Clock,
    threads: int,
    tell: Telling,
    helping: Callable[[], None],
) -> str:
    """See :func:`try_out`. ``threads``: of this machine, to be shared with whoever else tries configs on it."""
    failed, waits = 0, False
    while not fits.interrupt:
        budget_s = clock.for_trial(tell.taken, cut_short=tell.cut_short)
        if budget_s is None:
            break
        trial = study.ask(wanted, budget_s)
        if trial in (Room.NONE, Room.ALL):
            break
        if isinstance(trial, Room):
            if not waits:
                tell.waits()
            waits = True
            time.sleep(_WAIT_S)
        else:
            waits = False
            torch.set_num_threads(max(1, threads // study.crowd()))
            try:
                error = _run(study, fits, config, trial, budget_s)
            except OutOfTime as over:
                # One that is slower than those that ran through is not given back for ever.
                study.give_back(trial, counts=bool(tell.taken))
                return str(over)
            except (
                optuna.exceptions.UpdateFinishedTrialError
            ):  # another machine has not heard of us, and tries it again
                error = None
            failed = 0 if error is None or tell.taken else failed + 1
            if error is not None and failed >= _CHANCES:
                raise TrainingError(f"the first {failed} trials could not be fitted, the last one for: {error}")
        helping()
        tell()
    return ""


def _run(study: Study, fits: Trials, config: Config, trial: optuna.Trial, budget_s: float) -> Exception | None:
    """Run a trial; what was wrong with its values, if anything was.

    Raises:
        OutOfTime: it is not over, and says nothing of its values.
        StorageLost: the study cannot be written any more.
    """
    started = time.monotonic()

    def rung(percent: int, value: float) -> None:
        study.rung(trial, percent, value)

    try:
        chosen = with_values(config, study.values(trial))
        measured = fits.run(chosen, budget_s=budget_s, rung=rung, look=study.beat(trial))
    except optuna.TrialPruned as pruned:
        study.prune(trial, str(pruned), time.monotonic() - started)
    except (OutOfTime, StorageLost):
        raise
    except GivenUp:
        study.give_back(trial)
    except _OF_ITS_VALUES as error:
        why = str(error) if isinstance(error, RowcastError) else "it does not fit into the memory"
        study.prune(trial, why, time.monotonic() - started)
        return error
    except BaseException:
        study.give_back(trial)
        raise
    else:
        if not math.isfinite(measured.value):
            study.prune(trial, "its answers are no numbers", measured.seconds)
            return None
        study.finish(trial, measured.value, measured.seconds, cut_short=measured.cut_short)
        fits.keep(trial.number, measured)
    return None
