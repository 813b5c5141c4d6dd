"""The networks of a prepared table: built, fitted, calibrated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rowcast.models.signature import Signature
from rowcast.training.columns.row_weights import mean_of_one
from rowcast.training.config import Config
from rowcast.training.device import same_bits
from rowcast.training.export.graph import Core
from rowcast.training.export.precheck import check_encoder, check_target
from rowcast.training.features.describe import describe_columns
from rowcast.training.features.encoder import FeatureEncoder
from rowcast.training.fit.augment import Augment
from rowcast.training.fit.calibrate import Fewer, calibrate_classes, calibrate_intervals
from rowcast.training.fit.checkpoint import Checkpoint, CheckpointOfFit
from rowcast.training.fit.history import Look
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.fit.loop import Batch, FitResult, Progress, Report, TrainingRows, fit, outputs_of
from rowcast.training.fit.objective import Objective
from rowcast.training.fit.threshold import find_rule
from rowcast.training.haste import some_to_calibrate_on
from rowcast.training.network.head import ClassHead, RegressionHead
from rowcast.training.network.link import MeanHead
from rowcast.training.network.network import Embedded, Ensemble, Network
from rowcast.training.network.own import OwnNetwork
from rowcast.training.network.transform import TargetTransform
from rowcast.training.own import NOTHING_OWN, Own
from rowcast.training.prepare import Part, Prepared
from rowcast.training.ranks.ranks import ALONE, Ranks
from rowcast.training.start.begin import rows_of_codes
from rowcast.training.stream.rows import StreamedRows


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
    first: int = 0,
    calibrated: bool = True,
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
        first: number of its first fit, from which seeds and files of a checkpoint follow.
        calibrated: whether to calibrate it; not where others answer together with it.

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
    left_out: list[str] = []
    for number in range(config.fit.seeds):
        if fits and (ranks.all_interrupted(interrupt) or fits[-1].stopped == "interrupted"):
            break
        within = less_budget(config, ranks.said(time.monotonic() - started))
        spent = sum(fit.seconds for fit in fits)

        def told(progress: Progress, number: int = number, spent: float = spent) -> object:
            done = (number + progress.done) / config.fit.seeds
            return report(replace(progress, done=done, seconds=spent + progress.seconds))

        network, result, was_over, notes = _fit_one(
            number,
            first,
            prepared,
            within,
            encoder,
            objective,
            train_rows,
            validation_rows,
            told,
            own,
            interrupt,
            None if checkpoint is None else CheckpointOfFit(checkpoint, first + number),
            ranks,
        )
        if was_over:
            started -= result.seconds  # which were spent before
        if fits and result.stopped == "interrupted":
            worst = max(fit.validation_loss for fit in fits)
            if not result.validation_loss <= worst:  # it had hardly begun, and would spoil the others' mean
                left_out.append(
                    f"fit {number + 1} of {config.fit.seeds} was ended with a validation loss of "
                    f"{result.validation_loss:.4f}, above the {worst:.4f} of those before: it is left out"
                )
                break
        networks.append(network)
        fits.append(result)
        begun_with = notes if number == 0 else begun_with
    combined = networks[0] if len(networks) == 1 else Ensemble(networks)
    combined.settle(rows_of_codes(train_rows, encoder, prepared.begun))
    decisions = [*begun_with, *left_out, *objective.decisions]
    if ranks.leads and calibrated:
        decisions += _calibrated(objective, combined, prepared, config, device, interrupt, validation_rows)
    result = joined(fits)
    if len(fits) < config.fit.seeds:
        result = replace(result, stopped="interrupted")
    return Core(encoder, combined, objective.head).cpu().eval(), result, decisions


def calibrated_core(
    networks: Sequence[Embedded],
    prepared: Prepared,
    config: Config,
    device: torch.device,
    *,
    own: Own = NOTHING_OWN,
    interrupt: Interrupt | None = None,
) -> tuple[Core, list[str]]:
    """Networks of several fits of the same rows as one model, see :func:`fit_network`; what calibration decided.

    Args:
        networks: fitted with ``calibrated=False``.
        prepared: the table.
        config: of the fits.
        device: to calibrate on.
        own: a network and a loss in place of those of the config.
        interrupt: once it is true, few rows are calibrated on.
    """
    objective = Objective(prepared.target, config.objective, own.loss)
    objective.head.to(device)
    encoder = prepared.encoder.to(device)
    combined = (networks[0] if len(networks) == 1 else Ensemble(networks)).to(device).eval()
    rows = to_batch(prepared.validation, encoder, objective, device)
    decisions = _calibrated(objective, combined, prepared, config, device, interrupt, rows)
    return Core(encoder, combined, objective.head).cpu().eval(), decisions


def _calibrated(
    objective: Objective,
    network: Embedded | Ensemble,
    prepared: Prepared,
    config: Config,
    device: torch.device,
    interrupt: Interrupt | None,
    rows: Batch,
) -> list[str]:
    """Calibrate a network on validation rows, and say what was decided; ``rows``: all of them."""
    encoder = prepared.encoder
    part, note = some_to_calibrate_on(
        prepared.validation,
        interrupt,
        lambda some: outputs_of(network, encoder, to_batch(some, encoder, objective, device)),
    )
    rows = to_batch(part, encoder, objective, device) if note else rows
    by_time = bool(config.data.split_by_time)
    said = calibrate(objective, network, encoder, rows, part.target, by_time=by_time)
    return [note, *said] if note else said


def _fit_one(
    number: int,
    first: int,
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
    seed = seed_of(config, first + number)
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
        added=max(fit.added for fit in fits),
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
    target = objective.encode(part.target)
    target = target if part.taught is None else objective.encode_taught(part.taught, target)
    return Batch(encoder.derive(numbers, timestamps), codes, target.to(device), weight, words)


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
    outputs = outputs_of(network, encoder, validation)
    decisions = calibrate_head(objective, outputs, validation.target, validation.weight, actual, by_time=by_time)
    if isinstance(objective.head, RegressionHead) and objective.head.intervals != "quantiles":
        network.keep_first()
    return decisions


@torch.no_grad()
def calibrate_head(
    objective: Objective,
    outputs: Tensor,
    encoded: Tensor,
    weight: Tensor | None,
    actual: NDArray[Any],
    *,
    by_time: bool,
    fewer: tuple[Tensor, float] | None = None,
) -> list[str]:
    """Put the head right by what networks say of rows that they have not seen; say what was decided.

    Args:
        objective: whose head it is.
        outputs: of the networks, ``[members, rows, n_outputs]``.
        encoded: the rows' target as :meth:`Objective.encode` gives it, ``[rows]``.
        weight: of the rows, ``[rows]`` with a mean of 1; None where every row counts the same.
        actual: the rows' target in its own units, ``[rows]``.
        by_time: the table is split by time, and the rows are in its order.
        fewer: outputs of fewer networks for the same rows, and how far a temperature is carried on from them, see
            :class:`rowcast.training.fit.calibrate.Fewer`.
    """
    head, config = objective.head, objective.config
    of_rows = None if weight is None else weight.to(torch.float64)
    if isinstance(head, ClassHead):
        weights = objective.class_weights
        if config.plain and config.calibration == "auto":
            decisions = ["probabilities are left as they are, as objective.plain says"]
        else:
            decisions = [
                calibrate_classes(
                    head,
                    head.log_mean(outputs).cpu().numpy(),
                    encoded.cpu().numpy(),
                    method=config.calibration,
                    by_time=by_time,
                    weights=None if weights is None else weights.cpu().to(torch.float64).numpy(),
                    of_rows=None if of_rows is None else of_rows.cpu().numpy(),
                    fewer=None if fewer is None else Fewer(head.log_mean(fewer[0]).cpu().numpy(), fewer[1]),
                )
            ]
        answers, classes = head(outputs).cpu().numpy(), encoded.cpu().numpy()
        counts = None if of_rows is None else of_rows.cpu().numpy()
        found = find_rule(config.threshold, objective.classes, answers, classes, counts)
        if found is not None:
            head.rule, head.threshold = found.rule, found.record
            decisions.append(found.decision)
        return decisions
    answers, target = head.mean(outputs), encoded.to(torch.float64)
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
    return decisions


def less_budget(config: Config, seconds: float) -> Config:
    """The config of a fit that leaves some of its budget to what stands before and after it."""
    if config.fit.budget_s == "none":
        return config
    left = max(config.fit.budget_s - seconds, 1e-6)
    return config.model_copy(update={"fit": config.fit.model_copy(update={"budget_s": left})})
