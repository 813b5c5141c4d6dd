"""Tuning from a table to a published model: trials, the best of them, and a fit with its config."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rowcast.models.durations import said_seconds
from rowcast.models.errors import ConfigError, TrainingError
from rowcast.models.repository import Repository
from rowcast.models.signature import check_model_name
from rowcast.training.budget.first_use import pay_first_use
from rowcast.training.columns.target import Target
from rowcast.training.config import Config
from rowcast.training.crossvalidate import MAX_FOLDS
from rowcast.training.data.files.paths import STDIN
from rowcast.training.data.split import Split
from rowcast.training.data.table import Table
from rowcast.training.device import training_device
from rowcast.training.fit.interrupt import Interrupt, ended_by_signals
from rowcast.training.fit.loop import Report
from rowcast.training.own import NOTHING_OWN, Own
from rowcast.training.prepare import Prepared
from rowcast.training.threads import usable_threads
from rowcast.training.train import Before, train
from rowcast.training.tune.clock import Clock, clock_of
from rowcast.training.tune.config import TuneConfig
from rowcast.training.tune.last_fit import (
    best_to_fit,
    check_export,
    check_last_fit,
    check_rows,
    in_time,
    kept,
    why_too_slow,
    without_limits,
)
from rowcast.training.tune.objective import Trials, measure_of
from rowcast.training.tune.outcome import Tuned, best_of, config_of, sentence_of
from rowcast.training.tune.published import keep_published, published_before, sha256_of_test
from rowcast.training.tune.rows import Rows, about_study, rows_of
from rowcast.training.tune.space_reading import space_of
from rowcast.training.tune.study.limits import is_longer
from rowcast.training.tune.study.opening import open_study
from rowcast.training.tune.study.record import Record
from rowcast.training.tune.study.storage import StorageLost, default_file, open_storage
from rowcast.training.tune.study.study import Study
from rowcast.training.tune.telling import Standing, Telling, count
from rowcast.training.tune.try_out import try_out
from rowcast.training.tune.worker import workers

TRIALS = 50
"""How many are wanted where neither a number nor a budget is given."""


def tune(
    source: Any,
    config: Config,
    *,
    name: str,
    repository: Repository,
    storage: str | os.PathLike[str] | None = None,
    trials: int | None = None,
    budget_s: float | None = None,
    jobs: int = 1,
    folds: int | None = None,
    publish: bool = True,
    test: Any = None,
    report: Callable[[Standing], None] = lambda _: None,
    report_fit: Report = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    own: Own = NOTHING_OWN,
) -> Tuned:
    """Find a good config for a table, and publish a model fitted with it.

    Test rows are set aside before anything else; trials see training and validation rows, and the best of them is the
    one that does best on validation rows. A study can be gone on with: what is finished is not done again.

    The first SIGINT or SIGTERM ends the trials; the model is then fitted with the best config so far. What was
    published of the best trial before is not published again.

    Args:
        source: a file or a data frame.
        config: where to begin; ``config.tune.space`` says what is searched.
        name: of the study and the model.
        repository: where to publish, and where the study is kept.
        storage: a file or the URL of a database, to keep the study there instead.
        trials: how many are to be finished in all, by whatever process; without this and a budget, :data:`TRIALS`.
        budget_s: wall clock of this call, the last fit included.
        jobs: processes of this machine that try configs at the same time.
        folds: a trial fits once a fold of the training and validation rows, and its value is their mean.
        publish: whether to fit and publish a model in the end.
        test: a table that the model alone is measured on, instead of a share of ``source``.
        report: called after each trial.
        report_fit: called after each look of the last fit.
        say: told what happens meanwhile, in a sentence.
        own: a network or a loss in place of those of the config.

    Raises:
        ConfigError: an argument is out of range, or the space is not valid.
        TableError: the table cannot be used, or has too few rows for the folds.
        TrainingError: the study is of another table, config or space; the storage cannot be used; no trial ran through;
            or the budget is too small for one. Nothing is published, and no finished trial is lost.
        KeyboardInterrupt: a signal came before a trial was finished.
    """
    began = time.monotonic()
    check_model_name(name)
    _check(trials, budget_s, jobs, folds, own)
    trying = _as_tried(source, test, config, own, publish=publish)
    device = training_device(config.device, config.fit.precision)
    if publish:
        repository.check_writable(name)
    rows = _rows_of(source, test, trying, folds, own, publish=publish)
    prepared = rows.prepared(trying)[0]
    if publish:
        check_export(prepared, trying, own)
    space = space_of(trying, without=_meaningless(prepared, own))
    trying = trying.model_copy(update={"tune": TuneConfig(space=space.said())})
    measure = measure_of(prepared, trying, own).name
    wanted = TRIALS if trials is None and budget_s is None else trials
    if budget_s is not None or trying.fit.budget_s != "none":
        with usable_threads():
            pay_first_use(trying, device)
    clock = clock_of(trying, budget_s, began=began, wanted=wanted, publish=publish)
    where = default_file(repository.root, name) if storage is None else storage
    opened = open_storage(where)
    study = open_study(opened, name, about_study(rows, trying), space, space.starts(trying), config.seed)
    _tell_of(study, wanted, say)
    telling = Telling(study, measure, wanted, clock, report, say)
    preparing_s = time.monotonic() - began
    with usable_threads() as threads:
        with ended_by_signals() as interrupt:  # the last fit has its own, which a signal from then on is for
            interrupt.begun = True
            fits = Trials(rows, device, own, interrupt)
            over = _search(study, fits, trying, wanted, clock, jobs, where, telling, say)
            records = tuple(study.finished())
            if best_of(records) is None:
                raise _why_nothing(interrupt, records, budget_s, preparing_s, over)
            best, passed_over = best_to_fit(records, lambda one: why_too_slow(rows, config_of(trying, one), own))
            importance = study.importance()
        for text in (passed_over, f"no more trials: of the one that is given back {over}" if over else ""):
            if text:
                say(text)
        if interrupt:
            say(f"{interrupt.name}: no more trials; the best so far is trial {best.number}")
        chosen = config_of(config, best)
        tuned = Tuned(name, opened.shown, measure, records, best, chosen, importance, passed_over=passed_over)
        tuned = replace(tuned, ended_by=interrupt.name)
        if not publish:
            return tuned
        how = {"name": name, "repository": repository, "test": test, "report": report_fit, "say": say}
        return _published(tuned, study, fits, clock, source, threads, how)


def _published(
    tuned: Tuned,
    study: Study,
    fits: Trials,
    clock: Clock,
    source: Any,
    threads: Sequence[str],
    how: Mapping[str, Any],
) -> Tuned:
    """A study with the model of its best trial: the one that came of it before, or a new one.

    Args:
        tuned: without the model.
        study: where it is kept which version came of which trial.
        fits: of this process, among which the network may be.
        clock: says what time is left.
        source: the table.
        threads: decisions on them.
        how: arguments of :func:`rowcast.training.train.train`.
    """
    best, chosen, rows, own, say = tuned.best, tuned.config, fits.rows, fits.own, how["say"]
    of_test = sha256_of_test(how["test"], chosen)
    if own == NOTHING_OWN:  # nobody knows whether a function is still the same
        left_s = clock.left_in_all_s - rows.reading_s
        before = published_before(study, best, chosen, of_test, how["repository"], left_s)
        if before is not None:
            version = f"{study.name}:{before.model.manifest.version}"
            say(
                f"trial {best.number} is the best, and {version} came of it before: nothing new is published; to fit "
                f"it again, remove that with `rowcast models remove {version}`"
            )
            return replace(tuned, trained=before, is_new=False)
    fitted = kept(fits, best, chosen, clock, rows.reading_s)
    within = chosen if fitted else in_time(chosen, best, clock, rows.reading_s)
    doing = "publishing the network" if fitted else "fitting the config"
    say(f"{doing} of trial {best.number}, the best of {count(len(tuned.trials))}")
    told = Before([sentence_of(tuned), *threads], fitted, sha256=rows.about["SHA-256"])
    trained = train(source, within, network=own.network, loss=own.loss, before=told, **how)
    try:
        keep_published(study, best, chosen, of_test, trained)
    except StorageLost as error:  # the model is there all the same
        say(str(error))
    return replace(tuned, trained=trained)


def _as_tried(source: Any, test: Any, config: Config, own: Own, *, publish: bool) -> Config:
    """The config where trials begin, once all is checked that needs no table.

    Raises:
        ConfigError: something of it does not go together.
    """
    trying = own.written_in(config)
    trying.distil.check_unused()
    if publish:
        check_last_fit(trying, own)
    else:
        trying = without_limits(trying)
    space_of(trying)  # what is wrong with it is told before a large table is read
    if any(isinstance(one, str | os.PathLike) and os.fspath(one) == STDIN for one in (source, test)):
        raise ConfigError(
            "tuning reads its table twice, for the trials and for the model, so it takes no '-': name a file"
        )
    return trying


def _rows_of(source: Any, test: Any, trying: Config, folds: int | None, own: Own, *, publish: bool) -> Rows:
    """The rows of the trials, once it is made sure that the last fit can have its own."""

    def check(table: Table, target: Target, split: Split) -> None:
        if publish:
            check_rows(table, target, split, trying, own, test)

    return rows_of(source, trying, folds, own_test=test is not None, check=check)


def _tell_of(study: Study, wanted: int | None, say: Callable[[str], None]) -> None:
    """Tell what a study holds, and where it is kept."""
    name, found = study.name, len(study.finished())
    if study.is_new_again:
        say(f"of the study {name!r} nothing was finished, and it was of something else: it begins anew")
    if wanted is not None and found >= wanted:
        say(f"the study {name!r} is complete: {count(found)} finished of {wanted}; for more raise --trials")
        return
    if found:
        say(f"the study {name!r} goes on: {count(found)} finished before")
    say(f"{study.storage.shown} is kept at each step: it may end at any moment, and the same command goes on")


def _search(
    study: Study,
    fits: Trials,
    trying: Config,
    wanted: int | None,
    clock: Clock,
    jobs: int,
    where: str | os.PathLike[str],
    telling: Telling,
    say: Callable[[str], None],
) -> str:
    """Run trials, in this process and others, until it is over; what one lacked time for, see :func:`try_out`."""
    over = ""
    if clock.for_trial(telling.taken, cut_short=telling.cut_short) is not None:
        if wanted is None or len(study.finished()) < wanted:
            _redo(study, trying, clock, say)
        with workers(jobs - 1, fits.rows, trying, study, where, wanted, clock, fits.interrupt, say) as helping:
            over = try_out(study, fits, trying, wanted, clock, tell=telling, helping=helping)
    telling()
    if study.is_exhausted():
        say(f"all {len(study.configs or ()):,} configs of the space were tried: there is no other one")
    return over


def _redo(study: Study, trying: Config, clock: Clock, say: Callable[[str], None]) -> None:
    """Have the configs to start with tried again where trials may take much longer than those that were cut short."""
    before = study.finished()
    cut = [record for record in before if record.cut_short and is_longer(clock.trial_s, record.limit_s)]
    if not cut:
        return
    redone = study.redo(study.space.starts(trying), clock.trial_s)
    now = "as long as it takes" if math.isinf(clock.trial_s) else said_seconds(clock.trial_s)
    longest = max(record.limit_s for record in cut)
    say(
        f"{len(cut)} of {count(len(before))} finished before were cut short after at most {said_seconds(longest)}, and "
        f"a trial has {now} by now: they may look worse than they are"
        + (f"; {count(redone)} to start with {'is' if redone == 1 else 'are'} tried once more" if redone else "")
    )


def _check(trials: int | None, budget_s: float | None, jobs: int, folds: int | None, own: Own) -> None:
    for flag, value, least, most in (
        ("--trials", trials, 1, math.inf),
        ("--jobs", jobs, 1, math.inf),
        ("--folds", folds, 2, MAX_FOLDS),
    ):
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (is_whole and least <= value <= most):
            to = "on" if math.isinf(most) else f"to {most}"
            raise ConfigError(f"{flag} must be a whole number from {least} {to}, got {value!r}")
    is_number = isinstance(budget_s, int | float) and not isinstance(budget_s, bool)
    if budget_s is not None and not (is_number and budget_s > 0):
        raise ConfigError(f"--budget must be more than 0 seconds, got {budget_s!r}")
    if jobs > 1 and (own.network is not None or own.loss is not None):
        raise ConfigError(
            f"functions of one's own stay in their process, so --jobs must be 1 beside a network or loss of one's own, "
            f"got {jobs}"
        )


def _meaningless(prepared: Prepared, own: Own) -> list[str]:
    """What of the default space changes nothing for a table."""
    kinds = {rule.kind for rule in prepared.rules}
    found = [] if "category" in kinds else ["network.d_category"]
    found += [] if kinds - {"category", "boolean"} else ["features.bins", "network.d_number"]
    return [*found, *(["network"] if own.network is not None else [])]


def _why_nothing(
    interrupt: Interrupt, records: Sequence[Record], budget_s: float | None, preparing_s: float, over: str
) -> BaseException:
    """Why no trial ran through; ``over``: what one lacked time for."""
    if interrupt.name == "Ctrl-C":
        return KeyboardInterrupt()
    if interrupt:
        return SystemExit(143)
    if over:
        return TrainingError(
            f"no trial ran through: of the one under way {over}; it counts for nothing, and nothing was published"
        )
    failed = [record for record in records if record.value is None]
    if failed or budget_s is None:
        why = f", the last one for: {failed[-1].why}" if failed else ""
        return TrainingError(f"no trial ran through{why}; nothing was published")
    return TrainingError(
        f"the budget must be enough for one trial and the last fit, got {budget_s:g} s, of which reading and preparing "
        f"the table took {preparing_s:.1f} s: raise --budget; nothing was tried, and nothing was published"
    )
