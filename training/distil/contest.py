"""A fit on targets alone beside fits that a teacher teaches: the one that does best on the validation rows is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from rowcast.models.errors import TrainingError
from rowcast.models.session import Predictions
from rowcast.training.config import Config
from rowcast.training.distil.made_up import make_up
from rowcast.training.distil.student import Way, student_rows
from rowcast.training.distil.teacher import Answers, Asked, Lesson, Taught, Teacher, TooLate
from rowcast.training.distil.watch import seconds_told
from rowcast.training.export.graph import Core
from rowcast.training.fit.deviance import mean_deviance, power_of
from rowcast.training.fit.enough import is_too_short
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.fit.loop import FitResult, Progress, Report, outputs_of
from rowcast.training.fit.objective import Objective
from rowcast.training.fit_network import fit_network, less_budget, to_batch
from rowcast.training.network.head import ClassHead
from rowcast.training.own import Own
from rowcast.training.predict import metrics_of
from rowcast.training.prepare import Part, Prepared

TEACHER_SHARE = 0.5
"""Of a budget that a teacher which is fitted here may take."""


@dataclass(frozen=True)
class Distilled:
    """The fit that is kept."""

    core: Core
    fit: FitResult
    """Its history, and the seconds of all."""
    notes: list[str]
    facts: dict[str, Any]
    """What ``model.json`` keeps of the teacher."""


@dataclass(frozen=True)
class _Tried:
    way: Way
    core: Core
    fit: FitResult
    notes: list[str]
    score: float
    """On the validation rows, lower is better."""


def distil(
    teacher: Teacher,
    prepared: Prepared,
    config: Config,
    device: torch.device,
    report: Report,
    *,
    own: Own,
    interrupt: Interrupt,
    say: Callable[[str], None],
) -> Distilled:
    """Fit on targets alone, fit students, and keep what does best.

    What is left of the budget after the teacher is shared by the fits in equal parts. A fit that is ended by a signal
    or a callback takes no part, unless it is the first.

    Args:
        teacher: asked about training rows, made-up rows, and validation rows to say how good it is.
        prepared: the table, with the whole of it kept.
        config: of every fit.
        device: to train on.
        report: called after each look of each fit.
        own: a network in place of the layers.
        interrupt: ends what is being fitted at its next step, once it is true.
        say: told what happens meanwhile, in a sentence.

    Raises:
        TrainingError: the budget is too small for the fit on targets alone.
        RowcastError: the teacher does not fit the table; or see :func:`rowcast.training.fit_network.fit_network`.
    """
    started = time.monotonic()
    budget = config.fit.budget_s
    limit = float("inf") if budget == "none" else TEACHER_SHARE * budget
    lesson = Lesson(prepared, config, limit)
    too_late, taught = "", None
    say(f"asking {teacher.called}")
    try:
        taught = teacher.teach(lesson)
    except TooLate as error:
        too_late = str(error)
    ways = [Way(0.0), *(Way(weight) for weight in (config.distil.weights if taught else ()))]
    may_make_up = taught is not None and taught.ask is not None and config.distil.made_up > 0.0
    n_fits = len(ways) + may_make_up
    contest = _Contest(prepared, config, device, report, own, interrupt, n_fits, started)
    for way in ways:
        contest.enter(way, None if taught is None else taught.train)
    best = contest.best(taught=True)
    if may_make_up and best is not None and not contest.ended:
        assert taught is not None
        assert taught.ask is not None
        made = make_up(prepared, lesson.train, config)
        takes, left = taught.row_s * len(made.part), contest.seconds_left()
        if takes > TEACHER_SHARE * left:
            contest.left_out = (
                f"no student of made-up rows was fitted: {teacher.called} would take about {seconds_told(takes)} s to "
                f"answer them, more than half of the {seconds_told(max(left, 0.0))} s that the budget leaves"
            )
        else:
            say(f"asking {teacher.called} about {len(made.part):,} made-up rows")
            way = replace(best.way, made_up=config.distil.made_up)
            contest.enter(way, taught.train, (made, taught.ask(made)))
    return contest.result(teacher, taught, too_late)


class _Contest:
    """Fits on the same rows, one after the other."""

    def __init__(
        self,
        prepared: Prepared,
        config: Config,
        device: torch.device,
        report: Report,
        own: Own,
        interrupt: Interrupt,
        n_fits: int,
        started: float,
    ) -> None:
        self.prepared, self.config, self.device, self.report = prepared, config, device, report
        self.own, self.interrupt, self.n_fits, self.started = own, interrupt, n_fits, started
        self.tried: list[_Tried] = []
        self.ended = False
        """Whether somebody ended a fit."""
        self.seconds = 0.0
        self.left_out = ""
        """What was not tried, and why."""

    def seconds_left(self) -> float:
        """Of the budget."""
        budget = self.config.fit.budget_s
        return float("inf") if budget == "none" else budget - (time.monotonic() - self.started)

    def enter(self, way: Way, said: Answers | None, made: tuple[Asked, Answers] | None = None) -> None:
        """Fit one, unless those before were ended."""
        if self.ended or (self.tried and self.interrupt):
            self.ended = True
            return
        rows = self.prepared
        if way.weight > 0.0:
            assert said is not None
            rows = student_rows(self.prepared, way, said, made)
        number = len(self.tried)
        within = less_budget(self.config, time.monotonic() - self.started)
        if within.fit.budget_s != "none":
            share = within.fit.budget_s / (self.n_fits - number)
            within = within.model_copy(update={"fit": within.fit.model_copy(update={"budget_s": share})})
        looks: list[Progress] = []

        def told(progress: Progress) -> object:
            looks.append(progress)
            done = (number + progress.done) / self.n_fits
            return self.report(replace(progress, done=done, seconds=self.seconds + progress.seconds))

        core, fit, notes = fit_network(rows, within, self.device, told, own=self.own, interrupt=self.interrupt)
        if way.weight == 0.0 and is_too_short(looks, fit):
            raise self._too_small(within)
        self.seconds += fit.seconds
        self.ended = fit.stopped == "interrupted"
        if self.ended and self.tried:
            return
        score = _score(self._answers(core), self.prepared, self.config)
        self.tried.append(_Tried(way, core, fit, notes, score))

    def _too_small(self, within: Config) -> TrainingError:
        """The error of a budget that does not let the fit on targets alone come through an epoch."""
        got = within.fit.budget_s
        assert got != "none"
        each = "the fit on targets alone" if self.n_fits == 1 else f"each of {self.n_fits} fits"
        return TrainingError(
            f"a budget must be enough for an epoch of {each}, got {seconds_told(got)} s, once the table is prepared, "
            "the teacher has been asked and publishing is paid for: raise --budget, or leave out --teacher; nothing "
            "was published"
        )

    def best(self, *, taught: bool) -> _Tried | None:
        """The best of the students, or of those on targets alone; None if there is none."""
        entered = [one for one in self.tried if (one.way.weight > 0.0) is taught]
        return min(entered, key=lambda one: one.score) if entered else None

    def result(self, teacher: Teacher, taught: Taught | None, too_late: str) -> Distilled:
        """What is kept, and why."""
        alone, student = self.tried[0], self.best(taught=True)
        kept = student if student is not None and student.score < alone.score else alone
        fit = replace(kept.fit, seconds=self.seconds, stopped="interrupted" if self.ended else kept.fit.stopped)
        metric = _metric(self.config, self.prepared)
        facts: dict[str, Any] = {"name": teacher.called, **({} if taught is None else taught.facts)}
        facts |= {"kept": kept is student, "metric": metric, "targets_alone": alone.score}
        notes = [] if taught is None else [*taught.notes]
        if student is None:
            why = f"{too_late}, more than half of the budget" if too_late else "the fit was ended before"
            notes.append(f"no student of {teacher.called} was fitted: {why}; the model is that of targets alone")
            return Distilled(kept.core, fit, [*notes, *kept.notes], facts)
        facts |= {"student": student.score, "weight": student.way.weight, "made_up": student.way.made_up}
        says = ""
        if taught is not None and taught.validation is not None:
            facts["teacher"] = _score(_predictions(taught.validation, self.prepared), self.prepared, self.config)
            says = f"; {teacher.called} itself: {facts['teacher']:.4g}"
        others = [f"{one.way}: {one.score:.4g}" for one in self.tried[1:] if one is not student]
        also = f"; tried too: {', '.join(others)}" if others else ""
        verdict = (
            f"the student is kept, and not the fit on targets alone ({alone.score:.4g})"
            if kept is student
            else f"the fit on targets alone is kept ({alone.score:.4g})"
        )
        notes.append(
            f"a student of {teacher.called} ({student.way}) has a {metric} of {student.score:.4g} on validation rows: "
            f"{verdict}{says}{also}"
        )
        notes += [self.left_out] if self.left_out else []
        return Distilled(kept.core, fit, [*notes, *kept.notes], facts)

    def _answers(self, core: Core) -> Predictions:
        """What a fitted network says of the validation rows."""
        objective = Objective(self.prepared.target, self.config.objective)
        rows = to_batch(self.prepared.validation, core.encoder, objective, torch.device("cpu"))
        with torch.no_grad():
            answers = core.head(outputs_of(core.network, core.encoder, rows)).numpy()
        return _predictions(answers if isinstance(core.head, ClassHead) else answers[:, 0], self.prepared)


def _predictions(answers: Any, prepared: Prepared) -> Predictions:
    classes = prepared.target.classes
    if not classes:
        return Predictions(prediction=answers)
    return Predictions(labels=[classes[i] for i in answers.argmax(axis=1)], probabilities=answers)


def _score(predictions: Predictions, prepared: Prepared, config: Config) -> float:
    """How far answers are from the validation rows: see :func:`_metric`."""
    part: Part = prepared.validation
    metric, power = _metric(config, prepared), power_of(config.objective.model_dump())
    if metric == "deviance":
        assert predictions.prediction is not None
        assert power is not None
        found = mean_deviance(part.target, predictions.prediction, power, part.weight)
        return float("inf") if found is None else found
    return metrics_of(predictions, part.target, prepared.target.classes, part.weight)[metric]


def _metric(config: Config, prepared: Prepared) -> str:
    """What is compared: the log-loss of calibrated probabilities, the RMSE, or the deviance of counts and amounts."""
    if prepared.target.classes:
        return "log_loss"
    return "rmse" if power_of(config.objective.model_dump()) is None else "deviance"
