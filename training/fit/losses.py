"""What a network is asked to make small: the losses of classes and of numbers, each a mean over rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def class_loss(logits: Tensor, target: Tensor, *, weights: Tensor | None, smoothing: float, gamma: float) -> Tensor:
    """Cross entropy, or focal loss where ``gamma`` is above 0 (Lin et al. 2017, section 3).

    Args:
        logits: ``[rows, classes]``.
        target: class indices int64 ``[rows]``, or a share for each class ``[rows, classes]``.
        weights: of the classes, ``[classes]``.
        smoothing: share of a row's label given evenly to all classes.
        gamma: how strongly rows that are answered well already are made light of.
    """
    if gamma == 0.0:
        if weights is None:
            return F.cross_entropy(logits, target, label_smoothing=smoothing)
        losses = F.cross_entropy(logits, target, weight=weights, label_smoothing=smoothing, reduction="none")
        return losses.mean()  # and not over the weights of these rows: a batch of light rows is to move little
    return focal_loss(torch.log_softmax(logits, dim=-1), target, weights=weights, smoothing=smoothing, gamma=gamma)


def focal_loss(
    log_probabilities: Tensor, target: Tensor, *, weights: Tensor | None, smoothing: float, gamma: float
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
    return -(share * log_probabilities).sum(dim=-1).mean()


def pinball_loss(predicted: Tensor, wanted: Tensor, quantile: float) -> Tensor:
    """Least where ``predicted`` is the ``quantile`` of what is wanted (Koenker and Bassett 1978)."""
    short = wanted - predicted
    return torch.maximum(quantile * short, (quantile - 1.0) * short).mean()
