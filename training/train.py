"""A table in, a published model out: the steps of training in their order."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as to_safetensors

from rowcast.models.errors import ConfigError, ExportRefused, RowcastError, TrainingError
from rowcast.models.machine.limits import usable_cores
from rowcast.models.repository import Repository, StoredModel
from rowcast.models.session import Predictions, Session
from rowcast.models.signature import check_model_name
from rowcast.models.warnings import Caution
from rowcast.training.bagging.fit import fit_bag
from rowcast.training.bagging.prepare import Bag, open_bag
from rowcast.training.budget.first_use import pay_first_use
from rowcast.training.budget.spend import fit_within, spends
from rowcast.training.config import Config, to_toml
from rowcast.training.coverage import coverage_told, shares_inside
from rowcast.training.device import training_device
from rowcast.training.distil.refusals import check_teacher
from rowcast.training.distil.teacher import Teacher
from rowcast.training.export.aside import keep_aside
from rowcast.training.export.gate import pass_gate
from rowcast.training.export.graph import Core, export
from rowcast.training.export.layers import layers_metadata, layers_of
from rowcast.training.export.precheck import PRECHECK_VISITS, precheck
from rowcast.training.fit.checkpoint import Checkpoint, open_checkpoint
from rowcast.training.fit.confusion import CONFUSION_METRICS
from rowcast.training.fit.history import HISTORY_FILE, to_csv
from rowcast.training.fit.interrupt import ended_by_signals
from rowcast.training.fit.loop import FitResult, Report, epochs_of
from rowcast.training.fit.objective import Objective
from rowcast.training.fit.own_loss import LossFunction
from rowcast.training.fit.told import Told
from rowcast.training.fit_network import calibrate, fit_network, less_budget, network_of, signature_of, to_batch
from rowcast.training.haste import HASTY_GATE, some_to_measure
from rowcast.training.network.head import ClassHead
from rowcast.training.network.own import NetworkBuilder
from rowcast.training.own import Own
from rowcast.training.predict import metrics_of, predict_columns
from rowcast.training.prepare import Prepared
from rowcast.training.ranks.ranks import ALONE, Ranks
from rowcast.training.refit import GRAPH_OF_METRICS, First, refit
from rowcast.training.report.fit import report_of_fit
from rowcast.training.report.page import REPORT_FILE
from rowcast.training.start.record import START_FILE, record_of
from rowcast.training.start.start import Start, check_start
from rowcast.training.stream.prepare import open_prepared
from rowcast.training.threads import usable_threads
from rowcast.training.track.config import TrackConfig
from rowcast.training.track.tracker import check_trackers, tracked

RECORDED_VERSIONS = ("torch", "onnx", "onnxruntime", "numpy", "polars")


@dataclass(frozen=True)
class Before:
    """What was done before a training run."""

    decisions: Sequence[str] = ()
    """What led to its config, told before all other decisions."""
    fitted: tuple[Core, FitResult, list[str]] | None = None
    """What :func:`fit_network` gave for this table and config: it is published as it is."""
    sha256: str = ""
    """Of the table as it was then; empty where nothing was done with it."""


NOTHING_BEFORE = Before()


@dataclass(frozen=True)
class Trained:
    """A published model and how its training went."""

    model: StoredModel
    fit: FitResult
    rows: dict[str, int]
    ended_by: str = ""
    """The signal that ended the fit before it was over, if one did: ``Ctrl-C`` or ``SIGTERM``."""
    cautions: tuple[Caution, ...] = ()
    """Decisions that are also warnings in Python."""

    def summary(self) -> dict[str, Any]:
        """What ``rowcast train --json`` prints."""
        manifest = self.model.manifest
        return {
            "name": manifest.name,
            "version": manifest.version,
            "path": str(self.model.path),
            "task": manifest.signature.task,
            "rows": self.rows,
            "metrics": manifest.metrics,
            "parity": manifest.parity,
            "decisions": manifest.decisions,
            "seconds": round(self.fit.seconds, 3),
            "epochs": self.fit.epochs,
            "stopped": self.fit.stopped,
            "report": str(self.model.path / REPORT_FILE),
        }


def train(
    source: Any,
    config: Config,
    *,
    name: str,
    repository: Repository,
    validation: Any = None,
    test: Any = None,
    report: Report = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    callbacks: Sequence[Report] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    network: NetworkBuilder | None = None,
    loss: LossFunction | None = None,
    start: Start | None = None,
    teacher: Teacher | None = None,
    before: Before = NOTHING_BEFORE,
    ranks: Ranks = ALONE,
) -> Trained:
    """Train a model on a table and publish it.

    Once the fit has begun, the first SIGINT or SIGTERM ends it at its next step and the best weights so far are
    published; see :mod:`rowcast.training.fit.interrupt`.

    Args:
        source: a file or a data frame, see :func:`rowcast.training.data.table.read_table`.
        config: see :class:`rowcast.training.config.Config`; ``config.data.target`` names the target.
        name: of the model.
        repository: where to publish.
        validation: a table of validation rows; without it they are split from ``source``.
        test: a table that is only evaluated; without it, test rows are split from ``source``.
        report: called after each look at the validation rows.
        say: told what happens meanwhile, in a sentence: a signal that came, what became of the checkpoint.
        callbacks: called after each look as well. One that answers with what is true ends the fit, and the best weights
            so far are published; what one raises ends the fit, and nothing is published.
        checkpoint: a folder in which the fit is kept as it goes on, see :mod:`rowcast.training.fit.checkpoint`; empty
            once the model is published, unless a signal ended the fit.
        resume: go on with what lies there. If nothing does, the fit starts anew.
        network: builds a module in place of the layers, see :mod:`rowcast.training.network.own`.
        loss: in place of a named one, see :mod:`rowcast.training.fit.own_loss`.
        start: the model whose weights the fit starts from, see :mod:`rowcast.training.start`.
        teacher: what else is learned from, see :mod:`rowcast.training.distil`.
        before: what tuning did already.
        ranks: the processes that train together, each of which calls this with the same arguments; see
            :mod:`rowcast.training.ranks`. Process 0 publishes.

    Raises:
        Followed: this is another process than process 0, and its work is done.
        ConfigError: network or loss do not do as they must, or not beside what the config sets.
        TableError: the table cannot be used; names row, column and the way out.
        DeviceError: a demanded device is absent.
        ModelError: the name is not valid, or the repository cannot be written.
        TrainingError: the fit cannot go on, or the checkpoint is damaged, or of another table or config.
        ConfigError: there is a checkpoint, and nobody asked to resume it; or the other way round.
        ExportRefused: the graph does not answer as the network does, or one odd value decides alone. Where that could
            not be known before the fit, the model is kept aside, see :mod:`rowcast.training.export.aside`.
    """
    check_model_name(name)
    if resume and checkpoint is None:
        raise ConfigError("a fit is resumed from a folder: name it with --checkpoint")
    if ranks.size > 1 and checkpoint is not None:
        raise ConfigError("a checkpoint is of a fit by one process: under torchrun leave out --checkpoint")
    check_trackers(config.track)
    own = Own(network, loss)
    config = own.written_in(config)
    check_start(start, config)
    check_teacher(teacher, source, config, own, checkpoint=checkpoint is not None, ranks=ranks)
    device = ranks.device(training_device(config.device, config.fit.precision))
    if ranks.leads:
        repository.check_writable(name)
    with ExitStack() as stack:
        kept = checkpoint and stack.enter_context(open_checkpoint(checkpoint, resume=resume, say=say))
        return _train(
            source,
            config,
            name=name,
            repository=repository,
            validation=validation,
            test=test,
            device=device,
            told=Told([report, *callbacks], say),
            own=own,
            checkpoint=kept or None,
            start=start,
            teacher=teacher,
            ranks=ranks,
            stack=stack,
            before=before,
        )


def _train(
    source: Any,
    config: Config,
    *,
    name: str,
    repository: Repository,
    validation: Any,
    test: Any,
    device: torch.device,
    told: Told,
    own: Own,
    checkpoint: Checkpoint | None,
    start: Start | None,
    teacher: Teacher | None,
    ranks: Ranks,
    stack: ExitStack,
    before: Before,
) -> Trained:
    """See :func:`train`. ``stack`` is left when all is done."""
    threads = stack.enter_context(usable_threads())
    given: dict[str, Any] = {"validation": validation, "test": test, "start": start}
    prepared: Prepared
    if config.fit.folds == "none":
        prepared = open_prepared(stack, source, config, **given, say=told.say, keep_whole=teacher is not None)
    else:
        prepared = open_bag(source, config, **given, own_network=own.network is not None, ranks=ranks)
    first, n_folds = (prepared.folds[0], len(prepared.folds)) if isinstance(prepared, Bag) else (prepared, 1)
    started = time.monotonic() - prepared.seconds
    _check_same(before, prepared)
    held_out = _held_out(prepared)
    about = _about(prepared, config, device) if checkpoint is not None or ranks.size > 1 else {}
    ranks.meet({**about["table"], **about["config"]} if ranks.size > 1 else {})
    is_alone = not isinstance(prepared, Bag) and teacher is None and not before.fitted and ranks.size == 1
    spending = is_alone and spends(prepared, config)
    is_refitted = config.fit.refit is True
    if config.fit.refit == "auto":  # where whoever asks for it by name would be refused, there is none
        is_ruled_out = isinstance(prepared, Bag) or teacher is not None or prepared.stored is not None
        is_refitted = not is_ruled_out and (spending or config.fit.budget_s == "none")
    if config.fit.budget_s != "none" and not before.fitted:
        pay_first_use(config, device)
    reserved, networks = 0.0, n_folds
    if ranks.leads and not before.fitted:
        # fits until the budget is spent, and rounds of folds, keep back what each further network takes themselves
        networks *= 1 if spending or isinstance(prepared, Bag) else config.fit.seeds
        reserved = networks * _check_before(first, config, held_out, own)
    ranks.meet()
    within = less_budget(config, ranks.said(time.monotonic() - started + reserved))
    more_rows = (len(prepared.validation) + (len(prepared.test) if test is None else 0)) / len(prepared.train)
    if config.fit.refit is True and within.fit.budget_s != "none":  # of more rows, for at most as many epochs
        within = less_budget(within, within.fit.budget_s * (1.0 - 1.0 / (2.0 + more_rows)))
    began = [*ranks.decisions, *threads, *([] if checkpoint is None else checkpoint.begin(about))]
    settings = config.model_dump(mode="json", exclude={"track", "tune"})
    trackers = stack.enter_context(tracked(config.track if ranks.leads else TrackConfig(), name, settings, told.say))
    told.reports.append(trackers.look)
    told.interrupt = stack.enter_context(ended_by_signals())
    how: dict[str, Any] = {"own": own, "interrupt": told.interrupt, "checkpoint": checkpoint}
    unseen: dict[str, Predictions] = {}
    learned: dict[str, Any] = {}
    firsts: tuple[First, ...] = ()
    core: Core
    if isinstance(prepared, Bag):
        bagged = fit_bag(prepared, within, device, told, **how, after=reserved / networks)
        core, fit_result, notes = bagged.core, bagged.fit, bagged.decisions
        prepared, unseen = bagged.bag, {"validation": bagged.answers}
    elif teacher is not None:
        from rowcast.training.distil.contest import distil  # a fit without a teacher needs nothing of it

        done = distil(teacher, prepared, within, device, told, own=own, interrupt=told.interrupt, say=told.say)
        core, fit_result, notes, learned["teacher"] = done.core, done.fit, done.notes, done.facts
    elif spending:
        spent = fit_within(
            prepared, within, device, told, **how, after=reserved, again=1.0 + more_rows if is_refitted else 0.0
        )
        core, fit_result, firsts, notes = spent.core, spent.fit, spent.answering, spent.decisions
    else:
        core, fit_result, notes = before.fitted or fit_network(prepared, within, device, told, **how, ranks=ranks)
        firsts = tuple(First(within, i, one) for i, one in enumerate(fit_result.fits or [fit_result]))
    notes = [*began, *told.how_it_ended(fit_result), *notes]
    seen, measured = prepared, None
    if is_refitted:
        left = math.inf
        if config.fit.budget_s != "none":
            after = (1.0 + GRAPH_OF_METRICS) * reserved * (len(firsts) if spending else 1)
            left = config.fit.budget_s - (time.monotonic() - started) - after
        again, why = refit(
            prepared,
            core,
            firsts,
            device,
            with_test=test is None,
            own=own,
            within=left,
            interrupt=told.interrupt,
            say=told.say,
            ranks=ranks,
        )
        notes.append(why if again is None else again.decision)
        if again is None:
            told.ended_by = told.interrupt.name  # what the checkpoint holds can go on to the second fit
        if again is not None:
            measured = export(core, signature_of(prepared, core))
            core, seen = again.core, again.prepared
            learned["refit"] = len(seen.train)
    if not ranks.leads:
        ranks.follow()
    signature, layers = signature_of(seen, core), layers_of(core)
    files = {
        "weights.safetensors": to_safetensors(_weights_of(core), layers_metadata(layers)),
        "config.toml": to_toml(config).encode(),
        HISTORY_FILE: to_csv(fit_result.history),
        START_FILE: record_of(core, prepared.target).to_json(),
    }
    try:
        graph = export(core, signature)
        files = {"model.onnx": graph} | files
        fewer = HASTY_GATE if told.interrupt else ()
        parity = pass_gate(core, graph, held_out, seen.train.columns, seen.train.target, *fewer)
    except Exception as error:
        folder = keep_aside(repository.root, name, files, str(error))
        if not isinstance(error, RowcastError):
            raise
        raise ExportRefused(f"{error}; nothing was published, and the model is kept in {folder}") from error
    # After a fit on all rows, metrics are those of the fit before: no row is left that the second has not seen.
    session = Session(measured or graph, "cpu", threads=usable_cores())
    told_of, note = some_to_measure(
        prepared, told.interrupt, lambda some: predict_columns(session, some.columns), known=unseen
    )
    notes += [note] if note else []
    metrics, answers = _metrics(session, told_of, core, unseen)
    said = {
        "signature": signature,
        "metrics": metrics,
        "parity": parity.as_dict(),
        "threshold": core.head.threshold if isinstance(core.head, ClassHead) else None,
        "decisions": [*before.decisions, *prepared.decisions, *notes],
        "config": config.model_dump(mode="json"),
        "data": prepared.data | {"front": core.fingerprint()} | learned,
        "versions": recorded_versions(),
    }
    files[REPORT_FILE] = report_of_fit(session, told_of, answers, fit_result, said, graph, config, layers)
    ranks.follow()
    model = repository.publish(name, said, files)
    told.interrupt.published = True
    manifest = model.manifest
    trackers.published(manifest.metrics, {"model": f"{name}:{manifest.version}", "path": str(model.path)})
    if checkpoint is not None and told.ended_by:
        say = f"the checkpoint in {checkpoint.folder} is kept: to go on with the fit, add --resume"
        told.say(say)
    elif checkpoint is not None:
        checkpoint.clear()
    counts = {"train": prepared.n_train, "validation": len(prepared.validation), "test": len(prepared.test)}
    cautions = tuple(note for note in (*prepared.decisions, *notes) if isinstance(note, Caution))
    return Trained(model, fit_result, counts, told.ended_by, cautions)


def _check_same(before: Before, prepared: Prepared) -> None:
    """Make sure that what was done before was done with this table."""
    if before.sha256 not in ("", prepared.data["sha256"]):
        raise TrainingError(
            f"{prepared.data['source']} must stay as it is while it is tuned, but it is another table than it was when "
            "the trials read it; nothing was published"
        )


def _about(prepared: Prepared, config: Config, device: torch.device) -> dict[str, dict[str, Any]]:
    """What a checkpoint is of: nothing else may go on with it."""
    validation = hashlib.sha256()
    for name in sorted(prepared.validation.columns):
        values = prepared.validation.columns[name]
        validation.update(values.tobytes() if values.dtype != object else repr(values.tolist()).encode())
    rows = {"training": prepared.n_train, "validation": len(prepared.validation), "test": len(prepared.test)}
    return {
        "table": {
            **{f"the number of {name} rows": n for name, n in rows.items()},
            "the SHA-256 of the table": prepared.data["sha256"],
            "the SHA-256 of its validation rows": validation.hexdigest(),
            "the SHA-256 of what was read off its training rows": prepared.encoder.fingerprint(),
            **({} if prepared.begun is None else prepared.begun.start.about),
        },
        "config": config.model_dump(mode="json", exclude={"track", "tune"}),
        "machine": {
            "PyTorch": torch.__version__,
            "threads": torch.get_num_threads(),
            "device": str(device),
            "instructions": torch.backends.cpu.get_cpu_capability(),
        },
    }


def _weights_of(core: Core) -> dict[str, torch.Tensor]:
    """Every trained and fitted array; of those that share their memory each its own copy."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in core.state_dict().items()
    }


def _check_before(prepared: Prepared, config: Config, held_out: Mapping[str, NDArray[Any]], own: Own) -> float:
    """Put an untrained network through export and gate where it is not ours, the fit is long, or has to end in time.

    Returns:
        seconds to leave for what follows the fit; 0 where nothing was tried.
    """
    visits = config.fit.seeds * prepared.n_train * epochs_of(config.fit, prepared.n_train)
    if config.fit.budget_s == "none" and visits < PRECHECK_VISITS and own.network is None:
        return 0.0
    with torch.random.fork_rng(devices=[]):
        objective = Objective(prepared.target, config.objective, own.loss)
        network = network_of(prepared.encoder, objective, config, own)
        core = Core(prepared.encoder, network, objective.head)
        train, target = prepared.train.columns, prepared.train.target
        seconds = precheck(core, signature_of(prepared, core), held_out, train, target)
        return (
            seconds if config.fit.budget_s == "none" else seconds + _seconds_of_calibration(core, objective, prepared)
        )


def _seconds_of_calibration(core: Core, objective: Objective, prepared: Prepared) -> float:
    """What calibration of an untrained network takes, which is used up by it."""
    started = time.monotonic()
    rows = to_batch(prepared.validation, core.encoder, objective, torch.device("cpu"))
    calibrate(objective, core.network, core.encoder, rows, prepared.validation.target, by_time=False)
    return time.monotonic() - started


def _held_out(prepared: Prepared) -> Mapping[str, NDArray[Any]]:
    """Test rows for the gate, and validation rows where there are too few of them."""
    return {
        rule.name: np.concatenate([prepared.test.columns[rule.name], prepared.validation.columns[rule.name]])
        for rule in prepared.rules
    }


def _metrics(
    session: Session, prepared: Prepared, core: Core, known: Mapping[str, Predictions]
) -> tuple[dict[str, Any], dict[str, Predictions]]:
    """Metrics of the exported graph itself, so that they are those of what is served; and its answers by part.

    Of a part of which the graph has seen every row, they are those of the answers ``known``.

    They are the six of a task that every version has told from the first: what is read off a confusion matrix stands in
    the report, and in what evaluation says.
    """
    metrics: dict[str, Any] = {}
    answers: dict[str, Predictions] = {}
    inside: dict[str, tuple[float, ...]] = {}
    follows = isinstance(core.head, ClassHead) and core.head.threshold is not None
    for name, part in (("validation", prepared.validation), ("test", prepared.test)):
        if len(part) == 0:  # no test rows were asked for: model.json holds no metrics of them
            continue
        predictions = answers[name] = known.get(name) or predict_columns(session, part.columns)
        classes = prepared.target.classes
        measured = metrics_of(predictions, part.target, classes, part.weight, threshold=follows)
        metrics[name] = {metric: value for metric, value in measured.items() if metric not in CONFUSION_METRICS}
        inside[name] = shares_inside(predictions, part.target, part.weight)
    return metrics | coverage_told(core.head, inside), answers


def recorded_versions() -> dict[str, str]:
    """Of the libraries that a model hangs on."""
    import onnxruntime

    found = {"onnxruntime": onnxruntime.__version__}
    return {name: found.get(name) or installed_version(name) for name in RECORDED_VERSIONS}
