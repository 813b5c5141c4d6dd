"""Training rows changed a little, anew in every batch, so that the network does not learn them by heart.

Numbers are moved along the ranks of the training rows and not along their units, so that a step means as much for a
price as for a share, and an outlier stays one value among many.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from rowcast.training.features.encoder import MISSING_CODE
from rowcast.training.fit.loop import Batch
from rowcast.training.settings import ComponentConfig

GRID = 256
"""Ranks that are told apart."""
GRID_ROWS = 65_536
"""Training rows that the ranks are read off, at most."""


class AugmentConfig(ComponentConfig):
    """Changes to the rows of a batch, in training only. All are off: see docs/training.md for what each did."""

    noise: float = Field(0.0, ge=0.0, le=1.0)
    """Deviation of a number's rank among the training rows: at .01 it passes about one row in a hundred."""
    swap: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the values that are taken from another row of the batch."""
    missing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the values that are hidden, as if they were missing; of a text, of its words."""
    mixup: float = Field(0.0, ge=0.0, le=10.0)
    """Rows are mixed with one another, targets too, by a share drawn from Beta(mixup, mixup); .2 is usual
    (Zhang et al. 2018). Of a category, either row's level is taken, and so are all words of either row."""


class Augment:
    """Changes batches as its config says.

    Args:
        config: what to do.
        train: the training rows, on the device of the batches.
        n_classes: of the target; 0 for regression.
    """

    def __init__(self, config: AugmentConfig, train: Batch, n_classes: int) -> None:
        self.config = config
        self.n_classes = n_classes
        self.on = any(config.model_dump().values())
        self.grid = _quantiles(train.features) if config.noise or config.mixup else None

    def __call__(self, batch: Batch) -> Batch:
        """A changed batch; where rows are mixed, a class becomes a share for each class, ``[rows, n_classes]``."""
        if not self.on:
            return batch
        features, codes, target, weight = batch.features, batch.codes, batch.target, batch.weight
        words = batch.words
        if self.config.swap:
            features, codes = (self._swapped(values) for values in (features, codes))
            if words is not None:
                words = _of_other(
                    words, torch.randint(len(words), (len(words),), device=words.device), self.config.swap
                )
        if self.config.noise and self.grid is not None:
            rank = _ranks(features, self.grid)
            features = _values(rank + self.config.noise * torch.randn_like(rank), self.grid, features)
        if self.config.mixup and self.grid is not None:
            features, codes, target, weight, words = self._mixed(
                Batch(features, codes, target, weight, words), self.grid
            )
        if self.config.missing:
            features = torch.where(_chosen(features, self.config.missing), torch.nan, features)
            codes = torch.where(_chosen(codes, self.config.missing), MISSING_CODE, codes)
            words = None if words is None else torch.where(_chosen(words, self.config.missing), -1, words)
        return Batch(features, codes, target, weight, words)

    def _swapped(self, values: Tensor) -> Tensor:
        other = torch.randint(len(values), values.shape, device=values.device)
        return torch.where(_chosen(values, self.config.swap), values.gather(0, other), values)

    def _mixed(self, batch: Batch, grid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        features, codes, target, weight = batch.features, batch.codes, batch.target, batch.weight
        drawn = float(torch.distributions.Beta(self.config.mixup, self.config.mixup).sample())
        own = max(drawn, 1.0 - drawn)
        partner = torch.randperm(len(target), device=target.device)
        rank = _ranks(features, grid)
        between = _values(own * rank + (1.0 - own) * rank[partner], grid, features)
        either = torch.where(_chosen(features, own), features, features[partner])
        absent = torch.isnan(features) | torch.isnan(features[partner])
        if self.n_classes and target.dim() == 1:  # a teacher says shares already
            target = F.one_hot(target, self.n_classes).to(torch.float32)
        levels = torch.where(_chosen(codes, own), codes, codes[partner])
        share: float | Tensor = own
        if weight is not None:  # each target pulls as hard as its row weighs in the mixture
            mine = own * weight
            weight = mine + (1.0 - own) * weight[partner]
            share = (mine / weight).reshape(-1, *[1] * (target.dim() - 1))
        words = None if batch.words is None else _of_other(batch.words, partner, 1.0 - own)
        target = share * target + (1.0 - share) * target[partner]
        return torch.where(absent, either, between), levels, target, weight, words


def _of_other(words: Tensor, other: Tensor, share: float) -> Tensor:
    """All words of another row, in this share of the rows."""
    return torch.where(_chosen(words[:, :1], share), words[other], words)


def _chosen(values: Tensor, share: float) -> Tensor:
    return torch.rand(values.shape, device=values.device) < share


def _quantiles(features: Tensor) -> Tensor:
    """``[rows, n_features] -> [n_features, GRID]``: evenly spaced quantiles of what is present."""
    step = max(1, len(features) // GRID_ROWS)
    ordered = features[::step].sort(dim=0).values  # missing values come last
    present = (~torch.isnan(ordered)).sum(dim=0).clamp(min=1)
    place = torch.linspace(0.0, 1.0, GRID, device=features.device).unsqueeze(1) * (present - 1)
    return ordered.gather(0, place.round().to(torch.int64)).T.contiguous()


def _ranks(features: Tensor, grid: Tensor) -> Tensor:
    """Ranks of values, 0 to 1, ``[rows, n_features]``; a value that many rows share is in the middle of them."""
    value = features.T.contiguous()
    before, until = torch.searchsorted(grid, value), torch.searchsorted(grid, value, right=True)
    left = (before - 1).clamp(0, GRID - 2)
    low, high = grid.gather(1, left), grid.gather(1, left + 1)
    between = left + ((value - low) / (high - low)).nan_to_num(0.0).clamp(0.0, 1.0)
    place = torch.where(until > before, (before + until - 1) / 2, between)
    return place.T / (GRID - 1)


def _values(rank: Tensor, grid: Tensor, instead: Tensor) -> Tensor:
    """Values at ranks, ``[rows, n_features]``; ``instead`` where a value is missing or its column shows none."""
    place = rank.T.clamp(0.0, 1.0) * (GRID - 1)
    left = place.to(torch.int64).clamp(max=GRID - 2)
    low, high = grid.gather(1, left), grid.gather(1, left + 1)
    value = torch.lerp(low, high, (place - left).to(low)).T
    return torch.where(torch.isnan(value) | torch.isnan(instead), instead, value)
