"""What a network is asked to make small: the losses of classes and of numbers, each a mean over rows.

``of_rows`` are weights of the rows ``[rows]`` with a mean of 1, or None where every row counts the same.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def mean_over_rows(losses: Tensor, of_rows: Tensor | None) -> Tensor:
    """Mean of what single rows lose, ``[..., rows]``, each as often as its weight says.

    It is not divided by the weights of these rows: a batch of light rows is to move little.
    """
    return losses.mean() if of_rows is None else (losses * of_rows).mean()


def class_loss(
    logits: Tensor,
    target: Tensor,
    *,
    weights: Tensor | None,
    smoothing: float,
    gamma: float,
    of_rows: Tensor | None = None,
) -> Tensor:
    """Cross entropy, or focal loss where ``gamma`` is above 0 (Lin et al. 2017, section 3).

    Args:
        logits: ``[rows, classes]``.
        target: class indices int64 ``[rows]``, or a share for each class ``[rows, classes]``.
        weights: of the classes, ``[classes]``.
        smoothing: share of a row's label given evenly to all classes.
        gamma: how strongly rows that are answered well already are made light of.
        of_rows: weights of the rows, ``[rows]``.
    """
    if gamma == 0.0:
        if weights is None and of_rows is None:
            return F.cross_entropy(logits, target, label_smoothing=smoothing)
        losses = F.cross_entropy(logits, target, weight=weights, label_smoothing=smoothing, reduction="none")
        return mean_over_rows(losses, of_rows)
    log_probabilities = torch.log_softmax(logits, dim=-1)
    return focal_loss(log_probabilities, target, weights=weights, smoothing=smoothing, gamma=gamma, of_rows=of_rows)


def focal_loss(
    log_probabilities: Tensor,
    target: Tensor,
    *,
    weights: Tensor | None,
    smoothing: float,
    gamma: float,
    of_rows: Tensor | None = None,
) -> Tensor:
    """The same of log-probabilities ``[rows, classes]``; cross entropy where ``gamma`` is 0."""
    n_classes = log_probabilities.shape[-1]
    share = target if target.is_floating_point() else F.one_hot(target, n_classes).to(log_probabilities)
    share = share * (1.0 - smoothing) + smoothing / n_classes
    if weights is not None:
        share = share * weights
    if gamma > 0.0:
        # Never 0: below a gamma of 1 the slope of the power would be infinite there.
        share = share * (-torch.expm1(log_probabilities)).clamp(min=1e-6) ** gamma
    if of_rows is None:
        return -(share * log_probabilities).sum(dim=-1).mean()
    return mean_over_rows(-(share * log_probabilities).sum(dim=-1), of_rows)


def pinball_loss(predicted: Tensor, wanted: Tensor, quantile: float, of_rows: Tensor | None = None) -> Tensor:
    """Least where ``predicted`` is the ``quantile`` of what is wanted (Koenker and Bassett 1978)."""
    short = wanted - predicted
    return mean_over_rows(torch.maximum(quantile * short, (quantile - 1.0) * short), of_rows)


# ─── counts and amounts ──────────────────────────────────────────────────────────────────────────────────────────────
# Half the unit deviance of each row, of the logarithm of the mean (McCullagh and Nelder 1989, sections 2.3 and 9.2).


FARTHEST_LOG = 30.0
"""Beyond this a predicted logarithm pulls no farther: its exponential and the sum of a batch stay finite in float32."""


def poisson_losses(log_mean: Tensor, wanted: Tensor) -> Tensor:
    """Of counts, whose variance is their mean; for each row.

    Args:
        log_mean: logarithm of the predicted mean, ``[..., rows]``.
        wanted: at least 0, in the same unit, ``[..., rows]``.
    """
    log_mean = log_mean.clamp(-FARTHEST_LOG, FARTHEST_LOG)
    return torch.exp(log_mean) - wanted * (1.0 + log_mean) + torch.xlogy(wanted, wanted)


def gamma_losses(log_mean: Tensor, wanted: Tensor) -> Tensor:
    """Of amounts above 0, whose deviation is in proportion to their mean; for each row, as :func:`poisson_losses`."""
    log_mean = log_mean.clamp(-FARTHEST_LOG, FARTHEST_LOG)
    return wanted * torch.exp(-log_mean) - 1.0 + log_mean - torch.log(wanted)


def tweedie_losses(log_mean: Tensor, wanted: Tensor, power: float) -> Tensor:
    """Of amounts that are 0 in some rows, whose variance is a ``power`` of their mean between 1 and 2; for each row.

    1 would be :func:`poisson_losses` and 2 :func:`gamma_losses` (Jorgensen 1987).
    """
    log_mean = log_mean.clamp(-FARTHEST_LOG, FARTHEST_LOG)
    once, twice = 1.0 - power, 2.0 - power
    at_best = wanted**twice / (once * twice)
    return at_best - wanted * torch.exp(once * log_mean) / once + torch.exp(twice * log_mean) / twice
