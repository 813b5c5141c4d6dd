"""A fresh fit for as long as one before it was best: nothing is held back, so nothing is looked at."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from rowcast.training.features.encoder import FeatureEncoder
from rowcast.training.fit.history import Look
from rowcast.training.fit.interrupt import Interrupt
from rowcast.training.fit.loop import Batch, FitConfig, FitResult, auto_batch_size, epochs_of, look_steps, take_step
from rowcast.training.fit.objective import Objective
from rowcast.training.fit.optimizer import OptimizerConfig, WeightAverage, make_optimizer
from rowcast.training.fit.pace import Pace
from rowcast.training.fit.schedule import Schedule
from rowcast.training.network.network import Embedded
from rowcast.training.ranks.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Length:
    """How long a fit was best after."""

    epochs: float
    """Passes over its training rows; those of a large table have looks in between."""
    done: float
    """Share of its schedule that was over, 0 to 1."""
    scores: tuple[tuple[float, float], ...]
    """Its looks until then: the share of these epochs, and the loss of the validation rows; a plateau lowers the rate
    by them."""
    pace: Pace | None = None
    """Of the fit, where epochs were added to it."""

    def done_after(self, step: int, steps: int) -> float:
        """How much of the schedule is over after so many of all steps."""
        if self.pace is None:
            return self.done * step / steps
        return self.done * self.pace.done(self.epochs * step / steps) / self.pace.done(self.epochs)


def length_of(fit: FitResult, rows: int, config: FitConfig) -> Length | None:
    """How long a fit was best after; None if it was before its first step.

    Args:
        fit: how it went.
        rows: it was trained on.
        config: it was trained with.
    """
    history = [Look(*look) for look in fit.history]
    best = max((i for i, look in enumerate(history) if look.best), default=None)
    if best is None or fit.best_epoch == 0:
        return None
    batch_size = auto_batch_size(rows) if config.batch_size == "auto" else min(config.batch_size, rows)
    steps_per_epoch = max(1, rows // batch_size)
    looks = sorted(look_steps(steps_per_epoch, batch_size))
    places = []
    for i, look in enumerate(history[: best + 1]):
        nth = sum(earlier.epoch == look.epoch for earlier in history[:i])
        ends = looks[min(nth, len(looks) - 1)] + 1
        places.append(look.epoch - 1 + ends / steps_per_epoch)
    epochs = places[-1]
    pace = Pace(epochs_of(config, rows), fit.epochs, config.patience, fit.added)
    done = pace.done(epochs) if fit.added else epochs / pace.planned
    if fit.budget_s is not None:
        done = max(done, history[best].seconds / fit.budget_s)
    scores = tuple((place / epochs, look.validation_loss) for place, look in zip(places, history, strict=False))
    return Length(epochs, min(done, 1.0), scores, pace if fit.added else None)


def fit_again(
    network: Embedded,
    encoder: FeatureEncoder,
    objective: Objective,
    train: Batch,
    length: Length,
    config: FitConfig,
    optimizer_config: OptimizerConfig,
    *,
    generator: torch.Generator,
    augment: Callable[[Batch], Batch],
    interrupt: Interrupt | None = None,
    ranks: Ranks = ALONE,
    within: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> float | None:
    """Train ``network`` in place for as many epochs, at the same rates; at the end it holds the averaged weights.

    Args:
        network: with fresh weights, on the device the batches are on.
        encoder: fitted on these rows, on that device too.
        objective: of the fit before.
        train: all rows.
        length: of the fit before.
        config: batches.
        optimizer_config: optimizer, schedule, averaging.
        generator: CPU generator of the permutations.
        augment: changes each batch.
        interrupt: ends it at its next step, once it is true.
        ranks: the processes that train together.
        within: seconds that it may take. The schedule bends to them, so that the rate falls as far as before.
        clock: monotonic seconds.

    Returns:
        epochs that it took; None where it was ended.
    """
    started = clock()
    device = train.target.device
    batch_size = auto_batch_size(len(train)) if config.batch_size == "auto" else min(config.batch_size, len(train))
    steps_per_epoch = max(1, len(train) // batch_size)
    steps = max(1, round(length.epochs * steps_per_epoch))
    optimizer = make_optimizer(network, optimizer_config)
    schedule, left = Schedule(optimizer_config), list(length.scores)
    average = WeightAverage(network, optimizer_config.average)
    order = torch.empty(0, dtype=torch.int64)
    step, used = 0, 0.0
    while step < steps and used < 1.0:
        if ranks.interrupted(interrupt):
            return None
        place = step % steps_per_epoch
        if place == 0:
            order = torch.randperm(len(train), generator=generator).to(device)
        while left and left[0][0] <= step / steps:
            schedule.look(left.pop(0)[1])
        batch = augment(train[order[slice(*ranks.bounds(place * batch_size, (place + 1) * batch_size))]])
        rate = schedule.rate(max(length.done_after(step, steps), length.done * used))
        take_step(network, encoder, objective, batch, optimizer, rate, config, ranks)
        average.update()
        used = ranks.agreed(clock() - started, interrupt) / within
        step += 1
    network.load_state_dict(average.network.state_dict())
    network.eval()
    return step / steps_per_epoch


def told(epochs: Sequence[float]) -> str:
    """For how long on average, in words."""
    mean = sum(epochs) / len(epochs)
    return "1 epoch" if mean == 1.0 else f"{mean:.4g} epochs"
