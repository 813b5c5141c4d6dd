"""The training loop, readable top to bottom."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, get_args

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from rowcast.models.durations import as_seconds
from rowcast.models.errors import TrainingError
from rowcast.training.features.encoder import FeatureEncoder
from rowcast.training.fit.checkpoint import CheckpointOfFit
from rowcast.training.fit.history import Look
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.fit.objective import Goal
from rowcast.training.fit.optimizer import OptimizerConfig, WeightAverage, make_optimizer
from rowcast.training.fit.pace import Pace
from rowcast.training.fit.schedule import Schedule
from rowcast.training.fit.snapshot import Moving, Position
from rowcast.training.network.network import Embedded, Ensemble
from rowcast.training.ranks.ranks import ALONE, Ranks
from rowcast.training.settings import ComponentConfig

EVALUATION_ROWS = 2048
"""Rows of one evaluation pass: what the members make of them still fits the cache."""
CHECK_EVERY = 50
"""Steps between checks that the loss is finite: on a GPU each check waits for the device."""
LOOK_ROWS = 65_536
"""Training rows between looks at the validation rows, at most: an epoch of a large table is long."""
PLANNED_EPOCHS, MOST_EPOCHS = 100, 1000
"""Of a fit that is not told how many: those of a small table, and where it ends however much better it still gets."""
QUICK_LOOK_S = 0.2
"""An interrupted fit looks once more at the validation rows if that takes no longer, or if no look before was any
better than none."""
LOOKED_AT_ROWS = 16_384
"""Validation rows that a look scores, at most. A large table has more looks an epoch and more rows to look at: with all
of them an epoch of a million rows would spend half of its time on looking."""


Stop = Literal["epochs", "patience", "budget", "interrupted"]


Freeze = Literal["none", "columns", "layers", "all"] | tuple[str, ...]


def _one_name(given: object) -> object:
    """A column's name is a list of one."""
    words = get_args(get_args(Freeze)[0])
    return (given,) if isinstance(given, str) and given not in words else given


class FitConfig(ComponentConfig):
    """How long and in what steps to train."""

    epochs: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Passes over the training rows at most. auto: as many as row_visits allow, but 3 to 100; a small table that still
    gets better goes on, see :mod:`rowcast.training.fit.pace`."""
    row_visits: int = Field(4_000_000, ge=1_000)
    """Rows to train on in all, counting repeats, when epochs is auto: a large table needs fewer passes."""
    patience: int = Field(16, ge=1)
    """Looks at the validation rows without a better score after which training stops; 16 as in TabM.
    There is one look an epoch, and more in the long epochs of a large table."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Rows of a step. auto: 256, and more for large tables, up to 1,024 from 100,000 rows."""
    seeds: int = Field(1, ge=1, le=32)
    """Fits with initial weights and an order of rows of their own, whose members answer together: each costs as much as
    the first, in training and in serving."""
    until_spent: bool = False
    """With a budget: whole fits one after the other until it is spent, instead of seeds that share it. At most as many
    as seeds answer; what is left goes to fits in other ways. Validation rows choose which of all fits answer."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the matrix products of a step; weights, losses and the exported graph are float32 either way. bfloat16 needs a
    processor with instructions for it (AVX-512 BF16, AMX, or a GPU), and halves the step there."""
    clip: Annotated[float, Field(gt=0.0)] | Literal["none"] = 1.0
    """Norm to which gradients are clipped; 1 as in TabM."""
    deterministic: bool = False
    """On a CUDA device, only kernels that add up in one order: the same seed then gives the same bits there, for some
    time a step. On a CPU it does anyway."""
    folds: Annotated[int, Field(ge=2, le=32)] | Literal["none"] = "none"
    """Fits that each leave out one of so many folds of the training rows, and whose members answer together: each costs
    as much as a fit alone, in training and in serving. Calibration, intervals and metrics of validation rows are those
    of all folds, each answered by the fit that has not seen it."""
    max_members: Annotated[int, Field(ge=1)] | Literal["none"] = "none"
    """Of a fit with folds: members that answer at most, as many of each fold. The best ones do, by rows that they have
    not seen."""
    max_row_us: Annotated[float, Field(gt=0.0)] | Literal["none"] = "none"
    """The same by what a row alone may take, in microseconds on the machine that trains."""
    refit: bool | Literal["auto"] = False
    """Whether to train once more on all rows, for as many epochs as were best with some of them held back. auto: unless
    the budget leaves no time for it, or folds, a teacher or a table in shards rule it out."""
    freeze: Annotated[Freeze, BeforeValidator(_one_name)] = "none"
    """Of a fit that starts from a model, what stays as it is there. columns: their embeddings, or those of the columns
    that a list names. layers: those before the last. all: both. The last layer learns always, and so does what is
    new."""
    budget_s: Annotated[float, Field(gt=0), BeforeValidator(as_seconds)] | Literal["none"] = "none"
    """Seconds of wall clock the fit may take, or a text such as 20s, 30m or 2h. The schedule bends to it, so that the
    rate still falls to 0 in time."""


@dataclass(frozen=True)
class Batch:
    """Rows ready for the network, resident on the device: no loader, a permutation indexes them.

    Shapes: ``features [rows, n_features]`` float64, ``codes [rows, n_categories]`` int64, ``target [rows]``; ``weight
    [rows]`` float32 with a mean of 1 over all rows of the part, or None where every row counts the same; ``words
    [rows, most of a row]`` int32, see :meth:`rowcast.training.features.words.WordBags.places`, or None.
    """

    features: Tensor
    codes: Tensor
    target: Tensor
    weight: Tensor | None = None
    words: Tensor | None = None

    def __len__(self) -> int:
        return int(self.target.shape[0])

    def __getitem__(self, rows: Tensor | slice) -> Batch:
        weight = None if self.weight is None else self.weight[rows]
        words = None if self.words is None else self.words[rows]
        return Batch(self.features[rows], self.codes[rows], self.target[rows], weight, words)

    @property
    def device(self) -> torch.device:
        """That they are on."""
        return self.target.device

    @property
    def some(self) -> Batch:
        """See :class:`TrainingRows`."""
        return self

    def shuffled(self, generator: torch.Generator) -> Shuffled:
        """See :class:`TrainingRows`."""
        order = torch.randperm(len(self), generator=generator).to(self.device)
        return lambda start, stop: self[order[start:stop]]

    def counts_of_codes(self, level_counts: Sequence[int]) -> list[Tensor]:
        """See :class:`TrainingRows`."""
        return [torch.bincount(self.codes[:, i], minlength=n) for i, n in enumerate(level_counts)]


Shuffled = Callable[[int, int], Batch]
"""Rows in a random order: those from one position of it up to another."""


class TrainingRows(Protocol):
    """The rows that a fit learns: a :class:`Batch`, or rows that are read from a file as they are needed."""

    def __len__(self) -> int: ...

    @property
    def device(self) -> torch.device:
        """That batches are on."""

    @property
    def some(self) -> Batch:
        """As many of the rows as fit in memory, or all."""

    def shuffled(self, generator: torch.Generator) -> Shuffled:
        """The rows in a random order, drawn from a generator of the CPU."""

    def counts_of_codes(self, level_counts: Sequence[int]) -> list[Tensor]:
        """For each category the rows of each of its codes, ``[codes]``."""


@dataclass(frozen=True)
class Progress:
    """Where a fit stands after a look at the validation rows."""

    epoch: int
    epochs: int
    done: float
    """Share of the training that is over, 0 to 1."""
    train_loss: float
    """Mean loss of the epoch's steps so far."""
    validation_loss: float
    best_epoch: int
    """The epoch of the best look so far; 0 where none was better than the network before its first step."""
    learning_rate: float
    """Of the last step."""
    seconds: float
    """Since the fit began; with ``fit.seeds`` above 1 since the first of them did."""
    best: bool
    """Whether no look before was as good."""
    ends_epoch: bool
    """Whether the epoch is over; one of a large table has looks before that."""

    @property
    def look(self) -> Look:
        """This look as a row of the history."""
        return Look(self.epoch, self.train_loss, self.validation_loss, self.learning_rate, self.seconds, self.best)


Report = Callable[[Progress], object]
"""Called after each look; to answer with what is true ends the fit."""


@dataclass(frozen=True)
class FitResult:
    """How a fit went."""

    epochs: int
    best_epoch: int
    validation_loss: float
    seconds: float
    stopped: Stop
    history: tuple[Look, ...]
    added: int = 0
    """Epochs beyond those that were planned, see :class:`rowcast.training.fit.pace.Pace`."""
    budget_s: float | None = None
    """Seconds that it might take, if there was an end to them."""
    fits: tuple[FitResult, ...] = ()
    """Where several were put together: each of them."""


def fit(
    network: Embedded,
    encoder: FeatureEncoder,
    objective: Goal,
    train: TrainingRows,
    validation: Batch,
    config: FitConfig,
    optimizer_config: OptimizerConfig,
    *,
    generator: torch.Generator,
    augment: Callable[[Batch], Batch] = lambda batch: batch,
    report: Report = lambda _: None,
    interrupt: Interrupt | None = None,
    checkpoint: CheckpointOfFit | None = None,
    ranks: Ranks = ALONE,
    clock: Callable[[], float] = time.monotonic,
) -> FitResult:
    """Train ``network`` in place; at the end it holds the weights that did best on validation rows.

    Args:
        network: on the device the batches are on.
        encoder: the fitted feature encoder, on that device too.
        objective: loss and score.
        train: training rows.
        validation: rows that choose when to stop, and nothing else; of many, a random few.
        config: epochs, patience, batches.
        optimizer_config: optimizer, schedule, averaging.
        generator: CPU generator of the permutations.
        augment: changes each batch of training rows, see :class:`rowcast.training.fit.augment.Augment`.
        report: called after each look at the validation rows; what it answers ends the fit, if it is true.
        interrupt: ends the fit at its next step, once it is true.
        checkpoint: where the fit is kept, and what it goes on with.
        ranks: the processes that train together.
        clock: monotonic seconds.

    Raises:
        TrainingError: the loss is no longer finite, or the checkpoint is damaged.
    """
    started = clock()
    device = train.device
    batch_size = auto_batch_size(len(train)) if config.batch_size == "auto" else min(config.batch_size, len(train))
    ranks.check_batch(batch_size)
    pace = pace_of(config, optimizer_config, len(train))
    steps_per_epoch = max(1, len(train) // batch_size)  # the last, smaller batch is left for another permutation
    looks = look_steps(steps_per_epoch, batch_size)
    validation = looked_at(validation, generator)

    optimizer = make_optimizer(network, optimizer_config)
    schedule = Schedule(optimizer_config)
    average = WeightAverage(network, optimizer_config.average)
    before_look = clock()
    best = Best(network, evaluate(network, encoder, objective, validation, ranks))
    look_s = clock() - before_look
    is_quick = ranks.said(look_s) < QUICK_LOOK_S
    # The look that follows the last step is paid from the budget too: half as much again as the first one took.
    # Never 0, or a budget that the first look has eaten up would be none at all.
    budget = math.inf if config.budget_s == "none" else max(config.budget_s - 1.5 * look_s, 1e-9)

    moving = Moving(network, average, optimizer, schedule, best)
    at = Position(1, 0, torch.zeros((), device=device), generator.get_state(), (clock() - started) / budget, budget)
    if checkpoint is not None and checkpoint.restore(moving, at):
        started = clock() - at.seconds
        generator.set_state(at.drawn_from)
        pace.added = at.added
    first_epoch = at.epoch
    ended = asked_to_end = interrupted = False

    def look(rate: float) -> bool:
        """Score the averaged weights and tell how it went; whether the fit is to end, as somebody says."""
        _check_finite(at.total_loss, at.epoch, optimizer_config.lr)
        best.look(average.network, evaluate(average.network, encoder, objective, validation, ranks), at.epoch)
        schedule.look(best.last_score)
        progress = Progress(
            at.epoch,
            pace.epochs,
            min(at.done, 1.0),
            float(at.total_loss) / at.steps,
            best.last_score,
            best.epoch,
            learning_rate=rate,
            seconds=clock() - started,
            best=best.looks_since == 0,
            ends_epoch=at.steps == steps_per_epoch,
        )
        at.history.append(progress.look)
        return ranks.told(report, progress)

    if interrupt is not None:
        interrupt.begun = True
    for epoch in range(first_epoch, pace.most + 1):
        if epoch > first_epoch:
            at.begin(epoch, generator.get_state())
            at.added = pace.began(epoch, at.history)
        rows = train.shuffled(generator)

        for step in range(at.steps, steps_per_epoch):
            rate = schedule.rate(at.done)
            batch = augment(rows(*ranks.bounds(step * batch_size, (step + 1) * batch_size)))
            loss = take_step(network, encoder, objective, batch, optimizer, rate, config, ranks)
            average.update()

            at.total_loss = at.total_loss + loss
            at.steps = step + 1
            if at.steps % CHECK_EVERY == 0:
                _check_finite(at.total_loss, epoch, optimizer_config.lr)
            at.seconds = ranks.agreed(clock() - started, interrupt)
            at.done = max(pace.done(epoch - 1 + at.steps / steps_per_epoch), at.seconds / at.budget)

            looked, asked_to_end = step in looks or at.done >= 1.0, False
            if looked:
                asked_to_end = look(rate)
            over = at.done >= 1.0 or best.looks_since >= config.patience
            interrupted = ranks.interrupted(interrupt) and not over
            if checkpoint is not None and not over and (interrupted or (looked and checkpoint.is_due)):
                at.seconds = clock() - started
                checkpoint.save(moving, at)
            # One that is not kept: a fit that goes on has no such look. Whoever interrupts is not to wait for it.
            if interrupted and not looked and (is_quick or best.epoch == 0):
                look(rate)
            ended = over or asked_to_end or interrupted
            if ended:
                break
        if ended:
            break

    network.load_state_dict(best.weights)
    network.eval()
    stopped: Stop = "patience" if at.done < 1.0 else "epochs" if epoch == pace.epochs else "budget"
    if asked_to_end or interrupted:
        stopped = "interrupted"
    within = None if math.isinf(at.budget) else at.budget
    return FitResult(epoch, best.epoch, best.score, clock() - started, stopped, tuple(at.history), pace.added, within)


def take_step(
    network: Embedded,
    encoder: FeatureEncoder,
    objective: Goal,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    rate: float,
    config: FitConfig,
    ranks: Ranks = ALONE,
) -> Tensor:
    """Move the weights once, at a learning rate; the loss of the batch before, a scalar on its device.

    ``batch`` is this process's part of it.
    """
    network.train()
    for group in optimizer.param_groups:
        group["lr"] = rate
    encoded = encoder.encode(batch.features)
    with _precision_of(config, batch.target.device):
        outputs = network(encoded, batch.codes, encoder.bags.of(batch.words)).float()
    loss = objective.loss(outputs, batch.target, batch.weight)
    optimizer.zero_grad()
    loss = ranks.backward(loss, network, len(batch))
    if config.clip != "none":
        nn.utils.clip_grad_norm_(network.parameters(), config.clip)
    optimizer.step()
    return loss


def _precision_of(config: FitConfig, device: torch.device) -> AbstractContextManager[object]:
    """What the matrix products of a step are computed in."""
    return torch.autocast(device.type, torch.bfloat16) if config.precision == "bfloat16" else nullcontext()


class Best:
    """The weights that did best on validation rows so far."""

    def __init__(self, network: Embedded, score: float) -> None:
        self.score, self.last_score = score, score
        self.epoch, self.looks_since = 0, 0
        self.weights = copy.deepcopy(network.state_dict())

    def look(self, network: Embedded, score: float, epoch: int) -> None:
        """Take in the score of a network after some more steps."""
        self.last_score = score
        self.looks_since += 1
        if score < self.score:
            self.score, self.epoch, self.looks_since = score, epoch, 0
            self.weights = copy.deepcopy(network.state_dict())


def auto_batch_size(rows: int) -> int:
    """Rows of a step when none are asked for."""
    size = 256 if rows < 50_000 else 512 if rows < 100_000 else 1024
    return min(size, max(8, rows // 4))


def pace_of(config: FitConfig, optimizer_config: OptimizerConfig, rows: int) -> Pace:
    """Of a fit on so many rows."""
    planned = epochs_of(config, rows)
    goes_on = config.epochs == "auto" and optimizer_config.schedule in ("flat_cosine", "constant", "plateau")
    return Pace(
        planned, max(planned, min(MOST_EPOCHS, config.row_visits // rows)) if goes_on else planned, config.patience
    )


def epochs_of(config: FitConfig, rows: int) -> int:
    """Epochs that are planned for a fit."""
    return auto_epochs(rows, config.row_visits) if config.epochs == "auto" else config.epochs


def auto_epochs(rows: int, row_visits: int) -> int:
    """Epochs when none are asked for."""
    return max(3, min(PLANNED_EPOCHS, row_visits // rows))


def look_steps(steps_per_epoch: int, batch_size: int) -> frozenset[int]:
    """The steps of an epoch after which to look at the validation rows: the last, and evenly spaced ones before it."""
    looks = math.ceil(steps_per_epoch * batch_size / LOOK_ROWS)
    return frozenset(round(steps_per_epoch * (i + 1) / looks) - 1 for i in range(looks))


def looked_at(validation: Batch, generator: torch.Generator) -> Batch:
    """The validation rows that looks score: all of a small table, the same random ones of a large table each time."""
    if len(validation) <= LOOKED_AT_ROWS:
        return validation
    chosen = torch.randperm(len(validation), generator=generator)[:LOOKED_AT_ROWS]
    return validation[chosen.to(validation.target.device)]


@torch.no_grad()
def outputs_of(network: Embedded | Ensemble, encoder: FeatureEncoder, rows: Batch, ranks: Ranks = ALONE) -> Tensor:
    """Member outputs ``[members, rows, n_outputs]`` of a network in evaluation mode, in bounded memory."""
    network.eval()
    parts, mine = [], ranks.part(len(rows))
    for start in range(mine.start, mine.stop, EVALUATION_ROWS):
        part = rows[slice(start, min(start + EVALUATION_ROWS, mine.stop))]
        parts.append(network(encoder.encode(part.features), part.codes, encoder.bags.of(part.words)))
    return ranks.joined(torch.cat(parts, dim=1), len(rows))


def evaluate(
    network: Embedded | Ensemble,
    encoder: FeatureEncoder,
    objective: Goal,
    rows: Batch,
    ranks: Ranks = ALONE,
) -> float:
    """The score of ``network`` on ``rows``; lower is better."""
    outputs = outputs_of(network, encoder, rows, ranks)
    return ranks.said(float(objective.score(outputs, rows.target, rows.weight)))


def _check_finite(total_loss: Tensor, epoch: int, lr: float) -> None:
    if not bool(torch.isfinite(total_loss)):
        raise TrainingError(
            f"the loss is no longer a finite number in epoch {epoch}: lower the learning rate, "
            f"for example --set optimizer.lr={lr / 10:g}, or look for extreme values in the target"
        )
