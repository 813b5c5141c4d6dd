"""A table in, a published model out: the steps of training in their order."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version as installed_version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as to_safetensors

from rowcast.models.errors import ConfigError, ExportRefused, RowcastError, TrainingError
from rowcast.models.repository import Repository, StoredModel
from rowcast.models.session import Predictions, Session
from rowcast.models.signature import Signature, check_model_name
from rowcast.models.warnings import Caution
from rowcast.training.columns.row_weights import mean_of_one
from rowcast.training.config import Config, to_toml
from rowcast.training.coverage import coverage_told, shares_inside
from rowcast.training.device import same_bits, training_device
from rowcast.training.export.aside import keep_aside
from rowcast.training.export.gate import pass_gate
from rowcast.training.export.graph import Core, export
from rowcast.training.export.layers import layers_metadata, layers_of
from rowcast.training.export.precheck import PRECHECK_VISITS, check_encoder, check_target, precheck
from rowcast.training.features.describe import describe_columns
from rowcast.training.features.encoder import FeatureEncoder
from rowcast.training.fit.augment import Augment
from rowcast.training.fit.calibrate import calibrate_classes, calibrate_intervals
from rowcast.training.fit.checkpoint import Checkpoint, CheckpointOfFit, open_checkpoint
from rowcast.training.fit.confusion import CONFUSION_METRICS
from rowcast.training.fit.history import HISTORY_FILE, Look, to_csv
from rowcast.training.fit.interrupt import Interrupt, ended_by_signals
from rowcast.training.fit.loop import Batch, FitResult, Progress, Report, TrainingRows, epochs_of, fit, outputs_of
from rowcast.training.fit.objective import Objective
from rowcast.training.fit.own_loss import LossFunction
from rowcast.training.fit.threshold import find_rule
from rowcast.training.fit.told import Told
from rowcast.training.haste import HASTY_GATE, some_to_calibrate_on, some_to_measure
from rowcast.training.network.head import ClassHead, RegressionHead
from rowcast.training.network.link import MeanHead
from rowcast.training.network.network import Embedded, Ensemble, Network
from rowcast.training.network.own import NetworkBuilder, OwnNetwork
from rowcast.training.network.transform import TargetTransform
from rowcast.training.own import NOTHING_OWN, Own
from rowcast.training.predict import metrics_of, predict_columns
from rowcast.training.prepare import Part, Prepared
from rowcast.training.ranks.ranks import ALONE, Ranks
from rowcast.training.report.fit import report_of_fit
from rowcast.training.report.page import REPORT_FILE
from rowcast.training.start.begin import rows_of_codes
from rowcast.training.start.record import START_FILE, record_of
from rowcast.training.start.start import Start, check_start
from rowcast.training.stream.prepare import open_prepared
from rowcast.training.stream.rows import StreamedRows
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
    ranks: Ranks,
    stack: ExitStack,
    before: Before,
) -> Trained:
    """See :func:`train`. ``stack`` is left when all is done."""
    prepared = open_prepared(stack, source, config, validation=validation, test=test, start=start, say=told.say)
    started = time.monotonic() - prepared.seconds
    _check_same(before, prepared)
    held_out = _held_out(prepared)
    about = _about(prepared, config, device) if checkpoint is not None or ranks.size > 1 else {}
    ranks.meet({**about["table"], **about["config"]} if ranks.size > 1 else {})
    reserved = _check_before(prepared, config, held_out, own) if ranks.leads and not before.fitted else 0.0
    ranks.meet()
    within = _less_budget(config, ranks.said(time.monotonic() - started + reserved))
    if config.fit.refit and within.fit.budget_s != "none":  # the second fit has more rows, and at most as many epochs
        rows = len(prepared.train) + len(prepared.validation) + (len(prepared.test) if test is None else 0)
        share = len(prepared.train) / (len(prepared.train) + rows)
        within = _less_budget(within, within.fit.budget_s * (1.0 - share))
    began = [*ranks.decisions, *([] if checkpoint is None else checkpoint.begin(about))]
    settings = config.model_dump(mode="json", exclude={"track", "tune"})
    trackers = stack.enter_context(tracked(config.track if ranks.leads else TrackConfig(), name, settings, told.say))
    told.reports.append(trackers.look)
    told.interrupt = stack.enter_context(ended_by_signals())
    core, fit_result, notes = before.fitted or fit_network(
        prepared, within, device, told, own=own, interrupt=told.interrupt, checkpoint=checkpoint, ranks=ranks
    )
    notes = [*began, *told.how_it_ended(fit_result), *notes]
    seen, measured = prepared, None
    learned: dict[str, int] = {}
    if config.fit.refit:
        from rowcast.training.refit import refit  # which builds on this module

        again, why = refit(
            prepared,
            core,
            fit_result,
            within,
            device,
            with_test=test is None,
            own=own,
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
            learned = {"refit": len(seen.train)}
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
    session = Session(measured or graph, "cpu", threads=os.cpu_count() or 1)
    told_of, note = some_to_measure(prepared, told.interrupt, lambda some: predict_columns(session, some.columns))
    notes += [note] if note else []
    metrics, answers = _metrics(session, told_of, core)
    said = {
        "signature": signature,
        "metrics": metrics,
        "parity": parity.as_dict(),
        "threshold": core.head.threshold if isinstance(core.head, ClassHead) else None,
        "decisions": [*before.decisions, *prepared.decisions, *notes],
        "config": config.model_dump(mode="json"),
        "data": prepared.data | {"front": core.encoder.fingerprint()} | learned,
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
    """Make sure that what was fitted before was fitted on this table."""
    if before.fitted is not None and before.fitted[0].encoder.fingerprint() != prepared.encoder.fingerprint():
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


def _less_budget(config: Config, seconds: float) -> Config:
    """The config of a fit that leaves some of its budget to what stands before and after it."""
    if config.fit.budget_s == "none":
        return config
    left = max(config.fit.budget_s - seconds, 1e-6)
    return config.model_copy(update={"fit": config.fit.model_copy(update={"budget_s": left})})


def fit_network(
    prepared: Prepared,
    config: Config,
    device: torch.device,
    report: Report = lambda _: None,
    *,
    own: Own = NOTHING_OWN,
    interrupt: Interrupt | None = None,
    checkpoint: Checkpoint | None = None,
    ranks: Ranks = ALONE,
) -> tuple[Core, FitResult, list[str]]:
    """Train and calibrate a network.

    Args:
        prepared: the table.
        config: of the network and its training.
        device: to train on.
        report: called after each look at the validation rows; what it answers ends the fit, if it is true.
        own: a network and a loss in place of those of the config.
        interrupt: ends the fit at its next step, once it is true.
        checkpoint: where the fit is kept, and what it goes on with.
        ranks: the processes that train together; process 0 alone calibrates.

    Returns:
        what is exported, on the CPU and in evaluation mode; how the fit went; and what calibration decided.

    Raises:
        TrainingError: the fit cannot go on.
        TableError: the target cannot be computed with.
        ExportRefused: the encoder would make too much of a value that training did not see.
    """
    started = time.monotonic()
    objective = Objective(prepared.target, config.objective, own.loss)
    check_encoder(prepared.encoder)
    check_target(objective, prepared.target.name, prepared.target.values)
    encoder = prepared.encoder.to(device)
    objective.head.to(device)
    train_rows = training_rows(prepared, encoder, objective, device)
    validation_rows = to_batch(prepared.validation, encoder, objective, device)
    networks: list[Embedded] = []
    fits: list[FitResult] = []
    begun_with: list[str] = []
    for number in range(config.fit.seeds):
        if fits and (ranks.all_interrupted(interrupt) or fits[-1].stopped == "interrupted"):
            break
        within = _less_budget(config, ranks.said(time.monotonic() - started))
        spent = sum(fit.seconds for fit in fits)

        def told(progress: Progress, number: int = number, spent: float = spent) -> object:
            done = (number + progress.done) / config.fit.seeds
            return report(replace(progress, done=done, seconds=spent + progress.seconds))

        network, result, was_over, notes = _fit_one(
            number,
            prepared,
            within,
            encoder,
            objective,
            train_rows,
            validation_rows,
            told,
            own,
            interrupt,
            None if checkpoint is None else CheckpointOfFit(checkpoint, number),
            ranks,
        )
        if was_over:
            started -= result.seconds  # which were spent before
        networks.append(network)
        fits.append(result)
        begun_with = notes if number == 0 else begun_with
    combined = networks[0] if len(networks) == 1 else Ensemble(networks)
    combined.settle(rows_of_codes(train_rows, encoder, prepared.begun))
    decisions = [*begun_with, *objective.decisions]
    if ranks.leads:
        part, note = some_to_calibrate_on(
            prepared.validation,
            interrupt,
            lambda some: outputs_of(combined, encoder, to_batch(some, encoder, objective, device)),
        )
        if note:
            decisions.append(note)
            validation_rows = to_batch(part, encoder, objective, device)
        by_time = bool(config.data.split_by_time)
        decisions += calibrate(objective, combined, encoder, validation_rows, part.target, by_time=by_time)
    result = joined(fits)
    if len(fits) < config.fit.seeds:
        result = replace(result, stopped="interrupted")
    return Core(encoder, combined, objective.head).cpu().eval(), result, decisions


def _fit_one(
    number: int,
    prepared: Prepared,
    config: Config,
    encoder: FeatureEncoder,
    objective: Objective,
    train_rows: TrainingRows,
    validation_rows: Batch,
    report: Report,
    own: Own,
    interrupt: Interrupt | None,
    checkpoint: CheckpointOfFit | None,
    ranks: Ranks,
) -> tuple[Embedded, FitResult, bool, list[str]]:
    """One of ``config.fit.seeds`` fits; those that are left share what is left of the budget.

    Returns:
        the network; how its fit went; whether that was over before, as the checkpoint says; and what became of weights
        that it was to start from.
    """
    n_fits = config.fit.seeds
    seed = seed_of(config, number)
    budget = "none" if config.fit.budget_s == "none" else config.fit.budget_s / (n_fits - number)
    device = train_rows.device
    with torch.random.fork_rng(devices=[]), same_bits(device, asked=config.fit.deterministic):
        torch.manual_seed(seed)
        network = network_of(encoder, objective, config, own).to(device)
        begun, target = prepared.begun, prepared.target
        notes = [] if begun is None else begun.give(network, encoder, target, objective.n_outputs, config, number)
        before = None if checkpoint is None else checkpoint.finished(network)
        if before is not None:
            return network.eval(), FitResult(**before), True, notes
        ranks.begin(network, seed)
        result = fit(
            network,
            encoder,
            objective,
            train_rows,
            validation_rows,
            config.fit.model_copy(update={"budget_s": budget}),
            config.optimizer,
            generator=torch.Generator().manual_seed(seed),
            augment=Augment(config.augment, train_rows.some, len(prepared.target.classes)),
            report=report,
            interrupt=interrupt,
            checkpoint=checkpoint,
            ranks=ranks,
        )
    if checkpoint is not None and result.stopped != "interrupted":
        checkpoint.finish(network, asdict(result))
    return network, result, False, notes


def joined(fits: Sequence[FitResult]) -> FitResult:
    """How several fits went: the seconds of all, the mean of their scores, and whether each could stop by itself."""
    stopped = [fit.stopped for fit in fits]
    history: list[Look] = []
    for number, fit_ in enumerate(fits):
        before = sum(earlier.seconds for earlier in fits[:number])
        history += [look._replace(seconds=before + look.seconds) for look in fit_.history]
    return FitResult(
        epochs=max(fit.epochs for fit in fits),
        best_epoch=max(fit.best_epoch for fit in fits),
        validation_loss=float(np.mean([fit.validation_loss for fit in fits])),
        seconds=sum(fit.seconds for fit in fits),
        stopped=next((way for way in ("interrupted", "budget", "epochs") if way in stopped), "patience"),
        history=tuple(history),
        fits=tuple(fits),
    )


def seed_of(config: Config, number: int) -> int:
    """Of the weights and the order of rows of one of ``config.fit.seeds`` fits."""
    return config.seed if number == 0 else int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0])


def network_of(encoder: FeatureEncoder, objective: Objective, config: Config, own: Own = NOTHING_OWN) -> Embedded:
    """A network for an encoder and an objective, with fresh weights."""
    columns = (config.network, encoder.n_features, encoder.d_encoded, encoder.level_counts, objective.n_outputs)
    if own.network is not None:
        return OwnNetwork(own.network, *columns, n_binary=encoder.n_binary, word_counts=encoder.bags.counts)
    return Network(*columns, n_binary=encoder.n_binary, word_counts=encoder.bags.counts)


def signature_of(prepared: Prepared, core: Core) -> Signature:
    """The signature of a model of this table."""
    target = prepared.target
    return Signature(
        task=target.task,
        target=target.name,
        classes=target.classes,
        intervals=isinstance(core.head, RegressionHead) and core.head.intervals != "none",
        further_levels=core.head.further if isinstance(core.head, RegressionHead) else (),
        ends="percentiles",
        columns=describe_columns(prepared.encoder, prepared.train.columns, prepared.rules),
    )


def training_rows(
    prepared: Prepared, encoder: FeatureEncoder, objective: Objective, device: torch.device
) -> TrainingRows:
    """The rows that a fit learns: resident on the device, or of a table in shards read as they are needed."""
    resident = to_batch(prepared.train, encoder, objective, device)
    return resident if prepared.stored is None else StreamedRows(prepared.stored, resident, encoder, objective)


def to_batch(part: Part, encoder: FeatureEncoder, objective: Objective, device: torch.device) -> Batch:
    """Rows resident on the device, with the calendar already read off their timestamps."""
    numbers, timestamps, codes = (tensor.to(device) for tensor in encoder.raw(part.columns))
    weight = None if part.weight is None else torch.from_numpy(mean_of_one(part.weight)).to(device, torch.float32)
    places = encoder.bags.places(part.columns)
    words = None if places is None else places.to(device)
    return Batch(encoder.derive(numbers, timestamps), codes, objective.encode(part.target).to(device), weight, words)


@torch.no_grad()
def calibrate(
    objective: Objective,
    network: Embedded | Ensemble,
    encoder: FeatureEncoder,
    validation: Batch,
    actual: NDArray[Any],
    *,
    by_time: bool,
) -> list[str]:
    """Put the head right on validation rows; say what was decided. ``actual`` is their target in its own units."""
    outputs, head, config = outputs_of(network, encoder, validation), objective.head, objective.config
    of_rows = None if validation.weight is None else validation.weight.to(torch.float64)
    if isinstance(head, ClassHead):
        weights = objective.class_weights
        if config.plain and config.calibration == "auto":
            decisions = ["probabilities are left as they are, as objective.plain says"]
        else:
            decisions = [
                calibrate_classes(
                    head,
                    head.log_mean(outputs).cpu().numpy(),
                    validation.target.cpu().numpy(),
                    method=config.calibration,
                    by_time=by_time,
                    weights=None if weights is None else weights.cpu().to(torch.float64).numpy(),
                    of_rows=None if of_rows is None else of_rows.cpu().numpy(),
                )
            ]
        answers, classes = head(outputs).cpu().numpy(), validation.target.cpu().numpy()
        counts = None if of_rows is None else of_rows.cpu().numpy()
        found = find_rule(config.threshold, objective.classes, answers, classes, counts)
        if found is not None:
            head.rule, head.threshold = found.rule, found.record
            decisions.append(found.decision)
        return decisions
    answers, target = head.mean(outputs), validation.target.to(torch.float64)
    decisions = []
    if isinstance(head, MeanHead):
        factor = head.link.balance(answers[:, 0], target, of_rows)
        if factor != 1.0:
            decisions.append(
                f"predictions are {factor:.3f} times what the network says, so that they are right on average over the "
                "validation rows"
            )
    elif isinstance(head.transform, TargetTransform) and objective.predicts_mean and head.transform.name == "log":
        factor = head.transform.fit_smearing(answers[:, 0], head.transform(target), of_rows)
        decisions.append(
            f"predictions are {factor:.3f} times the exponential of a mean logarithm, so that they are means"
        )
    contest = config.bounds == "auto"
    two_sided = objective.loss_name == "pinball" or isinstance(head, MeanHead)  # the prediction is not in the middle
    exact = objective.encode(actual, cut_off=False).to(answers.device, torch.float64)
    own = torch.tensor(actual, dtype=torch.float64, device=answers.device)
    decisions.append(
        calibrate_intervals(head, answers, exact, contest=contest, two_sided=two_sided, actual=own, of_rows=of_rows)
    )
    if head.intervals != "quantiles":
        network.keep_first()
    return decisions


def _held_out(prepared: Prepared) -> Mapping[str, NDArray[Any]]:
    """Test rows for the gate, and validation rows where there are too few of them."""
    return {
        rule.name: np.concatenate([prepared.test.columns[rule.name], prepared.validation.columns[rule.name]])
        for rule in prepared.rules
    }


def _metrics(session: Session, prepared: Prepared, core: Core) -> tuple[dict[str, Any], dict[str, Predictions]]:
    """Metrics of the exported graph itself, so that they are those of what is served; and its answers by part.

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
        predictions = answers[name] = predict_columns(session, part.columns)
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
